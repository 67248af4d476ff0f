/** Traffic first, then the process: an instance stops when no live proxy sends it anything and its open requests are done. */

import type { InstanceId } from '../model/ids.ts'
import { plural, pluralVerb } from '../model/plural.ts'
import type { Route } from '../model/route.ts'
import type { ServiceDraft } from './draft.ts'
import type { Leaver, Leaving } from './fill-generations.ts'
import { haveApplied } from './proxies.ts'
import { endpointPrint } from './route-traffic.ts'

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
    service.tell({
      level: 'info',
      kind: 'released',
      message: `${plural(count, 'instance')} ${pluralVerb(count, 'stop')} (${because})`,
    })
}

/**
 * Whether no live proxy sends it anything. `route` is the one that shall stand: it never has what leaves. Only an instance that is in
 * another waits for the proxies to let go: one that is neither in the route as it stands, nor in any that a proxy may still have from
 * before, stops at once.
 */
function isFreeOfTraffic(
  service: ServiceDraft,
  route: Route | undefined,
  key: string,
  { instance }: Leaver['placement'],
): boolean {
  const { view, draft } = service
  const stands = view.route
  // Without a route, or with the first one being written now, no proxy has any.
  if (route === undefined || stands === undefined) return true
  if (!leavesRoute(instance, stands.value, route) && haveApplied(draft.proxies, view.name, stands.modified)) {
    // The proxies' own drain time begins with what they applied, so the last of them starts this clock.
    const leftToDrainMs = route.drainMs + slackMs - draft.memory.leavingMs(key, draft.now)
    if (leftToDrainMs <= 0 || !draft.proxies.busy.has(instance)) return true
    service.wakeIn(leftToDrainMs)
  }
  draft.world.awaitingAcks.add(view.name)
  return false
}

/**
 * Whether the stored route has an endpoint of this name that the next one has not. Its address does not count: the host may have
 * another one by now, or a record that nobody can read. What the next route keeps is a twin's, which stays on another host.
 */
function leavesRoute(instance: InstanceId, stored: Route, next: Route): boolean {
  if (stored === next) return false
  const printsOf = ({ backings }: Route) =>
    backings.flatMap(backing => backing.endpoints.filter(it => it.instance === instance).map(endpointPrint))
  const kept = new Set(printsOf(next))
  return printsOf(stored).some(print => !kept.has(print))
}
