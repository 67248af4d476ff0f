/** What leads from one picture to another: commands to the running process, or a reload where it has no room for it. */
import type { Picture, Server } from './picture.ts'
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
 * finds what one of them says. So an entry comes after those that it leads to and goes before them; what a new one takes
 * over is let be until it is there; and of two paths that begin alike the longer one comes first and goes last.
 */
function mapCommands(from: Picture, to: Picture, dir: string): readonly string[] {
  const inward = mapNames.map(name => ({ path: mapPath(dir, name), was: from.maps[name], is: to.maps[name] }))
  const outward = inward.toReversed()
  const adds = outward.flatMap(({ path, was, is }) =>
    longestFirst([...is].filter(([key]) => !was.has(key))).map(
      ([key, value]) => `add map ${path} ${key} ${value}`,
    ),
  )
  const sets = outward.flatMap(({ path, was, is }) =>
    [...is]
      .filter(([key, value]) => was.has(key) && was.get(key) !== value)
      .map(([key, value]) => `set map ${path} ${key} ${value}`),
  )
  const removals = inward.flatMap(({ path, was, is }) =>
    longestFirst([...was].filter(([key]) => !is.has(key)))
      .toReversed()
      .map(([key]) => `del map ${path} ${key}`),
  )
  return [...adds, ...sets, ...removals]
}

const longestFirst = (entries: readonly [string, string][]) =>
  entries.toSorted(([a], [b]) => b.length - a.length)

const samePlace = (a: Server, b: Server) =>
  a.state !== 'maint' && b.state !== 'maint' && a.address === b.address && a.port === b.port
