/**
 * Whether the process hears us. One that was silent twice in a row and stood still in between hangs; one that runs, or waits
 * for its turn to, may be starved by a busy machine and gets a third ask. Where we ourselves came late the machine stood
 * still, and the silence says nothing about the process.
 */

/** How the kernel sees the one that was silent, right after it was. */
export interface Vitals {
  readonly pid: number
  /** It, or the master that passes questions on, runs or waits for its turn. */
  readonly runnable: boolean
  /** Clock ticks of processor time that it has used in its life. */
  readonly ticks: number
}

export interface Silence {
  readonly why: string
  /** Nothing when it is gone. */
  readonly vitals: Vitals | undefined
}

/** One question and what came of it. */
export interface Ask {
  readonly limitMs: number
  readonly tookMs: number
  readonly silence: Silence | undefined
}

export type Pulse =
  | { readonly kind: 'beats' }
  | { readonly kind: 'ask'; readonly limitMs: number }
  | { readonly kind: 'hangs'; readonly why: string }

/** Each ask after a silence is given more time. */
const limitsMs = [700, 1_500, 2_000] as const
const lateMs = 250
/** Who always comes late takes the silence seriously at last. */
const mostAsks = 8

/** What to think after these asks, in order. */
export function judge(asks: readonly Ask[]): Pulse {
  const last = asks.at(-1)
  if (last === undefined) return { kind: 'ask', limitMs: limitsMs[0] }
  if (last.silence === undefined) return { kind: 'beats' }
  const counted = asks.slice(asks.findLastIndex(isLate) + 1)
  const limitMs = limitsMs[counted.length]
  const hangs = limitMs === undefined || asks.length >= mostAsks || standsStill(counted.at(-2), last)
  return hangs ? { kind: 'hangs', why: last.silence.why } : { kind: 'ask', limitMs }
}

const isLate = ({ limitMs, tookMs }: Ask) => tookMs > limitMs + lateMs

function standsStill(before: Ask | undefined, now: Ask): boolean {
  const [was, is] = [before?.silence?.vitals, now.silence?.vitals]
  if (was === undefined || is === undefined || was.pid !== is.pid) return false
  return !was.runnable && !is.runnable && was.ticks === is.ticks
}
