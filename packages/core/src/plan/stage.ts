/**
 * A stage for tests of the planner: applies what it plans as a store would, and plays agents and proxies that obey at once
 * unless told otherwise. It keeps the passes honest without a process, a clock or a network.
 */
import { after, type Instant } from '../model/clock.ts'
import type { HostRecord } from '../model/host.ts'
import { type GenerationNumber, type HostId, instanceId, placeOf, type ServiceName } from '../model/ids.ts'
import type { Placement } from '../model/placement.ts'
import type { InstanceState, Report } from '../model/report.ts'
import type { Revision } from '../model/revision.ts'
import type { Phase } from '../model/rollout.ts'
import { listenersOf, type RouteAck } from '../model/route.ts'
import type { GenerationRecord, Intent, SpecRecord } from '../model/service.ts'
import { generationRecord, specRecord } from '../model/service.ts'
import { type ServiceSpecText, serviceSpec, templateText } from '../model/spec.ts'
import type { UnservedList } from '../model/unserved.ts'
import { type Seen, World } from '../model/world.ts'
import type { Resolution } from '../rollout/rollout.ts'
import { type Action, type Question, recordsOf } from './draft.ts'
import { Memory, resolutionKey } from './memory.ts'
import { type Plan, plan } from './plan.ts'

export interface StageHost {
  readonly cpuMilli?: number
  readonly memoryMiB?: number
  readonly labels?: Readonly<Record<string, string>>
  readonly ports?: { readonly from: number; readonly to: number }
}

/** What a report says besides the state. */
export interface ReportChanges {
  readonly uid?: string
  readonly placement?: string
  readonly attempt?: number
  readonly probe?: Report['probe']
}

/** The service that most stories tell of, and its spec; changes are laid over it. */
export const service = 'shop/web' as ServiceName
export const web = (changes: object = {}) => ({
  name: 'web',
  image: 'app:1',
  replicas: 6,
  ports: [{ name: 'http', container: 8080 }],
  routes: [{ port: 'http', listen: 80, protocol: 'http' as const }],
  ...changes,
})

export function threeHosts(): Stage {
  const stage = new Stage()
  for (const host of ['h1', 'h2', 'h3']) stage.addHost(host)
  return stage
}

export class Stage {
  readonly world = new World()
  readonly memory = new Memory()
  /** Every action so far, in plain words. */
  readonly log: string[] = []
  now = 0 as Instant
  /** What an instance becomes when its host starts it. */
  becomes: (placement: Placement) => InstanceState = () => 'ready'
  /** What a host says of an image; undefined: no answer comes. */
  resolves: (image: string) => Resolution | undefined = image => ({
    kind: 'resolved',
    image: `${image}@sha256:d`,
  })
  /** Whether the proxy of a host acknowledges what it gets. */
  acknowledges: (host: HostId) => boolean = () => true
  /** What the proxy of a host cannot serve of what it acknowledges. */
  cannotServe: (host: HostId) => UnservedList = () => ({})
  /** The services of which the proxy of a host serves an older route than the newest. */
  outdated: (host: HostId) => RouteAck['outdated'] = () => undefined
  /** Sees each plan before it is done. */
  planned: (plan: Plan) => void = () => {}
  /** Services that the planner is told it cannot read. */
  unreadable: ReadonlySet<ServiceName> = new Set()
  #revision = 1000
  /** As they are stored, whether or not the leader can read them. */
  readonly #records = new Map<HostId, HostRecord>()
  #addresses = 0

