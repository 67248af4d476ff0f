/** The picture of a running process, read back from it. */
import type { Backend, Picture, Server } from './picture.ts'
import { serverName } from './picture.ts'
import { mapPath, structureOf } from './render.ts'
import { parseMap, parseServers, type Runtime, RuntimeSilent, type SeenServer } from './runtime.ts'

/**
 * What the newest worker says now; nothing when it is built otherwise than expected, so that it cannot be compared.
 * Throws `RuntimeSilent`.
 */
export async function observe(
  runtime: Runtime,
  expected: Picture,
  dir: string,
): Promise<Picture | undefined> {
  const { newest } = await runtime.workers()
  if (newest === undefined) throw new RuntimeSilent('there is no worker')
  const read = async (name: 'hosts' | 'paths' | 'shares' | 'meta') =>
    parseMap((await runtime.ask(newest, `show map ${mapPath(dir, name)}`)) ?? '')
  if ((await read('meta')).get('structure') !== structureOf(expected, dir)) return undefined
  const maps = { hosts: await read('hosts'), paths: await read('paths'), shares: await read('shares') }
  const seen = Map.groupBy(
    parseServers((await runtime.ask(newest, 'show servers state')) ?? ''),
    s => s.backend,
  )
  const backends = [...expected.backends].map(([name, backend]): [string, Backend] => [
    name,
    { ...backend, servers: backend.servers.map((_, at) => serverOf(seen.get(name), serverName(at))) },
  ])
  return { ...expected, backends: new Map(backends), maps }
}

/** The revision that the newest worker was told last, or began with; nothing where there is none. Throws `RuntimeSilent`. */
export async function toldRevision(runtime: Runtime, dir: string): Promise<string | undefined> {
  const { newest } = await runtime.workers()
  const text =
    newest === undefined ? undefined : await runtime.ask(newest, `show map ${mapPath(dir, 'meta')}`)
  const revision = parseMap(text ?? '').get('revision')
  return revision !== undefined && /^\d+$/.test(revision) ? revision : undefined
}

function serverOf(servers: readonly SeenServer[] | undefined, name: string): Server {
  const seen = servers?.find(server => server.server === name)
  // Ready without weight: its arrival was broken off, so it comes anew.
  if (seen === undefined || seen.state === 'maint' || (seen.state === 'ready' && seen.weight === 0)) {
    return { state: 'maint' }
  }
  return { state: seen.state, address: seen.address, port: seen.port }
}
