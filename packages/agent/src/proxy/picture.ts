/**
 * The picture of one proxy: what it listens to, which backends and servers it has and what its maps say; data between
 * the routes and the words of HAProxy. Two pictures can be compared, rendered, or read back from a running process.
 */
import { isIP } from 'node:net'
import type { ServiceName } from '@boxcar/core/model/ids'
import { byId } from '@boxcar/core/model/ids'
import type { Endpoint, Listener, Route } from '@boxcar/core/model/route'
import { planWord } from './buckets.ts'
import { encodeName, hexKey } from './encode.ts'
import type { Gate, Layout, ServiceLayout, Slot } from './slots.ts'

/** An address and port to listen on. */
export interface Door {
  readonly address: string
  readonly port: number
}

/** Why a door cannot be opened. */
export interface Closed {
  readonly reason: 'held' | 'not-permitted' | 'no-address' | 'cannot-listen'
  /** Who has it, where that can be seen: `process 812 (sshd)`. */
  readonly holder?: string
  /** What the system says, where it is none of the usual reasons. */
  readonly detail?: string
}

export type Server =
  | { readonly state: 'maint' }
  | { readonly state: 'ready' | 'drain'; readonly address: string; readonly port: number }

export interface Backend {
  readonly mode: 'http' | 'tcp'
  /** Slot n is the server `s<n + 1>`. */
  readonly servers: readonly Server[]
}

export interface TcpFront {
  readonly port: number
  readonly doors: readonly Door[]
  /** The name of the service, and of the gate, in the proxy. */
  readonly service: string
  readonly gate: string
}

export const mapNames = ['hosts', 'paths', 'shares'] as const
export type MapName = (typeof mapNames)[number]

export interface Picture {
  readonly httpDoors: readonly Door[]
  readonly tcpFronts: readonly TcpFront[]
  /** Callers who reached one of these addresses also see private routes. */
  readonly inside: readonly string[]
  readonly backends: ReadonlyMap<string, Backend>
  readonly maps: Readonly<Record<MapName, ReadonlyMap<string, string>>>
}

/** Something that the proxy cannot serve, or not for sure; everything else it does. */
export type ProxyFault =
  /** All is served, but the files say what was before. */
  | { readonly kind: 'disk'; readonly why: string }
  /** A door that is not ours, or not ours alone. `only` public: no private route is answered there. */
  | {
      readonly kind: 'port'
      readonly port: number
      readonly address: string
      readonly only?: 'public'
      readonly reason: Closed['reason'] | 'shared'
      readonly holder?: string
      readonly detail?: string
    }
  | {
      readonly kind: 'listener'
      readonly service: ServiceName
      readonly listen: number
      readonly reason: 'protocol' | 'claimed' | 'unfit' | 'refused' | 'unreadable'
      readonly why: string
    }
  | {
      readonly kind: 'endpoint'
      readonly service: ServiceName
      readonly instance: string
      /** The named port of the instance that is missed. */
      readonly port: string
      readonly why: string
    }

/** What to bind, as plain addresses: `0.0.0.0` and `::` for every one. */
export interface Addresses {
  readonly public: readonly string[]
  readonly private: readonly string[]
}

export interface DrawInput {
  readonly routes: ReadonlyMap<ServiceName, Route>
  readonly layout: Layout
  readonly addresses: Addresses
  /** Doors that cannot be opened, with the reason. */
  readonly blocked: readonly (Door & Closed)[]
}

const longestPath = 1024
const longestHostname = 253

/** Draws what the proxy should be. The same input gives the same picture, in the same order. */
export function draw(input: DrawInput): {
  readonly picture: Picture
  readonly faults: readonly ProxyFault[]
} {
  const faults: ProxyFault[] = []
  const listeners = admitted(input.routes, faults)
  const blocked = (door: Door) => input.blocked.find(b => b.address === door.address && b.port === door.port)
  const open = (port: number, exposure: Listener['expose']): readonly Door[] =>
    doorsFor(port, exposure, input.addresses).filter(door => {
      const block = blocked(door)
      if (block !== undefined) faults.push(portFault(block, input.addresses))
      return block === undefined
    })

  const httpDoors: Door[] = []
  const tcpFronts: TcpFront[] = []
  for (const [port, group] of byPort(listeners)) {
    const first = group[0]
    if (first === undefined) continue
    const doors = open(port, group.some(l => l.listener.expose === 'public') ? 'public' : 'private')
    if (first.listener.protocol === 'http') httpDoors.push(...doors)
    else if (doors.length > 0) {
      const service = encodeName(first.service)
      tcpFronts.push({ port, doors, service, gate: encodeName(first.listener.port) })
    }
  }
  const picture: Picture = {
    httpDoors,
    tcpFronts,
    inside: [...new Set(input.addresses.private)],
    backends: backendsOf(input.layout, faults),
    maps: { ...httpMaps(listeners, faults), shares: sharesOf(input) },
  }
  return { picture, faults }
}

