/**
 * Being there: the host's record, its presence and the acknowledgement of routes. Presence and acknowledgement live by one
 * lease, which is renewed for as long as the agent's main loop turns and granted anew within a second after it was lost.
 *
 * An agent that ends does not give its lease up. Whoever restarts or upgrades an agent takes less time than the lease lasts;
 * its containers and its proxy go on meanwhile, and the next run writes itself over the key before it is gone, so the leader
 * never sees the host leave. An agent that ends for good is missed one lease later, as it is when it dies.
 *
 * A write whose answer was lost may land at any later time: each names what it replaces, and after a lost answer the entry is
 * read and written once more, whatever it says.
 */
import { after, type Clock, type Instant } from '@boxcar/core/model/clock'
import { type HostRecord, whyOrdersRefused } from '@boxcar/core/model/host'
import type { HostId } from '@boxcar/core/model/ids'
import type { RouteAck } from '@boxcar/core/model/route'
import { Bell } from '@boxcar/store/bell'
import { living, put, remove, unchanged, unleased } from '@boxcar/store/collection'
import { hosts, presences, routeAcks } from '@boxcar/store/keys'
import { type KeptLease, keepLease } from '@boxcar/store/lease'
import type { Log } from '@boxcar/store/log'
import {
  type CommitOutcome,
  type Guard,
  type LeaseId,
  type Revision,
  type Store,
  StoreUnavailable,
  type Write,
} from '@boxcar/store/store'
import { presenceTtlMs, StartError } from './config.ts'
import type { InternalErrors } from './internal-errors.ts'
import { idleMs as loopIdleMs } from './loop.ts'
import type { Tell } from './tell.ts'

export interface RegistrationOptions {
  readonly store: Store
  readonly clock: Clock
  readonly log: Log
  readonly errors: InternalErrors
  readonly tell: Tell
  readonly host: HostId
  /** Tells this host's agents from one on another machine that was given the same id. Kept over restarts. */
  readonly token: string
  /** Resolves once the store is known to be the right one. */
  readonly believed: (signal: AbortSignal) => Promise<void>
}

export class Registration {
  readonly #options: RegistrationOptions
  readonly #bell = new Bell()
  #lease: KeptLease | undefined
  /** The lease under which presence stands. */
  #presentBy: LeaseId | undefined
  #record: HostRecord | undefined
  #writtenRecord: string | undefined
  /** The record that the store refused last, how often, and until when it is not tried again. */
  #refused: { readonly record: HostRecord; readonly times: number; readonly until: Instant } | undefined
  #takenTold = false
  #ack: RouteAck | 'none yet' | 'withdrawn' = 'none yet'
  /** The acknowledgement as it stands in the store; nothing where that is to be read. */
  #standing: StandingAck | undefined
  /** Whose writes may still land. */
  readonly #doubtful = { record: false, ack: false }

  constructor(options: RegistrationOptions) {
    this.#options = options
  }

