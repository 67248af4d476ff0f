/**
 * Leases are renewed by a loop of ours, and what we believe of them is on our own clock: a lease is good until the moment the
 * last good renewal was *sent*, plus its TTL, less a margin. The store cannot have given it away before that, whatever became
 * of the answer. A renewal that fails is tried again at once. Nothing renews for a main loop that has stopped: with
 * `progressWithinMs` the loop must say `progress()` at least that often.
 */
import { after, type Clock, type Instant } from '@boxcar/core/model/clock'
import { Bell } from './bell.ts'
import { type Log, silent } from './log.ts'
import type { LeaseId, Store, StoreLease } from './store.ts'

export interface KeepLeaseOptions {
  readonly store: Store
  readonly clock: Clock
  /** Whole seconds, at least 2000. */
  readonly ttlMs: number
  readonly signal: AbortSignal
  /**
   * A new lease stands: put your keys under it. A throw is taken for "not done": it is called again shortly, as long as the
   * lease stands. Must end when its signal is aborted.
   */
  readonly onGranted: (lease: LeaseId, signal: AbortSignal) => Promise<void>
  /** The store no longer knows the lease; its keys are gone. Another one is granted at once. */
  readonly onLost?: (reason: string) => void
  /** Without a `progress()` for this long, nothing is renewed. Left out: no such condition. */
  readonly progressWithinMs?: number
  readonly log?: Log
}

export interface KeptLease {
  /** The lease in force, or nothing while there is none. */
  id(): LeaseId | undefined
  /** Until when the store cannot have given it away; in the past while there is none. */
  goodUntil(): Instant
  isGood(): boolean
  /** The main loop got somewhere. */
  progress(): void
  /** Why it is not renewed just now, in a sentence. */
  trouble(): string | undefined
  /** Gives the lease and its keys up now; the keeping ends. Without it they live on until the TTL has passed. */
  revoke(): Promise<void>
  /** Resolves when the keeping has ended; never rejects. */
  readonly ended: Promise<void>
}

/** Keeps a lease for as long as the signal stands, and grants another whenever it is lost. */
export function keepLease(options: KeepLeaseOptions): KeptLease {
  const { store, clock, ttlMs, onLost, log = silent } = options
  const stop = new AbortController()
  const signal = AbortSignal.any([options.signal, stop.signal])
  const gate = new ProgressGate(clock, options.progressWithinMs)
  let renewal: Renewal | undefined
  let trouble: string | undefined = 'not granted yet'

  const ended = keep()

  async function keep(): Promise<void> {
    while (!signal.aborted) {
      if (await gate.isClosed(signal)) continue
      const sent = clock.now()
      let lease: StoreLease
      try {
        lease = await store.grant(ttlMs)
      } catch (error) {
        trouble = reasonOf(error)
        await clock.sleep(retryMs, signal)
        continue
      }
      const current = new Renewal({ lease, clock, sent, gate, log })
      renewal = current
      trouble = undefined
      const term = new AbortController()
      const termSignal = AbortSignal.any([signal, term.signal])
      const putting = putKeys(lease.id, termSignal)
      const end = await current.run(signal)
      term.abort()
      await putting
      if (end === 'gone') {
        renewal = undefined
        trouble = 'the store no longer knows the lease'
        // Not shown: what lives by it is missing on every screen until it is put again.
        log.warn({ lease: lease.id }, 'a lease was lost; another one is granted')
        onLost?.(trouble)
      }
    }
  }

  async function putKeys(lease: LeaseId, termSignal: AbortSignal): Promise<void> {
    while (!termSignal.aborted) {
      try {
        return await options.onGranted(lease, termSignal)
      } catch (error) {
        // Not shown: they are missing on every screen until they are put.
        log.warn({ lease, error: reasonOf(error) }, 'keys were not put under a new lease; trying again')
        await clock.sleep(retryMs, termSignal)
      }
    }
  }

  const goodUntil = (): Instant => renewal?.goodUntil() ?? (Number.NEGATIVE_INFINITY as Instant)
  return {
    id: () => renewal?.id,
    goodUntil,
    isGood: () => clock.now() < goodUntil(),
    progress: () => gate.progress(),
    trouble: () => trouble ?? renewal?.trouble(),
    revoke: async () => {
      stop.abort()
      const last = renewal
      renewal = undefined
      await last?.revoke()
      await ended
    },
    ended,
  }
}

