/** Services whose plan was not committed, and when it is made again: at once the first times, then later each time. */
import { after, type Clock, type Instant } from '@boxcar/core/model/clock'
import type { ServiceName } from '@boxcar/core/model/ids'

/** Tried again at once so many times: what was planned from was simply older than what stood. */
const timesAtOnce = 2
const stepMs = 15
const mostMs = 5000

export class Retries {
  readonly #clock: Clock
  readonly #again = new Map<ServiceName, { readonly at: Instant; readonly times: number }>()

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

  /** A plan was refused; it is made again after `leastMs` or more. */
  failed(service: ServiceName, leastMs: number): void {
    const times = (this.#again.get(service)?.times ?? 0) + 1
    const delayMs = Math.max(leastMs, times <= timesAtOnce ? 0 : Math.min(stepMs * 2 ** times, mostMs))
    this.#again.set(service, { at: after(this.#clock.now(), delayMs), times })
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

  /** Marks what is due as dirty and holds back what is not; gives what it marked. Each stays counted until it is done. */
  take(dirty: Set<ServiceName>): readonly ServiceName[] {
    const now = this.#clock.now()
    const due: ServiceName[] = []
    for (const [service, { at, times }] of this.#again) {
      if (at > now) dirty.delete(service)
      else {
        due.push(service)
        dirty.add(service)
        this.#again.set(service, { at: after(now, mostMs), times })
      }
    }
    return due
  }
}
