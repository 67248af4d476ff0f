/**
 * What is not as it should be on this host at present, for the host's record: an event tells that something happened, a condition stands
 * for as long as it lasts (docs/adr/0025-conditions-of-a-host-and-marked-log-lines.md).
 */
import type { Clock } from '@boxcar/core/model/clock'
import type { HostCondition } from '@boxcar/core/model/host'
import { cutText } from '@boxcar/core/model/text'

export type ConditionKind =
  /** The store is behind what was seen of it: what runs goes on. */
  | 'orders-refused'
  /** Placements that this agent cannot read. */
  | 'orders-unreadable'
  /** Files of the state folder say something older than they should. */
  | 'state-not-saved'
  /** The engine tells of no change; listings alone do. */
  | 'engine-events-missing'
  /** Containers that nobody asked for stay, since the engine does not remove them. */
  | 'containers-not-removed'
  /** A task of the agent broke less than a minute ago. */
  | 'task-failing'

export class Conditions {
  readonly #clock: Clock
  readonly #onChange: () => void
  readonly #standing = new Map<ConditionKind, HostCondition>()

  constructor(clock: Clock, onChange: () => void) {
    this.#clock = clock
    this.#onChange = onChange
  }

  /** Begins, goes on or, without a reason, ends. */
  set(kind: ConditionKind, reason: string | undefined): void {
    const before = this.#standing.get(kind)
    const cut = reason === undefined ? undefined : cutText(reason, mostReasonBytes)
    if (before?.reason === cut) return
    if (cut === undefined) this.#standing.delete(kind)
    else this.#standing.set(kind, { kind, reason: cut, since: before?.since ?? this.#clock.wall() })
    this.#onChange()
  }

  /** In the order of their names, so that the same ones make the same record. */
  list(): readonly HostCondition[] {
    return [...this.#standing.values()].sort((a, b) => (a.kind < b.kind ? -1 : 1))
  }
}

const mostReasonBytes = 1024

/** The first few of what a condition is about, and how many more there are. */
export function firstFew(all: readonly string[]): string {
  const more = all.length - mostNamed
  return more > 0 ? `${all.slice(0, mostNamed).join(', ')} and ${more} more` : all.join(', ')
}

const mostNamed = 3