/** What is said of a door that is not ours, or not ours alone. */
export function portFault(
  { port, address, ...why }: Door & (Closed | { readonly reason: 'shared'; readonly holder: string }),
  { private: inside }: Addresses,
): ProxyFault {
  const isPrivate =
    inside.includes(address) ||
    (address === '0.0.0.0' && inside.some(one => isIP(one) === 4)) ||
    (address === '::' && inside.some(one => isIP(one) === 6))
  return { kind: 'port', port, address, ...(isPrivate ? {} : { only: 'public' as const }), ...why }
}

/** The doors that the process of a picture holds. */
export const doorsOf = (picture: Picture): readonly Door[] => [
  ...picture.httpDoors,
  ...picture.tcpFronts.flatMap(front => front.doors),
]

/** All the doors that the routes ask for, whoever holds them. */
export function wantedDoors(routes: ReadonlyMap<ServiceName, Route>, addresses: Addresses): readonly Door[] {
  return [...byPort(admitted(routes, []))].flatMap(([port, group]) =>
    doorsFor(port, group.some(l => l.listener.expose === 'public') ? 'public' : 'private', addresses),
  )
}

/** The picture of a process that just started from the rendered files: what drains for others is at rest in it. */
export function asStarted(picture: Picture): Picture {
  const backends = [...picture.backends].map(([name, backend]): [string, Backend] => [
    name,
    {
      ...backend,
      servers: backend.servers.map(server => (server.state === 'drain' ? { state: 'maint' } : server)),
    },
  ])
  return { ...picture, backends: new Map(backends) }
}

export const backendName = (service: string, gate: Gate, lane: number): string =>
  `${encodeName(service)}__${encodeName(gate.port)}__${gate.protocol}__${lane}`

export const serverName = (slot: number): string => `s${slot + 1}`

export const doorKey = (door: Door): string => `${door.address} ${door.port}`

interface Admitted {
  readonly service: ServiceName
  readonly listener: Listener
}

/** The listeners that can stand together: a port speaks one protocol, and a TCP port belongs to one service. */
function admitted(routes: ReadonlyMap<ServiceName, Route>, faults: ProxyFault[]): readonly Admitted[] {
  const owners = new Map<number, Admitted>()
  const result: Admitted[] = []
  for (const service of [...routes.keys()].sort(byId)) {
    for (const listener of routes.get(service)?.listeners ?? []) {
      const owner = owners.get(listener.listen)
      const fits =
        owner === undefined ||
        (owner.listener.protocol === listener.protocol &&
          (listener.protocol === 'http' ||
            (owner.service === service && owner.listener.port === listener.port)))
      if (fits) {
        owners.set(listener.listen, owner ?? { service, listener })
        result.push({ service, listener })
      } else {
        const why = `port ${listener.listen} is ${owner.listener.protocol} of ${owner.service} already`
        faults.push({ kind: 'listener', service, listen: listener.listen, reason: 'protocol', why })
      }
    }
  }
  return result
}

function byPort(listeners: readonly Admitted[]): readonly [number, readonly Admitted[]][] {
  const ports = Map.groupBy(listeners, l => l.listener.listen)
  return [...ports].sort(([a], [b]) => a - b)
}

function doorsFor(port: number, exposure: Listener['expose'], addresses: Addresses): readonly Door[] {
  const all = exposure === 'public' ? [...addresses.public, ...addresses.private] : addresses.private
  // An address that a wildcard covers is not bound apart.
  const covered = (address: string) =>
    isIP(address) === 4
      ? address !== '0.0.0.0' && all.includes('0.0.0.0')
      : address !== '::' && all.includes('::')
  return [...new Set(all)].filter(address => !covered(address)).map(address => ({ address, port }))
}

