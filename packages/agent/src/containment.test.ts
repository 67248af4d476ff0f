/**
 * Whatever one instance, service or record makes the agent throw stays with it (invariant L11): each place where the agent loops over
 * many meets something that fails there for ever, and another service is started, probed, restarted, routed and stopped in its
 * usual time, the host stays present with the same incarnation, and the reason can be read.
 */
import type { ClusterName, GenerationNumber, HostId, InstanceId, ServiceName } from '@boxcar/core/model/ids'
import type { Placement } from '@boxcar/core/model/placement'
import type { InstanceState, Report } from '@boxcar/core/model/report'
import type { Route } from '@boxcar/core/model/route'
import { type AnyCollection, keyOf, put, remove } from '@boxcar/store/collection'
import {
  clusters,
  events,
  generations,
  hosts,
  placements,
  presences,
  reports,
  routeAcks,
  routes,
  specs,
} from '@boxcar/store/keys'
import { silent } from '@boxcar/store/log'
import { MemoryEtcd } from '@boxcar/store/memory/memory-etcd'
import { seededChance } from '@boxcar/store/memory/seeded-chance'
import { VirtualClock } from '@boxcar/store/memory/virtual-clock'
import { type Change, type FollowStep, type Store, StoreUnavailable, type Write } from '@boxcar/store/store'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type RunningAgent, runAgent } from './agent.ts'
import {
  type Container,
  type Engine,
  EngineFault,
  EngineUnavailable,
  type PullOptions,
} from './engine/engine.ts'
import { MemoryDocker } from './engine/memory.ts'
import type { Behaviour } from './engine/memory-image.ts'
import type { Instances } from './instances.ts'
import { MemoryNetwork } from './probe/memory-network.ts'
import type { Network } from './probe/network.ts'
import type { ApplyOutcome, Proxy as EdgeProxy, RouteTable } from './proxy/proxy.ts'
import type { ServerOptions } from './server.ts'
import { type Files, memoryFolder } from './state/files.ts'
import { labels } from './state/labels.ts'

const cluster = 'test' as ClusterName
const host = 'h1' as HostId
const [good, bad] = ['shop/good' as ServiceName, 'shop/bad' as ServiceName]
const goodPort = 20_001
const badPort = 20_002
const badInstance = `${bad}/1/0` as InstanceId
const raw = (collection: AnyCollection, id: unknown, json: string): Write => ({
  kind: 'put',
  key: keyOf(collection, id),
  json,
  lease: undefined,
})

/** What the agent is given, with the parts that fail. */
interface Parts {
  readonly store?: (base: Store) => Partial<Store>
  readonly engine?: (base: Engine) => Partial<Engine>
  readonly network?: (base: Network) => Partial<Network>
  readonly proxy?: Partial<EdgeProxy>
  readonly files?: (base: Files) => Partial<Files>
}

class Bench {
  readonly clock = new VirtualClock()
  readonly #etcd = new MemoryEtcd(this.clock)
  readonly leader = this.#etcd.connect({ cluster })
  readonly docker = new MemoryDocker({ clock: this.clock, latencyMs: call => (call === 'start' ? 150 : 5) })
  readonly files = memoryFolder()
  readonly behaviour = new Map<ServiceName, Behaviour>()
  readonly served: RouteTable[] = []
  readonly listened: ServerOptions[] = []
  readonly #images = new Map<ServiceName, string>()
  agent: RunningAgent | undefined
  #end: 'none' | 'ended' = 'none'

  async open(): Promise<void> {
    await this.write(put(clusters, 'self', { uid: 'c', epoch: 1, schema: 1, secret: 's' }))
    for (const service of [good, bad]) await this.write(...this.specOf(service))
  }

