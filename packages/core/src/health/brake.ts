/**
 * The brake on evictions. When many hosts vanish together, or the store itself was away, the likely cause is not the hosts:
 * evictions wait, then go at a bounded pace; when every host is suspect, none is evicted.
 */
import { elapsed, type Instant } from '../model/clock.ts'
import type { HostId } from '../model/ids.ts'

export const brakePolicy = {
  /** This many hosts, and this share of all, within the window, pull the brake. */
  leastHosts: 2,
  leastShare: 0.3,
  windowMs: 10_000,
  /** How long evictions are held once the brake is pulled. */
  holdMs: 15_000,
  /** After the hold: at most this share of the hosts, at least one, per pace. */
  paceShare: 0.2,
  paceMs: 30_000,
  /** After the store was away or changed its leader: a host's TTL (4 s) and 2 s more. */
  storeHoldMs: 6000,
} as const

export interface BrakeSeen {
  /** All hosts that the cluster knows. */
  readonly hosts: number
  /** Hosts that grace would call lost now and that are not yet, with the moment their key was seen gone; oldest first. */
  readonly candidates: readonly { readonly host: HostId; readonly goneSince: Instant }[]
  /** How many are lost or candidates. */
  readonly absent: number
  /** When the store was last seen away, undefined: never in this term. */
  readonly storeBack: Instant | undefined
  /** When the brake was pulled, and the evictions let through since. */
  readonly pulledAt: Instant | undefined
  readonly evictedInPace: number
}

export type BrakeVerdict =
  | { readonly kind: 'free'; readonly evict: readonly HostId[] }
  | {
      readonly kind: 'held'
      readonly because: 'many-vanished' | 'store-was-away' | 'all-suspect'
      readonly evict: readonly HostId[]
    }

/** Which of the candidates may be called lost now. */
export function brake(seen: BrakeSeen, now: Instant): BrakeVerdict {
  if (seen.candidates.length === 0) return { kind: 'free', evict: [] }
  if (seen.absent >= seen.hosts) return { kind: 'held', because: 'all-suspect', evict: [] }
  if (seen.storeBack !== undefined && elapsed(seen.storeBack, now) < brakePolicy.storeHoldMs)
    return { kind: 'held', because: 'store-was-away', evict: [] }
  if (seen.pulledAt === undefined) return { kind: 'free', evict: seen.candidates.map(c => c.host) }
  if (elapsed(seen.pulledAt, now) < brakePolicy.holdMs)
    return { kind: 'held', because: 'many-vanished', evict: [] }
  const allowed = Math.max(1, Math.floor(seen.hosts * brakePolicy.paceShare)) - seen.evictedInPace
  return {
    kind: 'held',
    because: 'many-vanished',
    evict: seen.candidates.slice(0, Math.max(allowed, 0)).map(c => c.host),
  }
}

/** Whether this many keys gone in the window pull the brake. */
export function pulls(recentlyGone: readonly Instant[], hosts: number, now: Instant): boolean {
  const recent = recentlyGone.filter(at => elapsed(at, now) <= brakePolicy.windowMs).length
  return recent >= brakePolicy.leastHosts && recent >= hosts * brakePolicy.leastShare
}
