/**
 * Brings reports and events into the store: the changes of this host together, at most every 50 ms while there are any, and
 * nothing that says what is there already. While the store is away the newest waits. An agent is the only writer of its
 * host's reports, so nothing is guarded, and what was perhaps written is written again.
 */
import type { Clock, Instant } from '@boxcar/core/model/clock'
import type { HostId, InstanceId } from '@boxcar/core/model/ids'
import { byId } from '@boxcar/core/model/ids'
import { type Report, report as reportSchema } from '@boxcar/core/model/report'
import { Bell } from '@boxcar/store/bell'
import { put, remove } from '@boxcar/store/collection'
import type { EventText, EventWriter } from '@boxcar/store/events'
import { reports } from '@boxcar/store/keys'
import type { Log } from '@boxcar/store/log'
import { type Store, StoreUnavailable, type Write } from '@boxcar/store/store'
import { z } from 'zod'
import type { Files } from './state/files.ts'

export interface ReporterOptions {
  readonly store: Store
  readonly clock: Clock
  readonly log: Log
  readonly host: HostId
  readonly files: Files
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
}

const fileName = 'reports.json'

export class Reporter {
  readonly #options: ReporterOptions
  readonly #wanted = new Map<InstanceId, Report>()
  /** What is known to be in the store. */
  readonly #stored = new Map<InstanceId, Stored>()
  readonly #gone = new Set<InstanceId>()
  #events: EventText[] = []
  readonly #bell = new Bell()
  /** How many writes go together: fewer after a batch that was too large. */
  #most = mostWrites
  /** Those whose report is too large by itself; they go without what the run and its probes said. */
  readonly #slim = new Set<InstanceId>()
  readonly #firstRead = Promise.withResolvers<void>()
  #unsaved = false
  #isRead = false

  constructor(options: ReporterOptions) {
    this.#options = options
  }

  /** What an earlier run saved. */
  async load(): Promise<readonly Report[]> {
    const text = await this.#options.files.read(fileName)
    if (text === undefined) return []
    try {
      return z.array(reportSchema).parse(JSON.parse(text))
    } catch {
      this.#options.log.warn({}, `${fileName} cannot be read; counters of restarts begin anew`)
      return []
    }
  }

  want(report: Report): void {
    if (this.#wanted.get(report.instance) === report) return
    this.#wanted.set(report.instance, report)
    this.#gone.delete(report.instance)
    this.#unsaved = true
    this.#bell.ring()
  }

  forget(instance: InstanceId): void {
    this.#wanted.delete(instance)
    this.#slim.delete(instance)
    this.#gone.add(instance)
    this.#unsaved = true
    this.#bell.ring()
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
    this.#events.push({ host: this.#options.host, ...event })
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
      const outcome = this.#options.mayWrite() ? await this.#flush() : 'waits'
      if (outcome === 'waits') await clock.sleep(retryMs, signal)
      else {
        await clock.sleep(apartMs, signal)
        await this.#bell.within(clock, idleMs, signal, rings)
      }
    }
  }

  async #readStored(signal: AbortSignal): Promise<void> {
    const { store, clock, host, onFound, onRead } = this.#options
    while (!signal.aborted) {
      try {
        this.#isRead = true
        const { entries } = await store.list(reports, host)
        this.#stored.clear()
        for (const { id, value } of entries) {
          this.#stored.set(id.instance, { json: JSON.stringify(value), gist: gistOf(value), at: clock.now() })
          onFound(value)
        }
        this.#firstRead.resolve()
        onRead()
        return
      } catch (error) {
        if (!(error instanceof StoreUnavailable)) throw error
        await clock.sleep(retryMs, signal)
      }
    }
  }

  /** waits: the store did not take it; again shortly. */
  async #flush(): Promise<'done' | 'waits'> {
    const { store, clock, host, events, log } = this.#options
    const most = this.#most
    const writes: Write[] = []
    const done: (() => void)[] = []
    let last: InstanceId | undefined
    for (const instance of [...this.#wanted.keys()].sort(byId)) {
      const wanted = this.#wanted.get(instance)
      if (wanted === undefined || writes.length >= most) continue
      const value = this.#slim.has(instance) ? slimmed(wanted) : wanted
      const [json, gist] = [JSON.stringify(value), gistOf(value)]
      if (!this.#isNews(instance, json, gist)) continue
      writes.push(put(reports, { host, instance }, value))
      last = instance
      done.push(() => this.#stored.set(instance, { json, gist, at: clock.now() }))
    }
    for (const instance of this.#gone) {
      if (writes.length >= most) break
      writes.push(remove(reports, { host, instance }))
      done.push(() => {
        this.#stored.delete(instance)
        this.#gone.delete(instance)
      })
    }
    const room = Math.min(mostEventsAtOnce, most - writes.length)
    const told = events.isReady ? this.#events.slice(0, room) : []
    for (const event of told) writes.push(events.write(event))
    if (writes.length === 0) return this.#events.length > 0 ? 'waits' : 'done'
    const outcome = await store.commit({ guards: [], writes })
    if (outcome.kind === 'committed') {
      for (const note of done) note()
      this.#events = this.#events.filter(event => !told.includes(event))
      if (writes.length >= most) this.#bell.ring()
      this.#most = Math.min(mostWrites, most * 2)
      return 'done'
    }
    // Without guards, only the lease of the events can have made it stale.
    if (outcome.kind === 'stale') await events.check()
    if (outcome.kind === 'too-large') {
      log.warn({ writes: writes.length }, 'a batch of reports does not fit a transaction; less at once')
      this.#most = Math.max(1, Math.floor(writes.length / 2))
      if (writes.length === 1) {
        // What does not fit alone, an event or a slim report, never will.
        if (last !== undefined && this.#slim.has(last)) for (const note of done) note()
        else if (last !== undefined) this.#slim.add(last)
        this.#events = this.#events.filter(event => !told.includes(event))
      }
      this.#bell.ring()
      return 'done'
    }
    return 'waits'
  }

  /** What only a probe's wording changed is news every few seconds, not at every probe. */
  #isNews(instance: InstanceId, json: string, gist: string): boolean {
    const stored = this.#stored.get(instance)
    if (stored === undefined || stored.gist !== gist) return true
    return stored.json !== json && this.#options.clock.now() - stored.at >= wordingMs
  }

  async #keepSaving(signal: AbortSignal): Promise<void> {
    const { clock, files, log } = this.#options
    while (!signal.aborted) {
      const rings = this.#bell.rings
      if (this.#unsaved) {
        this.#unsaved = false
        try {
          await files.write(fileName, JSON.stringify([...this.#wanted.values()]))
        } catch (error) {
          log.warn({ error: String(error) }, 'reports were not saved')
        }
      }
      await clock.sleep(saveApartMs, signal)
      await this.#bell.next(signal, rings)
    }
  }
}

const apartMs = 50
const retryMs = 500
const idleMs = 5000
const saveApartMs = 500
const wordingMs = 10_000
const mostWrites = 100
const mostEvents = 200
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