  addHost(name: string, changes: StageHost = {}): void {
    const { cpuMilli = 4000, memoryMiB = 8192, labels = {} } = changes
    const { ports = { from: 20_000, to: 29_999 } } = changes
    const host = name as HostId
    this.#records.set(host, {
      id: host,
      address: this.#nextAddress(),
      agentPort: 7071,
      capacity: { cpuMilli, memoryMiB },
      labels,
      ports,
      engine: { version: '20.10', state: 'up' },
      proxy: { version: '2.6', state: 'up' },
      agentVersion: '1',
    })
    this.makeReadable(name)
    this.world.apply({ kind: 'presence', host, seen: this.#seen({ since: 0 }) }, this.now)
    this.#acknowledge(host)
  }

  /** As the API does: the spec and its generation in one step. */
  put(text: ServiceSpecText & { readonly name: string }, generation: number, uid = 'u1'): void {
    const service = `shop/${text.name}` as ServiceName
    const at = { by: 'ann', at: 0 }
    const listeners = listenersOf(serviceSpec.parse(text).routes)
    const record = { service, uid, number: generation, text: templateText(text), listeners, ...at }
    const seenGeneration: Seen<GenerationRecord> = this.#seen(generationRecord.parse(record))
    this.world.apply(
      { kind: 'generation', service, number: generation as GenerationNumber, seen: seenGeneration },
      this.now,
    )
    const spec: SpecRecord = specRecord.parse({
      service,
      uid,
      text,
      replicas: text.replicas ?? 1,
      generation,
      ...at,
    })
    this.world.apply({ kind: 'spec', service, seen: this.#seen(spec) }, this.now)
  }

  remove(name: string): void {
    this.world.apply({ kind: 'spec', service: `shop/${name}` as ServiceName, seen: undefined }, this.now)
  }

  intend(name: string, kind: 'undo' | 'abort', uid = 'u1'): void {
    const service = `shop/${name}` as ServiceName
    const intent: Intent = { id: 'i1', uid, kind, by: 'ann', at: 0 }
    this.world.apply({ kind: 'intent', service, id: 'i1', seen: this.#seen(intent) }, this.now)
  }

  drain(host: string): void {
    const seen = this.#seen({ labels: {}, drain: { by: 'ann', why: 'repair', at: 0 } })
    this.world.apply({ kind: 'host-settings', host: host as HostId, seen }, this.now)
  }

  /** What operators say of its labels, in the place of what they said before. */
  label(host: string, labels: Readonly<Record<string, string>>): void {
    this.world.apply({ kind: 'host-settings', host: host as HostId, seen: this.#seen({ labels }) }, this.now)
  }

  /** A newer agent wrote its record. `never`: a new leader took over, which never could read it. */
  makeUnreadable(name: string, read: 'before' | 'never'): void {
    const host = name as HostId
    if (read === 'never') this.world.apply({ kind: 'host', host, seen: undefined }, this.now)
    this.world.apply({ kind: 'host', host, seen: 'unreadable' }, this.now)
  }

  makeReadable(name: string): void {
    const host = name as HostId
    const record = this.#records.get(host)
    if (record === undefined) throw new Error(`${host} was never added`)
    this.world.apply({ kind: 'host', host, seen: this.#seen(record) }, this.now)
  }

  /** It registers again, under an address that no host had before. */
  changeAddress(name: string): void {
    const record = this.#records.get(name as HostId)
    if (record === undefined) throw new Error(`${name} was never added`)
    this.#records.set(record.id, { ...record, address: this.#nextAddress() })
    this.makeReadable(name)
  }

  /** As its record has it. */
  addressOf(host: HostId): string | undefined {
    return this.#records.get(host)?.address
  }

  lose(host: string): void {
    this.world.apply({ kind: 'presence', host: host as HostId, seen: undefined }, this.now)
    this.world.apply({ kind: 'route-ack', host: host as HostId, seen: undefined }, this.now)
    this.world.judge(host as HostId, 'lost')
  }

  /** As when the store revokes the leases of hosts that live. */
  loseAcknowledgements(): void {
    for (const host of this.world.hosts.keys())
      this.world.apply({ kind: 'route-ack', host, seen: undefined }, this.now)
  }

  /** Every proxy acknowledges once more: what it serves has changed. */
  acknowledgeAgain(): void {
    for (const host of this.world.hosts.keys()) this.#acknowledge(host)
  }

  comeBack(host: string): void {
    this.world.apply({ kind: 'presence', host: host as HostId, seen: this.#seen({ since: 0 }) }, this.now)
    this.world.judge(host as HostId, 'alive')
    for (const { value } of this.world.hosts.get(host as HostId)?.placements.values() ?? []) this.#obey(value)
    this.#acknowledge(host as HostId)
  }

  /** A host's word on an instance. */
  report(host: string, instance: string, state: InstanceState, more: ReportChanges = {}): void {
    const id = instanceId(placeOf(instance as never))
    const created = this.world.hosts.get(host as HostId)?.placements.get(id)?.created
    const report = { instance: id, uid: 'u1', state, attempt: 1, restarts: 0, since: 0 }
    const seen = this.#seen({ ...report, ...(created === undefined ? {} : { placement: created }), ...more })
    this.world.apply({ kind: 'report', host: host as HostId, instance: id, seen }, this.now)
  }

  /** One plan, done. Returns what was planned, in plain words. */
  step(): readonly string[] {
    const planned = plan(
      this.world,
      this.memory,
      { term: '7', wall: 0, unreadable: this.unreadable },
      this.now,
    )
    this.planned(planned)
    const { services, questions, broken } = planned
    const answered = questions.filter(question => this.#answer(question))
    if (broken[0] !== undefined) throw broken[0].error
    const said: string[] = []
    const written = services.flatMap(({ service, actions }) =>
      actions.flatMap(recordsOf).map(record => `${service} ${record}`),
    )
    if (new Set(written).size < written.length)
      throw new Error(`one record is written twice in a plan: ${written.join(', ')}`)
    for (const { service, actions } of services)
      for (const action of actions) {
        said.push(words(service, action))
        this.#apply(service, action)
      }
    for (const { service } of answered) this.world.dirty.add(service)
    this.log.push(...said)
    return said
  }

  /** Plans until nothing is left to do; throws where that never happens. */
  settle(): readonly string[] {
    const from = this.log.length
    for (let turn = 0; turn < 100; turn++)
      if (this.step().length === 0 && this.world.dirty.size + this.world.hopeful.size === 0)
        return this.log.slice(from)
    throw new Error(`the planner never rests:\n${this.log.slice(-20).join('\n')}`)
  }

  advance(ms: number): void {
    this.now = after(this.now, ms)
  }

  /** Where a service runs: `web/1/0@h1`, in order. */
  running(): readonly string[] {
    return [...this.world.services.values()]
      .flatMap(service => [...service.placements.values()])
      .filter(({ value }) => value.desired === 'run')
      .map(({ value }) => `${value.instance.slice('shop/'.length)}@${value.host}`)
      .sort()
  }

  /** How many instances run on each host that has any. */
  perHost(): Readonly<Record<string, number>> {
    const counts: Record<string, number> = {}
    for (const line of this.running()) {
      const host = line.split('@')[1] ?? ''
      counts[host] = (counts[host] ?? 0) + 1
    }
    return counts
  }

  phaseOf(name: ServiceName): Phase | undefined {
    return this.world.services.get(name)?.rollout?.value.now
  }

  #answer({ service, uid, generation, image }: Question): boolean {
    const answer = this.resolves(image)
    if (answer === undefined) return false
    this.memory.resolutions.set(resolutionKey(service, uid, generation), answer)
    return true
  }

  #apply(service: ServiceName, action: Action): void {
    const { world, now } = this
    switch (action.kind) {
      case 'place':
      case 'release': {
        const { host, instance } = action.placement
        const before = world.hosts.get(host)?.placements.get(instance)
        const seen = this.#seen(action.placement)
        world.apply(
          { kind: 'placement', host, instance, seen: { ...seen, created: before?.created ?? seen.modified } },
          now,
        )
        this.#obey(action.placement)
        return
      }
      case 'forget':
        world.apply({ kind: 'placement', host: action.host, instance: action.instance, seen: undefined }, now)
        world.apply({ kind: 'report', host: action.host, instance: action.instance, seen: undefined }, now)
        return
      case 'rollout':
        world.apply({ kind: 'rollout', service, seen: this.#seen(action.rollout) }, now)
        return
      case 'route':
        world.apply({ kind: 'route', service, seen: this.#seen(action.route) }, now)
        for (const host of world.hosts.keys()) this.#acknowledge(host)
        return
      case 'pending':
        world.apply({ kind: 'pending', service, seen: this.#seen(action.pending) }, now)
        return
      case 'no-longer-pending':
        world.apply({ kind: 'pending', service, seen: undefined }, now)
        return
      case 'intent-done':
        world.apply({ kind: 'intent', service, id: action.id, seen: undefined }, now)
        return
      case 'forget-generations':
        for (const number of action.generations)
          world.apply({ kind: 'generation', service, number, seen: undefined }, now)
        return
      case 'cleanup':
        for (const kind of ['rollout', 'route', 'pending'] as const)
          world.apply({ kind, service, seen: undefined }, now)
        for (const number of action.generations)
          world.apply({ kind: 'generation', service, number, seen: undefined }, now)
        return
    }
  }

  #obey(placement: Placement): void {
    const host = this.world.hosts.get(placement.host)
    if (host?.presence === undefined) return
    const state = placement.desired === 'stop' ? 'stopped' : this.becomes(placement)
    this.report(placement.host, placement.instance, state, { uid: placement.uid })
  }

  #acknowledge(host: HostId): void {
    if (this.world.hosts.get(host)?.presence === undefined || !this.acknowledges(host)) return
    const said = { ...this.cannotServe(host), outdated: this.outdated(host) }
    const seen = this.#seen({ revision: String(this.#revision), draining: [], ...said })
    this.world.apply({ kind: 'route-ack', host, seen }, this.now)
  }

  #nextAddress(): string {
    return `10.0.0.${++this.#addresses}`
  }

  #seen<Value>(value: Value): Seen<Value> {
    this.#revision++
    return { value, modified: String(this.#revision) as Revision }
  }
}

function words(service: ServiceName, action: Action): string {
  const name = service.slice('shop/'.length)
  switch (action.kind) {
    case 'place':
      return `place ${action.placement.instance.slice('shop/'.length)} on ${action.placement.host}`
    case 'release':
      return `release ${action.placement.instance.slice('shop/'.length)} from ${action.placement.host} (${action.placement.because})`
    case 'forget':
      return `forget ${action.instance.slice('shop/'.length)} on ${action.host}`
    case 'rollout':
      return `rollout ${name} ${JSON.stringify(action.rollout.now)}`
    case 'route':
      return `route ${name} ${action.route.backings.map(b => `${b.generation}:${b.share}(${b.endpoints.length})`).join(' ')}`.trim()
    case 'pending':
      return `pending ${name} ${action.pending.count}`
    case 'no-longer-pending':
      return `no longer pending ${name}`
    case 'intent-done':
      return `intent done ${name}`
    case 'forget-generations':
      return `forget generations ${action.generations.join(', ')} of ${name}`
    case 'cleanup':
      return `cleanup ${name}`
  }
}
