/** Services whose plan was not committed, and when it is made again: at once the first times, then later each time. */
import { after, type Clock, type Instant } from '@boxcar/core/model/clock'
import type { ServiceName } from '@boxcar/core/model/ids'

/** Tried again at once so many times: what was planned from was simply older than what stood. */
const timesAtOnce = 2
const stepMs = 15
const mostMs = 5000

interface Retry {
  readonly at: Instant
  readonly times: number
  /** Whatever shares its transaction may fail with it. */
  readonly isSuspect: boolean
}

export class Retries {
  readonly #clock: Clock
  readonly #again = new Map<ServiceName, Retry>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** The next try is due then; Infinity where there is none. */
  get nextAt(): number {
    return Math.min(Number.POSITIVE_INFINITY, ...[...this.#again.values()].map(it => it.at))
  }

  /** How often in a row it has failed by now. */
  timesFailed(service: ServiceName): number {
    return this.#again.get(service)?.times ?? 0
  }

  /** Whether its plan is to be committed alone. */
  isSuspect(service: ServiceName): boolean {
    return this.#again.get(service)?.isSuspect === true
  }

  /** A plan was refused; it is made again after `leastMs` or more. Once suspect it stays so until it is done. */
  failed(service: ServiceName, leastMs: number, isSuspect = false): void {
    const known = this.#again.get(service)
    const times = (known?.times ?? 0) + 1
    const delayMs = Math.max(leastMs, times <= timesAtOnce ? 0 : Math.min(stepMs * 2 ** times, mostMs))
    this.#again.set(service, {
      at: after(this.#clock.now(), delayMs),
      times,
      isSuspect: isSuspect || known?.isSuspect === true,
    })
  }

  /** It was not even tried: it is due at once, and this does not count. */
  postponed(service: ServiceName): void {
    const known = this.#again.get(service)
    if (known !== undefined) this.#again.set(service, { ...known, at: this.#clock.now() })
  }

  /** It was committed, or nothing is left to do. */
  done(service: ServiceName): void {
    this.#again.delete(service)
  }

  /** What is to be planned now, and what is not to be planned yet, whatever touches it. Each stays counted until it is done. */
  take(): { readonly due: ReadonlySet<ServiceName>; readonly heldBack: ReadonlySet<ServiceName> } {
    const now = this.#clock.now()
    const due = new Set<ServiceName>()
    const heldBack = new Set<ServiceName>()
    for (const [service, retry] of this.#again) {
      if (retry.at > now) heldBack.add(service)
      else {
        due.add(service)
        this.#again.set(service, { ...retry, at: after(now, mostMs) })
      }
    }
    return { due, heldBack }
  }
}