  /** How long the store cannot have given the host's presence away, milliseconds; 0 while there is none. */
  goodForMs(): number {
    if (this.#presentBy === undefined) return 0
    return Math.max(0, (this.#lease?.goodUntil() ?? 0) - this.#options.clock.now())
  }

  get isPresent(): boolean {
    return this.#presentBy !== undefined && this.#lease?.id() === this.#presentBy
  }

  /** The main loop made a turn: for some time more the host is there. */
  progress(): void {
    this.#lease?.progress()
  }

  setRecord(record: HostRecord): void {
    this.#record = record
    this.#bell.ring()
  }

  /** Nothing withdraws it, also one that an earlier run wrote. */
  setAck(ack: RouteAck | undefined): void {
    this.#ack = ack ?? 'withdrawn'
    this.#bell.ring()
  }

  /**
   * Refuses a host id under which another machine is present; throws StartError then. A key that its holder no longer renews is
   * waited for. Where the store does not answer there is nothing to refuse yet.
   */
  async refuseForeign(): Promise<void> {
    const { store, clock, host } = this.#options
    const patience = clock.now() + presenceTtlMs + 4000
    for (;;) {
      try {
        const seen = living(await store.get(presences, host))
        if (seen === undefined || seen.value.token === this.#options.token) return
      } catch (error) {
        if (error instanceof StoreUnavailable) return
        throw error
      }
      if (clock.now() >= patience)
        throw new StartError(
          `another machine is registered as host '${host}' and is alive`,
          'give this host another id with --host-id, or stop the other agent',
        )
      await clock.sleep(250)
    }
  }

  async run(signal: AbortSignal): Promise<void> {
    const { store, clock, log } = this.#options
    this.#lease = keepLease({
      store,
      clock,
      log,
      ttlMs: presenceTtlMs,
      signal,
      progressWithinMs: turnWithinMs,
      onGranted: (lease, granted) => this.#appear(lease, granted),
      onLost: () => {
        this.#presentBy = undefined
      },
    })
    await Promise.all([this.#lease.ended, this.#keepWritten(signal)])
  }

  async #appear(lease: LeaseId, signal: AbortSignal): Promise<void> {
    const { store, clock, host, token, log, believed } = this.#options
    await believed(signal)
    if (signal.aborted) return
    const seen = living(await store.get(presences, host))
    if (seen !== undefined && seen.value.token !== token) {
      // Shown: an event `host-id-taken`; the record is the other machine's.
      log.error({ host }, 'another machine is registered under this host id; trying again')
      this.#tellTaken()
      await clock.sleep(2000, signal)
      throw new Error('another machine is registered under this host id')
    }
    this.#takenTold = false
    // It may have been removed while this host was away: it is looked at afresh.
    this.#writtenRecord = undefined
    const record = (await this.#recordWrite()) ?? nothing
    const guard = seen === undefined ? unleased(presences, host) : unchanged(presences, host, seen.modified)
    const presence = put(presences, host, { since: clock.wall(), token }, lease)
    const both = await this.#commit('record', {
      ...record,
      writes: [presence, ...record.writes],
      guards: [guard],
    })
    // A record that no store takes keeps nobody from being there: it is told, and tried by itself.
    const alone = both.kind === 'refused' && record.writes.length > 0
    const outcome = alone ? await store.commit({ guards: [guard], writes: [presence] }) : both
    if (outcome.kind !== 'committed') throw new Error(`presence was not written: ${outcome.kind}`)
    // What stood by an earlier lease is gone or goes with it, and nothing by it lands any more.
    this.#standing = undefined
    this.#doubtful.ack = false
    this.#presentBy = lease
    this.#bell.ring()
  }

  /** Once for each time that it begins. */
  #tellTaken(): void {
    const { host, tell } = this.#options
    if (this.#takenTold) return
    this.#takenTold = true
    const where =
      this.#record === undefined ? 'a second agent' : `a second agent, at ${this.#record.address},`
    tell({
      kind: 'host-id-taken',
      level: 'error',
      message: `${where} has the host id ${host}, under which another machine is registered: it is not registered; next: give it another id with --host-id, or stop it`,
    })
  }

  async #keepWritten(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options
    while (!signal.aborted) {
      const rings = this.#bell.rings
      const outcome = await this.#write()
      if (outcome === 'waits') await clock.sleep(retryMs, signal)
      else await this.#bell.within(clock, outcome === 'done' ? idleMs : lookMs, signal, rings)
      if (this.#bell.rings === rings) await this.#putPresenceAgain(signal)
    }
  }

  /** A presence that somebody removed, or put without our lease, is missed by all: it is looked at whenever nothing else happens. */
  async #putPresenceAgain(signal: AbortSignal): Promise<void> {
    const { store, host, log } = this.#options
    const lease = this.#presentBy
    if (lease === undefined || signal.aborted) return
    try {
      if ((await store.get(presences, host))?.lease !== lease) await this.#appear(lease, signal)
    } catch (error) {
      log.info({ host, error: String(error) }, 'the presence was not looked at; trying again')
    }
  }

  /** done: the store says what it should. in-doubt: for now. waits: not yet. */
  async #write(): Promise<'done' | 'in-doubt' | 'waits'> {
    const lease = this.#presentBy
    // Without presence only why there is none is told: orders are refused.
    if (lease === undefined && whyOrdersRefused(this.#record) === undefined) return 'done'
    try {
      // Apart, so that neither waits for the other.
      const outcomes = [
        await this.#writeOne('ack', lease === undefined ? nothing : await this.#ackWrite(lease)),
        await this.#writeOne('record', await this.#recordWrite()),
      ]
      if (outcomes.includes('waits')) return 'waits'
      return this.#isInDoubt() || outcomes.includes('later') ? 'in-doubt' : 'done'
    } catch (error) {
      if (error instanceof StoreUnavailable) return 'waits'
      throw error
    }
  }

  /** later: the store refuses it as it is, and it is tried again after a pause that grows. */
  async #writeOne(what: 'record' | 'ack', pending: Pending | undefined): Promise<'done' | 'later' | 'waits'> {
    if (pending === undefined) return 'later'
    if (pending.writes.length === 0) return 'done'
    const outcome = await this.#commit(what, pending)
    if (outcome.kind === 'committed') return 'done'
    if (outcome.kind === 'unknown')
      this.#doubtful[what] ||= pending.writes.some(write => write.kind === 'put')
    if (what === 'ack') this.#standing = undefined
    if (outcome.kind === 'refused') return 'later'
    // Not shown: the next try writes it; where the store is full, status and doctor say so.
    this.#options.log.warn(
      { host: this.#options.host, what, outcome: outcome.kind },
      'what the host says of itself was not written; trying again',
    )
    return 'waits'
  }

  async #commit(
    what: 'record' | 'ack',
    { guards, writes, done }: Pending,
  ): Promise<CommitOutcome | { readonly kind: 'refused' }> {
    const { store, errors } = this.#options
    const doing = what === 'record' ? 'writing its record' : 'acknowledging routes'
    const outcome = await errors.containLater({ what: 'the host' }, doing, async () => {
      const committed = await store.commit({ guards, writes })
      if (committed.kind === 'too-large') throw new Error('it does not fit a transaction of the store')
      return committed
    })
    if (outcome?.kind === 'committed') done(outcome.revision)
    if (outcome !== undefined) return outcome
    if (what === 'record') this.#refuse()
    return { kind: 'refused' }
  }

