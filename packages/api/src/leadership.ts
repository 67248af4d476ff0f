/**
 * Who leads, as one server can know it. The leader record lives by a lease of a few seconds: while the store is heard, a record
 * with a lease tells of a leader that renewed it lately. A record without one is void, and what was read before the store
 * fell silent tells of nobody.
 */
import { type Clock, elapsed, type WallTime } from '@boxcar/core/model/clock'
import { keyOf, living } from '@boxcar/store/collection'
import { leaders } from '@boxcar/store/keys'
import type { Mirror } from '@boxcar/store/mirror'
import { staleMs } from './stale.ts'

export type Leadership =
  | { readonly kind: 'led'; readonly address: string; readonly term: string }
  /** Since when, as this server has seen it, by its wall clock; the reason is one sentence. */
  | { readonly kind: 'none'; readonly since: WallTime; readonly reason: string }

/** Knows since when there is no leader. */
export class LeaderWatch {
  readonly #mirror: Mirror
  readonly #clock: Clock
  #leaderlessSince: WallTime | undefined

  constructor({ mirror, clock }: { readonly mirror: Mirror; readonly clock: Clock }) {
    this.#mirror = mirror
    this.#clock = clock
    this.#leaderlessSince = clock.wall()
    this.#look()
    mirror.onChange(() => this.#look())
  }

  now(): Leadership {
    const silentMs = elapsed(this.#mirror.lastHeard(), this.#clock.now())
    const wall = this.#clock.wall()
    const entry = this.#mirror.get(leaders, 'self')
    const living = this.#look()
    if (silentMs > staleMs) {
      const last = living === undefined ? '' : `; the scheduler at ${living.value.address} led then`
      const reason = `the store was not heard for ${Math.round(silentMs / 1000)} s${last}`
      return { kind: 'none', since: (wall - silentMs) as WallTime, reason }
    }
    if (living !== undefined) return { kind: 'led', address: living.value.address, term: living.created }
    return { kind: 'none', since: this.#leaderlessSince ?? wall, reason: this.#whyNone(entry !== undefined) }
  }

  #look() {
    const entry = living(this.#mirror.get(leaders, 'self'))
    if (entry !== undefined) this.#leaderlessSince = undefined
    else this.#leaderlessSince ??= this.#clock.wall()
    return entry
  }

  #whyNone(stands: boolean): string {
    if (stands)
      return 'the leader record has no lease, as a store copied by key and value has it; candidates take it over'
    const unreadable = this.#mirror.unreadable.get(keyOf(leaders, 'self'))
    return unreadable === undefined
      ? 'no scheduler leads'
      : `the leader record cannot be read: ${unreadable.reason}`
  }
}
