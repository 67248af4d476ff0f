/**
 * Events are written in the transaction of the change that they tell of, under ids that sort by time, and live by a long lease
 * of their writer: a fresh one each day, so that an event is kept for seven to eight days and history is bounded.
 */
import type { Chance, Clock } from '@boxcar/core/model/clock'
import { after, elapsed, type Instant, type WallTime } from '@boxcar/core/model/clock'
import type { ClusterEvent } from '@boxcar/core/model/event'
import { cutText } from '@boxcar/core/model/text'
import { put } from './collection.ts'
import { sweepEvents } from './events-sweep.ts'
import { type EventId, events } from './keys.ts'
import { type Log, silent } from './log.ts'
import { type Store, StoreFull, type StoreLease, type Write } from './store.ts'

const dayMs = 24 * 60 * 60 * 1000
const keptMs = 7 * dayMs
/** How often the lease is looked after: a lost one would make every transaction with an event stale. */
const checkMs = 5 * 60 * 1000
const retryMs = 500
/** What people read of an event; it may quote what others wrote: a registry's answer, an error. */
const mostMessageBytes = 4096
/** Any other text of an event: names, who did it. */
const mostTextBytes = 512

export interface EventWriterOptions {
  readonly store: Store
  readonly clock: Clock
  readonly chance: Chance
  /** `scheduler`, `api` or `agent/<host>`. */
  readonly writer: string
  readonly signal?: AbortSignal
  readonly log?: Log
}

/** What a caller says of an event; the writer adds who and when. */
export type EventText = Omit<ClusterEvent, 'at' | 'writer' | 'level'> & {
  readonly kind: string
  readonly message: string
  readonly level?: ClusterEvent['level']
}

export interface ToldEvent {
  readonly id: EventId
  readonly value: ClusterEvent
}

export class EventWriter {
  /** Resolves when the signal was aborted. */
  readonly ended: Promise<void>
  readonly #options: EventWriterOptions
  readonly #log: Log
  readonly #granted: Promise<void>
  #settle: () => void = () => {}
  #lease: StoreLease | undefined
  /** Events without a lease come with a copied store: before a start, or with a lease that is gone while this runs. */
  #maySweep = true
  #refused = false
  #lastMs = 0
  #count = 0

  constructor(options: EventWriterOptions) {
    this.#options = options
    this.#log = options.log ?? silent
    this.#granted = new Promise(resolve => {
      this.#settle = resolve
    })
    this.ended = this.#keep(options.signal ?? new AbortController().signal)
  }

  /** Resolves when events can be written: the store has granted the first lease (or the signal was aborted). */
  ready(): Promise<void> {
    return this.#granted
  }

  /** Whether the store has granted a lease: `write` throws before. */
  get isReady(): boolean {
    return this.#lease !== undefined
  }

  /** Whether the last lease was refused because the store is full. */
  get isRefused(): boolean {
    return this.#refused
  }

  /** The write that tells of a change, to be put into that change's transaction. */
  write(event: EventText): Write {
    return this.writeTold(this.told(event))
  }

  /**
   * What happens now and is written later, perhaps more than once: its time and its id are drawn, and texts that are too long are
   * cut, so that no event makes the transaction of its change too large. Also before `ready`.
   */
  told(event: EventText): ToldEvent {
    const { clock, writer } = this.#options
    const at = clock.wall()
    const value: ClusterEvent = {
      level: 'info',
      ...event,
      at,
      writer,
      kind: event.kind,
      message: cutText(event.message, mostMessageBytes),
    }
    return { id: this.#nextId(at), value: bounded(value) }
  }

  writeTold({ id, value }: ToldEvent): Write {
    if (this.#lease === undefined) throw new Error('events are written only after ready()')
    return put(events, id, value, this.#lease.id)
  }

  /** To be called where a transaction with an event was refused for no other reason that shows: the lease may be gone. */
  async check(): Promise<void> {
    const lease = this.#lease
    if (lease === undefined) return
    try {
      if ((await lease.renew(1500)) === 'gone' && this.#lease === lease) {
        this.#maySweep = true
        await this.#grant()
      }
    } catch {
      // Not known: the next check tells.
    }
  }

  async #keep(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options
    let granted: Instant = clock.now()
    let swept: Instant | undefined
    while (!signal.aborted && this.#lease === undefined) {
      granted = clock.now()
      if (!(await this.#grant())) await clock.sleep(retryMs, signal)
    }
    while (!signal.aborted) {
      await clock.sleep(checkMs, signal)
      if (signal.aborted) break
      if (this.#maySweep && (swept === undefined || elapsed(after(swept, dayMs), clock.now()) >= 0)) {
        swept = clock.now()
        await this.#sweep()
      }
      if (elapsed(after(granted, dayMs), clock.now()) >= 0) {
        const sent = clock.now()
        if (await this.#grant()) granted = sent
      } else await this.check()
    }
    this.#settle()
  }

  async #sweep(): Promise<void> {
    const { store, clock, writer } = this.#options
    this.#maySweep = false
    try {
      if (await sweepEvents(store, writer, (clock.wall() - keptMs - dayMs) as WallTime)) this.#maySweep = true
    } catch (error) {
      this.#maySweep = true
      this.#log.info({ error: String(error) }, 'old events without a lease are removed another day')
    }
  }

  async #grant(): Promise<boolean> {
    try {
      this.#lease = await this.#options.store.grant(keptMs)
      this.#refused = false
      this.#settle()
      return true
    } catch (error) {
      this.#refused = error instanceof StoreFull
      // Shown: `/readyz` of a server; an agent that gets no lease has none for its presence either.
      this.#log.warn(
        { error: error instanceof Error ? error.message : String(error) },
        'no lease for events yet',
      )
      return false
    }
  }

  /** Rises with each call, even where the wall clock goes back: milliseconds, a counter within one, and a bit of chance. */
  #nextId(at: number): EventId {
    if (at > this.#lastMs) {
      this.#lastMs = at
      this.#count = 0
    } else this.#count += 1
    const time = Math.floor(this.#lastMs).toString(36).padStart(9, '0')
    const count = this.#count.toString(36).padStart(4, '0')
    return { writer: this.#options.writer, id: `${time}-${count}-${this.#options.chance.id().slice(0, 4)}` }
  }
}

function bounded(event: ClusterEvent): ClusterEvent {
  const fields = Object.entries(event).map(([name, value]) => [
    name,
    typeof value === 'string' && name !== 'message' ? cutText(value, mostTextBytes) : value,
  ])
  // The same fields with the same types.
  return Object.fromEntries(fields) as ClusterEvent
}
