/** A deleted service: traffic first, then the processes, then the records. Data is never deleted. */
import type { Route } from '../model/route.ts'
import type { ServiceDraft } from './draft.ts'
import { haveApplied } from './proxies.ts'
import { isOnLostHost } from './readiness.ts'
import { releaseLeaving } from './release-leaving.ts'

export function retire(service: ServiceDraft): void {
  const { view } = service
  const uid = view.spec?.value.uid
  const old = [...view.placements].filter(
    ([, { value }]) => value.uid !== uid && !isOnLostHost(service.draft.world, value),
  )
  const route = closeRoute(service)
  releaseLeaving(
    service,
    route,
    new Map(old.map(([key, { value }]) => [key, { placement: value, because: 'deleted' as const }])),
  )
  // Nobody is left to undo or abort anything of.
  for (const [id, { value }] of view.intents) if (value.uid !== uid) service.add({ kind: 'intent-done', id })
  const traces =
    [view.rollout, view.route, view.pending].some(seen => seen !== undefined) || view.generations.size > 0
  const isOver = view.placements.size === 0 && uid === undefined && traces
  if (isOver && hasLetGo(service, route)) {
    service.add({ kind: 'cleanup', generations: [...view.generations.keys()] })
    service.tell({
      level: 'info',
      kind: 'deleted',
      message: 'the service is gone: nothing of it runs any more',
    })
  } else if (view.pending !== undefined) service.add({ kind: 'no-longer-pending' })
}

/** The route with nobody behind it, so that every proxy lets go and says so. */
function closeRoute(service: ServiceDraft): Route | undefined {
  const stored = service.view.route?.value
  if (stored === undefined) return undefined
  if (stored.listeners.length === 0 && stored.backings.length === 0) return stored
  const route: Route = { ...stored, term: service.draft.policy.term, listeners: [], backings: [] }
  service.add({ kind: 'route', route })
  return route
}

/**
 * Whether every live proxy has let go of the route, so that its record may be removed. It is closed and removed in two plans: until
 * the first is applied nobody knows at which revision a proxy is without it.
 */
function hasLetGo({ view, draft }: ServiceDraft, route: Route | undefined): boolean {
  const stands = view.route
  if (route === undefined || stands === undefined) return true
  if (stands.value === route && haveApplied(draft.proxies, view.name, stands.modified)) return true
  draft.world.awaitingAcks.add(view.name)
  return false
}
