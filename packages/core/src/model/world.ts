/**
 * The cluster as the leader sees it: everything that was asked, decided and seen, indexed, in memory. It is fed change by
 * change from the store and knows which services a change touches, so that planning costs what changed and not what there is.
 *
 * It holds no opinion: what to do about it is decided in plan/.
 */
import { HostColumns, type HostView, type Load } from '../placement/columns.ts'
import type { Obstacle, Pending } from '../placement/obstacle.ts'
import type { Instant } from './clock.ts'
import { type HostRecord, type HostSettings, type Presence, whyOrdersRefused } from './host.ts'
import type { GenerationNumber, HostId, InstanceId, ServiceName } from './ids.ts'
import { placeOf } from './ids.ts'
import type { Placement } from './placement.ts'
import type { Report } from './report.ts'
import { noRevision, type Revision } from './revision.ts'
import type { Rollout } from './rollout.ts'
import type { Route, RouteAck } from './route.ts'
import type { GenerationRecord, Intent, SpecRecord } from './service.ts'

/** A value and the revision that wrote it. */
export interface Seen<Value> {
  readonly value: Value
  readonly modified: Revision
  /** The revision that created it, where its reader needs to tell it from an earlier one of the same key. */
  readonly created?: Revision
}

export interface ServiceView {
  readonly name: ServiceName
  readonly spec: Seen<SpecRecord> | undefined
  readonly rollout: Seen<Rollout> | undefined
  readonly route: Seen<Route> | undefined
  readonly pending: Seen<Pending> | undefined
  readonly generations: ReadonlyMap<GenerationNumber, Seen<GenerationRecord>>
  readonly intents: ReadonlyMap<string, Seen<Intent>>
  /** By `host instance`: one instance may stand on a lost host (to stop) and on a new one (to run). */
  readonly placements: ReadonlyMap<string, Seen<Placement>>
}

export interface HostState {
  readonly id: HostId
  /** What could be read last. */
  readonly record: HostRecord | undefined
  /** Its stored record cannot be read, perhaps since a newer version wrote it: the host is there, and takes no new work. */
  readonly unreadable: boolean
  readonly settings: HostSettings | undefined
  readonly presence: Seen<Presence> | undefined
  /** When the leader itself saw that there is no presence key, by its own clock; undefined while there is one. */
  readonly absentSince: Instant | undefined
  readonly ack: Seen<RouteAck> | undefined
  /** What its proxy acknowledged stands and cannot be read: nobody waits for it. */
  readonly isAckUnreadable: boolean
  readonly health: HostHealth
  readonly placements: ReadonlyMap<InstanceId, Seen<Placement>>
  readonly reports: ReadonlyMap<InstanceId, Seen<Report>>
}

/** Whether a host has a record, be it one that cannot be read; without one it was removed, or never there. */
export const isRegistered = (host: HostState | undefined): host is HostState =>
  host !== undefined && (host.record !== undefined || host.unreadable)

/**
 * health/verdict.ts decides it. A host that is cut off has not reached the store for long although it is not lost: what runs there
 * stays, but nobody waits for its proxy any more.
 */
export type HostHealth = 'alive' | 'suspect' | 'cut-off' | 'lost'

interface MutableService {
  name: ServiceName
  spec: Seen<SpecRecord> | undefined
  rollout: Seen<Rollout> | undefined
  route: Seen<Route> | undefined
  pending: Seen<Pending> | undefined
  generations: Map<GenerationNumber, Seen<GenerationRecord>>
  intents: Map<string, Seen<Intent>>
  placements: Map<string, Seen<Placement>>
}

interface MutableHost {
  id: HostId
  record: HostRecord | undefined
  unreadable: boolean
  settings: HostSettings | undefined
  /** Placements of which nothing could ever be read: nobody knows what room and ports they take. */
  unknown: Set<InstanceId>
  /** The leader fails at something of this host: it takes no new work until that succeeds. */
  failure: Obstacle | undefined
  presence: Seen<Presence> | undefined
  absentSince: Instant | undefined
  ack: Seen<RouteAck> | undefined
  isAckUnreadable: boolean
  health: HostHealth
  placements: Map<InstanceId, Seen<Placement>>
  reports: Map<InstanceId, Seen<Report>>
}

