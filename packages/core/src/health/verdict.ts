/**
 * Alive, suspect or lost. A missing presence key is a question, not an answer: stores can revoke the leases of living
 * holders (etcd-io/etcd#15247), so the leader asks the agent itself before it believes a host lost.
 */
import { elapsed, type Instant } from '../model/clock.ts'
import type { HostId } from '../model/ids.ts'
import type { HostHealth } from '../model/world.ts'

/** From the moment the leader itself saw the key gone, by its own monotonic clock. */
export const graceMs = 2000

/** What the leader remembers of hosts whose presence key is gone; starts empty when it takes office. */
export interface Absence {
  readonly host: HostId
  readonly goneSince: Instant
  /** When the agent last answered the leader's question. */
  readonly answered: Instant | undefined
}

export function verdict(absence: Absence | undefined, now: Instant): HostHealth {
  if (absence === undefined) return 'alive'
  return elapsed(absence.answered ?? absence.goneSince, now) >= graceMs ? 'lost' : 'suspect'
}
