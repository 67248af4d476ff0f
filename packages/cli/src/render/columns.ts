/** The tables of `get`, `status` and `host ls`: which columns each kind of object has. */
import type {
  GenerationView,
  HostView,
  InstanceView,
  ProjectView,
  RolloutView,
  RouteView,
  ServiceView,
} from '@boxcar/api/views'
import { plural } from '@boxcar/core/model/plural'
import { unservedLine } from './evidence.ts'
import { harmless, type Paint } from './paint.ts'
import type { Column } from './table.ts'
import { cores, exitWords, memory, span } from './words.ts'

export const projectColumns: readonly Column<ProjectView>[] = [
  { head: 'PROJECT', of: it => it.name },
  { head: 'SERVICES', of: it => String(it.services), align: 'right' },
  { head: 'INSTANCES', of: it => String(it.instances), align: 'right' },
]

export const serviceColumns = (now: number): readonly Column<ServiceView>[] => [
  { head: 'SERVICE', of: it => it.service },
  { head: 'STATUS', of: (it, paint) => statusColor(it.status, paint)(it.status) },
  { head: 'READY', of: it => `${it.ready}/${it.replicas}` },
  { head: 'GEN', of: it => generationWords(it) },
  { head: 'IMAGE', of: it => it.image },
  { head: 'AGE', of: it => span(now - it.at), only: 'wide' },
  { head: 'BY', of: it => harmless(it.by), only: 'wide' },
  { head: 'REASON', of: it => harmless(it.reason) },
]

/** The generation that answers, and the one on its way where there is one. */
function generationWords({ rollout, generation }: ServiceView): string {
  const live = rollout.live === undefined ? '-' : String(rollout.live)
  if (rollout.next !== undefined) return `${live}→${rollout.next}`
  return rollout.live === undefined ? String(generation) : live
}

export function statusColor(status: ServiceView['status'], paint: Paint): (text: string) => string {
  switch (status) {
    case 'ready':
      return paint.good
    case 'rolling-out':
    case 'waiting':
    case 'misplaced':
    case 'deleting':
      return paint.busy
    case 'degraded':
    case 'reverted':
    case 'unknown':
      return paint.bad
  }
}

export const instanceColumns = (now: number): readonly Column<InstanceView>[] => [
  { head: 'INSTANCE', of: it => it.id },
  { head: 'HOST', of: it => it.host },
  { head: 'STATE', of: (it, paint) => stateColor(it, paint)(stateWords(it)) },
  { head: 'ROLE', of: it => it.role },
  { head: 'RESTARTS', of: it => String(it.restarts), align: 'right' },
  { head: 'FOR', of: it => (it.since === undefined ? '-' : span(now - it.since)) },
  { head: 'PORTS', of: portWords, only: 'wide' },
  { head: 'CPUS', of: it => cores(it.cpuMilli), align: 'right', only: 'wide' },
  { head: 'MEMORY', of: it => memory(it.memoryMiB), align: 'right', only: 'wide' },
  { head: 'CONTAINER', of: it => it.container?.slice(0, 12) ?? '-', only: 'wide' },
  { head: 'IMAGE', of: it => it.image, only: 'wide' },
  { head: 'REASON', of: it => harmless(reasonOf(it)) },
]

export const stateWords = (it: InstanceView): string =>
  it.desired === 'stop' && it.state !== 'stopped' ? 'stopping' : it.state

export function stateColor(it: InstanceView, paint: Paint): (text: string) => string {
  if (it.hostState === 'suspect' || it.hostState === 'removed') return paint.bad
  if (it.state === 'ready') return paint.good
  if (it.state === 'backoff' || it.state === 'unknown') return paint.bad
  return paint.busy
}

/** Why an instance is as it is; how its last run ended where nothing else is known. */
export function reasonOf(it: InstanceView): string {
  const host = it.hostState === 'suspect' ? `${it.host} does not answer` : undefined
  const ended = it.state !== 'ready' && it.exit !== undefined ? exitWords(it.exit) : undefined
  return [host, it.reason ?? ended, misplacedReason(it)].filter(text => text !== undefined).join('; ')
}

const misplacedReason = ({ misplaced }: InstanceView): string | undefined =>
  misplaced && `could not be placed here now: ${misplaced.map(({ words }) => words).join(' and ')}`

const portWords = (it: InstanceView) =>
  Object.entries(it.ports)
    .map(([name, port]) => `${name}=${port}`)
    .join(',') || '-'