function backendsOf(layout: Layout, faults: ProxyFault[]): ReadonlyMap<string, Backend> {
  const backends = new Map<string, Backend>()
  for (const [service, { gates, lanes }] of layout) {
    for (const gate of gates) {
      lanes.forEach((lane, at) => {
        const servers = lane.slots.map(slot => serverOf(service, gate, slot, faults))
        backends.set(backendName(service, gate, at), { mode: gate.protocol, servers })
      })
    }
  }
  return backends
}

function serverOf(service: ServiceName, gate: Gate, slot: Slot, faults: ProxyFault[]): Server {
  if (slot.use === 'free') return { state: 'maint' }
  const place = placeAt(slot.endpoint, gate.port)
  if (place === undefined) {
    const why = isAddress(slot.endpoint.address)
      ? `has no port "${gate.port.slice(0, 64)}"`
      : `its address "${slot.endpoint.address.slice(0, 64)}" is not an IP address`
    if (slot.use === 'serving')
      faults.push({ kind: 'endpoint', service, instance: slot.endpoint.instance, port: gate.port, why })
    return { state: 'maint' }
  }
  return { state: slot.use === 'serving' ? 'ready' : 'drain', ...place }
}

function placeAt(endpoint: Endpoint, port: string): Door | undefined {
  const number = Object.hasOwn(endpoint.ports, port) ? endpoint.ports[port] : undefined
  if (number === undefined || !Number.isInteger(number) || number < 1 || number > 65535) return undefined
  return isAddress(endpoint.address) ? { address: endpoint.address, port: number } : undefined
}

/** An address as a configuration may hold it: no zone, no brackets. */
export const isAddress = (text: string): boolean => isIP(text) !== 0 && !text.includes('%')

function sharesOf({ routes, layout }: DrawInput): ReadonlyMap<string, string> {
  const shares = new Map<string, string>()
  for (const service of [...routes.keys()].sort(byId)) {
    const word = planWord(laneShares(routes.get(service), layout.get(service)))
    if (word !== undefined) shares.set(encodeName(service), word)
  }
  return shares
}

function laneShares(route: Route | undefined, layout: ServiceLayout | undefined) {
  return (route?.backings ?? []).flatMap(({ generation, share }) => {
    const lane = layout?.lanes.findIndex(l => l.generation === generation) ?? -1
    return lane < 0 ? [] : [{ lane, generation, share }]
  })
}

/**
 * Where a request goes is looked up twice: does anybody claim its host name on this port, and which is the longest path
 * prefix under that name. Keys say the port and the side the caller came from (`u` outside, `i` inside).
 */
function httpMaps(listeners: readonly Admitted[], faults: ProxyFault[]) {
  const hosts = new Map<string, string>()
  const paths = new Map<string, string>()
  for (const { service, listener } of listeners) {
    if (listener.protocol !== 'http') continue
    const why = unfit(listener)
    if (why !== undefined) {
      faults.push({ kind: 'listener', service, listen: listener.listen, reason: 'unfit', why })
      continue
    }
    const prefix = listener.path.endsWith('/') ? listener.path : `${listener.path}/`
    const target = `${encodeName(service)}:${encodeName(listener.port)}`
    for (const hostname of listener.hostnames.length === 0 ? [''] : listener.hostnames) {
      for (const side of ['u', 'i']) {
        const at = `${listener.listen}${side}_${hexKey(hostname.toLowerCase())}`
        // A name with several paths is told apart: there, a disguised slash would be a way round them.
        hosts.set(at, prefix === '/' && hosts.get(at) !== 'paths' ? 'whole' : 'paths')
        if (side === 'u' && listener.expose === 'private') continue
        const key = `${at}_${hexKey(prefix)}`
        const holder = paths.get(key)
        if (holder === undefined) paths.set(key, target)
        else if (holder !== target && side === 'i') {
          faults.push({
            kind: 'listener',
            service,
            listen: listener.listen,
            reason: 'claimed',
            why: 'the address belongs to another service',
          })
        }
      }
    }
  }
  return { hosts: sorted(hosts), paths: sorted(paths) }
}

function unfit(listener: Listener): string | undefined {
  if (!listener.path.startsWith('/')) return 'a path starts with a slash'
  if (Buffer.byteLength(listener.path) > longestPath) return `a path has at most ${longestPath} bytes`
  const long = listener.hostnames.find(name => Buffer.byteLength(name) > longestHostname)
  return long === undefined ? undefined : `a host name has at most ${longestHostname} bytes`
}

const sorted = (map: Map<string, string>) => new Map([...map].sort(([a], [b]) => byId(a, b)))