/**
 * One change of the store, in the world's words; a value of `undefined` is a removal. What is unreadable stands and counts as it
 * was read last; a host of which anything never could be read takes no new work.
 */
export type WorldChange =
  | { readonly kind: 'spec'; readonly service: ServiceName; readonly seen: Seen<SpecRecord> | undefined }
  | {
      readonly kind: 'generation'
      readonly service: ServiceName
      readonly number: GenerationNumber
      readonly seen: Seen<GenerationRecord> | undefined
    }
  | {
      readonly kind: 'intent'
      readonly service: ServiceName
      readonly id: string
      readonly seen: Seen<Intent> | undefined
    }
  | { readonly kind: 'rollout'; readonly service: ServiceName; readonly seen: Seen<Rollout> | undefined }
  | { readonly kind: 'route'; readonly service: ServiceName; readonly seen: Seen<Route> | undefined }
  | { readonly kind: 'pending'; readonly service: ServiceName; readonly seen: Seen<Pending> | undefined }
  | {
      readonly kind: 'placement'
      readonly host: HostId
      readonly instance: InstanceId
      readonly seen: Seen<Placement> | 'unreadable' | undefined
    }
  | {
      readonly kind: 'report'
      readonly host: HostId
      readonly instance: InstanceId
      readonly seen: Seen<Report> | undefined
    }
  | {
      readonly kind: 'host'
      readonly host: HostId
      readonly seen: Seen<HostRecord> | 'unreadable' | undefined
    }
  | { readonly kind: 'host-settings'; readonly host: HostId; readonly seen: Seen<HostSettings> | undefined }
  | { readonly kind: 'presence'; readonly host: HostId; readonly seen: Seen<Presence> | undefined }
  | {
      readonly kind: 'route-ack'
      readonly host: HostId
      readonly seen: Seen<RouteAck> | 'unreadable' | undefined
    }

export class World {
  readonly columns = new HostColumns()
  /** Services that a change since the last plan touched. */
  readonly dirty = new Set<ServiceName>()
  /** Services with instances that no host took: planned again when a host changes or room is freed, longest waiting first. */
  readonly waiting = new Set<ServiceName>()
  /** Those of them that were not looked at since room changed: they take turns. */
  readonly hopeful = new Set<ServiceName>()
  /** Those of them that only lack room: warm generations make way for them. */
  readonly shortOfRoom = new Set<ServiceName>()
  /** Services that keep a generation warm. */
  readonly warm = new Set<ServiceName>()
  /** A host changed or room was freed since the last plan. */
  roomChanged = false
  /** Services that wait for proxies: planned again when one acknowledges. */
  readonly awaitingAcks = new Set<ServiceName>()
  revision: Revision = noRevision
  readonly #services = new Map<ServiceName, MutableService>()
  readonly #hosts = new Map<HostId, MutableHost>()

  get services(): ReadonlyMap<ServiceName, ServiceView> {
    return this.#services
  }
  get hosts(): ReadonlyMap<HostId, HostState> {
    return this.#hosts
  }

