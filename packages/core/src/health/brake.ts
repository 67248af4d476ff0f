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

/** A host that grace would call lost now and that is not yet. */
export interface Candidate {
  readonly host: HostId
  readonly goneSince: Instant
  /** Nothing is ordered to run there: when it is called lost, nothing moves. */
  readonly idle: boolean
}

export interface BrakeSeen {
  /** All hosts that the cluster knows. */
  readonly hosts: number
  /** Oldest first. */
  readonly candidates: readonly Candidate[]
  /** How many have no presence key. */
  readonly absent: number
  /** When the store was last seen away, undefined: never in this term. */
  readonly storeBack: Instant | undefined
  /** When the brake was pulled. */
  readonly pulledAt: Instant | undefined
  /** Hosts with work that a pulled brake let through within this pace. */
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
  const { pulledAt } = seen
  const busy = seen.candidates.filter(c => !c.idle)
  if (pulledAt === undefined || busy.length === 0)
    return { kind: 'free', evict: seen.candidates.map(c => c.host) }
  const allowed =
    elapsed(pulledAt, now) < brakePolicy.holdMs
      ? 0
      : Math.max(1, Math.floor(seen.hosts * brakePolicy.paceShare)) - seen.evictedInPace
  const paced = new Set(busy.slice(0, Math.max(allowed, 0)))
  return {
    kind: 'held',
    because: 'many-vanished',
    evict: seen.candidates.filter(c => c.idle || paced.has(c)).map(c => c.host),
  }
}

/**
 * Whether the hosts whose keys went in the window pull the brake; when each of them went. Only hosts with work count: a new
 * leader sees those that died long ago vanish together, and nothing runs on them any more.
 */
export function pulls(gone: Iterable<Instant>, hosts: number, now: Instant): boolean {
  let recent = 0
  for (const at of gone) if (elapsed(at, now) <= brakePolicy.windowMs) recent++
  return recent >= brakePolicy.leastHosts && recent >= hosts * brakePolicy.leastShare
}
