/**
 * Brings reports and events into the store: the changes of this host together, at most every 50 ms while there are any, and
 * nothing that says what is there already. While the store is away the newest waits.
 *
 * An agent is the only writer of its host's reports, and guards them against itself: a write whose answer was lost may land
 * at any later time. So each write names what it replaces, and after a lost answer the store is read again and the reports
 * concerned are written once more, whatever it says; what lands after that is refused.
 */

import { attempt, errorText } from '@boxcar/core/model/attempt'
import { after, type Clock, type Instant } from '@boxcar/core/model/clock'
import type { HostId, InstanceId } from '@boxcar/core/model/ids'
import { byId, parseInstanceId } from '@boxcar/core/model/ids'
import { type Report, report as reportSchema } from '@boxcar/core/model/report'
import { Bell } from '@boxcar/store/bell'
import { absent, put, remove, unchanged } from '@boxcar/store/collection'
import type { EventText, EventWriter, ToldEvent } from '@boxcar/store/events'
import { reports, events as storedEvents } from '@boxcar/store/keys'
import type { Log } from '@boxcar/store/log'
import {
  type CommitOutcome,
  type Guard,
  type Revision,
  type Store,
  StoreUnavailable,
  type Transaction,
  type Write,
} from '@boxcar/store/store'
import { z } from 'zod'
import type { Strikes } from './instance.ts'
import type { InternalErrors } from './internal-errors.ts'
import type { SavedState } from './state/saved-state.ts'

export interface ReporterOptions {
  readonly store: Store
  readonly clock: Clock
  readonly log: Log
  readonly errors: InternalErrors
  readonly host: HostId
  readonly state: SavedState
  readonly events: EventWriter
  /** Whether the store is the right one; nothing is written into another. */
  readonly mayWrite: () => boolean
  /** A report of an earlier run that only the store had. */
  readonly onFound: (report: Report) => void
  /** All stored reports were read; what is wanted may be another now. */
  readonly onRead: () => void
}

interface Stored {
  readonly json: string
  /** The same without what changes at every probe. */
  readonly gist: string
  readonly at: Instant
  readonly modified: Revision
}

interface Saved extends Strikes {
  readonly report: Report
}

const fileName = 'reports.json'
const saved = z.object({
  report: reportSchema,
  streak: z.int().min(0),
  examined: z.string().optional(),
})

export class Reporter {
  readonly #options: ReporterOptions
  readonly #wanted = new Map<InstanceId, Saved>()
  /** What is known to be in the store. */
  readonly #stored = new Map<InstanceId, Stored>()
  /** Those of which a write whose answer was lost may still land. */
  readonly #doubtful = new Set<InstanceId>()
  readonly #gone = new Set<InstanceId>()
  #events: ToldEvent[] = []
  /** Those of them that are perhaps written. */
  #doubtfulEvents: readonly ToldEvent[] = []
  readonly #bell = new Bell()
  /** How many writes go together: fewer after a batch that was too large. */
  #most = mostWrites
  /** Those whose report is too large by itself; they go without what the run and its probes said. */
  readonly #slim = new Set<InstanceId>()
  /** Those whose report the store refused by itself: each is tried by itself, after a pause that grows. */
  readonly #refused = new Map<InstanceId, Refused>()
  /** Batches in a row that the store called stale. */
  #stales = 0
  readonly #firstRead = Promise.withResolvers<void>()
  #unsaved = false
  #isRead = false
  #last: 'done' | 'stale' | 'waits' = 'done'

  constructor(options: ReporterOptions) {
    this.#options = options
  }

  /** What an earlier run saved. */
  async load(): Promise<readonly Saved[]> {
    const { state } = this.#options
    const text = await state.read(fileName)
    if (text === undefined) return []
    const read = attempt(() => z.array(z.unknown()).parse(JSON.parse(text)))
    const found = 'value' in read ? read.value.map(one => attempt(() => saved.parse(one))) : [read]
    const unreadable = found.filter(one => 'error' in one)
    if (unreadable.length > 0)
      state.unusable(
        fileName,
        `${unreadable.length} of it cannot be understood; counters of restarts begin anew`,
      )
    return found.flatMap(one => ('value' in one ? [one.value] : []))
  }

  /** What is to be in the store of an instance. */
  wanted(instance: InstanceId): Saved | undefined {
    return this.#wanted.get(instance)
  }

