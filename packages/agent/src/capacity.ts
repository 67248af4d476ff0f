/** What a host offers to placing: what its engine sees, less what the operator keeps for the machine itself. */
import type { EngineInfo } from './engine/engine.ts'

export interface Reserve {
  readonly cpuMilli: number
  readonly memoryMiB: number
}

export interface Capacity {
  /** Thousandths of a core. */
  readonly cpuMilli: number
  readonly memoryMiB: number
  readonly engineVersion: string
}

/** A reserve above what is there leaves nothing, so such a host takes no instances and its obstacles say so. */
export function capacityOf(info: EngineInfo, reserve: Reserve): Capacity {
  return {
    cpuMilli: Math.max(0, info.cpuMilli - reserve.cpuMilli),
    memoryMiB: Math.max(0, info.memoryMiB - reserve.memoryMiB),
    engineVersion: info.version,
  }
}
