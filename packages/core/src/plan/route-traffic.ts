/** The route record that the phase and the readiness of its instances ask for; one write moves all traffic. */
import { byId, type GenerationNumber } from '../model/ids.ts'
import type { Rollout } from '../model/rollout.ts'
import {
  type Backing,
  type Endpoint,
  isSameAddress,
  type Listener,
  listenersOf,
  type Route,
} from '../model/route.ts'
import { trafficShares } from '../rollout/rollout.ts'
import type { ServiceDraft } from './draft.ts'
import type { Leaving } from './fill-generations.ts'
import { addressOf, isOnLostHost, isReady, isSilent } from './readiness.ts'

/** The record as it will stand; undefined where the service never had a route. */
export function routeTraffic(service: ServiceDraft, rollout: Rollout, leaving: Leaving): Route | undefined {
  const { view, draft } = service
  const spec = view.spec?.value.spec
  const stored = view.route?.value.uid === rollout.uid ? view.route.value : undefined
  // A route that a predecessor of the same name left is written over, also where this one has none.
  if (spec === undefined || (spec.routes.length === 0 && view.route === undefined)) return undefined
  const wanted: Route = {
    service: view.name,
    uid: rollout.uid,
    term: draft.policy.term,
    listeners: listenersFor(service, rollout, stored),
    backings: trafficShares(rollout.now).map(
      ({ generation, share }): Backing => ({
        generation,
        share,
        endpoints: endpointsOf(service, generation, leaving, share > 0 ? stored : undefined),
      }),
    ),
    drainMs: spec.rollout.drain,
  }
  if (stored !== undefined && sameRoute(stored, wanted)) return stored
  service.add({ kind: 'route', route: wanted })
  return wanted
}

/**
 * The ready instances. Where fewer than half of those that run are ready, the others that answered until now stay, if nothing
 * worse is known of them than that their probes got no answer in time: many that fall silent together are likely slow, not
 * broken, and whoever takes their traffic away refuses it, or drives it onto the few that are left. `answered`: the route as
 * it stands, of a generation that answers users.
 */
function endpointsOf(
  service: ServiceDraft,
  generation: GenerationNumber,
  leaving: Leaving,
  answered: Route | undefined,
): readonly Endpoint[] {
  const { view, draft } = service
  const ready: Endpoint[] = []
  const silent: Endpoint[] = []
  let running = 0
  for (const [key, seen] of view.placements) {
    const placement = seen.value
    if (placement.generation !== generation || placement.desired === 'stop' || leaving.has(key)) continue
    const address = addressOf(service, placement)
    if (address === undefined || isOnLostHost(draft.world, placement)) continue
    running++
    const endpoint = { instance: placement.instance, address, ports: placement.ports }
    if (isReady(draft.world, seen)) ready.push(endpoint)
    else if (isSilent(draft.world, seen)) silent.push(endpoint)
  }
  if (ready.length < running / 2) {
    const known = new Set(
      answered?.backings.find(it => it.generation === generation)?.endpoints.map(endpointPrint),
    )
    ready.push(...silent.filter(endpoint => known.has(endpointPrint(endpoint))))
  }
  return ready.sort((a, b) => byId(a.instance, b.instance))
}

/**
 * As the spec says, each with a port of the generation that answers: ports may have been renamed since, or be renamed by the
 * generation that comes. An address that it has no port for is left out.
 */
function listenersFor(
  service: ServiceDraft,
  rollout: Rollout,
  stored: Route | undefined,
): readonly Listener[] {
  const { view } = service
  const spec = view.spec?.value.spec
  const asked = listenersOf(spec?.routes ?? [])
  const answering = trafficShares(rollout.now).find(share => share.share > 0)
  const record = answering === undefined ? undefined : view.generations.get(answering.generation)?.value
  if (record === undefined) return asked
  const { ports } = record.template
  return asked.flatMap(listener => {
    const at = (known: readonly Listener[] = []) => known.find(it => isSameAddress(it, listener))?.port
    const number = spec?.ports.find(port => port.name === listener.port)?.container
    const names = [
      listener.port,
      at(stored?.listeners),
      at(record.listeners),
      ports.find(port => port.container === number)?.name,
    ]
    const port = names.find(name => ports.some(it => it.name === name))
    return port === undefined ? [] : [{ ...listener, port }]
  })
}

/** The term does not count: a new leader rewrites nothing that stands. */
function sameRoute(a: Route, b: Route): boolean {
  const print = ({ listeners, backings, drainMs }: Route) =>
    JSON.stringify([listeners.map(listenerPrint), backings.map(backingPrint), drainMs])
  return print(a) === print(b)
}

const listenerPrint = (l: Listener) => [l.protocol, l.listen, l.hostnames, l.path, l.expose, l.port]
const backingPrint = (b: Backing) => [b.generation, b.share, b.endpoints.map(endpointPrint)]
/** Equal for equal endpoints. */
export const endpointPrint = (e: Endpoint) =>
  JSON.stringify([e.instance, e.address, Object.entries(e.ports).sort()])
