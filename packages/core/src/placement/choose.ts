/**
 * Which hosts take a group of identical replicas. The constraints say how many fit where; what is left is a walk over
 * the hosts in the order of their ids that keeps the few best, and a small heap in which a host's place changes as it
 * gets replicas. Nothing outlives the call, so a change elsewhere costs nothing and equal worlds give equal answers.
 */
import type { HostId } from '../model/ids.ts'
import type { HostColumns } from './columns.ts'
import { constraints } from './constraints.ts'
import { Shortlist } from './shortlist.ts'
import type { LabelRule } from './where.ts'

/** What one of identical replicas needs, and what is known of its siblings. */
export interface Ask {
  readonly cpuMilli: number
  readonly memoryMiB: number
  /** Names of the ports that may be any host port. */
  readonly dynamicPorts: readonly string[]
  readonly fixedPorts: readonly { readonly name: string; readonly port: number }[]
  readonly where: readonly LabelRule[]
  readonly maxPerHost: number | undefined
  readonly strategy: 'spread' | 'pack'
  /** Instances of the same generation already there. */
  readonly have: ReadonlyMap<HostId, number>
  /** Hosts where it kept failing, for how many milliseconds more. They are used only where no other host fits. */
  readonly avoid: ReadonlyMap<HostId, number>
}

/**
 * Places `count` identical replicas as a group: hosts in order, one entry a replica, possibly fewer than asked. Does
 * not change the columns; whether ports have rested is judged at the instant the columns were last told.
 */
export function choose(columns: HostColumns, ask: Ask, count: number): readonly HostId[] {
  if (count < 1) return []
  const room = roomFor(columns, ask, count)
  shortlist.fill(columns, ask, room, count)
  const chosen: HostId[] = []
  while (chosen.length < count) {
    const host = columns.hostAt(shortlist.take(columns, ask, room))
    if (host === undefined) break
    chosen.push(host.id)
  }
  return chosen
}

/** By slot, how many of the replicas each host can take, at most `count`. */
function roomFor(columns: HostColumns, ask: Ask, count: number): Int32Array {
  if (scratch.length < columns.slots) scratch = new Int32Array(2 * columns.slots)
  const room = scratch.subarray(0, columns.slots).fill(count)
  for (const constraint of constraints) constraint.limit(room, columns, ask)
  return room
}

/** Kept between calls only to spare the allocation. */
let scratch = new Int32Array(0)
const shortlist = new Shortlist()
