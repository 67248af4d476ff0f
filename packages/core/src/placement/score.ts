import type { Ask } from './choose.ts'
import type { Numbers } from './columns.ts'

/**
 * How good a host is for one more replica once it has `more` of them with it: the less the better, as parts of the
 * host's size. What counts beside it, siblings and hosts to avoid, is the shortlist's.
 *
 * Spread looks at the fuller dimension, since that one slows a host down first. Pack looks at both, since what is left
 * over in either is lost; on a published trace that needs a little less than the fuller dimension alone.
 */
export function score(numbers: Numbers, slot: number, ask: Ask, more: number): number {
  const cpu = part((numbers.cpuUsed[slot] ?? 0) + more * ask.cpuMilli, numbers.cpuTotal[slot] ?? 0)
  const memory = part((numbers.memoryUsed[slot] ?? 0) + more * ask.memoryMiB, numbers.memoryTotal[slot] ?? 0)
  return ask.strategy === 'spread' ? Math.max(cpu, memory) : -(cpu + memory)
}

/** A dimension that a host does not have, and nobody uses, weighs nothing. */
const part = (used: number, total: number): number => (total > 0 ? used / total : 0)
