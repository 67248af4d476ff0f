/** What the live proxies have acknowledged, as one picture for all services of a plan. */
import { attempt } from '../model/attempt.ts'
import type { HostId, InstanceId } from '../model/ids.ts'
import { compareRevisions, type Revision } from '../model/revision.ts'
import type { HostState, World } from '../model/world.ts'

export interface Proxies {
  /** Every live proxy applies the routes up to here; undefined: there is none to wait for. */
  readonly oldest: Revision | undefined
  /** Some proxy is live and has acknowledged nothing: it may serve anything. */
  readonly silent: boolean
  /** Instances with open requests somewhere. */
  readonly busy: ReadonlySet<InstanceId>
  /** Hosts whose acknowledgement makes its reader throw. Like one that is cut off, such a host holds up nobody. */
  readonly broken: readonly { readonly host: HostId; readonly error: unknown }[]
}

export function lookAtProxies(world: World): Proxies {
  let oldest: Revision | undefined
  let silent = false
  const busy = new Set<InstanceId>()
  const broken: { readonly host: HostId; readonly error: unknown }[] = []
  const look = (host: HostState): void => {
    if (host.health === 'lost') return
    if (host.ack === undefined) {
      silent ||= host.health !== 'cut-off' && !host.isAckUnreadable && serves(host)
      return
    }
    const { draining, revision: applied } = host.ack.value
    const revision = applied as Revision
    if (oldest === undefined || compareRevisions(revision, oldest) < 0) oldest = revision
    for (const instance of draining) busy.add(instance)
  }
  for (const host of world.hosts.values()) {
    const looked = attempt(() => look(host))
    if ('error' in looked) broken.push({ host: host.id, error: looked.error })
  }
  return { oldest, silent, busy, broken }
}

/** Whether every live proxy applies the routes up to a revision. */
export const haveApplied = ({ oldest, silent }: Proxies, revision: Revision): boolean =>
  !silent && (oldest === undefined || compareRevisions(oldest, revision) >= 0)

/**
 * Whether a host without acknowledgement may still send requests: its lease was lost but nobody calls it lost, and its proxy was
 * well when it last said so. One that fails or is off says that in its record and is not waited for; nor is one that is cut off
 * from the store, or nothing could be stopped anywhere for as long as it is.
 */
const serves = ({ record }: HostState): boolean => record?.proxy.state === 'up'
