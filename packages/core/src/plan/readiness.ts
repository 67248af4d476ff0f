import type { Placement } from '../model/placement.ts'
import { compareRevisions } from '../model/revision.ts'
import type { World } from '../model/world.ts'
import type { Share } from '../rollout/rollout.ts'
import type { ServiceDraft } from './draft.ts'

/** Its host says so, and is not lost. */
export function isReady(world: World, placement: Placement): boolean {
  const host = world.hosts.get(placement.host)
  if (host === undefined || host.health === 'lost') return false
  const report = host.reports.get(placement.instance)?.value
  return report?.state === 'ready' && report.uid === placement.uid
}

/** Nothing is expected of it there any more: its host is lost or was removed. */
export function isOnLostHost(world: World, placement: Placement): boolean {
  const host = world.hosts.get(placement.host)
  return host?.record === undefined || host.health === 'lost'
}

/** The stored route has these shares, and every live proxy applies it. A proxy that fails or is cut off has no acknowledgement. */
export function proxiesApply(service: ServiceDraft, shares: readonly Share[]): boolean {
  const { view, draft } = service
  if (view.route === undefined) return view.spec?.value.spec.routes.length === 0
  const stored = view.route.value.backings
  for (const { generation, share } of shares)
    if (share > 0 && !stored.some(b => b.generation === generation && b.share === share)) return false
  for (const host of draft.world.hosts.values())
    if (
      host.ack !== undefined &&
      host.health !== 'lost' &&
      compareRevisions(host.ack.value.revision, view.route.modified) < 0
    )
      return false
  return true
}
