/**
 * Ports that are known to be held, so that no proxy can listen there and no instance can have them: those of agents, of servers and
 * the store where they are on a host of the cluster, the range of each host for its instances, fixed host ports and listeners of
 * other services.
 *
 * Only what a save newly asks for is looked at: where a host came later that holds a port, whoever has it already may still be
 * scaled, deployed and mended, and the hosts say that it is not served. What two saves claim at one moment is found out by the
 * hosts as well.
 */
import type { HostRecord } from '@boxcar/core/model/host'
import { byId } from '@boxcar/core/model/ids'
import type { ServiceSpec } from '@boxcar/core/model/spec'
import { isLoopback, isWildcard, type ListenAddress, parseListen } from '../listen.ts'
import type { FaultView } from '../views.ts'

type Ports = Pick<ServiceSpec, 'routes' | 'ports'>

/** Who has ports in a cluster. */
export interface PortOwners {
  readonly hosts: readonly Pick<HostRecord, 'id' | 'address' | 'agentPort' | 'ports'>[]
  /** Where servers and members of the store listen, as addresses or URLs. */
  readonly servers: readonly string[]
  readonly store: readonly string[]
  readonly services: readonly { readonly service: string; readonly spec: Ports }[]
}

export interface HeldPort {
  readonly from: number
  readonly to: number
  /** What holds it: a process of the cluster, the instances of a host, or the proxies of all hosts. */
  readonly by: 'process' | 'instances' | 'proxy'
  readonly holder: string
}

/** Whether a save asks for a port that it did not have before. */
export const asksForPorts = (before: Ports | undefined, next: Ports): boolean =>
  newListens(before, next).length + newHostPorts(before, next).length > 0

export function heldPorts({ hosts, servers, store, services }: PortOwners): readonly HeldPort[] {
  const sorted = [...hosts].sort((a, b) => byId(a.id, b.id))
  const one = (port: number, by: HeldPort['by'], holder: string): HeldPort => ({
    from: port,
    to: port,
    by,
    holder,
  })
  return [
    ...sorted.map(({ id, agentPort }) => one(agentPort, 'process', `the agent of host ${id}`)),
    ...portsOnHosts(servers, hosts).map(({ port, address }) => one(port, 'process', `a server (${address})`)),
    ...portsOnHosts(store, hosts).map(({ port, address }) => one(port, 'process', `the store (${address})`)),
    ...services.flatMap(({ service, spec }) => [
      ...spec.ports.flatMap(({ hostPort }) =>
        hostPort === undefined
          ? []
          : [one(hostPort, 'instances', `service ${service} as its fixed host port`)],
      ),
      ...spec.routes.map(({ listen }) =>
        one(listen, 'proxy', `the proxies for a route of service ${service}`),
      ),
    ]),
    ...sorted.map(
      ({ id, ports: { from, to } }): HeldPort => ({
        from,
        to,
        by: 'instances',
        holder: `the instances of host ${id}, which get ${from} to ${to}`,
      }),
    ),
  ]
}

/** A fault for each port that a save newly asks for and somebody else has. */
export function heldPortFaults(
  before: Ports | undefined,
  next: Ports,
  held: readonly HeldPort[],
): readonly FaultView[] {
  const fault = (pointer: string, port: number, taken: HeldPort | undefined): readonly FaultView[] =>
    taken === undefined
      ? []
      : [
          {
            pointer,
            code: 'port_held',
            message: `port ${port} is held by ${taken.holder}; choose another one`,
            got: String(port),
          },
        ]
  const at = (port: number, ...by: readonly HeldPort['by'][]) =>
    held.find(one => one.from <= port && port <= one.to && by.includes(one.by))
  return [
    ...newListens(before, next).flatMap(({ i, port }) =>
      fault(`/routes/${i}/listen`, port, at(port, 'process', 'instances')),
    ),
    // Two services may have one fixed host port, each on hosts of its own; placing sees to that, and to the range.
    ...newHostPorts(before, next).flatMap(({ i, port }) =>
      fault(`/ports/${i}/hostPort`, port, at(port, 'process', 'proxy')),
    ),
  ]
}

interface Asked {
  readonly i: number
  readonly port: number
}

const newListens = (before: Ports | undefined, next: Ports): readonly Asked[] =>
  next.routes
    .map(({ listen }, i) => ({ i, port: listen }))
    .filter(({ port }) => before?.routes.some(({ listen }) => listen === port) !== true)

const newHostPorts = (before: Ports | undefined, next: Ports): readonly Asked[] =>
  next.ports
    .flatMap(({ hostPort }, i) => (hostPort === undefined ? [] : [{ i, port: hostPort }]))
    .filter(({ port }) => before?.ports.some(({ hostPort }) => hostPort === port) !== true)

/**
 * Those that a host of the cluster has at its own address. A loopback or wildcard address does not tell the machine, which may be a
 * host; any other address, such as that of a managed etcd or a load balancer, holds nothing that a proxy could ask for.
 */
function portsOnHosts(
  addresses: readonly string[],
  hosts: PortOwners['hosts'],
): readonly { readonly port: number; readonly address: string }[] {
  const ofHosts = new Set(hosts.map(({ address }) => canonicalHost(address)))
  return addresses.flatMap(address => {
    const at = endpointOf(address)
    if (at === undefined) return []
    const host = canonicalHost(at.host)
    return isLoopback(host) || isWildcard(host) || ofHosts.has(host) ? [{ port: at.port, address }] : []
  })
}

/** Of `https://10.0.0.1`, `http://[fd00::1]:7070/`, `127.0.0.1:7070`. */
function endpointOf(address: string): ListenAddress | undefined {
  if (!address.includes('://')) return parseListen(address)
  const url = URL.parse(address)
  if (url === null) return undefined
  const port = url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port)
  return { host: url.hostname.replaceAll(/[[\]]/g, ''), port }
}

/** One spelling of each: `FD00:0::2` is `fd00::2`, and names are in lower case. */
function canonicalHost(host: string): string {
  const url = URL.parse(`http://${host.includes(':') ? `[${host}]` : host}`)
  return url === null ? host : url.hostname.replaceAll(/[[\]]/g, '')
}
