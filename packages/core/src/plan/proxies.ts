/** What the live proxies have acknowledged, as one picture for all services of a plan. */
import { attempt } from '../model/attempt.ts'
import type { HostId, InstanceId, ServiceName } from '../model/ids.ts'
import { compareRevisions, type Revision } from '../model/revision.ts'
import type { Listener } from '../model/route.ts'
import { type Unserved, unservedWords } from '../model/unserved.ts'
import { UnservedIndex } from '../model/unserved-index.ts'
import type { HostState, World } from '../model/world.ts'
import type { UnservedOnHost } from '../rollout/unserved.ts'

export interface Proxies {
  /** Every live proxy applies the routes up to here; undefined: there is none to wait for. */
  readonly oldest: Revision | undefined
  /** Some proxy is live and has acknowledged nothing: it may serve anything. */
  readonly silent: boolean
  /** Some live proxy serves an older route of these, whatever it acknowledges. */
  readonly outdated: ReadonlySet<ServiceName> | 'all'
  /** Instances with open requests somewhere. */
  readonly busy: ReadonlySet<InstanceId>
  /** What the live hosts said that they cannot serve; indexed when it is first asked for. */
  readonly unserved: () => UnservedIndex
  /** The live hosts whose proxy fails and acknowledges nothing, with what it says. */
  readonly failing: readonly { readonly host: HostId; readonly why: string }[]
  /**
   * Hosts whose acknowledgement makes its reader throw. Like one that is cut off, such a host holds up nobody; where only an entry
   * of what it does not serve throws, that list counts for nothing, and its revision counts as any.
   */
  readonly broken: readonly { readonly host: HostId; readonly error: unknown }[]
}

export function lookAtProxies(world: World): Proxies {
  let oldest: Revision | undefined
  let silent = false
  const outdated = new Set<ServiceName>()
  let areAllOutdated = false
  const busy = new Set<InstanceId>()
  const short: { readonly host: HostId; readonly unserved: readonly Unserved[] }[] = []
  const failing: { readonly host: HostId; readonly why: string }[] = []
  const broken: { readonly host: HostId; readonly error: unknown }[] = []
  const look = (host: HostState): void => {
    if (host.health === 'lost') return
    const isWaitedFor = host.health !== 'cut-off'
    if (host.ack === undefined) {
      silent ||= isWaitedFor && !host.isAckUnreadable && serves(host)
      if (isWaitedFor && host.record?.proxy.state === 'failing')
        failing.push({ host: host.id, why: host.record.proxy.reason ?? 'it fails' })
      return
    }
    // All of it is read before any of it counts: one that throws half-way holds up nobody.
    const revision = host.ack.value.revision as Revision
    const isOldest = oldest === undefined || compareRevisions(revision, oldest) < 0
    const draining = [...host.ack.value.draining]
    const { unserved = [], outdated: named = [] } = host.ack.value
    const older = named === 'all' ? named : [...named]
    if (isOldest) oldest = revision
    for (const instance of draining) busy.add(instance)
    if (older === 'all') areAllOutdated = true
    else for (const service of older) outdated.add(service)
    if (isWaitedFor && unserved.length > 0) short.push({ host: host.id, unserved })
  }
  for (const host of world.hosts.values()) {
    const looked = attempt(() => look(host))
    if ('error' in looked) broken.push({ host: host.id, error: looked.error })
  }
  let index: UnservedIndex | undefined
  const indexed = (): UnservedIndex => {
    const made = new UnservedIndex()
    for (const { host, unserved } of short) {
      const added = attempt(() => made.add(host, unserved))
      if ('error' in added) broken.push({ host, error: added.error })
    }
    return made
  }
  return {
    oldest,
    silent,
    outdated: areAllOutdated ? 'all' : outdated,
    busy,
    unserved: () => (index ??= indexed()),
    failing,
    broken,
  }
}

/** Whether every live proxy applies the route of a service that was written at a revision. */
export const haveApplied = (
  { oldest, silent, outdated }: Proxies,
  service: ServiceName,
  revision: Revision,
): boolean =>
  !silent &&
  outdated !== 'all' &&
  !outdated.has(service) &&
  (oldest === undefined || compareRevisions(oldest, revision) >= 0)

/**
 * What keeps a service from being served everywhere: each live host that said it cannot serve one of these listeners, and why; the
 * first so many of them. A host whose proxy fails is not waited for where others answer; where none does, nobody serves anything.
 */
export function unservedOnHosts(
  { oldest, unserved, failing }: Proxies,
  service: ServiceName,
  listeners: readonly Listener[],
  most?: number,
): readonly (Omit<UnservedOnHost, 'isNewHost'> & { readonly host: HostId })[] {
  if (listeners.length === 0) return []
  if (oldest === undefined)
    return failing.slice(0, most).map(({ host, why }) => ({
      host,
      ports: listeners.map(({ listen }) => listen),
      what: `no route is served: the proxy fails: ${why}`,
    }))
  return unserved()
    .of(service, listeners, most)
    .map(({ host, one }) => ({ host, ports: [one.listen], what: unservedWords(one) }))
}

/**
 * Whether a host without acknowledgement may still send requests: its lease was lost but nobody calls it lost, and its proxy was
 * well when it last said so. One that fails or is off says that in its record and is not waited for; nor is one that is cut off
 * from the store, or nothing could be stopped anywhere for as long as it is.
 */
const serves = ({ record }: HostState): boolean => record?.proxy.state === 'up'