/** A failed call is repeated at once, but not faster than this. */
const retryMs = 100

/** Closed while the main loop has made no progress for too long. */
export class ProgressGate {
  readonly #clock: Clock
  readonly #withinMs: number | undefined
  readonly #bell = new Bell()
  #last: Instant

  constructor(clock: Clock, withinMs: number | undefined) {
    this.#clock = clock
    this.#withinMs = withinMs
    this.#last = clock.now()
  }

  progress(): void {
    this.#last = this.#clock.now()
    this.#bell.ring()
  }

  closed(): boolean {
    return this.#withinMs !== undefined && this.#clock.now() - this.#last > this.#withinMs
  }

  /** Where it is closed: waits for progress, or the signal, and says true. */
  async isClosed(signal: AbortSignal): Promise<boolean> {
    if (!this.closed()) return false
    await this.#bell.next(signal)
    return true
  }
}

export interface RenewalOptions {
  readonly lease: StoreLease
  readonly clock: Clock
  /** When the grant was sent. */
  readonly sent: Instant
  readonly gate: ProgressGate
  readonly log: Log
  /**
   * Asked before belief is taken up again after a time beyond the deadline. 'unknown' leaves things as they are until the
   * next renewal; 'gone' ends it.
   */
  readonly confirm?: () => Promise<'ours' | 'gone' | 'unknown'>
}

/** The renewing of one lease, until it is gone. */
export class Renewal {
  readonly id: LeaseId
  readonly #lease: StoreLease
  readonly #clock: Clock
  readonly #gate: ProgressGate
  readonly #log: Log
  readonly #confirm: RenewalOptions['confirm']
  #sent: Instant
  #goodUntil: Instant
  #trouble: string | undefined

  constructor({ lease, clock, sent, gate, log, confirm }: RenewalOptions) {
    this.id = lease.id
    this.#lease = lease
    this.#clock = clock
    this.#gate = gate
    this.#log = log
    this.#confirm = confirm
    this.#sent = sent
    this.#goodUntil = this.#deadline(sent)
  }

  goodUntil(): Instant {
    return this.#goodUntil
  }

  trouble(): string | undefined {
    return this.#gate.closed() ? 'the main loop makes no progress' : this.#trouble
  }

  revoke(): Promise<void> {
    return this.#lease.revoke()
  }

  /** Renews each fifth of the TTL until the lease is gone or the signal is aborted. */
  async run(signal: AbortSignal): Promise<'gone' | 'aborted'> {
    const ttlMs = this.#lease.ttlMs
    let next = after(this.#sent, ttlMs / 5)
    while (!signal.aborted) {
      await this.#clock.sleep(Math.max(0, next - this.#clock.now()), signal)
      if (signal.aborted) break
      if (await this.#gate.isClosed(signal)) continue
      const sent = this.#clock.now()
      const outcome = await this.#renew(ttlMs / 6)
      if (outcome === 'gone') return 'gone'
      if (outcome === 'unknown') {
        next = after(sent, retryMs)
        continue
      }
      // After a time in which others may have believed otherwise, the lease alone is not enough.
      if (sent >= this.#goodUntil && this.#confirm !== undefined) {
        const confirmed = await this.#confirm()
        if (confirmed === 'gone') return 'gone'
        if (confirmed === 'unknown') {
          next = after(sent, retryMs)
          continue
        }
      }
      this.#sent = sent
      this.#goodUntil = this.#deadline(sent)
      next = after(sent, ttlMs / 5)
    }
    return 'aborted'
  }

  async #renew(timeoutMs: number): Promise<'renewed' | 'gone' | 'unknown'> {
    try {
      const outcome = await this.#lease.renew(timeoutMs)
      this.#trouble = undefined
      return outcome
    } catch (error) {
      if (this.#trouble === undefined)
        // Not shown: nothing is amiss until it is lost, and then its keys are missing on every screen.
        this.#log.warn({ lease: this.id, error: reasonOf(error) }, 'a lease was not renewed; trying again')
      this.#trouble = reasonOf(error)
      return 'unknown'
    }
  }

  /** The margin covers clocks that run apart by up to five percent; etcd itself never deletes before sent + TTL. */
  #deadline(sent: Instant): Instant {
    return after(sent, this.#lease.ttlMs * 0.95)
  }
}

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
