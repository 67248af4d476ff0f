/** What a host's proxy cannot serve, in the words of its acknowledgement. */
import type { ServiceName } from '@boxcar/core/model/ids'
import type { Route } from '@boxcar/core/model/route'
import { mostUnserved, type Unserved, type UnservedList, unservedWords } from '@boxcar/core/model/unserved'
import type { ProxyFault } from './picture.ts'

/** Bounded, ports first: each stands for every service that listens there. */
export function unservedList(
  faults: readonly ProxyFault[],
  routes: ReadonlyMap<ServiceName, Route>,
): UnservedList {
  const [ports, others] = [faults.filter(isOfPort), faults.filter(fault => !isOfPort(fault))]
  const all = [...ports, ...others].flatMap(fault => unservedBy(fault, routes))
  // The instances of a service lack a port together: the first is told.
  const firsts = all.filter((one, at) => all.findIndex(other => isSameFault(one, other)) === at)
  if (firsts.length === 0) return {}
  const unnamed = firsts.length - mostUnserved
  return unnamed > 0 ? { unserved: firsts.slice(0, mostUnserved), unnamed } : { unserved: firsts }
}

const isOfPort = (fault: ProxyFault) => fault.kind === 'port'

const isSameFault = (a: Unserved, b: Unserved): boolean =>
  a.listen === b.listen && a.service === b.service && a.address === b.address && a.reason === b.reason

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
