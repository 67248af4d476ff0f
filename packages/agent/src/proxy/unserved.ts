/** What a host's proxy cannot serve, in the words of its acknowledgement. */
import { byId, type ServiceName } from '@boxcar/core/model/ids'
import type { Route } from '@boxcar/core/model/route'
import {
  concerns,
  mostUnserved,
  type Unserved,
  type UnservedList,
  unservedWords,
} from '@boxcar/core/model/unserved'
import type { ProxyFault } from './picture.ts'

/** Ports first: each stands for every service that listens there. Where it is too long, each service is in it once, as far as that goes. */
export function unservedList(
  faults: readonly ProxyFault[],
  routes: ReadonlyMap<ServiceName, Route>,
): UnservedList {
  const [ports, others] = [faults.filter(isOfPort), faults.filter(fault => !isOfPort(fault))]
  const all = distinct([...ports, ...others].flatMap(fault => unservedBy(fault, routes)))
  if (all.length === 0) return {}
  if (all.length <= mostUnserved) return { unserved: all }
  const firsts = firstOfEachService(all, routes)
  const named = new Set([...firsts, ...all.filter(one => !firsts.has(one))].slice(0, mostUnserved))
  return { unserved: all.filter(one => named.has(one)), unnamed: all.length - mostUnserved }
}

/** The instances of a service lack a port together: the first is told. */
function distinct(all: readonly Unserved[]): readonly Unserved[] {
  const firsts = new Map<string, Unserved>()
  for (const one of all) {
    const print = JSON.stringify([one.listen, one.service, one.address, one.reason])
    if (!firsts.has(print)) firsts.set(print, one)
  }
  return [...firsts.values()]
}

/**
 * One entry of each service that cannot be served as a whole: its rollout waits for what is named and for nothing else, and must
 * not settle since other services have more faults than fit.
 */
function firstOfEachService(
  all: readonly Unserved[],
  routes: ReadonlyMap<ServiceName, Route>,
): ReadonlySet<Unserved> {
  const said = Map.groupBy(all, ({ listen, service }) => keyOf(listen, service))
  const firsts = new Set<Unserved>()
  for (const [service, { listeners }] of [...routes].sort(([a], [b]) => byId(a, b))) {
    const own = listeners.flatMap(listener =>
      [keyOf(listener.listen), keyOf(listener.listen, service)]
        .flatMap(key => said.get(key) ?? [])
        .filter(one => concerns(one, service, listener)),
    )
    const [first] = own
    if (first !== undefined && !own.some(one => firsts.has(one))) firsts.add(first)
  }
  return firsts
}

const keyOf = (listen: number, service = ''): string => `${listen} ${service}`

const isOfPort = (fault: ProxyFault) => fault.kind === 'port'

function unservedBy(fault: ProxyFault, routes: ReadonlyMap<ServiceName, Route>): readonly Unserved[] {
  switch (fault.kind) {
    // All is served: only the files lag behind. The host's record says so (routing.ts).
    case 'disk':
      return []
    case 'port': {
      const { kind: _, port, ...what } = fault
      return [{ listen: port, ...what }]
    }
    case 'listener': {
      const { service, listen, reason, why } = fault
      return [{ service, listen, reason, detail: why }]
    }
    case 'endpoint': {
      const { service, instance, port, why } = fault
      const route = routes.get(service)
      // A generation that is known ahead, or kept for an undo, may name its ports otherwise.
      const answers = route?.backings.some(
        ({ share, endpoints }) => share > 0 && endpoints.some(one => one.instance === instance),
      )
      if (route === undefined || !answers) return []
      const listeners = route.listeners.filter(listener => listener.port === port)
      const detail = `${instance} ${why}`
      return listeners.map(({ listen }) => ({ service, listen, reason: 'no-endpoint', detail }))
    }
  }
}

/** One fault in words, for an event. */
export function faultWords(fault: ProxyFault): string {
  switch (fault.kind) {
    case 'disk':
      return `all is served, but its files say what was before: ${fault.why}`
    case 'port': {
      const { kind: _, port, ...what } = fault
      return unservedWords({ listen: port, ...what })
    }
    case 'listener':
      return `port ${fault.listen} is not served for ${fault.service}: ${fault.why}`
    case 'endpoint':
      return `${fault.instance} of ${fault.service} gets no requests: ${fault.why}`
  }
}
