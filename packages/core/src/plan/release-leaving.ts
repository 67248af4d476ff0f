/** Traffic first, then the process: an instance stops when no live proxy sends it anything and its open requests are done. */

import { compareRevisions } from '../model/revision.ts'
import type { Route } from '../model/route.ts'
import type { ServiceDraft } from './draft.ts'
import type { Leaver, Leaving } from './fill-generations.ts'

/** Beyond the drain time a proxy gets this long to cut what is still open and say so. */
const slackMs = 5000

export function releaseLeaving(service: ServiceDraft, route: Route | undefined, leaving: Leaving): void {
  const { view, draft } = service
  const released = new Map<Leaver['because'], number>()
  for (const key of view.placements.keys()) if (!leaving.has(key)) draft.memory.left(key)
  for (const [key, { placement, because }] of leaving) {
    if (placement.desired === 'stop') continue
    if (!isFreeOfTraffic(service, route, key, placement)) continue
    service.add({
      kind: 'release',
      placement: { ...placement, desired: 'stop', because, term: draft.policy.term },
    })
    released.set(because, (released.get(because) ?? 0) + 1)
  }
  for (const [because, count] of released)
    service.tell({ level: 'info', kind: 'released', message: `${count} instances stop (${because})` })
}

function isFreeOfTraffic(
  service: ServiceDraft,
  route: Route | undefined,
  key: string,
  { instance }: Leaver['placement'],
): boolean {
  const { view, draft } = service
  if (route === undefined) return true
  const leftMs = draft.memory.leavingMs(key, draft.now)
  const stands = view.route
  const awaited = stands === undefined || stands.value !== route // being written now: its revision is not known yet
  if (!awaited) {
    if (route.backings.some(b => b.endpoints.some(e => e.instance === instance))) return false
    if (draft.world.hosts.size === 0) return true
    const limitMs = route.drainMs + slackMs
    const busy = busyProxies(service, instance, stands.modified)
    if (busy === 'none' || (busy === 'open-requests' && leftMs >= limitMs)) return true
    service.wakeIn(Math.max(limitMs - leftMs, 100))
  }
  draft.world.awaitingAcks.add(view.name)
  return false
}

/** What the live proxies still have to do with an instance. One without an acknowledgement is cut off or failing: not waited for. */
function busyProxies(
  service: ServiceDraft,
  instance: string,
  since: Parameters<typeof compareRevisions>[0],
): 'none' | 'open-requests' | 'old-route' {
  let busy: 'none' | 'open-requests' = 'none'
  for (const host of service.draft.world.hosts.values()) {
    if (host.ack === undefined || host.health === 'lost') continue
    if (compareRevisions(host.ack.value.revision, since) < 0) return 'old-route'
    if (host.ack.value.draining.some(id => id === instance)) busy = 'open-requests'
  }
  return busy
}
