/**
 * What the API shows, made from the mirror: records in, views out. Nothing is fetched and nothing is decided here, so any
 * server answers any read, also while the store is away.
 */
import { attempt } from '@boxcar/core/model/attempt'
import { whyOrdersRefused } from '@boxcar/core/model/host'
import {
  byId,
  type HostId,
  type InstanceId,
  placeOf,
  type ServiceName,
  serviceParts,
} from '@boxcar/core/model/ids'
import type { Placement } from '@boxcar/core/model/placement'
import { plural, pluralVerb } from '@boxcar/core/model/plural'
import type { Report } from '@boxcar/core/model/report'
import type { Rejection, Rollout } from '@boxcar/core/model/rollout'
import { listenersOf, type Route } from '@boxcar/core/model/route'
import type { GenerationRecord, SpecRecord } from '@boxcar/core/model/service'
import { nearestFix } from '@boxcar/core/placement/explain'
import type { Pending } from '@boxcar/core/placement/obstacle'
import { obstacleWords } from '@boxcar/core/placement/words'
import { living } from '@boxcar/store/collection'
import {
  type GenerationId,
  generations,
  type HostInstance,
  hostSettingsOf,
  hosts,
  pendings,
  placements,
  presences,
  reports,
  rollouts,
  routeAcks,
  routes,
  specs,
} from '@boxcar/store/keys'
import { type Log, silent } from '@boxcar/store/log'
import type { Mirror } from '@boxcar/store/mirror'
import type { Entry } from '@boxcar/store/store'
import { standing } from './decide/generation.ts'
import { Grouped } from './grouped.ts'
import { inWords, type Misplacement, Misplacements, misplacedViews } from './misplacement.ts'
import { serviceState } from './service-state.ts'
import { isLasting, Serving } from './serving.ts'
import {
  internalProblem,
  unknownGeneration,
  unknownHost,
  unknownInstance,
  unknownRollout,
  unknownRoute,
  unknownService,
  unreadProblem,
} from './unknown.ts'
import { type UnreadRecord, type UnreadRecords, unreadRecords } from './unread.ts'
import type {
  GenerationView,
  HostView,
  InstanceView,
  ProblemOfEntry,
  ProjectView,
  RolloutView,
  RouteView,
  ServiceView,
  ServingView,
  UnservedView,
  WhyView,
} from './views.ts'
import { rejectionWords, rolloutWords } from './words.ts'

/** Any host answers for any route: so many of them are named, not hosts times routes. */
const maxAddresses = 16
const maxUnserved = 16

type PlacementEntry = Entry<HostInstance, Placement>
type GenerationEntry = Entry<GenerationId, GenerationRecord>

/** A spec as the store holds it. */
export type WrittenSpec = Omit<Entry<ServiceName, SpecRecord>, 'lease'>

export class Picture {
  readonly #mirror: Mirror
  readonly #cluster: string
  readonly #whyNoOrders: () => string | undefined
  readonly #log: Log
  readonly #placed: Grouped<HostInstance, Placement, ServiceName>
  readonly #placedOn: Grouped<HostInstance, Placement, HostId>
  readonly #kept: Grouped<GenerationId, GenerationRecord, ServiceName>
  readonly #serving: Serving
  readonly #misplacements: Misplacements

  /** `whyNoOrders`: why every host refuses the orders of the store, in one sentence. */
  constructor(
    mirror: Mirror,
    cluster: string,
    whyNoOrders: () => string | undefined = () => undefined,
    log: Log = silent,
  ) {
    this.#whyNoOrders = whyNoOrders
    this.#mirror = mirror
    this.#serving = new Serving(mirror)
    this.#log = log
    this.#cluster = cluster
    this.#placed = new Grouped(mirror, placements, id => placeOf(id.instance).service, log)
    this.#placedOn = new Grouped(mirror, placements, id => id.host, log)
    this.#kept = new Grouped(mirror, generations, id => id.service, log)
    this.#misplacements = new Misplacements(mirror, { byService: this.#placed, byHost: this.#placedOn })
  }

  projects(): readonly ProjectView[] {
    const found = new Map<string, { services: number; instances: number }>()
    for (const name of this.serviceNames()) {
      const { project } = serviceParts(name)
      const counts = found.get(project) ?? { services: 0, instances: 0 }
      counts.services += 1
      counts.instances += this.#placed.count(name)
      found.set(project, counts)
    }
    return [...found].sort(([a], [b]) => byId(a, b)).map(([name, counts]) => ({ name, ...counts }))
  }

