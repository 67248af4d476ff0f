import type { Ask } from './choose.ts'
import type { Numbers } from './columns.ts'

/**
 * The load of a host, relative to its size, once it has `more` replicas: the fuller of its dimensions, since that one
 * decides what still fits. 1 is full.
 */
export function loadWith(numbers: Numbers, slot: number, ask: Ask, more: number): number {
  const cpu = part((numbers.cpuUsed[slot] ?? 0) + more * ask.cpuMilli, numbers.cpuTotal[slot] ?? 0)
  const memory = part((numbers.memoryUsed[slot] ?? 0) + more * ask.memoryMiB, numbers.memoryTotal[slot] ?? 0)
  return Math.max(cpu, memory)
}

/** A dimension that a host does not have, and nobody uses, weighs nothing. */
const part = (used: number, total: number): number => (total > 0 ? used / total : 0)
