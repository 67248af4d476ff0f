/**
 * A service has a few lanes, rendered ahead; each generation takes one for as long as it is routed, and its instances
 * take numbered slots in it. Members come and go by runtime commands then; only a service that needs more lanes or more
 * slots than it has costs a reload. What was left of the layout is what the next one starts from, so slots stay.
 */
import type { GenerationNumber, InstanceId, ServiceName } from '@boxcar/core/model/ids'
import { byId } from '@boxcar/core/model/ids'
import type { Backing, Endpoint, Route } from '@boxcar/core/model/route'

export type Slot =
  | { readonly use: 'free' }
  | { readonly use: 'serving'; readonly endpoint: Endpoint }
  /** Left the routes; no other instance gets the slot before its sessions have ended. */
  | { readonly use: 'draining'; readonly endpoint: Endpoint }

export interface Lane {
  /** Whose lane it is; `undefined` when nobody's, although slots may still be draining. */
  readonly generation: GenerationNumber | undefined
  readonly slots: readonly Slot[]
}

/** A port of the instances and the protocol that it is served with; one backend a lane. */
export interface Gate {
  readonly port: string
  readonly protocol: 'http' | 'tcp'
}

export interface ServiceLayout {
  readonly uid: string
  readonly gates: readonly Gate[]
  readonly lanes: readonly Lane[]
}

export type Layout = ReadonlyMap<ServiceName, ServiceLayout>

/** How generous to be with room: `keep` what is rendered, so that nothing reloads; `fit` it to need, since one is due. */
export type Sizing = 'keep' | 'fit'

export const leastLanes = 4
export const leastSlots = 4
const free: Slot = { use: 'free' }

/** Gives every routed instance a slot, moving none that has one. */
export function arrange(previous: Layout, routes: ReadonlyMap<ServiceName, Route>, sizing: Sizing): Layout {
  const names = [...new Set([...previous.keys(), ...routes.keys()])].sort(byId)
  const next = new Map<ServiceName, ServiceLayout>()
  for (const name of names) {
    const layout = arrangeService(previous.get(name), routes.get(name), sizing)
    if (layout !== undefined) next.set(name, layout)
  }
  return next
}

/** The layout once the drained endpoints that `done` names have given their slots back. */
export function release(layout: Layout, done: (endpoint: Endpoint) => boolean): Layout {
  const next = new Map<ServiceName, ServiceLayout>()
  for (const [name, service] of layout) {
    const lanes = service.lanes.map(lane => {
      const goes = lane.slots.some(slot => slot.use === 'draining' && done(slot.endpoint))
      return goes
        ? {
            ...lane,
            slots: lane.slots.map(slot => (slot.use === 'draining' && done(slot.endpoint) ? free : slot)),
          }
        : lane
    })
    next.set(name, lanes.every((lane, at) => lane === service.lanes[at]) ? service : { ...service, lanes })
  }
  return next
}

/** Those who left and may still have sessions. */
export function drainingEndpoints(layout: Layout): readonly Endpoint[] {
  return [...layout.values()].flatMap(service =>
    service.lanes.flatMap(lane =>
      lane.slots.flatMap(slot => (slot.use === 'draining' ? [slot.endpoint] : [])),
    ),
  )
}

/** The same process at the same place. */
export function sameEndpoint(a: Endpoint, b: Endpoint): boolean {
  if (a === b) return true
  const ports = Object.entries(a.ports)
  return (
    a.instance === b.instance &&
    a.address === b.address &&
    ports.length === Object.keys(b.ports).length &&
    ports.every(([name, port]) => b.ports[name] === port)
  )
}

function arrangeService(
  previous: ServiceLayout | undefined,
  route: Route | undefined,
  sizing: Sizing,
): ServiceLayout | undefined {
  if (route === undefined) return previous === undefined ? undefined : withdraw(previous, sizing)
  const wanted = route.backings.map(backing => ({
    generation: backing.generation,
    members: distinct(backing),
  }))
  const before =
    previous === undefined ? [] : previous.uid === route.uid ? previous.lanes : previous.lanes.map(emptied)
  const kept = before.map(lane => {
    const backing = wanted.find(w => w.generation === lane.generation)
    return backing === undefined ? emptied(lane) : stay(lane, backing.members)
  })
  const need = sizeFor(Math.max(0, ...wanted.map(w => w.members.length)))
  let lanes: Lane[] = sizing === 'fit' ? trimmed(kept, need) : kept
  while (lanes.length < leastLanes) lanes.push({ generation: undefined, slots: [] })
  for (const { generation, members } of wanted) lanes = takeLane(lanes, generation, members)
  const has = kept[0]?.slots.length ?? 0
  const slots = Math.max(0, ...lanes.map(lane => lane.slots.length))
  const size = sizing === 'fit' || slots > has ? Math.max(need, powerOfTwo(slots)) : has
  const layout = {
    uid: route.uid,
    gates: gatesOf(route, previous, sizing),
    lanes: lanes.map(lane => padded(lane, size)),
  }
  return previous !== undefined && sameLayout(previous, layout) ? previous : layout
}

/** A service that left the routes: it drains, and its room goes when a reload is due. */
function withdraw(previous: ServiceLayout, sizing: Sizing): ServiceLayout | undefined {
  const lanes = previous.lanes.map(emptied)
  const drained = lanes.every(lane => lane.slots.every(slot => slot.use === 'free'))
  if (drained && sizing === 'fit') return undefined
  const layout = { ...previous, lanes }
  return sameLayout(previous, layout) ? previous : layout
}