  /** Where it throws, since the change cannot be read as it should, the world is as it was. */
  apply(change: WorldChange, now: Instant): void {
    switch (change.kind) {
      case 'spec':
      case 'rollout':
      case 'route':
      case 'pending':
        this.#applyToService(change)
        return
      case 'generation': {
        const service = this.#service(change.service)
        setOrDelete(service.generations, change.number, change.seen)
        this.#touch(service)
        return
      }
      case 'intent': {
        const service = this.#service(change.service)
        setOrDelete(service.intents, change.id, change.seen)
        this.#touch(service)
        return
      }
      case 'placement':
        this.#applyPlacement(change.host, change.instance, change.seen, now)
        return
      case 'report': {
        const host = this.#host(change.host, now)
        setOrDelete(host.reports, change.instance, change.seen)
        this.dirty.add(placeOf(change.instance).service)
        this.#forgetEmptyHost(host)
        return
      }
      case 'host': {
        const host = this.#host(change.host, now)
        const { record, unreadable } = host
        host.unreadable = change.seen === 'unreadable'
        if (change.seen !== 'unreadable') host.record = change.seen?.value
        this.#hostChangedOr(host, () => Object.assign(host, { record, unreadable }))
        return
      }
      case 'host-settings': {
        const host = this.#host(change.host, now)
        const { settings } = host
        host.settings = change.seen?.value
        this.#hostChangedOr(host, () => Object.assign(host, { settings }))
        return
      }
      case 'presence': {
        const host = this.#host(change.host, now)
        host.presence = change.seen
        host.absentSince = change.seen === undefined ? (host.absentSince ?? now) : undefined
        this.#forgetEmptyHost(host)
        return
      }
      case 'route-ack': {
        const host = this.#host(change.host, now)
        host.isAckUnreadable = change.seen === 'unreadable'
        host.ack = change.seen === 'unreadable' ? undefined : change.seen
        for (const name of this.awaitingAcks) this.dirty.add(name)
        this.#forgetEmptyHost(host)
        return
      }
    }
  }

  /** The leader's verdict on a host; touches what runs there. */
  judge(id: HostId, health: HostHealth): void {
    const host = this.#hosts.get(id)
    if (host === undefined || host.health === health) return
    host.health = health
    this.#hostChanged(host)
  }

  /** The leader fails at something of the host; undefined: no more. It takes no new work meanwhile; what runs there stays. */
  setFailure(id: HostId, failure: Obstacle | undefined): void {
    const host = this.#hosts.get(id)
    if (host === undefined || host.failure === failure) return
    host.failure = failure
    this.#hostChanged(host)
  }

  /** Everything is looked at afresh: on taking office, and after a refused batch. */
  touchAll(): void {
    for (const name of this.#services.keys()) this.dirty.add(name)
  }

  #applyToService(change: Extract<WorldChange, { kind: 'spec' | 'rollout' | 'route' | 'pending' }>): void {
    const service = this.#service(change.service)
    switch (change.kind) {
      case 'spec':
        service.spec = change.seen
        break
      case 'rollout': {
        const now = change.seen?.value.now
        service.rollout = change.seen
        if (now?.phase === 'settled' && now.warm !== undefined) this.warm.add(service.name)
        else this.warm.delete(service.name)
        break
      }
      case 'route':
        service.route = change.seen
        break
      case 'pending':
        service.pending = change.seen
        return // written by the planner itself, and read by nobody here but to see whether it changed
    }
    this.#touch(service)
  }