  #refuse(): void {
    const record = this.#record
    if (record === undefined) return
    const times = (this.#refused?.record === record ? this.#refused.times : 0) + 1
    const pauseMs = Math.min(longestRefusedMs, retryMs * 2 ** times)
    this.#refused = { record, times, until: after(this.#options.clock.now(), pauseMs) }
  }

  /** An acknowledgement may land behind its withdrawal, as there is nothing to guard the absence of. */
  #isInDoubt(): boolean {
    if (this.#ack !== 'withdrawn' || !this.#doubtful.ack) return false
    this.#standing = undefined
    return true
  }

  /** Nothing while a record that was refused is not to be tried again yet. */
  async #recordWrite(): Promise<Pending | undefined> {
    const { store, host, clock } = this.#options
    const record = this.#record
    if (record === undefined) return nothing
    const refused = this.#refused?.record === record ? this.#refused : undefined
    if (refused !== undefined && refused.until > clock.now()) return undefined
    const json = JSON.stringify(record)
    if (json === this.#writtenRecord && !this.#doubtful.record) return nothing
    const stored = await store.get(hosts, host)
    // What a newer agent wrote besides is kept, unless it is more than a record may hold.
    const both = { ...stored?.value, ...record }
    const value = JSON.stringify(both).length > mostRecordChars ? record : both
    const done = () => {
      this.#writtenRecord = json
      this.#doubtful.record = false
      this.#refused = undefined
    }
    if (!this.#doubtful.record && JSON.stringify(stored?.value) === JSON.stringify(value)) {
      done()
      return nothing
    }
    // One that cannot be read is overwritten as it is.
    const guards = stored === undefined ? [] : [unchanged(hosts, host, stored.modified)]
    return { guards, writes: [put(hosts, host, value)], done }
  }

  async #ackWrite(lease: LeaseId): Promise<Pending> {
    const { host } = this.#options
    const ack = this.#ack
    if (ack === 'none yet') return nothing
    const standing = this.#standing ?? (await this.#readAck())
    this.#standing = standing
    const guards = [
      standing === 'none' ? unleased(routeAcks, host) : unchanged(routeAcks, host, standing.modified),
    ]
    if (ack === 'withdrawn') {
      if (standing === 'none') return nothing
      const done = () => {
        this.#standing = 'none'
      }
      return { guards, writes: [remove(routeAcks, host)], done }
    }
    const json = JSON.stringify(ack)
    const isThere = standing !== 'none' && standing.lease === lease && standing.json === json
    if (isThere && !this.#doubtful.ack) return nothing
    const done = (modified: Revision) => {
      this.#standing = { lease, json, modified }
      this.#doubtful.ack = false
    }
    return { guards, writes: [put(routeAcks, host, ack, lease)], done }
  }

  async #readAck(): Promise<StandingAck> {
    const entry = await this.#options.store.get(routeAcks, this.#options.host)
    if (entry === undefined) return 'none'
    return { lease: entry.lease, json: JSON.stringify(entry.value), modified: entry.modified }
  }
}

type StandingAck =
  | 'none'
  | { readonly lease: LeaseId | undefined; readonly json: string; readonly modified: Revision }

interface Pending {
  readonly guards: readonly Guard[]
  readonly writes: readonly Write[]
  /** It is written, as of that revision. */
  readonly done: (revision: Revision) => void
}

const nothing: Pending = { guards: [], writes: [], done: () => {} }
/** A loop with nothing to do turns three times as often: one that does not turn for so long has stopped. */
const turnWithinMs = 3 * loopIdleMs
const idleMs = 60_000
const lookMs = 5000
const retryMs = 250
const longestRefusedMs = 60_000
/** Far above what agents write, and far below what a transaction holds. */
const mostRecordChars = 256 * 1024
