/**
 * Ports that are known to be held, so that no proxy can listen there and no instance can have them: those of agents, servers and
 * the store, the range of each host for its instances, fixed host ports and listeners of other services.
 *
 * Only what a save newly asks for is looked at: where a host came later that holds a port, whoever has it already may still be
 * scaled, deployed and mended, and the hosts say that it is not served. What two saves claim at one moment is found out by the
 * hosts as well.
 */
import type { HostRecord } from '@boxcar/core/model/host'
import { byId } from '@boxcar/core/model/ids'
import type { ServiceSpec } from '@boxcar/core/model/spec'
import type { FaultView } from '../views.ts'

type Ports = Pick<ServiceSpec, 'routes' | 'ports'>

/** Who listens in a cluster besides its proxies. */
export interface Neighbours {
  readonly hosts: readonly Pick<HostRecord, 'id' | 'agentPort' | 'ports'>[]
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

export function heldPorts({ hosts, servers, store, services }: Neighbours): readonly HeldPort[] {
  const sorted = [...hosts].sort((a, b) => byId(a.id, b.id))
  const one = (port: number, by: HeldPort['by'], holder: string): HeldPort => ({
    from: port,
    to: port,
    by,
    holder,
  })
  return [
    ...sorted.map(({ id, agentPort }) => one(agentPort, 'process', `the agent of host ${id}`)),
    ...portsOf(servers).map(({ port, address }) => one(port, 'process', `a server (${address})`)),
    ...portsOf(store).map(({ port, address }) => one(port, 'process', `the store (${address})`)),
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

/** Of `http://10.0.0.1:7070`, `127.0.0.1:7070`; one that names no port holds none that is known. */
const portsOf = (addresses: readonly string[]): readonly { port: number; address: string }[] =>
  addresses.flatMap(address => {
    const port = Number(/:(\d{1,5})\/?$/.exec(address)?.[1] ?? 0)
    return port > 0 ? [{ port, address }] : []
  })