  #applyPlacement(
    hostId: HostId,
    instance: InstanceId,
    seen: Seen<Placement> | 'unreadable' | undefined,
    now: Instant,
  ): void {
    const host = this.#host(hostId, now)
    if (seen === 'unreadable') {
      if (host.placements.has(instance)) return
      host.unknown.add(instance)
      this.#hostChanged(host)
      return
    }
    const load = seen === undefined ? undefined : loadOf(instance, seen.value)
    if (host.unknown.delete(instance)) this.#hostChanged(host)
    const service = this.#service(placeOf(instance).service)
    setOrDelete(host.placements, instance, seen)
    setOrDelete(service.placements, `${hostId} ${instance}`, seen)
    if (load === undefined) {
      this.columns.give(hostId, instance, now)
      this.roomChanged = true
    } else this.columns.take(hostId, load)
    this.#touch(service)
    this.#forgetEmptyHost(host)
  }

  /** Takes the change back where it makes the host's numbers throw. */
  #hostChangedOr(host: MutableHost, takeBack: () => void): void {
    try {
      this.#hostChanged(host)
    } catch (error) {
      takeBack()
      throw error
    }
  }

  #hostChanged(host: MutableHost): void {
    const view = viewOf(host)
    if (view === undefined) this.columns.delete(host.id)
    else {
      this.columns.upsert(view)
      for (const { value } of host.placements.values()) this.columns.take(host.id, value)
    }
    for (const instance of host.placements.keys()) this.dirty.add(placeOf(instance).service)
    for (const name of this.awaitingAcks) this.dirty.add(name) // they may have waited for this one
    this.roomChanged = true
    this.#forgetEmptyHost(host)
  }

  #service(name: ServiceName): MutableService {
    let service = this.#services.get(name)
    if (service === undefined) {
      service = {
        name,
        spec: undefined,
        rollout: undefined,
        route: undefined,
        pending: undefined,
        generations: new Map(),
        intents: new Map(),
        placements: new Map(),
      }
      this.#services.set(name, service)
    }
    return service
  }

  #touch(service: MutableService): void {
    const { spec, rollout, route, pending, generations, intents, placements } = service
    const nothing =
      spec === undefined && rollout === undefined && route === undefined && pending === undefined
    if (nothing && generations.size + intents.size + placements.size === 0) {
      this.#services.delete(service.name)
      for (const names of [this.waiting, this.hopeful, this.shortOfRoom, this.warm, this.awaitingAcks])
        names.delete(service.name)
    }
    this.dirty.add(service.name) // also one that is gone, so that the planner forgets it
  }

  #host(id: HostId, now: Instant): MutableHost {
    let host = this.#hosts.get(id)
    if (host === undefined) {
      host = {
        id,
        record: undefined,
        unreadable: false,
        settings: undefined,
        unknown: new Set(),
        failure: undefined,
        presence: undefined,
        absentSince: now,
        ack: undefined,
        isAckUnreadable: false,
        health: 'alive',
        placements: new Map(),
        reports: new Map(),
      }
      this.#hosts.set(id, host)
    }
    return host
  }

  #forgetEmptyHost(host: MutableHost): void {
    const { record, unreadable, settings, presence, ack, placements, reports, unknown } = host
    if (unreadable || host.isAckUnreadable || (record ?? settings ?? presence ?? ack) !== undefined) return
    if (placements.size + reports.size + unknown.size === 0) this.#hosts.delete(host.id)
  }
}

/** What a host counts for where work is placed; nothing where too little is known of it. */
function viewOf(host: MutableHost): HostView | undefined {
  const { id, record, failure } = host
  const isWhole = record !== undefined && !host.unreadable && host.unknown.size === 0
  if (!isWhole && (failure === undefined || !isRegistered(host))) return undefined
  const { capacity, labels, ports } = record ?? nothingKnown
  const { cpuMilli, memoryMiB } = capacity
  return {
    id,
    accepts: whyNot(host),
    labels: { ...labels, ...host.settings?.labels },
    cpuMilli,
    memoryMiB,
    ports,
  }
}

/** Of a host that is there only to say why it takes no work. */
const nothingKnown = { capacity: { cpuMilli: 0, memoryMiB: 0 }, labels: {}, ports: { from: 1, to: 0 } }

function loadOf(instance: InstanceId, { cpuMilli, memoryMiB, ports }: Placement): Load {
  return { instance, cpuMilli, memoryMiB, ports }
}

/** Why a host takes no work at all, before any number is looked at. */
function whyNot(host: MutableHost): Obstacle | undefined {
  if (host.health === 'lost') return { kind: 'lost' }
  if (host.failure !== undefined) return host.failure
  const refusal = whyOrdersRefused(host.record)
  if (refusal !== undefined) return { kind: 'orders-refused', reason: refusal }
  if (host.health === 'suspect' || host.health === 'cut-off') return { kind: 'suspect' }
  if (host.settings?.drain !== undefined) return { kind: 'draining' }
  if (host.settings?.cordon !== undefined) return { kind: 'cordoned', why: host.settings.cordon.why }
  if (host.record?.engine.state === 'down')
    return { kind: 'engine-down', reason: host.record.engine.reason ?? 'no answer' }
  return undefined
}

function setOrDelete<Id, Value>(map: Map<Id, Value>, id: Id, value: Value | undefined): void {
  if (value === undefined) map.delete(id)
  else map.set(id, value)
}