export const hostColumns: readonly Column<HostView>[] = [
  { head: 'HOST', of: it => it.id },
  {
    head: 'STATE',
    of: (it, paint) => hostColor(it, paint)(hostState(it)),
  },
  { head: 'ADDRESS', of: it => it.address },
  { head: 'INSTANCES', of: it => String(it.instances), align: 'right' },
  { head: 'CPUS', of: it => `${cores(it.used.cpuMilli)}/${cores(it.capacity.cpuMilli)}` },
  { head: 'MEMORY', of: it => `${memory(it.used.memoryMiB)}/${memory(it.capacity.memoryMiB)}` },
  { head: 'ENGINE', of: it => it.engine.version },
  {
    head: 'PROXY',
    of: (it, paint) => (it.proxy.state === 'failing' ? paint.bad('failing') : it.proxy.state),
  },
  { head: 'AGENT', of: it => it.agentVersion, only: 'wide' },
  { head: 'AGENT-PORT', of: it => String(it.agentPort), only: 'wide', align: 'right' },
  {
    head: 'LABELS',
    of: it =>
      Object.entries(it.labels)
        .map(([key, value]) => `${key}=${value}`)
        .join(',') || '-',
    only: 'wide',
  },
  { head: 'REASON', of: it => harmless(hostReason(it)) },
]

/** With what is not as it should be there, as Kubernetes shows its nodes: `ready,state-not-saved`. */
export const hostState = (it: HostView): string =>
  [...new Set([it.state, ...(it.conditions ?? []).map(one => one.kind)])].map(harmless).join(',')

export function hostColor(it: HostView, paint: Paint): (text: string) => string {
  if (it.state === 'cordoned' || it.state === 'draining') return paint.busy
  if (it.state !== 'ready') return paint.bad
  return (it.conditions ?? []).length === 0 ? paint.good : paint.busy
}

export function hostReason(it: HostView): string {
  const said = it.drain ?? it.cordon
  const reasons = [
    // The server's reason may be what the operator said.
    said !== undefined && it.reason === said.why ? undefined : it.reason,
    said === undefined ? undefined : said.why === '' ? `by ${said.by}` : `${said.by}: ${said.why}`,
    it.engine.state === 'down' ? it.engine.reason : undefined,
    it.proxy.state === 'failing' || it.proxy.reason !== undefined
      ? `proxy: ${it.proxy.reason ?? 'fails'}`
      : undefined,
    ...(it.unserved ?? []).map(one => `proxy: ${one.words}`),
    it.misplaced.length === 0
      ? undefined
      : `${plural(it.misplaced.length, 'instance')} could not be placed here now`,
    ...(it.conditions ?? []).map(one => one.reason).filter(text => it.reason?.includes(text) !== true),
  ].filter(text => text !== undefined && text !== '')
  return [...new Set(reasons)].join('; ')
}

export const rolloutColumns = (now: number): readonly Column<RolloutView>[] => [
  { head: 'SERVICE', of: it => it.service },
  { head: 'PHASE', of: (it, paint) => phaseColor(it, paint)(it.phase) },
  { head: 'LIVE', of: it => dash(it.live), align: 'right' },
  { head: 'NEXT', of: it => dash(it.next), align: 'right' },
  { head: 'WARM', of: it => dash(it.warm), align: 'right' },
  { head: 'FOR', of: it => (it.since === undefined ? '-' : span(now - it.since)) },
  { head: 'WORDS', of: it => harmless(it.words) },
]

const dash = (value: number | undefined) => (value === undefined ? '-' : String(value))

export function phaseColor(it: RolloutView, paint: Paint): (text: string) => string {
  if (it.phase === 'reverted' || it.phase === 'unknown' || it.outcome === 'rejected') return paint.bad
  return it.phase === 'settled' ? paint.good : paint.busy
}

export const routeColumns: readonly Column<RouteView>[] = [
  { head: 'SERVICE', of: it => it.service },
  { head: 'LISTEN', of: it => `${it.listen}/${it.protocol}` },
  { head: 'HOSTNAMES', of: it => it.hostnames.join(',') || '*' },
  { head: 'PATH', of: it => it.path },
  { head: 'EXPOSE', of: it => it.expose },
  {
    head: 'GENERATIONS',
    of: it =>
      it.backings
        .filter(backing => backing.percent > 0)
        .map(backing => `${backing.generation}: ${backing.percent}% of ${backing.endpoints.length}`)
        .join(', ') || '-',
  },
  { head: 'APPLIED', of: it => `${it.applied.hosts}/${it.applied.of}` },
  { head: 'REASON', of: it => (it.unserved ?? []).map(unservedLine).join('; ') },
  { head: 'ADDRESSES', of: it => it.addresses.join(' '), only: 'wide' },
]

export const generationColumns = (now: number): readonly Column<GenerationView>[] => [
  { head: 'GEN', of: it => String(it.generation), align: 'right' },
  {
    head: 'ROLE',
    of: (it, paint) => (it.role === 'live' ? paint.good : it.role === 'rejected' ? paint.bad : same)(it.role),
  },
  { head: 'IMAGE', of: it => it.image },
  { head: 'PINNED', of: it => it.pinned ?? '-', only: 'wide' },
  { head: 'AGE', of: it => span(now - it.at) },
  { head: 'BY', of: it => harmless(it.by) },
  {
    head: 'REASON',
    of: it =>
      harmless(it.rejection?.words ?? (it.sameAs === undefined ? '' : `the same container as ${it.sameAs}`)),
  },
]

const same = (text: string) => text
