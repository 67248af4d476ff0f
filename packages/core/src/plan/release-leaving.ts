/** Traffic first, then the process: an instance stops when no live proxy sends it anything and its open requests are done. */

import { plural, pluralVerb } from '../model/plural.ts'
import type { Route } from '../model/route.ts'
import type { ServiceDraft } from './draft.ts'
import type { Leaver, Leaving } from './fill-generations.ts'
import { haveApplied } from './proxies.ts'

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
 * Whether no live proxy sends it anything. Only an instance that is in a route waits for the proxies to let go: one that is
 * neither in the route as it stands, nor in any that a proxy may still have from before, stops at once.
 */
function isFreeOfTraffic(
  service: ServiceDraft,
  route: Route | undefined,
  key: string,
  placement: Leaver['placement'],
): boolean {
  const { view, draft } = service
  if (route === undefined) return true
  const stands = view.route
  const isIn = (one: Route) =>
    isEndpointOf(one, placement, draft.world.hosts.get(placement.host)?.record?.address)
  if (isIn(route)) return false
  // The route that is being written now is the first: no proxy has another.
  if (stands === undefined) return true
  if (!isIn(stands.value) && haveApplied(draft.proxies, stands.modified)) {
    // The proxies' own drain time begins with what they applied, so the last of them starts this clock.
    const leftToDrainMs = route.drainMs + slackMs - draft.memory.leavingMs(key, draft.now)
    if (leftToDrainMs <= 0 || !draft.proxies.busy.has(placement.instance)) return true
    service.wakeIn(leftToDrainMs)
  }
  draft.world.awaitingAcks.add(view.name)
  return false
}

/** The name alone does not do: a twin of it may stay on another host. */
function isEndpointOf(route: Route, { instance }: Leaver['placement'], address: string | undefined): boolean {
  return route.backings.some(backing =>
    backing.endpoints.some(endpoint => endpoint.instance === instance && endpoint.address === address),
  )
}