  /** What is to be in the store, and on disk with the strikes. */
  want(report: Report, { streak, examined }: Strikes): void {
    const known = this.#wanted.get(report.instance)
    if (known?.report === report && known.streak === streak && known.examined === examined) return
    this.#wanted.set(report.instance, { report, streak, ...(examined !== undefined && { examined }) })
    this.#gone.delete(report.instance)
    this.#unsaved = true
    this.#bell.ring()
  }

  forget(instance: InstanceId): void {
    this.#wanted.delete(instance)
    this.#slim.delete(instance)
    this.#refused.delete(instance)
    this.#gone.add(instance)
    this.#unsaved = true
    // Mostly the leader took it out with the placement.
    this.reread()
  }

  /** Resolves once the stored reports were read for the first time, and at the latest after a while. */
  async stored(): Promise<void> {
    const end = new AbortController()
    await Promise.race([this.#firstRead.promise, this.#options.clock.sleep(readMs, end.signal)])
    end.abort()
  }

  /** What is stored may have changed without us: it is read again before more is written. */
  reread(): void {
    this.#isRead = false
    this.#bell.ring()
  }

  readonly tell = (event: EventText): void => {
    const { events, host } = this.#options
    this.#events.push(events.told({ host, ...event }))
    // While the store is away only the newest are kept.
    if (this.#events.length > mostEvents) this.#events = this.#events.slice(-mostEvents)
    this.#bell.ring()
  }

  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#keepWriting(signal), this.#keepSaving(signal)])
  }

  async #keepWriting(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options
    while (!signal.aborted) {
      const rings = this.#bell.rings
      if (!this.#isRead) await this.#readStored(signal)
      const before = this.#last
      this.#last = this.#options.mayWrite() ? await this.#flush() : 'waits'
      // What was stale once is written at once, by what was read since.
      if (this.#last === 'waits' || (this.#last === 'stale' && before === 'stale'))
        await clock.sleep(retryMs, signal)
      else {
        await clock.sleep(apartMs, signal)
        await this.#bell.within(clock, idleMs, signal, rings)
      }
    }
  }

  async #readStored(signal: AbortSignal): Promise<void> {
    const { store, clock, host, errors, onFound, onRead } = this.#options
    while (!signal.aborted) {
      try {
        this.#isRead = true
        const { entries, unreadable, revision } = await store.list(reports, host)
        await this.#dropWrittenEvents()
        const at = clock.now()
        this.#stored.clear()
        for (const { id, value, modified } of entries) {
          this.#stored.set(id.instance, { json: JSON.stringify(value), gist: gistOf(value), at, modified })
          // One that says it is of another instance is overwritten as it is.
          if (!this.#gone.has(id.instance) && value.instance === id.instance)
            errors.contain({ instance: id.instance }, 'taking up its stored report', () => onFound(value))
        }
        for (const { key } of unreadable) {
          const id = reports.read(key.slice(reports.name.length + 1))
          if (id !== undefined) this.#stored.set(id.instance, { json: '', gist: '', at, modified: revision })
        }
        this.#firstRead.resolve()
        onRead()
        return
      } catch (error) {
        this.#isRead = false
        if (!(error instanceof StoreUnavailable)) throw error
        await clock.sleep(retryMs, signal)
      }
    }
  }

  async #dropWrittenEvents(): Promise<void> {
    for (const event of this.#doubtfulEvents)
      if ((await this.#options.store.get(storedEvents, event.id)) !== undefined)
        this.#events = this.#events.filter(other => other !== event)
    this.#doubtfulEvents = []
  }

  /** waits: the store did not take it; again shortly. stale: it is to be read first. */
  async #flush(): Promise<'done' | 'stale' | 'waits'> {
    const { store, events } = this.#options
    const suspect = this.#dueSuspect()
    if (suspect !== undefined) await this.#flushAlone(suspect)
    const most = this.#most
    const { guards, writes, changes } = this.#batch(most)
    const room = Math.min(mostEventsAtOnce, most - writes.length)
    const told = events.isReady ? this.#events.slice(0, room) : []
    for (const event of told) writes.push(events.writeTold(event))
    if (writes.length === 0) return this.#events.length > 0 ? 'waits' : 'done'
    const outcome = await committed(store, { guards, writes })
    if (outcome.kind !== 'stale') this.#stales = 0
    switch (outcome.kind) {
      case 'committed':
        for (const { done } of changes) done(outcome.revision)
        this.#events = this.#events.filter(event => !told.includes(event))
        if (writes.length >= most) this.#bell.ring()
        this.#most = Math.min(mostWrites, most * 2)
        return 'done'
      case 'unknown':
        for (const { instance } of changes) this.#doubtful.add(instance)
        this.#doubtfulEvents = told
        this.reread()
        return 'waits'
      case 'stale':
        this.reread()
        // Or the lease of the events is gone.
        await events.check()
        this.#stales += 1
        // Read again and again, and stale still: one of them may always be.
        if (this.#stales >= mostStales && changes.length > 0)
          this.#isolate(writes.length, changes[0], told, outcome)
        return 'stale'
      case 'full':
        return 'waits'
      case 'too-large':
      case 'refused':
        this.#isolate(writes.length, changes[0], told, outcome)
        return 'done'
    }
  }

  /**
   * A batch that the store does not take is halved until the one that it does not take stands alone; that one backs off, and the
   * others go on.
   */
  #isolate(
    writes: number,
    change: Batch['changes'][number] | undefined,
    told: readonly ToldEvent[],
    outcome: Refusal,
  ): void {
    const { log, host } = this.#options
    // Not shown: each of its parts is tried by itself, and what is refused then is told.
    log.warn({ writes, host, outcome }, 'the store does not take a batch of reports; less at once')
    this.#most = Math.max(1, Math.floor(writes / 2))
    if (writes === 1) this.#backOff(change, told, outcome)
    this.#bell.ring()
  }

  /** A report that was refused by itself and is due again. */
  #dueSuspect(): InstanceId | undefined {
    const now = this.#options.clock.now()
    for (const [instance, { until }] of this.#refused) if (until <= now) return instance
    return undefined
  }

  async #flushAlone(instance: InstanceId): Promise<void> {
    const { guards, writes, changes } = this.#batch(1, instance)
    const [change] = changes
    if (change === undefined) return void this.#refused.delete(instance)
    const outcome = await committed(this.#options.store, { guards, writes })
    switch (outcome.kind) {
      case 'committed':
        this.#refused.delete(instance)
        return change.done(outcome.revision)
      case 'unknown':
        this.#doubtful.add(instance)
        return this.reread()
      case 'stale':
        this.reread()
        return this.#refuse(instance, outcome)
      case 'full':
        return
      case 'too-large':
      case 'refused':
        return this.#backOff(change, [], outcome)
    }
  }

  /**
   * Reports to write and to remove, at most so many, each guarded by what it replaces: of one instance, or of all but those that
   * are tried by themselves.
   */
  #batch(most: number, only?: InstanceId): Batch {
    const { host, clock } = this.#options
    const batch: Batch = { guards: [], writes: [], changes: [] }
    const isLeftOut = (instance: InstanceId) =>
      only === undefined ? this.#refused.has(instance) : instance !== only
    const add = (instance: InstanceId, write: Write, done: (revision: Revision) => void) => {
      const modified = this.#stored.get(instance)?.modified
      const id = { host, instance }
      batch.guards.push(modified === undefined ? absent(reports, id) : unchanged(reports, id, modified))
      batch.writes.push(write)
      batch.changes.push({ instance, done })
    }
    for (const instance of [...this.#wanted.keys()].sort(byId)) {
      const wanted = this.#wanted.get(instance)?.report
      if (wanted === undefined || batch.writes.length >= most || isLeftOut(instance)) continue
      const value = this.#slim.has(instance) ? slimmed(wanted) : wanted
      const [json, gist] = [JSON.stringify(value), gistOf(value)]
      if (!this.#isNews(instance, json, gist)) continue
      add(instance, put(reports, { host, instance }, value), modified => {
        this.#stored.set(instance, { json, gist, at: clock.now(), modified })
        this.#doubtful.delete(instance)
      })
    }
    for (const instance of this.#gone) {
      if (batch.writes.length >= most) break
      if (isLeftOut(instance)) continue
      const done = () => {
        this.#stored.delete(instance)
        this.#gone.delete(instance)
        this.#doubtful.delete(instance)
      }
      if (!this.#stored.has(instance)) done()
      else add(instance, remove(reports, { host, instance }), done)
    }
    return batch
  }

  /** What the store does not take by itself: a report comes without its log, then after a pause; an event is left out. */
  #backOff(change: Batch['changes'][number] | undefined, told: readonly ToldEvent[], outcome: Refusal): void {
    if (change !== undefined) {
      if (outcome.kind !== 'too-large' || this.#slim.has(change.instance))
        return this.#refuse(change.instance, outcome)
      this.#slim.add(change.instance)
      return
    }
    this.#events = this.#events.filter(event => !told.includes(event))
    for (const { value } of told) this.#tellLeftOut(value, outcome)
  }

  #refuse(instance: InstanceId, outcome: Refusal): void {
    const { clock, errors } = this.#options
    errors.note({ instance }, 'writing its report', new Error(refusalWords(outcome)))
    const times = (this.#refused.get(instance)?.times ?? 0) + 1
    const pauseMs = Math.min(longestRefusedMs, retryMs * 2 ** times)
    this.#refused.set(instance, { times, until: after(clock.now(), pauseMs) })
  }

  /** Of what it was about, as much as surely can be written. */
  #tellLeftOut({ kind, instance, service, project }: ToldEvent['value'], outcome: Refusal): void {
    const what = `an event of the kind ${kind.slice(0, 64)}`
    // Shown: an event `internal-error` in its place.
    this.#options.log.error({ kind, instance, outcome }, 'an event was not written and is left out')
    if (kind === 'internal-error') return
    const place = instance === undefined ? undefined : parseInstanceId(instance)
    const about = place === undefined ? {} : { instance, service, project }
    const message = `${what} could not be written and is left out: ${refusalWords(outcome)}`
    this.tell({ ...about, kind: 'internal-error', level: 'error', message })
  }

  /** What only a probe's wording changed is news every few seconds, not at every probe. */
  #isNews(instance: InstanceId, json: string, gist: string): boolean {
    const stored = this.#stored.get(instance)
    if (stored === undefined || stored.gist !== gist || this.#doubtful.has(instance)) return true
    return stored.json !== json && this.#options.clock.now() - stored.at >= wordingMs
  }

  async #keepSaving(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const rings = this.#bell.rings
      await this.#save()
      await this.#options.clock.sleep(saveApartMs, signal)
      await this.#bell.next(signal, rings)
    }
    await this.#save()
  }

  async #save(): Promise<void> {
    if (!this.#unsaved) return
    this.#unsaved = false
    await this.#options.state.save(fileName, JSON.stringify([...this.#wanted.values()]))
  }
}

interface Batch {
  readonly guards: Guard[]
  readonly writes: Write[]
  /** One for each report concerned; `done` once the store has it so, as of that revision. */
  readonly changes: { readonly instance: InstanceId; readonly done: (revision: Revision) => void }[]
}

interface Refused {
  readonly times: number
  readonly until: Instant
}

/** Nothing was written, and it would be the same again. */
type Refusal =
  | { readonly kind: 'too-large' }
  | { readonly kind: 'stale' }
  | { readonly kind: 'refused'; readonly reason: string }

/** A store throws where it cannot even send a transaction; that is a refusal of what is in it. */
async function committed(
  store: Store,
  transaction: Transaction,
): Promise<CommitOutcome | Extract<Refusal, { kind: 'refused' }>> {
  try {
    return await store.commit(transaction)
  } catch (error) {
    return { kind: 'refused', reason: errorText(error) }
  }
}

function refusalWords(refusal: Refusal): string {
  switch (refusal.kind) {
    case 'too-large':
      return 'it does not fit a transaction of the store'
    case 'stale':
      return 'the store finds it stale however often it is read'
    case 'refused':
      return refusal.reason.slice(0, 512)
  }
}

const apartMs = 50
const retryMs = 500
const idleMs = 5000
const saveApartMs = 500
const wordingMs = 10_000
/** Each guarded by two compares, of which a transaction has room for 128. */
const mostWrites = 60
const mostEvents = 200
/** Fewer are others' changes that were met. */
const mostStales = 3
const longestRefusedMs = 60_000
/** Reading takes one round trip; whoever waits for it does not wait for a store that is away. */
const readMs = 2000
const mostEventsAtOnce = 20

function slimmed({ lastLog: _, probe, ...rest }: Report): Report {
  return { ...rest, ...(probe !== undefined && { probe: { kind: probe.kind, output: '' } }) }
}

function gistOf(report: Report): string {
  if (report.probe === undefined) return JSON.stringify(report)
  const { probe, reason: _, ...rest } = report
  return JSON.stringify({ ...rest, probe: probe.kind })
}
