/** What leads from one picture to another: commands to the running process, or a reload where it has no room for it. */
import type { MapName, Picture, Server } from './picture.ts'
import { mapNames, serverName } from './picture.ts'
import { mapPath, structureOf, weight } from './render.ts'

/** A server that starts to serve; it gets its weight once it was reached, and none before. */
export interface Join {
  readonly name: string
  readonly address: string
  readonly port: number
}

export type Difference =
  | { readonly kind: 'reload' }
  | {
      readonly kind: 'commands'
      /** In this order: those who come, what the maps say, those who go. So nothing is sent where nobody is. */
      readonly joins: readonly Join[]
      readonly maps: readonly string[]
      readonly leaves: readonly string[]
    }

export function difference(from: Picture, to: Picture, dir: string): Difference {
  if (structureOf(from, dir) !== structureOf(to, dir)) return { kind: 'reload' }
  const joins: Join[] = []
  const returns: string[] = []
  const leaves: string[] = []
  for (const [backend, { servers }] of to.backends) {
    const before = from.backends.get(backend)?.servers ?? []
    servers.forEach((server, at) => {
      const was: Server = before[at] ?? { state: 'maint' }
      const name = `${backend}/${serverName(at)}`
      if (server.state === 'ready') {
        if (!samePlace(was, server)) joins.push({ name, address: server.address, port: server.port })
        else if (was.state === 'drain') returns.push(`set server ${name} state ready`)
      } else if (server.state === 'drain') {
        if (was.state === 'ready') leaves.push(`set server ${name} state drain`)
      } else if (was.state !== 'maint') leaves.push(`set server ${name} state maint`)
    })
  }
  return { kind: 'commands', joins, maps: [...returns, ...mapCommands(from, to, dir)], leaves }
}

/** A slot that leaves maintenance counts as up before its first check: it comes without weight, and down. */
export const joinCommands = ({ name, address, port }: Join): readonly string[] => [
  `set server ${name} weight 0`,
  `set server ${name} addr ${address} port ${port}`,
  `set server ${name} state ready`,
  `set server ${name} health down`,
  `enable health ${name}`,
]

/** It was reached from here, so it is up; or its own checks will find it later. */
export const welcomeCommands = ({ name }: Join, reached: 'reached' | 'not-yet'): readonly string[] => [
  ...(reached === 'reached' ? [`set server ${name} health up`] : []),
  `set server ${name} weight ${weight}`,
]

/**
 * A request is looked up in one map after the other: host name, path, service. At every moment between the two pictures it
 * finds what one of them says: what comes is there before anything leads to it, what stays changes then, and what goes, goes
 * in the reverse order.
 */
function mapCommands(from: Picture, to: Picture, dir: string): readonly string[] {
  const adds = missing(from, to).map(([map, key, value]) => `add map ${mapPath(dir, map)} ${key} ${value}`)
  const removals = missing(to, from).map(([map, key]) => `del map ${mapPath(dir, map)} ${key}`)
  const sets = mapNames
    .toReversed()
    .flatMap(map =>
      [...to.maps[map]]
        .filter(([key, value]) => (from.maps[map].get(key) ?? value) !== value)
        .map(([key, value]) => `set map ${mapPath(dir, map)} ${key} ${value}`),
    )
  return [...adds, ...sets, ...removals.toReversed()]
}

/**
 * The entries of one picture that another has not, in the order in which they come. A host name comes before what is for those
 * that nobody claims, or it would find that for a moment; of two paths that begin alike the longer one comes first.
 */
function missing(there: Picture, here: Picture): readonly (readonly [MapName, string, string])[] {
  const entries = (map: MapName) =>
    [...here.maps[map]]
      .filter(([key]) => !there.maps[map].has(key))
      .map(([key, value]) => [map, key, value] as const)
      .toSorted(([, a], [, b]) => b.length - a.length)
  const routes = [...entries('paths'), ...entries('hosts')]
  const isForAnyName = ([, key]: (typeof routes)[number]) => /_(_|$)/.test(key)
  return [
    ...entries('shares'),
    ...routes.filter(entry => !isForAnyName(entry)),
    ...routes.filter(isForAnyName),
  ]
}

const samePlace = (a: Server, b: Server) =>
  a.state !== 'maint' && b.state !== 'maint' && a.address === b.address && a.port === b.port