  specOf(service: ServiceName, template: Record<string, unknown> = {}): readonly Write[] {
    const short = service.slice('shop/'.length)
    const digest = this.docker.registry.push(`${short}:1`, {
      content: short,
      behaves: () => this.behaviour.get(service) ?? {},
    })
    this.#images.set(service, `${short}@${digest}`)
    const text = { image: `${short}:1`, ports: [{ name: 'http', container: 8080 }], ...template }
    const one = { service, uid: `uid-${short}`, text, at: 0, by: 'test' }
    const number = 1 as GenerationNumber
    return [
      put(specs, service, { ...one, text: { name: short, ...text }, replicas: 1, generation: number }),
      put(generations, { service, number }, { ...one, number }),
    ]
  }

  async write(...writes: readonly Write[]): Promise<string> {
    const outcome = await this.leader.commit({ guards: [], writes })
    if (outcome.kind !== 'committed') throw new Error(`not written: ${outcome.kind}`)
    return outcome.revision
  }

  async start(parts: Parts = {}): Promise<void> {
    const store = this.#etcd.connect({ cluster })
    const engine = this.docker.engine({ cluster, host })
    const network = new MemoryNetwork(this.docker)
    const starting = runAgent(
      {
        cluster,
        hostId: host,
        advertise: '10.0.0.1',
        labels: {},
        reserve: { cpuMilli: 100, memoryMiB: 100 },
        ports: { from: 20_000, to: 29_999 },
        agentPort: 7071,
        version: '0.1.0',
      },
      {
        clock: this.clock,
        chance: seededChance(1),
        log: silent,
        store: over(store, parts.store?.(store)),
        engine: over(engine, parts.engine?.(engine)),
        network: over(network, parts.network?.(network)),
        files: over(this.files, parts.files?.(this.files)),
        openEdge: async () => ({ proxy: over(this.#proxy(), parts.proxy), version: '2.6' }),
        listen: async options => {
          this.listened.push(options)
          return { port: 7071, close: async () => {} }
        },
      },
    )
    let isSettled = false
    void Promise.allSettled([starting]).then(() => {
      isSettled = true
    })
    await this.clock.advanceUntil(() => isSettled, 30_000)
    this.agent = await starting
    void this.agent.ended.then(() => {
      this.#end = 'ended'
    })
  }

  #proxy(): EdgeProxy {
    return {
      apply: async (table): Promise<ApplyOutcome> => {
        this.served.push(table)
        return { kind: 'applied', revision: table.revision, faults: [] }
      },
      draining: async () => [],
      health: () => ({ kind: 'ok', faults: [] }),
      servedRoutes: () => new Map(),
      onChange: () => () => {},
      leave: async () => {},
      stop: async () => {},
    }
  }

  async stop(): Promise<void> {
    await this.agent?.leave()
    this.agent = undefined
  }

  placement(service: ServiceName, more: Partial<Placement> = {}): Placement {
    return {
      instance: `${service}/1/0` as InstanceId,
      service,
      generation: 1 as GenerationNumber,
      slot: 0,
      host,
      uid: `uid-${service.slice('shop/'.length)}`,
      term: '1',
      desired: 'run',
      because: 'missing',
      cpuMilli: 100,
      memoryMiB: 64,
      ports: { http: service === good ? goodPort : badPort },
      image: this.#images.get(service) ?? '',
      ...more,
    }
  }

  async place(service: ServiceName, more: Partial<Placement> = {}): Promise<void> {
    const placed = this.placement(service, more)
    await this.write(put(placements, { host, instance: placed.instance }, placed))
  }

  /** Another placement of the same name. */
  async replace(service: ServiceName, more: Partial<Placement>): Promise<void> {
    const placed = this.placement(service, more)
    await this.write(remove(placements, { host, instance: placed.instance }))
    await this.place(service, more)
  }

  async route(service: ServiceName): Promise<string> {
    return await this.write(put(routes, service, routeOf(service)))
  }

  async report(service: ServiceName): Promise<Report | undefined> {
    return (await this.leader.get(reports, { host, instance: `${service}/1/0` as InstanceId }))?.value
  }

  /** How long it took, milliseconds. */
  async until(what: string, holds: () => boolean | Promise<boolean>, ms = 20_000): Promise<number> {
    const began = this.clock.now()
    while (!(await holds())) {
      if (this.clock.now() - began >= ms) throw new Error(`not within ${ms} ms: ${what}`)
      await this.clock.advance(10)
    }
    return this.clock.now() - began
  }

  untilState(service: ServiceName, state: InstanceState, ms?: number): Promise<number> {
    return this.until(`${service} ${state}`, async () => (await this.report(service))?.state === state, ms)
  }

  async told(kind: string): Promise<readonly string[]> {
    const { entries } = await this.leader.list(events)
    return entries.filter(({ value }) => value.kind === kind).map(({ value }) => value.message)
  }

  /** Of the host's record, each as one text. */
  async conditions(): Promise<readonly string[]> {
    const record = (await this.leader.get(hosts, host))?.value
    return (record?.conditions ?? []).map(({ kind, reason }) => `${kind}: ${reason}`)
  }

  containerOf(service: ServiceName): Container | undefined {
    const container = this.docker
      .all()
      .findLast(one => one.labels[labels.instance] === `${service}/1/0` && one.state === 'running')
    return container
  }

  /** What the well service goes through, with how long each step takes. */
  async course(): Promise<Readonly<Record<string, number>>> {
    await this.place(good)
    const started = await this.untilState(good, 'ready')
    const container = this.containerOf(good)
    if (container === undefined) throw new Error('it does not run')
    this.docker.crash(container.id, 1)
    const restarted = await this.until('another container of it runs and is ready', async () => {
      const [now, seen] = [this.containerOf(good), await this.report(good)]
      return now !== undefined && now.id !== container.id && seen?.state === 'ready' && seen.restarts === 1
    })
    const revision = await this.route(good)
    const routed = await this.until(
      'its route is acknowledged',
      async () => (await this.leader.get(routeAcks, host))?.value.revision === revision,
    )
    await this.place(good, { desired: 'stop' })
    const stopped = await this.untilState(good, 'stopped')
    return { started, restarted, routed, stopped }
  }

  /** Present all along, by the same run of the agent. */
  async expectPresent(): Promise<void> {
    expect(this.#end).toBe('none')
    expect(this.listened).toHaveLength(1)
    expect(this.agent?.isPresent()).toBe(true)
    expect(await this.leader.get(presences, host)).toBeDefined()
  }
}

/** The same object with some of its methods replaced. */
function over<T extends object>(base: T, replaced: Partial<T> = {}): T {
  return new Proxy(base, {
    get: (target, name) => {
      const own = Reflect.get(replaced, name)
      if (own !== undefined) return own
      const value = Reflect.get(target, name)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

const routeOf = (service: ServiceName): Route => ({
  service,
  uid: `uid-${service.slice('shop/'.length)}`,
  term: '1',
  listeners: [
    {
      protocol: 'http',
      listen: service === good ? 80 : 81,
      hostnames: [],
      path: '/',
      expose: 'public',
      port: 'http',
    },
  ],
  backings: [],
  drainMs: 1000,
})

const broken = (): never => {
  throw new TypeError('so ordered')
}
const rejected = () => Promise.reject(new TypeError('so ordered'))
const isOfBad = (labelled: { readonly labels: Readonly<Record<string, string>> }) =>
  labelled.labels[labels.instance] === badInstance

/** An engine of which one call fails for the containers of the bad service, as only a bug can. */
const engineFailing =
  (bench: Bench, call: 'start' | 'stop' | 'inspect' | 'remove') =>
  (base: Engine): Partial<Engine> => {
    const isBad = (id: string) => bench.docker.all().some(one => one.id === id && isOfBad(one))
    return {
      start: id => (call === 'start' && isBad(id) ? rejected() : base.start(id)),
      stop: (id, how) => (call === 'stop' && isBad(id) ? rejected() : base.stop(id, how)),
      inspect: (id, signal) => (call === 'inspect' && isBad(id) ? rejected() : base.inspect(id, signal)),
      remove: id => (call === 'remove' && isBad(id) ? rejected() : base.remove(id)),
    }
  }

/** A store that does not take a transaction in which a write is like that. */
const storeRefusing =
  (how: 'throws' | 'too-large' | 'stale', isLike: (write: Write) => boolean) =>
  (base: Store): Partial<Store> => ({
    commit: transaction => {
      if (!transaction.writes.some(isLike)) return base.commit(transaction)
      if (how === 'throws') return rejected()
      return Promise.resolve(
        how === 'stale' ? { kind: 'stale', revision: '1' as never } : { kind: 'too-large' },
      )
    },
  })
const reportOfBad = (write: Write) => write.key === keyOf(reports, { host, instance: badInstance })
const eventOfBad = (write: Write) =>
  write.kind === 'put' &&
  write.key.startsWith(`${events.name}/`) &&
  JSON.parse(write.json).kind === 'instance-ready' &&
  write.json.includes(badInstance)

/** A store whose stream gives something else for one entry than what it holds. */
const storeTelling =
  (isLike: (change: Change) => boolean, value: unknown) =>
  (base: Store): Partial<Store> => ({
    follow: async function* (scopes, options) {
      const odd = (change: Change): Change =>
        change.kind === 'put' && isLike(change) ? { ...change, entry: { ...change.entry, value } } : change
      for await (const step of base.follow(scopes, options)) {
        const told: FollowStep =
          step.kind === 'snapshot'
            ? { ...step, entries: step.entries.map(odd) }
            : step.kind === 'changes'
              ? { ...step, changes: step.changes.map(odd) }
              : step
        yield told
      }
    },
  })
const isEntry = (collection: AnyCollection, id: unknown) => (change: Change) =>
  change.kind === 'put' &&
  change.collection.name === collection.name &&
  collection.spell(change.entry.id) === collection.spell(id)

interface Place {
  /** Before the agent starts. */
  readonly before?: (bench: Bench) => Promise<unknown>
  readonly parts?: (bench: Bench) => Parts
  /** What is done to the bad service once the agent runs; left out: it is placed. */
  readonly ordered?: (bench: Bench) => Promise<unknown>
  /** Where the reason is read. */
  readonly reason: { readonly report: RegExp } | { readonly event: RegExp } | 'none: nothing is amiss'
}

const readyThen = (act: (bench: Bench) => Promise<unknown>) => async (bench: Bench) => {
  await bench.place(bad)
  await bench.untilState(bad, 'ready')
  await act(bench)
}
const crash = async (bench: Bench) => {
  const container = bench.containerOf(bad)
  if (container !== undefined) bench.docker.crash(container.id, 1)
}
const ordersStop = (bench: Bench) => bench.place(bad, { desired: 'stop' })
const probedBy = (probe: Record<string, unknown>) => (bench: Bench) =>
  bench.write(...bench.specOf(bad, { health: { readiness: probe } }))
const internal = { report: /^internal error: so ordered/ }

const inTheEngine: Readonly<Record<string, Place>> = {
  'a create that throws': {
    parts: () => ({
      engine: base => ({
        create: (spec, signal) => (isOfBad(spec) ? rejected() : base.create(spec, signal)),
      }),
    }),
    reason: internal,
  },
  'a create that answers nothing': {
    parts: () => ({
      engine: base => ({
        create: (spec, signal) =>
          isOfBad(spec) ? Promise.resolve(undefined as never) : base.create(spec, signal),
      }),
    }),
    reason: { report: /^internal error: / },
  },
  'a start that throws': {
    parts: bench => ({ engine: engineFailing(bench, 'start') }),
    reason: internal,
  },
  'a stop that throws': {
    parts: bench => ({ engine: engineFailing(bench, 'stop') }),
    ordered: readyThen(ordersStop),
    reason: internal,
  },
  'a removal that throws': {
    parts: bench => ({ engine: engineFailing(bench, 'remove') }),
    ordered: readyThen(ordersStop),
    reason: internal,
  },
  'an end that cannot be looked into': {
    parts: bench => ({ engine: engineFailing(bench, 'inspect') }),
    ordered: readyThen(crash),
    reason: internal,
  },
  'an image whose health check cannot be read': {
    parts: () => ({
      engine: base => ({
        imageHealthcheck: (image, signal) =>
          image.startsWith('bad') ? rejected() : base.imageHealthcheck(image, signal),
      }),
    }),
    reason: internal,
  },
  'a container without labels': {
    parts: () => ({
      engine: base => ({
        list: async signal => {
          const [first, ...others] = await base.list(signal)
          const odd = { ...first, id: 'f'.repeat(64), name: 'odd', labels: undefined } as unknown as Container
          return first === undefined ? [] : [odd, first, ...others]
        },
      }),
    }),
    reason: { event: /^container odd: reading its labels: internal error: / },
  },
  'a container of which nothing in its labels is right': {
    ordered: async bench => {
      bench.docker.import('odd:1', { content: 'odd', behaves: () => ({}) })
      bench.docker.runStranger({
        name: 'odd',
        image: 'odd:1',
        env: {},
        ports: [],
        labels: {
          'boxcar.cluster': cluster,
          'boxcar.host': host,
          [labels.instance]: '../../__proto__',
          [labels.attempt]: '1e999',
          [labels.print]: '\u0000',
        },
        resources: {},
      })
    },
    reason: 'none: nothing is amiss',
  },
}

const inProbing: Readonly<Record<string, Place>> = {
  'an exec probe that throws': {
    before: probedBy({ exec: ['true'] }),
    parts: () => ({ engine: () => ({ exec: rejected }) }),
    reason: internal,
  },
  'an HTTP probe that throws': {
    before: probedBy({ http: '/', port: 'http' }),
    parts: () => ({
      network: base => ({ http: ask => (ask.port === badPort ? rejected() : base.http(ask)) }),
    }),
    reason: internal,
  },
  'an HTTP probe that is answered with something unheard of': {
    before: probedBy({ http: '/', port: 'http' }),
    parts: () => ({
      network: base => ({
        http: ask => (ask.port === badPort ? Promise.resolve({ kind: 'sings' } as never) : base.http(ask)),
      }),
    }),
    reason: { report: /^internal error: / },
  },
  'a health status of one container that nobody can read': {
    before: probedBy({ docker: true }),
    parts: bench => ({ engine: engineFailing(bench, 'inspect') }),
    reason: internal,
  },
}

const inRecords: Readonly<Record<string, Place>> = {
  'a placement that throws when it is taken up': {
    parts: () => ({
      store: storeTelling(isEntry(placements, { host, instance: badInstance }), { ports: null }),
    }),
    reason: { event: /^shop\/bad\/1\/0: reading its placement/ },
  },
  'a placement that says it is of another instance': {
    ordered: bench =>
      bench.write(raw(placements, { host, instance: badInstance }, JSON.stringify(bench.placement(good)))),
    reason: { event: /^shop\/bad\/1\/0: reading its placement.*: it says that it is of shop\/good\/1\/0/ },
  },
  'a placement that is not JSON': {
    ordered: bench => bench.write(raw(placements, { host, instance: badInstance }, '{')),
    reason: 'none: nothing is amiss',
  },
  'a template without a template': {
    parts: () => ({
      store: base => ({
        get: async (collection, id) => {
          const entry = await base.get(collection, id)
          const isBad = collection.name === generations.name && collection.spell(id).startsWith(bad)
          return entry === undefined || !isBad
            ? entry
            : { ...entry, value: { ...(entry.value as object), template: undefined } as never }
        },
      }),
    }),
    reason: { report: /^internal error: / },
  },
  'a template that cannot be read in the store': {
    before: bench =>
      bench.write(raw(generations, { service: bad, number: 1 }, '{"text":{"image":7},"uid":[]}')),
    reason: { report: /generation 1 of shop\/bad is not in the store/ },
  },
  'a stored report that says it is of another instance': {
    before: bench => {
      const report = {
        instance: `${good}/1/0`,
        uid: 'uid-good',
        state: 'ready',
        attempt: 9,
        restarts: 9,
        since: 0,
      }
      return bench.write(raw(reports, { host, instance: badInstance }, JSON.stringify(report)))
    },
    reason: 'none: nothing is amiss',
  },
  'a stored report that is not JSON': {
    before: bench => bench.write(raw(reports, { host, instance: badInstance }, '[')),
    reason: 'none: nothing is amiss',
  },
  'a host record in which others left 1.5 MB': {
    before: bench =>
      bench.write(
        raw(
          hosts,
          host,
          JSON.stringify({
            id: host,
            address: '10.0.0.9',
            agentPort: 1,
            capacity: { cpuMilli: 1, memoryMiB: 1 },
            labels: {},
            ports: { from: 1, to: 2 },
            engine: { version: '', state: 'up' },
            proxy: { version: '', state: 'off' },
            agentVersion: '',
            extra: 'x'.repeat(1_572_300),
          }),
        ),
      ),
    reason: 'none: nothing is amiss',
  },
}

const inWriting: Readonly<Record<string, Place>> = {
  'a report at which the store throws': {
    parts: () => ({ store: storeRefusing('throws', reportOfBad) }),
    reason: { event: /^shop\/bad\/1\/0: writing its report: internal error: so ordered/ },
  },
  'a report that is too large however small': {
    parts: () => ({ store: storeRefusing('too-large', reportOfBad) }),
    reason: { event: /writing its report: internal error: it does not fit a transaction/ },
  },
  'a report that is stale however often it is read': {
    parts: () => ({ store: storeRefusing('stale', reportOfBad) }),
    reason: { event: /writing its report: internal error: the store finds it stale/ },
  },
  'an event at which the store throws': {
    parts: () => ({ store: storeRefusing('throws', eventOfBad) }),
    reason: { event: /^an event of the kind instance-ready could not be written/ },
  },
  'an event that is too large': {
    parts: () => ({ store: storeRefusing('too-large', eventOfBad) }),
    reason: { event: /^an event of the kind instance-ready could not be written/ },
  },
  'a host record at which the store throws': {
    parts: () => ({ store: storeRefusing('throws', write => write.key === keyOf(hosts, host)) }),
    reason: { event: /^the host: writing its record: internal error: so ordered/ },
  },
}

const onDisk: Readonly<Record<string, Place>> = Object.fromEntries(
  ['templates.json', 'reports.json', 'routed-ports.json'].flatMap(name => [
    [
      `a ${name} that the disk does not give`,
      {
        parts: () => ({
          files: (base: Files) => ({ read: (one: string) => (one === name ? rejected() : base.read(one)) }),
        }),
        reason: 'none: nothing is amiss',
      },
    ],
    [
      `a ${name} of which one entry is odd`,
      {
        before: async (bench: Bench) => {
          const odd = { toString: 'x' }
          bench.files.files.set(
            name,
            JSON.stringify(
              name === 'reports.json'
                ? [{ report: odd, streak: -1 }]
                : { format: 1, generations: [null, odd], backoffs: { u: odd }, ports: { [bad]: 7 } },
            ),
          )
        },
        reason: 'none: nothing is amiss',
      },
    ],
  ]),
)

const inRouting: Readonly<Record<string, Place>> = {
  'a route that throws when it is read, of a service that was served': {
    before: bench => bench.route(bad),
    parts: () => {
      let seen = 0
      const isSecond = (change: Change) => isEntry(routes, bad)(change) && ++seen > 1
      return { store: storeTelling(isSecond, { listeners: 'none' }) }
    },
    ordered: bench => bench.route(bad),
    reason: { event: /^shop\/bad: reading its route: internal error: / },
  },
  'a route that says it is of another service, in the place of a good one': {
    before: bench => bench.route(bad),
    ordered: bench => bench.write(raw(routes, bad, JSON.stringify(routeOf(good)))),
    reason: { event: /^shop\/bad: reading its route: internal error: it says that it is of shop\/good/ },
  },
  'a route that is not JSON, in the place of a good one': {
    before: bench => bench.route(bad),
    ordered: bench => bench.write(raw(routes, bad, '"')),
    reason: 'none: nothing is amiss',
  },
  'a proxy that throws for one table': {
    parts: bench => {
      let isFirst = true
      return {
        proxy: {
          apply: async table => {
            if (isFirst) {
              isFirst = false
              return broken()
            }
            bench.served.push(table)
            return { kind: 'applied', revision: table.revision, faults: [] }
          },
        },
      }
    },
    ordered: bench => bench.route(bad),
    reason: { event: /^the proxy: applying the routes: internal error: so ordered/ },
  },
}

describe('whatever one thing makes the agent throw stays with it:', () => {
  let bench: Bench | undefined
  afterEach(async () => {
    await bench?.stop()
  })

  let usual: Readonly<Record<string, number>> = {}
  beforeAll(async () => {
    const clean = new Bench()
    await clean.open()
    await clean.start()
    usual = await clean.course()
    await clean.stop()
  })

  test.each(
    Object.entries({ ...inTheEngine, ...inProbing, ...inRecords, ...inWriting, ...onDisk, ...inRouting }),
  )('%s', async (_, { before, parts, ordered, reason }) => {
    const now = new Bench()
    bench = now
    await now.open()
    await before?.(now)
    await now.start(parts?.(now) ?? {})
    await (ordered ?? (() => now.place(bad)))(now)
    await now.clock.advance(3000)
    const times = await now.course()
    for (const [step, ms] of Object.entries(times))
      expect(ms, step).toBeLessThanOrEqual(2 * (usual[step] ?? 0) + 200)
    await now.clock.advance(60_000)
    await now.expectPresent()
    if (reason === 'none: nothing is amiss') return
    if ('report' in reason) {
      expect((await now.report(bad))?.reason).toMatch(reason.report)
      if (reason.report.source.startsWith('^internal')) {
        const told = (await now.told('internal-error')).filter(text => text.startsWith(badInstance))
        // Once for the error, however often it was met.
        expect(told.length).toBeGreaterThan(0)
        expect(new Set(told).size).toBe(told.length)
      }
    } else {
      const told = (await now.told('internal-error')).filter(text => reason.event.test(text))
      expect(told).toHaveLength(1)
    }
  })

  test('a placement of one instance that says it is of another orders the other one nothing', async () => {
    const now = new Bench()
    bench = now
    await now.open()
    await now.start()
    await now.place(good)
    await now.untilState(good, 'ready')
    const stop = now.placement(good, { desired: 'stop' })
    await now.write(raw(placements, { host, instance: badInstance }, JSON.stringify(stop)))
    await now.clock.advance(30_000)
    expect((await now.report(good))?.state).toBe('ready')
    await now.expectPresent()
  })

  test.each([
    ['its stop is ordered', (bench: Bench) => bench.place(bad, { desired: 'stop' })],
    [
      'a placement of other ports stands in the place of its own',
      (bench: Bench) => bench.replace(bad, { ports: { http: badPort + 1 } }),
    ],
  ])('what was begun for an instance that the agent fails at is interrupted once %s', async (_, order) => {
    const now = new Bench()
    bench = now
    const pulls: PullOptions[] = []
    await now.open()
    await now.start({
      engine: base => ({
        pull: (reference, options = {}) => {
          pulls.push(options)
          return base.pull(reference, options)
        },
      }),
    })
    now.docker.failNext('pull', 'hangs')
    await now.place(bad)
    await now.until('its image is pulled', () => pulls.length > 0)
    const instances = now.listened[0]?.instances() as Instances | undefined
    for (let times = 0; times < 5; times++)
      instances?.failed(badInstance, 'reporting it', new Error('so ordered'))
    await order(now)
    await now.until('the pull is given up', () => pulls[0]?.signal?.aborted === true, 500)
  })

  test('one saved order that is of no use takes none of the others along', async () => {
    const now = new Bench()
    bench = now
    await now.open()
    await now.start()
    await now.place(good)
    await now.untilState(good, 'ready')
    await now.stop()
    const saved = JSON.parse(now.files.files.get('orders.json') ?? '')
    saved.orders.unshift({ created: '1', revision: '1', placed: { instance: badInstance } })
    now.files.files.set('orders.json', JSON.stringify(saved))
    now.docker.restart()
    const away = () => Promise.reject(new StoreUnavailable('so ordered'))
    await now.start({ store: () => ({ get: away, list: away, grant: away }) })
    await now.until('it runs again', () => now.containerOf(good) !== undefined)
  })

  test('an agent of which a whole task is broken is not present for long, and comes back as it is', async () => {
    let isBroken = false
    const now = new Bench()
    bench = now
    await now.open()
    await now.start({
      store: base => ({
        follow: async function* (scopes, options) {
          for await (const step of base.follow(scopes, options)) yield isBroken ? broken() : step
        },
      }),
    })
    await now.place(good)
    await now.untilState(good, 'ready')
    isBroken = true
    await now.until('the record says which task', async () =>
      (await now.conditions()).includes(
        "task-failing: the agent's following of orders breaks: internal error: so ordered",
      ),
    )
    await now.until(
      'its presence is gone',
      async () => (await now.leader.get(presences, host)) === undefined,
      60_000,
    )
    expect(now.listened[0]?.leaseGoodForMs()).toBe(0)
    // What runs is left as it is.
    expect(now.containerOf(good)).toBeDefined()
    isBroken = false
    await now.until(
      'it is present',
      async () => (await now.leader.get(presences, host)) !== undefined,
      120_000,
    )
    await now.until('the record says nothing', async () => (await now.conditions()).length === 0)
    expect(now.listened).toHaveLength(1)
    expect(await now.told('internal-error')).toEqual([
      "the agent's following of orders: running it: internal error: so ordered",
    ])
  })
})

describe("a condition in the host's record", () => {
  let bench: Bench
  afterEach(() => bench.stop())

  test('an engine that tells no events, once that lasts, until it does', async () => {
    let isDeaf = false
    const now = new Bench()
    bench = now
    await now.open()
    const ends = new Set<() => void>()
    await now.start({
      engine: base => ({
        events: async function* (signal) {
          if (isDeaf) throw new EngineUnavailable('the stream was reset')
          const end = new AbortController()
          ends.add(() => end.abort())
          const until = signal === undefined ? end.signal : AbortSignal.any([signal, end.signal])
          yield* base.events(until)
        },
      }),
    })
    await now.clock.advance(2000)
    isDeaf = true
    for (const end of ends) end()
    await now.clock.advance(4000)
    expect(await now.conditions()).toEqual([])
    await now.clock.advance(4000)
    expect(await now.conditions()).toEqual([
      'engine-events-missing: the engine tells no events (the stream was reset): what happens to containers is seen at the next listing, 5 s later at most',
    ])
    isDeaf = false
    await now.clock.advance(2000)
    expect(await now.conditions()).toEqual([])
  })

  test('a container that nobody asked for and that the engine does not remove, until it is gone', async () => {
    let isStuck = true
    const now = new Bench()
    bench = now
    await now.open()
    now.docker.import('other:1', { content: 'other', behaves: () => ({}) })
    const stranger = now.docker.runStranger({
      name: 'stranger',
      image: 'other:1',
      labels: { [labels.cluster]: cluster, [labels.host]: host },
      env: {},
      resources: {},
      ports: [],
    })
    await now.start({
      engine: base => ({
        remove: (...args) =>
          isStuck ? Promise.reject(new EngineFault('device or resource busy')) : base.remove(...args),
      }),
    })
    await now.clock.advance(60_000)
    expect(await now.conditions()).toEqual([
      `containers-not-removed: the engine does not remove containers that nobody asked for: ${stranger.slice(0, 12)} (device or resource busy)`,
    ])
    isStuck = false
    await now.clock.advance(10_000)
    expect(now.docker.all()).toEqual([])
    expect(await now.conditions()).toEqual([])
  })
})
