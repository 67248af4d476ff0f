/**
 * How many operations an engine is given at once, learnt from how long it takes for each (additive increase, multiplicative
 * decrease). An operation that takes about as long as the quickest one says that there is room for more; one that takes
 * several times as long says that the operations wait for each other inside the engine, where nothing can be dropped and
 * nobody takes turns.
 */
import { elapsed, type Instant } from '../model/clock.ts'

export interface ConcurrencyLimit {
  /** Its whole part is the limit. */
  readonly value: number
  /** How long an operation takes while it waits for no other. */
  readonly bestMs: number | undefined
  readonly decreasedAt: Instant | undefined
}

export interface LimitBounds {
  readonly least: number
  readonly most: number
  /** Before anything was measured. */
  readonly first: number
}

/** One operation, as it went. */
export interface Sample {
  readonly began: Instant
  readonly ended: Instant
  /** The most operations of its kind that were under way at a moment of it, itself included. */
  readonly atOnce: number
  /** failed: the engine did not answer, or not in time. */
  readonly outcome: 'done' | 'failed'
}

/** More than so many times the best is slow. Two to three starts at once are within it, and give an engine most of its rate. */
const slowRatio = 1.6
const decreaseWhenSlow = 0.75
const decreaseWhenFailed = 0.5
const forgetting = 0.2
/** One that was not alone may have waited for the other: it counts for less. */
const forgettingBeside = 0.05

export const firstLimit = ({ first }: LimitBounds): ConcurrencyLimit => ({
  value: first,
  bestMs: undefined,
  decreasedAt: undefined,
})

export const wholeLimit = ({ value }: ConcurrencyLimit): number => Math.floor(value)

/** The limit after one more operation. */
export function adapt(limit: ConcurrencyLimit, sample: Sample, bounds: LimitBounds): ConcurrencyLimit {
  const tookMs = elapsed(sample.began, sample.ended)
  if (sample.outcome === 'failed') return decrease(limit, sample, decreaseWhenFailed, bounds)
  const learnt = { ...limit, bestMs: bestAfter(limit, tookMs, sample.atOnce, bounds) }
  if (tookMs > learnt.bestMs * slowRatio) return decrease(learnt, sample, decreaseWhenSlow, bounds)
  // Only a limit that is reached shows what the engine does at it.
  if (sample.atOnce < wholeLimit(limit)) return learnt
  return { ...learnt, value: Math.min(bounds.most, limit.value + 1 / limit.value) }
}

/**
 * The quickest so far; a slower one moves it a part of the way where there cannot be fewer at once, since the machine may be slower
 * now for good, or only for a moment. That is where it was alone, or the limit is at its least: a turn that is kept for another
 * service lets one more in than the limit says (operation-queue.ts).
 */
function bestAfter(limit: ConcurrencyLimit, tookMs: number, atOnce: number, { least }: LimitBounds): number {
  const { bestMs } = limit
  if (bestMs === undefined || tookMs < bestMs) return tookMs
  if (atOnce === 1) return bestMs + (tookMs - bestMs) * forgetting
  const cannotBeFewer = wholeLimit(limit) === least && atOnce <= least + 1
  return cannotBeFewer ? bestMs + (tookMs - bestMs) * forgettingBeside : bestMs
}

/** Once for all operations that were under way together: those that began before tell the same again. */
function decrease(
  limit: ConcurrencyLimit,
  { began, ended }: Sample,
  factor: number,
  { least }: LimitBounds,
): ConcurrencyLimit {
  if (limit.decreasedAt !== undefined && began < limit.decreasedAt) return limit
  return { ...limit, value: Math.max(least, limit.value * factor), decreasedAt: ended }
}
