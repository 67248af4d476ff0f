import { elapsed, type Instant } from '@boxcar/core/model/clock'

/**
 * A watch ends with what stays in the way unchanged for so long. Until then it may go away by itself: an instance that no host can
 * take may wait for another to stop, a proxy may be about to take a route up, a port about to be given back.
 */
export const obstaclePatienceMs = 10_000

/** How long the same thing has been in the way of each of several services. */
export class Waiting {
  readonly #since = new Map<string, { readonly print: string; readonly at: Instant }>()

  /** How long the same thing has been in the way, milliseconds. */
  forMs(service: string, print: string, now: Instant): number {
    const known = this.#since.get(service)
    if (known?.print === print) return elapsed(known.at, now)
    this.#since.set(service, { print, at: now })
    return 0
  }

  over(service: string): void {
    this.#since.delete(service)
  }
}
