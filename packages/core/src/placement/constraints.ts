/**
 * What keeps a host from taking an instance, one constraint each. A constraint says two things that must agree: for
 * how many replicas a host has room as far as it goes, for all hosts in one walk over the columns, and, for people,
 * what stands in the way on one host. Placing uses the first, explaining the second.
 */
import type { Ask } from './choose.ts'
import type { HostColumns } from './columns.ts'
import type { Obstacle } from './obstacle.ts'
import { labelObstacles } from './where.ts'

export interface Constraint {
  /** Lowers `room`, by slot, to what this constraint leaves; below 1 there is an obstacle. */
  readonly limit: (room: Int32Array, columns: HostColumns, ask: Ask) => void
  /** What stands in the way of one more replica on the known host in a slot. */
  readonly obstacles: (columns: HostColumns, slot: number, ask: Ask) => readonly Obstacle[]
}

export const acceptsWork: Constraint = {
  limit(room, { numbers: { takesWork } }) {
    for (let slot = 0; slot < room.length; slot++) if (takesWork[slot] !== 1) room[slot] = 0
  },
  obstacles(columns, slot) {
    const accepts = columns.hostAt(slot)?.accepts
    return accepts === undefined ? none : [accepts]
  },
}

export const matchesLabels: Constraint = {
  limit(room, { numbers: { labelClass }, classes }, { where }) {
    if (where.length === 0) return
    const meeting = classes.meeting(where)
    for (let slot = 0; slot < room.length; slot++) if (meeting[labelClass[slot] ?? 0] !== 1) room[slot] = 0
  },
  obstacles(columns, slot, { where }) {
    return labelObstacles(columns.hostAt(slot)?.labels ?? {}, where)
  },
}

export const belowMaxPerHost: Constraint = {
  limit(room, columns, { maxPerHost, have }) {
    if (maxPerHost === undefined) return
    for (let slot = 0; slot < room.length; slot++) lower(room, slot, maxPerHost)
    for (const [id, count] of have) {
      const slot = columns.slotOf(id)
      if (slot !== undefined) lower(room, slot, maxPerHost - count)
    }
  },
  obstacles(columns, slot, { maxPerHost, have }) {
    const id = columns.hostAt(slot)?.id
    const count = id === undefined ? 0 : (have.get(id) ?? 0)
    return maxPerHost === undefined || count < maxPerHost
      ? none
      : [{ kind: 'max-per-host', max: maxPerHost, have: count }]
  },
}

export const hasCpus: Constraint = {
  limit(room, { numbers: { cpuTotal, cpuUsed } }, { cpuMilli }) {
    limitByAmount(room, cpuTotal, cpuUsed, cpuMilli)
  },
  obstacles({ numbers: { cpuTotal, cpuUsed } }, slot, { cpuMilli: needMilli }) {
    const totalMilli = cpuTotal[slot] ?? 0
    const freeMilli = totalMilli - (cpuUsed[slot] ?? 0)
    return needMilli <= freeMilli ? none : [{ kind: 'cpus', needMilli, freeMilli, totalMilli }]
  },
}

export const hasMemory: Constraint = {
  limit(room, { numbers: { memoryTotal, memoryUsed } }, { memoryMiB }) {
    limitByAmount(room, memoryTotal, memoryUsed, memoryMiB)
  },
  obstacles({ numbers: { memoryTotal, memoryUsed } }, slot, { memoryMiB: needMiB }) {
    const totalMiB = memoryTotal[slot] ?? 0
    const freeMiB = totalMiB - (memoryUsed[slot] ?? 0)
    return needMiB <= freeMiB ? none : [{ kind: 'memory', needMiB, freeMiB, totalMiB }]
  },
}

export const hasPorts: Constraint = {
  limit(room, columns, ask) {
    const wanted = ask.dynamicPorts.length
    if (wanted === 0 && ask.fixedPorts.length === 0) return
    columns.wakePorts()
    if (ask.fixedPorts.length > 0) {
      // Whether a fixed port is held is known per host alone.
      for (let slot = 0; slot < room.length; slot++)
        if ((room[slot] ?? 0) > 0) lower(room, slot, columns.portsAt(slot).room(ask))
      return
    }
    const { portsFree } = columns.numbers
    for (let slot = 0; slot < room.length; slot++) lower(room, slot, (portsFree[slot] ?? 0) / wanted)
  },
  obstacles(columns, slot, ask) {
    return columns.portsAt(slot).obstacles(ask)
  },
}

/** In the order in which people read them. */
export const constraints: readonly Constraint[] = [
  acceptsWork,
  matchesLabels,
  belowMaxPerHost,
  hasCpus,
  hasMemory,
  hasPorts,
]

const none: readonly Obstacle[] = []

/**
 * Divides only where what is there does not do for all replicas still counted on; products of whole numbers are exact.
 * A need of 0 fits everywhere but on an overfull host, where a negative number over 0 lowers to nothing.
 */
function limitByAmount(room: Int32Array, total: Float64Array, used: Float64Array, need: number): void {
  for (let slot = 0; slot < room.length; slot++) {
    const free = (total[slot] ?? 0) - (used[slot] ?? 0)
    if (free < need * (room[slot] ?? 0)) room[slot] = Math.max(0, free / need)
  }
}

/** Storing into whole numbers rounds towards zero, so half a place is none. */
function lower(room: Int32Array, slot: number, most: number): void {
  if (most < (room[slot] ?? 0)) room[slot] = most
}
