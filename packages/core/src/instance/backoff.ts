/** How long a failed instance waits before it is started again in place. */
import { after, type Instant } from '../model/clock.ts'

/** All in milliseconds; the spec's `restart.backoff`. */
export interface Backoff {
  readonly first: number
  readonly then: number
  readonly cap: number
  readonly resetAfter: number
}

/** As in the spec, for an agent that could not read it yet. */
export const defaultBackoff: Backoff = {
  first: 0,
  // biome-ignore lint/suspicious/noThenProperty: the spec's own word; its value is never a function
  then: 1000,
  cap: 60_000,
  resetAfter: 300_000,
}

/**
 * Three times as long each time: with the defaults at 0, 0, 1, 4, 13 and 40 s, so that no sixty seconds see more than six
 * starts of one slot. Doubling would make it seven.
 */
const growth = 3

/** Before the start that follows the `streak`th failure in a row, from 1. */
export function delayBefore(streak: number, backoff: Backoff): number {
  if (streak <= 1) return backoff.first
  return Math.min(backoff.cap, backoff.then * growth ** Math.min(streak - 2, 32))
}

export interface Strikes {
  /** Failures in a row. */
  readonly streak: number
  /** No start before this. */
  readonly notBefore: Instant
}

/** After a run of `ranMs` ended, or a start failed (`ranMs` 0). A long run forgives what was before it. */
export function strike(streak: number, ranMs: number, backoff: Backoff, now: Instant): Strikes {
  const next = ranMs >= backoff.resetAfter ? 1 : streak + 1
  return { streak: next, notBefore: after(now, delayBefore(next, backoff)) }
}
