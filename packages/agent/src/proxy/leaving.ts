/**
 * Who left the routes and may still have sessions on this host. An endpoint is let go once no worker, replaced ones
 * included, has had a session with it twice in a row; at its deadline the sessions are cut.
 */
import type { Instant } from '@boxcar/core/model/clock'
import { after } from '@boxcar/core/model/clock'
import type { InstanceId, ServiceName } from '@boxcar/core/model/ids'
import type { Endpoint, Route } from '@boxcar/core/model/route'
import { encodeName } from './encode.ts'
import type { Picture } from './picture.ts'
import { backendName, serverName } from './picture.ts'
import type { ServerUse } from './runtime.ts'
import type { Layout } from './slots.ts'
import { sameEndpoint } from './slots.ts'

export interface Leaving {
  readonly service: ServiceName
  readonly endpoint: Endpoint
  readonly deadline: Instant
  /** Looks in a row that found no session. */
  readonly quiet: number
}

/** TCP connections to a generation that no longer answers but keeps running: cut at the deadline, not waited for. */
export interface Resting {
  readonly service: ServiceName
  readonly generation: number
  readonly deadline: Instant
}

/** What one worker said; the newest worker's picture is known, a replaced one's is as it was then. */
export interface WorkerUse {
  readonly worker: number
  readonly role: 'newest' | 'replaced'
  readonly uses: readonly ServerUse[]
}

export interface Cut {
  readonly worker: number
  /** `backend/server`. */
  readonly server: string
}

const quietLooks = 2
/** A session that was cut and is still counted after this is not waited for. */
const patienceMs = 3_000

/** The leaving ones after a change of the layout: those who drain in it, and those before who have not come back. */
export function leavingAfter(
  before: readonly Leaving[],
  layout: Layout,
  routes: ReadonlyMap<ServiceName, Route>,
  now: Instant,
  drainMs: ReadonlyMap<ServiceName, number>,
): readonly Leaving[] {
  const result: Leaving[] = []
  for (const [service, { lanes }] of layout) {
    for (const slot of lanes.flatMap(lane => lane.slots)) {
      if (slot.use !== 'draining') continue
      const known = before.find(l => l.service === service && sameEndpoint(l.endpoint, slot.endpoint))
      const ms = routes.get(service)?.drainMs ?? drainMs.get(service) ?? 0
      result.push(known ?? { service, endpoint: slot.endpoint, deadline: after(now, ms), quiet: 0 })
    }
  }
  return result
}

/** One look: who is done, who goes on, and which sessions are to be cut now. */
export function lookAt(
  leaving: readonly Leaving[],
  workers: readonly WorkerUse[],
  picture: Picture,
  now: Instant,
): { readonly goOn: readonly Leaving[]; readonly done: readonly Leaving[]; readonly cuts: readonly Cut[] } {
  const goOn: Leaving[] = []
  const done: Leaving[] = []
  const cuts: Cut[] = []
  for (const one of leaving) {
    const sessions = workers.flatMap(w => sessionsWith(one, w, picture))
    const quiet = sessions.length === 0 ? one.quiet + 1 : 0
    if (quiet >= quietLooks || now >= after(one.deadline, patienceMs)) done.push(one)
    else goOn.push({ ...one, quiet })
    if (now >= one.deadline) cuts.push(...sessions)
  }
  return { goOn, done, cuts }
}

/** The TCP lanes that lost their share and have not got it back. */
export function restingAfter(
  before: readonly Resting[],
  was: ReadonlyMap<ServiceName, Route>,
  is: ReadonlyMap<ServiceName, Route>,
  now: Instant,
): readonly Resting[] {
  const result: Resting[] = []
  for (const [service, route] of is) {
    if (!route.listeners.some(listener => listener.protocol === 'tcp')) continue
    const answering = new Set(was.get(service)?.backings.flatMap(b => (b.share > 0 ? [b.generation] : [])))
    for (const { generation, share } of route.backings) {
      if (share > 0) continue
      const known = before.find(r => r.service === service && r.generation === generation)
      if (known !== undefined) result.push(known)
      else if (answering.has(generation))
        result.push({ service, generation, deadline: after(now, route.drainMs) })
    }
  }
  return result
}

/** The TCP sessions of generations whose rest is due. */
export function overdue(
  resting: readonly Resting[],
  workers: readonly WorkerUse[],
  layout: Layout,
  now: Instant,
): { readonly goOn: readonly Resting[]; readonly cuts: readonly Cut[] } {
  const due = resting.filter(r => now >= r.deadline)
  const cuts: Cut[] = []
  for (const { service, generation } of due) {
    const { gates, lanes } = layout.get(service) ?? { gates: [], lanes: [] }
    const at = lanes.findIndex(lane => lane.generation === generation)
    const tcp = gates.filter(gate => gate.protocol === 'tcp')
    const names = new Set(tcp.map(gate => backendName(service, gate, at)))
    const places = new Set(
      (lanes[at]?.slots ?? []).flatMap(slot =>
        slot.use === 'free'
          ? []
          : tcp.map(gate => placeKey(slot.endpoint.address, slot.endpoint.ports[gate.port] ?? 0)),
      ),
    )
    const tcpOf = new RegExp(`^${encodeName(service)}__[a-z0-9]+(_[a-z0-9]+)*__tcp__`)
    for (const { worker, role, uses } of workers) {
      for (const use of uses) {
        const theirs =
          role === 'newest'
            ? names.has(use.backend)
            : tcpOf.test(use.backend) && places.has(placeKey(use.address, use.port))
        if (theirs && use.sessions > 0) cuts.push({ worker, server: `${use.backend}/${use.server}` })
      }
    }
  }
  return { goOn: resting.filter(r => !due.includes(r)), cuts }
}

/** Instances to name as draining: gone from the routes altogether. */
export function drainingInstances(
  leaving: readonly Leaving[],
  routes: ReadonlyMap<ServiceName, Route>,
): readonly InstanceId[] {
  const routed = new Set(
    [...routes.values()].flatMap(r => r.backings.flatMap(b => b.endpoints.map(e => e.instance))),
  )
  return [...new Set(leaving.map(l => l.endpoint.instance))].filter(id => !routed.has(id)).sort()
}

function sessionsWith(
  { service, endpoint }: Leaving,
  { worker, role, uses }: WorkerUse,
  picture: Picture,
): readonly Cut[] {
  const ports = new Set(Object.values(endpoint.ports).map(port => placeKey(endpoint.address, port)))
  const prefix = `${encodeName(service)}__`
  return uses.flatMap(use => {
    if (use.sessions === 0 || !use.backend.startsWith(prefix) || !ports.has(placeKey(use.address, use.port)))
      return []
    // In the newest worker the place may have a new tenant, who is not to be cut.
    const server = picture.backends.get(use.backend)?.servers.find((_, at) => serverName(at) === use.server)
    if (role === 'newest' && server?.state === 'ready') return []
    return [{ worker, server: `${use.backend}/${use.server}` }]
  })
}

/** One spelling for an address, so that IPv6 compares. */
function placeKey(address: string, port: number): string {
  const spelled = address.includes(':') ? (URL.parse(`http://[${address}]`)?.hostname ?? address) : address
  return `${spelled} ${port}`
}
