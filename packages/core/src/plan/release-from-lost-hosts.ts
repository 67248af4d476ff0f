import type { HostId } from '../model/ids.ts'
import { pluralVerb } from '../model/plural.ts'
import type { ServiceDraft } from './draft.ts'
import { isOnLostHost } from './readiness.ts'

/** What ran on a lost or removed host is wanted elsewhere; the host finds the order to stop when it comes back. */
export function releaseFromLostHosts(service: ServiceDraft): void {
  const { world, policy } = service.draft
  const moved = new Map<HostId, number>()
  for (const { value: placement } of service.view.placements.values()) {
    if (placement.desired === 'stop' || !isOnLostHost(world, placement)) continue
    service.add({
      kind: 'release',
      placement: { ...placement, desired: 'stop', because: 'host-lost', term: policy.term },
    })
    moved.set(placement.host, (moved.get(placement.host) ?? 0) + 1)
  }
  for (const [host, count] of moved)
    service.tell({
      level: 'warning',
      kind: 'host-lost',
      host,
      message: `host ${host} is lost: ${count} of its instances ${pluralVerb(count, 'move')} to other hosts`,
    })
}