  services(project?: string): readonly ServiceView[] {
    const unread = this.#unread()
    return this.serviceNames(unread)
      .filter(name => project === undefined || serviceParts(name).project === project)
      .flatMap(name => this.service(name, unread) ?? [])
  }

  /** None: nobody asked for it, and nothing of it is left. */
  service(name: ServiceName, unread = this.#unread()): ServiceView | undefined {
    const records = unread.services.get(name) ?? []
    return this.#shown(
      name,
      () => {
        const spec = this.#mirror.of(specs).get(name)
        const view = spec === undefined ? this.#leaving(name) : this.#asked(spec)
        return withUnread(this.#cluster, name, view, records)
      },
      problem => unknownService(this.#cluster, name, problem),
    )
  }

  /** A service that is asked for, also where the mirror does not show its spec yet. */
  asked(spec: WrittenSpec): ServiceView {
    return this.#shown(
      spec.id,
      () => this.#asked(spec),
      problem => unknownService(this.#cluster, spec.id, problem),
    )
  }

  /** One entry of many. One whose view throws is shown by its name, with why; the others are as they are. */
  #shown<View>(what: string, show: () => View, unknown: (problem: ProblemOfEntry) => View): View {
    const view = attempt(show)
    if (!('error' in view)) return view.value
    const { error } = view
    // Shown: the `problem` of the entry.
    this.#log.error(
      { what, error: error instanceof Error ? error.stack : String(error) },
      'it cannot be shown: this is a bug',
    )
    return unknown(internalProblem(error))
  }

  #unread(): UnreadRecords {
    return unreadRecords(this.#mirror)
  }

  #asked(spec: WrittenSpec): ServiceView {
    const { id: name, value } = spec
    const rollout = this.#rolloutOf(name, spec)
    const live = rollout.counts.find(c => c.generation === rollout.live)
    const ready = live?.ready ?? 0
    const pending = this.#pendingOf(name, value.uid)
    const serving = this.#servingOf(name, spec)
    const { found, next } = this.misplacement(name, value)
    return {
      cluster: this.#cluster,
      ...namesOf(name),
      uid: value.uid,
      revision: spec.modified,
      spec: value.text,
      generation: value.generation,
      image: value.spec.image,
      replicas: value.replicas,
      ready,
      ...serviceState({
        rollout,
        replicas: value.replicas,
        ready,
        pending,
        unserved: lasting(serving),
        misplaced: found,
      }),
      misplaced: found.length,
      ...(next === undefined ? {} : { next }),
      rollout,
      ...(serving === undefined ? {} : { serving }),
      by: value.by,
      at: value.at,
    }
  }

  #servingOf(name: ServiceName, { value }: Pick<WrittenSpec, 'value'>): ServingView | undefined {
    return this.#serving.of(name, value.uid, listenersOf(value.spec.routes))
  }

  /** Which running instances could not be placed where they stand now, by this spec. */
  misplacement(name: ServiceName, spec: Pick<SpecRecord, 'uid' | 'spec'>): Misplacement {
    return this.#misplacements.of(name, spec)
  }

  /** By the spec that is stored. */
  #misplacementOf(name: ServiceName): Misplacement | undefined {
    const spec = this.#mirror.of(specs).get(name)
    return spec === undefined ? undefined : this.misplacement(name, spec.value)
  }

  /** A deleted service whose instances are still being stopped. */
  #leaving(name: ServiceName): ServiceView | undefined {
    const left = this.#placementsOf(name)
    const record = this.#mirror.of(rollouts).get(name)
    const uid = record?.value.uid ?? left[0]?.value.uid
    if (uid === undefined) return undefined
    const generation = this.#generationsOf(name)
      .filter(g => g.value.uid === uid)
      .at(-1)
    const number = record?.value.asked ?? generation?.value.number ?? left[0]?.value.generation ?? 1
    const counts = this.#countsOf(name, uid, undefined, 0)
    return {
      cluster: this.#cluster,
      ...namesOf(name),
      uid,
      revision: record?.modified ?? left[0]?.modified ?? '0',
      spec: { name: serviceParts(name).short, ...generation?.value.text },
      generation: number,
      image: generation?.value.template.image ?? left[0]?.value.image ?? '',
      replicas: 0,
      ready: 0,
      available: false,
      status: 'deleting',
      reason: leavingWords(left.length, this.#pendingOf(name, uid), this.#serving.waitedFor(name)),
      misplaced: 0,
      rollout: {
        service: name,
        phase: 'settled',
        words: 'it was deleted',
        outcome: 'under-way',
        asked: number,
        shares: [],
        counts,
        images: { ...record?.value.images },
      },
      by: generation?.value.by ?? '',
      at: generation?.value.at ?? 0,
    }
  }

  rollout(name: ServiceName, unread = this.#unread()): RolloutView | undefined {
    const spec = this.#mirror.of(specs).get(name)
    const records = unread.services.get(name) ?? []
    const missing = records.find(({ of }) => of === 'service')
    if (spec === undefined)
      return missing === undefined ? undefined : unknownRollout(name, unreadProblem(missing.words))
    return this.#shown(
      name,
      () => rolloutWithUnread(this.#rolloutOf(name, spec), records),
      problem => unknownRollout(name, problem),
    )
  }

  /** Of all services that are asked for, and of those of which that is not known. */
  rollouts(): readonly RolloutView[] {
    const unread = this.#unread()
    const names = new Set([
      ...[...this.#mirror.of(specs).values()].map(({ id }) => id),
      ...unread.services.keys(),
    ])
    return [...names].sort(byId).flatMap(name => this.rollout(name, unread) ?? [])
  }

  #rolloutOf(name: ServiceName, spec: Pick<WrittenSpec, 'value'>): RolloutView {
    const { uid, generation: asked, replicas } = spec.value
    const stored = this.#mirror.of(rollouts).get(name)?.value
    // A record of an earlier service of the same name says nothing about this one.
    const record = stored?.uid === uid ? stored : undefined
    const counts = this.#countsOf(name, uid, record, replicas, asked)
    const moving = counts.find(c => c.role === 'next') ?? counts.find(c => c.role === 'live')
    const seen = { ready: moving?.ready ?? 0, wanted: moving?.wanted ?? replicas }
    const words = rolloutWords(record, asked, seen, lasting(this.#servingOf(name, spec)))
    if (record === undefined)
      return {
        service: name,
        phase: 'accepted',
        words,
        outcome: 'under-way',
        asked,
        shares: [],
        counts,
        images: {},
      }
    const { now } = record
    const accepted = record.asked !== asked && now.phase !== 'draining'
    const sameAs = record.same[String(asked)]
    // After an undo that failed: of the generation that it led to, which is not the one asked for.
    const givenUp = now.phase === 'reverted' && !accepted ? now.rejected : undefined
    const rejection = lastRejection(record, givenUp ?? asked)
    const waits = now.phase === 'resolving' || now.phase === 'warming'
    const route = this.#mirror.of(routes).get(name)?.value
    const outcome = outcomeOf(record, asked)
    return {
      service: name,
      phase: accepted ? 'accepted' : now.phase,
      words,
      outcome,
      asked,
      ...namedIn(record),
      ...(sameAs === undefined ? {} : { sameAs }),
      ...(rejection !== undefined && (outcome === 'rejected' || givenUp !== undefined) ? { rejection } : {}),
      shares: (route?.uid === uid ? route.backings : [])
        .filter(b => b.share > 0)
        .map(b => ({ generation: b.generation, percent: b.share / 10 })),
      counts,
      images: { ...record.images },
      since: record.since,
      ...(waits ? { deadline: record.since + spec.value.spec.rollout.progressDeadline } : {}),
    }
  }

  #countsOf(
    name: ServiceName,
    uid: string,
    record: Rollout | undefined,
    replicas: number,
    asked?: number,
  ): RolloutView['counts'] {
    const counts = new Map<number, RolloutView['counts'][number]>()
    const countOf = (generation: number) => {
      const role = roleOf(record, generation, asked)
      const wanted = role === 'live' || role === 'next' ? replicas : 0
      const known = counts.get(generation) ?? {
        generation,
        role,
        wanted,
        ready: 0,
        starting: 0,
        failing: 0,
        stopping: 0,
      }
      counts.set(generation, known)
      return known
    }
    const named = record === undefined ? {} : namedIn(record)
    for (const generation of [named.next, named.live, record === undefined ? asked : undefined])
      if (generation !== undefined) countOf(generation)
    for (const entry of this.#placementsOf(name)) {
      if (entry.value.uid !== uid) continue
      const count = countOf(entry.value.generation)
      if (count.role === 'warm' || count.role === 'old') count.wanted += entry.value.desired === 'run' ? 1 : 0
      count[this.#doing(entry)] += 1
    }
    return [...counts.values()].sort((a, b) => a.generation - b.generation)
  }

  #doing(entry: PlacementEntry): 'ready' | 'starting' | 'failing' | 'stopping' {
    if (entry.value.desired === 'stop') return 'stopping'
    const state = this.#reportOf(entry)?.state
    switch (state) {
      case 'ready':
        return this.#isPresent(entry.id.host) ? 'ready' : 'failing'
      case 'backoff':
      case 'stopping':
      case 'stopped':
        return 'failing'
      default:
        return 'starting'
    }
  }

  generations(name: ServiceName): readonly GenerationView[] {
    const spec = this.#mirror.of(specs).get(name)
    const stored = this.#mirror.of(rollouts).get(name)?.value
    const uid = spec?.value.uid ?? stored?.uid
    const record = stored?.uid === uid ? stored : undefined
    const read = this.#generationsOf(name)
      .filter(g => g.value.uid === uid)
      .map(g =>
        this.#shown(
          `generation ${g.id.number} of ${name}`,
          () => generationView(g.value, record, spec?.value.generation),
          problem => unknownGeneration(name, g.id.number, problem),
        ),
      )
    const unread = (this.#unread().services.get(name) ?? []).flatMap(one =>
      one.of === 'generation' ? [unknownGeneration(name, one.number, unreadProblem(one.words))] : [],
    )
    return [...read, ...unread].sort((a, b) => b.generation - a.generation)
  }

  /** Of a service, of a project, or of one host. In order of their ids. */
  instances(of: { readonly service: ServiceName } | { readonly project: string }): readonly InstanceView[] {
    const unread = this.#unread()
    if ('service' in of) return this.#instancesOf(of.service, unread)
    return [...new Set([...this.#placed.groups(), ...unread.services.keys()])]
      .filter(name => serviceParts(name).project === of.project)
      .sort(byId)
      .flatMap(name => this.#instancesOf(name, unread))
  }

  #instancesOf(name: ServiceName, unread: UnreadRecords): readonly InstanceView[] {
    const records = unread.services.get(name) ?? []
    const placed = this.#placementsOf(name).map(entry => this.#shownInstance(entry, records))
    const unplaced = records.flatMap(one =>
      one.of === 'instance' && one.what === 'placement'
        ? [unknownInstance(one.instance, one.host, unreadProblem(one.words))]
        : [],
    )
    if (unplaced.length === 0) return placed
    return [...placed, ...unplaced].sort(
      (a, b) => a.generation - b.generation || a.slot - b.slot || byId(a.host, b.host),
    )
  }

  #shownInstance(entry: PlacementEntry, records: readonly UnreadRecord[]): InstanceView {
    const { host, instance } = entry.id
    const report = records.find(
      one => one.of === 'instance' && one.what === 'report' && one.host === host && one.instance === instance,
    )
    return this.#shown(
      `${instance} on ${host}`,
      () => {
        const view = this.#instance(entry)
        if (report === undefined) return view
        return { ...view, state: 'unknown', reason: report.words, problem: unreadProblem(report.words) }
      },
      problem => unknownInstance(instance, host, problem),
    )
  }

  /** Where it runs; while it moves off a lost host, where it shall run. */
  instance(id: InstanceId, service: ServiceName): InstanceView | undefined {
    const all = this.instances({ service }).filter(instance => instance.id === id)
    return all.find(instance => instance.desired === 'run') ?? all[0]
  }

  #instance(entry: PlacementEntry): InstanceView {
    const { value, id } = entry
    const seen = this.#reportOf(entry)
    const spec = this.#mirror.of(specs).get(value.service)?.value
    const stored = this.#mirror.of(rollouts).get(value.service)?.value
    const record = stored?.uid === value.uid ? stored : undefined
    const host = this.#mirror.of(hosts).get(id.host)?.value
    const misplacedHere = this.#misplacementOf(value.service)?.at.get(`${id.host} ${id.instance}`)
    return {
      id: id.instance,
      project: serviceParts(value.service).project,
      service: value.service,
      generation: value.generation,
      slot: value.slot,
      role: roleOf(record, value.generation, spec?.uid === value.uid ? spec.generation : undefined),
      host: id.host,
      ...(host === undefined ? {} : { address: host.address }),
      hostState: host === undefined ? 'removed' : this.#hostState(id.host),
      desired: value.desired,
      because: value.because,
      state: seen?.state ?? 'assigned',
      ...(seen?.reason === undefined ? {} : { reason: seen.reason }),
      attempt: seen?.attempt ?? 0,
      restarts: seen?.restarts ?? 0,
      ...(seen?.exit === undefined ? {} : { exit: seen.exit }),
      ...(seen?.probe === undefined ? {} : { probe: seen.probe }),
      ...(seen?.lastLog === undefined ? {} : { lastLog: seen.lastLog }),
      ...(seen?.container === undefined ? {} : { container: seen.container }),
      ...(seen === undefined ? {} : { since: seen.since }),
      image: value.image,
      cpuMilli: value.cpuMilli,
      memoryMiB: value.memoryMiB,
      ports: { ...value.ports },
      ...(misplacedHere === undefined ? {} : { misplaced: inWords(misplacedHere.obstacles) }),
    }
  }

  hosts(): readonly HostView[] {
    const unread = this.#unread()
    const ids = new Set([...this.#mirror.of(hosts).keys(), ...unread.hosts.keys()] as HostId[])
    return [...ids].sort(byId).flatMap(id => this.host(id, unread) ?? [])
  }

  host(id: HostId, unread = this.#unread()): HostView | undefined {
    const unknown = (problem: ProblemOfEntry) =>
      unknownHost(this.#cluster, id, this.#isPresent(id), this.#placedOn.count(id), problem)
    const [record] = unread.hosts.get(id) ?? []
    return this.#shown(
      `host ${id}`,
      () => {
        const view = this.#host(id)
        if (record === undefined) return view
        const problem = unreadProblem(record.words)
        if (view === undefined) return unknown(problem)
        return { ...view, reason: [view.reason, problem.reason].filter(isGiven).join('; '), problem }
      },
      unknown,
    )
  }

  #host(id: HostId): HostView | undefined {
    const record = this.#mirror.of(hosts).get(id)?.value
    if (record === undefined) return undefined
    const settings = this.#mirror.of(hostSettingsOf).get(id)?.value
    const placed = this.#placedOn.of(id)
    const used = placed.reduce(
      (sum, { value }) => ({
        cpuMilli: sum.cpuMilli + value.cpuMilli,
        memoryMiB: sum.memoryMiB + value.memoryMiB,
      }),
      { cpuMilli: 0, memoryMiB: 0 },
    )
    const state = this.#hostState(id)
    const refusal = whyOrdersRefused(record) ?? this.#whyNoOrders()
    const reason = hostReason(state, { engine: record.engine.reason, refusal, settings })
    const ack = living(this.#mirror.get(routeAcks, id))?.value
    return {
      cluster: this.#cluster,
      id,
      state,
      ...(reason === undefined ? {} : { reason }),
      present: this.#isPresent(id),
      address: record.address,
      agentPort: record.agentPort,
      capacity: { ...record.capacity },
      used,
      free: {
        cpuMilli: Math.max(0, record.capacity.cpuMilli - used.cpuMilli),
        memoryMiB: Math.max(0, record.capacity.memoryMiB - used.memoryMiB),
      },
      instances: placed.length,
      misplaced: this.#misplacedOn(id),
      labels: { ...record.labels, ...settings?.labels },
      ...(settings?.cordon === undefined ? {} : { cordon: settings.cordon }),
      ...(settings?.drain === undefined ? {} : { drain: settings.drain }),
      engine: record.engine,
      proxy: record.proxy,
      ...(ack === undefined ? {} : { routesApplied: ack.revision }),
      unserved: [...this.#serving.onHost(id)],
      conditions: [...(record.conditions ?? [])],
      agentVersion: record.agentVersion,
      ports: record.ports,
    }
  }

  #misplacedOn(id: HostId): string[] {
    return this.#placedOn
      .of(id)
      .map(({ value }) => value)
      .filter(it => this.#misplacementOf(it.service)?.at.has(`${id} ${it.instance}`))
      .map(({ instance }) => instance)
  }

  hostsWithConditions(): number {
    const all = [...this.#mirror.of(hosts).values()]
    return all.filter(({ value }) => (value.conditions ?? []).length > 0).length
  }

  /** The ids of instances that run on a host. */
  runningOn(id: HostId): readonly string[] {
    return this.#placedOn
      .of(id)
      .filter(entry => entry.value.desired === 'run')
      .map(entry => entry.id.instance)
  }

  #isPresent(id: HostId): boolean {
    return living(this.#mirror.get(presences, id)) !== undefined
  }

  #hostState(id: HostId): Exclude<HostView['state'], 'unknown'> {
    if (!this.#isPresent(id)) return 'suspect'
    const settings = this.#mirror.of(hostSettingsOf).get(id)?.value
    const record = this.#mirror.of(hosts).get(id)?.value
    if (record?.engine.state === 'down') return 'engine-down'
    if ((whyOrdersRefused(record) ?? this.#whyNoOrders()) !== undefined) return 'orders-refused'
    if (settings?.drain !== undefined) return 'draining'
    return settings?.cordon === undefined ? 'ready' : 'cordoned'
  }

  routes(): readonly RouteView[] {
    const edges = this.#serving.edges()
    const show = (entry: Entry<ServiceName, Route>): readonly RouteView[] =>
      entry.value.listeners.map((listener): RouteView => {
        const { value, modified } = entry
        const missing = this.#serving.missing(entry, [listener])
        const unservedHosts = new Set(missing.map(one => one.host))
        const unanswered = new Set(missing.filter(isLasting).map(one => one.host))
        return {
          service: value.service,
          ...listener,
          hostnames: [...listener.hostnames],
          revision: modified,
          addresses: edges
            .filter(({ id }) => !unanswered.has(id))
            .slice(0, maxAddresses)
            .map(({ address }) =>
              listener.protocol === 'http'
                ? `http://${address}:${listener.listen}${listener.path}`
                : `${address}:${listener.listen}`,
            ),
          backings: value.backings.map(backing => ({
            generation: backing.generation,
            percent: backing.share / 10,
            endpoints: backing.endpoints.map(e => {
              const port = e.ports[listener.port]
              return { instance: e.instance, address: e.address, ...(port === undefined ? {} : { port }) }
            }),
          })),
          applied: { hosts: edges.length - unservedHosts.size, of: edges.length },
          unserved: missing.slice(0, maxUnserved),
        }
      })
    /** What the service asks for, of which it is not known what became. */
    const unknown = (service: ServiceName, problem: ProblemOfEntry) => {
      const asked = attempt(() => listenersOf(this.#mirror.of(specs).get(service)?.value.spec.routes ?? []))
      return ('value' in asked ? asked.value : []).map(listener =>
        unknownRoute(service, listener, edges.length, problem),
      )
    }
    const unread = [...this.#unread().services].flatMap(([service, records]) => {
      const route = records.find(one => one.of === 'service' && one.what === 'route')
      return route === undefined ? [] : [{ service, views: unknown(service, unreadProblem(route.words)) }]
    })
    const read = [...this.#mirror.of(routes).values()].map(entry => ({
      service: entry.id,
      views: this.#shown(
        `the routes of ${entry.id}`,
        () => show(entry),
        problem => unknown(entry.id, problem),
      ),
    }))
    return [...read, ...unread].sort((a, b) => byId(a.service, b.service)).flatMap(({ views }) => views)
  }

  /** Why a service is not as it was asked for. */
  why(name: ServiceName): WhyView | undefined {
    const service = this.service(name)
    if (service === undefined) return undefined
    return this.#shown(
      `why of ${name}`,
      () => this.#why(name, service),
      problem => ({
        about: name,
        summary: problem.reason,
        obstacles: [],
        waiting: [],
        waitingCount: 0,
        unready: [],
        misplaced: [],
      }),
    )
  }

  #why(name: ServiceName, service: ServiceView): WhyView {
    const pending = this.#pendingOf(name, service.uid)
    const waiting = (pending?.waiting ?? []).map(one => ({
      instance: one.instance,
      hosts: one.hosts.map(({ host, obstacles }) => ({
        host,
        obstacles: inWords(obstacles),
      })),
    }))
    const unready = this.instances({ service: name }).filter(
      i => i.desired === 'run' && (i.state !== 'ready' || i.hostState === 'suspect'),
    )
    const tried = waiting[0]?.hosts
    const record = this.#whyNoOrders()
    const unserved = service.status === 'deleting' ? this.#serving.waitedFor(name) : lasting(service.serving)
    const fix =
      (tried?.length === 0 ? 'add a host' : nearestFix(tried ?? [])) ?? unserved[0]?.next ?? service.next
    return {
      about: name,
      summary:
        service.status === 'unknown'
          ? `${service.service}: ${service.reason}`
          : [summaryOf(service, pending, unready), service.status === 'ready' ? undefined : record]
              .filter(part => part !== undefined)
              .join('. '),
      obstacles: inWords(pending?.obstacles ?? []),
      waiting,
      waitingCount: pending?.count ?? 0,
      unready,
      misplaced: misplacedViews(this.#misplacementOf(name)?.found ?? []),
      unserved: [...unserved],
      ...(service.rollout.rejection === undefined ? {} : { rejection: service.rollout.rejection }),
      ...(fix === undefined ? {} : { fix }),
    }
  }

  counts() {
    const hostViews = this.hosts()
    const placed = [...this.#mirror.of(placements).values()]
    const services = this.services()
    return {
      hosts: hostViews.length,
      hostsReady: hostViews.filter(h => h.state === 'ready').length,
      projects: this.projects().length,
      services: services.length,
      servicesReady: services.filter(s => s.available).length,
      instances: placed.length,
      instancesReady: placed.filter(entry => {
        const doing = attempt(() => this.#doing(entry))
        return 'value' in doing && doing.value === 'ready'
      }).length,
      instancesMisplaced: services.reduce((sum, { misplaced }) => sum + misplaced, 0),
    }
  }

  #pendingOf(name: ServiceName, uid: string): Pending | undefined {
    const pending = this.#mirror.of(pendings).get(name)?.value
    // Where its records cannot be read, the leader does not know whose they are.
    return pending?.uid === uid || pending?.uid === '' ? pending : undefined
  }

  #reportOf(entry: PlacementEntry): Report | undefined {
    const seen = this.#mirror.of(reports).get(`${entry.id.host}/${entry.id.instance}`)?.value
    return seen?.uid === entry.value.uid ? seen : undefined
  }

  /** In order of generation and slot. */
  #placementsOf(name: ServiceName): readonly PlacementEntry[] {
    return [...this.#placed.of(name)].sort(
      (a, b) =>
        a.value.generation - b.value.generation || a.value.slot - b.value.slot || byId(a.id.host, b.id.host),
    )
  }

  #generationsOf(name: ServiceName): readonly GenerationEntry[] {
    return [...this.#kept.of(name)].sort((a, b) => a.id.number - b.id.number)
  }

  hostIds(): readonly HostId[] {
    return [...this.#mirror.of(hosts).values()].map(({ id }) => id).sort(byId)
  }

  /** Services that were asked for, and those of which something is left. */
  serviceNames(unread = this.#unread()): readonly ServiceName[] {
    const names = new Set([...this.#mirror.of(specs).values()].map(entry => entry.id))
    for (const name of this.#placed.groups()) names.add(name)
    for (const entry of this.#mirror.of(rollouts).values()) names.add(entry.id)
    for (const name of unread.services.keys()) names.add(name)
    return [...names].sort(byId)
  }
}

const lasting = (serving: ServingView | undefined) => serving?.unserved.filter(isLasting) ?? []

const isGiven = (text: string | undefined): text is string => text !== undefined

/** A view with what it lacks. Without the spec or the rollout nobody can say how the service is; all else is said beside that. */
function withUnread(
  cluster: string,
  name: ServiceName,
  view: ServiceView | undefined,
  records: readonly UnreadRecord[],
): ServiceView | undefined {
  const [first] = records
  if (first === undefined) return view
  const problem = unreadProblem(first.words)
  if (view === undefined) return unknownService(cluster, name, problem)
  const rollout = rolloutWithUnread(view.rollout, records)
  if (rollout.phase !== 'unknown') return { ...view, reason: `${view.reason}; ${first.words}`, problem }
  return { ...view, status: 'unknown', reason: first.words, rollout, problem }
}

function rolloutWithUnread(rollout: RolloutView, records: readonly UnreadRecord[]): RolloutView {
  const missing = records.find(one => one.of === 'service' && (one.what === 'spec' || one.what === 'rollout'))
  if (missing === undefined) return rollout
  return { ...rollout, phase: 'unknown', words: missing.words, problem: unreadProblem(missing.words) }
}

const namesOf = (service: ServiceName) => {
  const { project, short } = serviceParts(service)
  return { project, name: short, service }
}

/** The generations that the phase names, by what they do. */
function namedIn({ now }: Rollout): { live?: number; next?: number; old?: number; warm?: number } {
  switch (now.phase) {
    case 'resolving':
    case 'warming':
      return { next: now.next, ...(now.stable === undefined ? {} : { live: now.stable }) }
    case 'draining':
      return { live: now.live, ...(now.old === undefined ? {} : { old: now.old }) }
    case 'settled':
      return { live: now.live, ...(now.warm === undefined ? {} : { warm: now.warm }) }
    case 'reverted':
      return now.stable === undefined ? {} : { live: now.stable }
  }
}

function roleOf(
  record: Rollout | undefined,
  generation: number,
  asked: number | undefined,
): Exclude<InstanceView['role'], 'unknown'> {
  if (record === undefined) return generation === asked ? 'next' : 'leaving'
  const named = namedIn(record)
  for (const role of ['live', 'next', 'old', 'warm'] as const) if (named[role] === generation) return role
  return 'leaving'
}

function outcomeOf(record: Rollout, asked: SpecRecord['generation']): RolloutView['outcome'] {
  switch (standing(record, asked)) {
    case 'under-way':
      return 'under-way'
    case 'live':
      return record.now.phase === 'draining' ? 'under-way' : 'live'
    case 'given-up':
      return 'rejected'
  }
}

function lastRejection(record: Rollout, generation: number): RolloutView['rejection'] {
  const found = record.rejections.findLast(r => r.generation === generation)
  return found === undefined
    ? undefined
    : {
        generation: found.generation,
        because: found.because,
        words: rejectionWords(found),
        evidence: [...found.evidence],
        at: found.at,
      }
}

/** Of a deleted service: what is still to be done, and what is in the way of that. */
function leavingWords(
  instances: number,
  pending: Pending | undefined,
  waitedFor: readonly UnservedView[],
): string {
  const left =
    instances === 0
      ? 'proxies have not taken its route away yet'
      : `${plural(instances, 'instance')} still to stop`
  const hosts = waitedFor.map(({ host, words }) => `${host}: ${words}`)
  return ['it was deleted', left, ...(pending?.obstacles ?? []).map(obstacleWords), ...hosts].join('; ')
}

function generationView(
  value: GenerationRecord,
  record: Rollout | undefined,
  asked: number | undefined,
): GenerationView {
  const named = record === undefined ? {} : namedIn(record)
  const rejection = record?.rejections.findLast((r: Rejection) => r.generation === value.number)
  const sameAs = record?.same[String(value.number)]
  const pinned = record?.images[String(value.number)]
  const role =
    (['live', 'next', 'old', 'warm'] as const).find(r => named[r] === value.number) ??
    (rejection !== undefined
      ? 'rejected'
      : value.number === asked && sameAs === undefined
        ? 'accepted'
        : 'earlier')
  return {
    service: value.service,
    generation: value.number,
    uid: value.uid,
    image: value.template.image,
    ...(pinned === undefined ? {} : { pinned }),
    role,
    ...(sameAs === undefined ? {} : { sameAs }),
    ...(rejection === undefined
      ? {}
      : { rejection: { because: rejection.because, words: rejectionWords(rejection), at: rejection.at } }),
    template: { ...value.text },
    by: value.by,
    at: value.at,
  }
}

function hostReason(
  state: Exclude<HostView['state'], 'unknown'>,
  {
    engine,
    refusal,
    settings,
  }: {
    readonly engine: string | undefined
    readonly refusal: string | undefined
    readonly settings:
      | { readonly cordon?: { why: string } | undefined; readonly drain?: { why: string } | undefined }
      | undefined
  },
): string | undefined {
  switch (state) {
    case 'ready':
      return undefined
    case 'suspect':
      return refusal === undefined
        ? 'it does not report; the leader asks it directly and moves its instances if it is silent'
        : `it does not report, and refuses orders: ${refusal}`
    case 'orders-refused':
      return refusal
    case 'engine-down':
      return engine ?? 'its Docker engine does not answer'
    case 'draining':
      return settings?.drain?.why
    case 'cordoned':
      return settings?.cordon?.why
  }
}

function summaryOf(
  service: ServiceView,
  pending: Pending | undefined,
  unready: readonly InstanceView[],
): string {
  const [obstacle] = pending?.obstacles ?? []
  if (obstacle !== undefined) return `${service.service}: ${obstacleWords(obstacle)}`
  if (pending !== undefined && pending.count > 0) {
    const tried = pending.waiting[0]?.hosts ?? []
    const reasons = tried.map(
      ({ host, obstacles }) => `${host} ${obstacles.map(obstacleWords).join(' and ')}`,
    )
    return tried.length === 0
      ? `${plural(pending.count, 'instance')} of ${service.service} ${pluralVerb(pending.count, 'wait')}: there is no host`
      : `${plural(pending.count, 'instance')} of ${service.service} cannot be placed: ${reasons.join('; ')}`
  }
  if (service.status === 'ready' && service.rollout.outcome === 'live')
    return `${service.service} is as it was asked for: ${service.reason}`
  const [first] = unready
  if (first === undefined) return `${service.service}: ${service.reason}`
  return `${service.service}: ${service.reason}. ${instanceWords(first)}`
}

/** What is the matter with one instance. */
export function instanceWords(instance: InstanceView): string {
  const where = `${instance.id} on ${instance.host}`
  if (instance.hostState === 'suspect') return `${where}: the host does not report`
  if (instance.state === 'ready') return `${where} is ready`
  const parts = [
    instance.reason,
    instance.exit === undefined
      ? undefined
      : instance.exit.oomKilled
        ? 'it ran out of memory'
        : `its last run ended with status ${instance.exit.code}`,
    instance.probe === undefined
      ? undefined
      : `its ${instance.probe.kind} probe says: ${instance.probe.output}`,
  ].filter(part => part !== undefined)
  const state =
    instance.state === 'assigned' ? 'was given to the host, which has not begun' : `is ${instance.state}`
  return `${where} ${state}${parts.length === 0 ? '' : `: ${parts.join('; ')}`}`
}
