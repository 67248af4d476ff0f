/**
 * Being there: the host's record, its presence and the acknowledgement of routes. Presence and acknowledgement live by one
 * lease, which is renewed for as long as the agent lives and granted anew within a second after it was lost.
 *
 * An agent that ends does not give its lease up. Whoever restarts or upgrades an agent takes less time than the lease lasts;
 * its containers and its proxy go on meanwhile, and the next run writes itself over the key before it is gone, so the leader
 * never sees the host leave. An agent that ends for good is missed one lease later, as it is when it dies.
 */
import type { Clock } from '@boxcar/core/model/clock'
import type { HostRecord } from '@boxcar/core/model/host'
import type { HostId } from '@boxcar/core/model/ids'
import type { RouteAck } from '@boxcar/core/model/route'
import { Bell } from '@boxcar/store/bell'
import { absent, put, remove, unchanged } from '@boxcar/store/collection'
import { hosts, presences, routeAcks } from '@boxcar/store/keys'
import { type KeptLease, keepLease } from '@boxcar/store/lease'
import type { Log } from '@boxcar/store/log'
import { type LeaseId, type Store, StoreUnavailable, type Write } from '@boxcar/store/store'
import { presenceTtlMs, StartError } from './config.ts'

export interface RegistrationOptions {
  readonly store: Store
  readonly clock: Clock
  readonly log: Log
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
  #ack: RouteAck | undefined
  #writtenAck: { readonly lease: LeaseId; readonly json: string } | undefined

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

  setRecord(record: HostRecord): void {
    this.#record = record
    this.#bell.ring()
  }

  /** Nothing withdraws it. */
  setAck(ack: RouteAck | undefined): void {
    this.#ack = ack
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
        const seen = await store.get(presences, host)
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
    const seen = await store.get(presences, host)
    if (seen !== undefined && seen.value.token !== token) {
      log.error({ host }, 'another machine is registered under this host id; trying again')
      await clock.sleep(2000, signal)
      throw new Error('another machine is registered under this host id')
    }
    // It may have been removed while this host was away: it is looked at afresh.
    this.#writtenRecord = undefined
    const record = await this.#recordWrite()
    const outcome = await store.commit({
      guards: [seen === undefined ? absent(presences, host) : unchanged(presences, host, seen.modified)],
      writes: [put(presences, host, { since: clock.wall(), token }, lease), ...record.writes],
    })
    if (outcome.kind !== 'committed') throw new Error(`presence was not written: ${outcome.kind}`)
    record.done()
    this.#presentBy = lease
    this.#bell.ring()
  }

  async #keepWritten(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options
    while (!signal.aborted) {
      const rings = this.#bell.rings
      if (await this.#write()) await this.#bell.within(clock, idleMs, signal, rings)
      else await clock.sleep(retryMs, signal)
    }
  }

  /** Whether the store says what it should; what was perhaps written is written again. */
  async #write(): Promise<boolean> {
    const { store, host } = this.#options
    const lease = this.#presentBy
    if (lease === undefined) return true
    try {
      const record = await this.#recordWrite()
      const ack = this.#ackWrite(lease)
      const writes = [...record.writes, ...ack.writes]
      if (writes.length === 0) return true
      const outcome = await store.commit({ guards: [], writes })
      if (outcome.kind === 'committed') {
        record.done()
        ack.done()
        return true
      }
      this.#options.log.warn({ host, outcome: outcome.kind }, 'the host record was not written; trying again')
      return false
    } catch (error) {
      if (error instanceof StoreUnavailable) return false
      throw error
    }
  }

  async #recordWrite(): Promise<Pending> {
    const { store, host } = this.#options
    const record = this.#record
    if (record === undefined) return nothing
    const json = JSON.stringify(record)
    if (json === this.#writtenRecord) return nothing
    // What a newer agent wrote besides is kept.
    const stored = (await store.get(hosts, host))?.value
    const value = { ...stored, ...record }
    const done = () => {
      this.#writtenRecord = json
    }
    if (stored !== undefined && JSON.stringify(stored) === JSON.stringify(value)) {
      done()
      return nothing
    }
    return { writes: [put(hosts, host, value)], done }
  }

  #ackWrite(lease: LeaseId): Pending {
    const { host } = this.#options
    const ack = this.#ack
    if (ack === undefined) {
      if (this.#writtenAck === undefined) return nothing
      return {
        writes: [remove(routeAcks, host)],
        done: () => {
          this.#writtenAck = undefined
        },
      }
    }
    const json = JSON.stringify(ack)
    if (this.#writtenAck?.lease === lease && this.#writtenAck.json === json) return nothing
    return {
      writes: [put(routeAcks, host, ack, lease)],
      done: () => {
        this.#writtenAck = { lease, json }
      },
    }
  }
}

interface Pending {
  readonly writes: readonly Write[]
  readonly done: () => void
}

const nothing: Pending = { writes: [], done: () => {} }
const idleMs = 60_000
const retryMs = 250