function emptied(lane: Lane): Lane {
  if (lane.generation === undefined) return lane
  return {
    generation: undefined,
    slots: lane.slots.map(slot =>
      slot.use === 'serving' ? { use: 'draining', endpoint: slot.endpoint } : slot,
    ),
  }
}

/** The lane with those that stay, and those that left draining. */
function stay(lane: Lane, members: readonly Endpoint[]): Lane {
  return {
    generation: lane.generation,
    slots: lane.slots.map((slot): Slot => {
      const leaves = slot.use === 'serving' && !members.some(member => sameEndpoint(member, slot.endpoint))
      return leaves ? { use: 'draining', endpoint: slot.endpoint } : slot
    }),
  }
}

/**
 * Seats a generation: in its own lane, else where its members are still draining (it came back), else in an empty lane,
 * else beside others that drain, else in a further one.
 */
function takeLane(
  lanes: readonly Lane[],
  generation: GenerationNumber,
  members: readonly Endpoint[],
): Lane[] {
  const size = Math.max(0, ...lanes.map(lane => lane.slots.length))
  const busy = (lane: Lane) => lane.slots.filter(slot => slot.use !== 'free').length
  const known = (lane: Lane) => members.filter(member => lane.slots.some(slot => holds(slot, member))).length
  const fits = (lane: Lane) =>
    lane.generation === undefined && size - busy(lane) + known(lane) >= members.length
  let at = lanes.findIndex(lane => lane.generation === generation)
  if (at < 0) at = lanes.findIndex(lane => fits(lane) && known(lane) > 0)
  if (at < 0) at = lanes.findIndex(lane => lane.generation === undefined && busy(lane) === 0)
  if (at < 0) at = lanes.findIndex(fits)
  if (at < 0) at = lanes.length
  const seated = { generation, slots: seat(lanes[at]?.slots ?? [], members) }
  return at < lanes.length ? lanes.with(at, seated) : [...lanes, seated]
}

function seat(before: readonly Slot[], members: readonly Endpoint[]): readonly Slot[] {
  const slots = [...before]
  for (const endpoint of members) {
    const own = slots.findIndex(slot => holds(slot, endpoint))
    const at = own >= 0 ? own : slots.findIndex(slot => slot.use === 'free')
    if (own < 0 || slots[own]?.use === 'draining')
      slots[at < 0 ? slots.length : at] = { use: 'serving', endpoint }
  }
  return slots
}

const holds = (slot: Slot, endpoint: Endpoint) => slot.use !== 'free' && sameEndpoint(slot.endpoint, endpoint)

/** Lanes cut to what is needed, from the end, where nobody sits. */
function trimmed(lanes: readonly Lane[], need: number): Lane[] {
  const lastBusy = (lane: Lane) => lane.slots.findLastIndex(slot => slot.use !== 'free')
  const size = Math.max(need, powerOfTwo(Math.max(0, ...lanes.map(lane => lastBusy(lane) + 1))))
  const cut = lanes.map(lane => ({ ...lane, slots: lane.slots.slice(0, size) }))
  const last = cut.findLastIndex(lane => lane.generation !== undefined || lastBusy(lane) >= 0)
  return cut.slice(0, Math.max(last + 1, leastLanes))
}

function padded(lane: Lane, size: number): Lane {
  if (lane.slots.length === size) return lane
  return { ...lane, slots: [...lane.slots, ...Array<Slot>(size - lane.slots.length).fill(free)] }
}

function gatesOf(route: Route, previous: ServiceLayout | undefined, sizing: Sizing): readonly Gate[] {
  const gates = new Map<string, Gate>()
  const kept = sizing === 'keep' ? (previous?.gates ?? []) : []
  for (const { port, protocol } of [...kept, ...route.listeners])
    gates.set(`${protocol} ${port}`, { port, protocol })
  return [...gates.entries()].sort(([a], [b]) => byId(a, b)).map(([, gate]) => gate)
}

function distinct(backing: Backing): readonly Endpoint[] {
  const seen = new Map<InstanceId, Endpoint>()
  for (const endpoint of backing.endpoints)
    if (!seen.has(endpoint.instance)) seen.set(endpoint.instance, endpoint)
  return [...seen.values()]
}

function sameLayout(a: ServiceLayout, b: ServiceLayout): boolean {
  return (
    a.uid === b.uid &&
    a.gates.length === b.gates.length &&
    a.gates.every((gate, at) => gate.port === b.gates[at]?.port && gate.protocol === b.gates[at]?.protocol) &&
    a.lanes.length === b.lanes.length &&
    a.lanes.every((lane, at) => {
      const other = b.lanes[at]
      return (
        other !== undefined &&
        lane.generation === other.generation &&
        lane.slots.length === other.slots.length &&
        lane.slots.every((slot, n) => sameSlot(slot, other.slots[n]))
      )
    })
  )
}

function sameSlot(a: Slot, b: Slot | undefined): boolean {
  if (b === undefined || a.use !== b.use) return false
  return a.use === 'free' || b.use === 'free' || sameEndpoint(a.endpoint, b.endpoint)
}

const sizeFor = (members: number) => Math.max(leastSlots, powerOfTwo(2 * members))
const powerOfTwo = (least: number) => 2 ** Math.ceil(Math.log2(Math.max(1, least)))
