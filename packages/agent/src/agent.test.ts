import { mayMove } from '@boxcar/core/instance/lifecycle'
import { whyOrdersRefused } from '@boxcar/core/model/host'
import type { ClusterName, GenerationNumber, HostId, InstanceId, ServiceName } from '@boxcar/core/model/ids'
import type { Placement } from '@boxcar/core/model/placement'
import type { InstanceState, Report } from '@boxcar/core/model/report'
import type { Route } from '@boxcar/core/model/route'
import { put, remove } from '@boxcar/store/collection'
import {
  clusters,
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
import type { MemoryStore } from '@boxcar/store/memory/memory-store'
import { seededChance } from '@boxcar/store/memory/seeded-chance'
import { VirtualClock } from '@boxcar/store/memory/virtual-clock'
import type { Write } from '@boxcar/store/store'
import { afterEach, describe, expect, test } from 'vitest'
import { type RunningAgent, runAgent } from './agent.ts'
import { StartError } from './config.ts'
import { MemoryDocker } from './engine/memory.ts'
import type { Behaviour } from './engine/memory-image.ts'
import { MemoryNetwork } from './probe/memory-network.ts'
import type { ProxyFault } from './proxy/picture.ts'
import type { ApplyOutcome, Proxy as EdgeProxy, ProxyHealth, RouteTable } from './proxy/proxy.ts'
import { type Files, memoryFolder } from './state/files.ts'
import { labels } from './state/labels.ts'

const cluster = 'test' as ClusterName
const host = 'h1' as HostId
const web = 'shop/web' as ServiceName
const uid = 'uid-of-web'

/** A host, its engine, its disk and the store, with an agent that comes and goes. */
class Bench {
  readonly clock = new VirtualClock()
  readonly etcd = new MemoryEtcd(this.clock)
  /** As the leader and the API see it. */
  readonly leader: MemoryStore = this.etcd.connect({ cluster })
  store: MemoryStore = this.etcd.connect({ cluster })
  readonly docker = new MemoryDocker({ clock: this.clock, latencyMs: call => (call === 'start' ? 150 : 5) })
  readonly network = new MemoryNetwork(this.docker)
  readonly files = memoryFolder()
  readonly proxy = new TestProxy(this.clock)
  readonly told: string[] = []
  readonly states = new Map<string, InstanceState[]>()
  behaviour: Behaviour = {}
  image = ''
  agent: RunningAgent | undefined
  #starts = 0

  constructor() {
    this.image = `web@${this.docker.registry.push('web:1', { content: 'web', behaves: () => this.behaviour })}`
    this.etcd.observe(({ events }) => {
      for (const event of events) {
        if (event.kind === 'removed') {
          if (event.key.startsWith('reports/')) this.#move(event.key, undefined)
          continue
        }
        const { key, json } = event.entry
        if (key.startsWith('events/')) this.told.push(JSON.parse(json).kind)
        if (key.startsWith('reports/')) this.#move(key, JSON.parse(json).state)
      }
    })
  }

  /** Every report in every test moves only where the lifecycle lets it. */
  #move(key: string, state: InstanceState | undefined): void {
    const before = this.states.get(key) ?? []
    if (state === undefined) return void this.states.delete(key)
    const last = before.at(-1) ?? 'new'
    expect(mayMove(last, state), `${key}: ${last} → ${state}`).toBe(true)
    this.states.set(key, [...before, state])
  }

  async open(): Promise<void> {
    await this.write(
      put(clusters, 'self', { uid: 'cluster-1', epoch: 1, schema: 1, secret: 'secret' }),
      ...this.service(uid),
    )
  }

  service(ofUid: string, template: Record<string, unknown> = {}): readonly Write[] {
    const text = { image: 'web:1', ports: [{ name: 'http', container: 8080 }], ...template }
    const number = 1 as GenerationNumber
    return [
      put(specs, web, {
        service: web,
        uid: ofUid,
        text: { name: 'web', ...text },
        replicas: 1,
        generation: number,
        by: 'test',
        at: 0,
      }),
      put(
        generations,
        { service: web, number },
        { service: web, uid: ofUid, number, text, at: 0, by: 'test' },
      ),
    ]
  }

  async write(...writes: readonly Write[]): Promise<void> {
    const outcome = await this.leader.commit({ guards: [], writes })
    expect(outcome.kind).toBe('committed')
  }

  async start(): Promise<RunningAgent> {
    this.store = this.etcd.connect({ cluster })
    return await this.startOn(this.store)
  }

  async startOn(store: MemoryStore, files: Files = this.files): Promise<RunningAgent> {
    this.#starts += 1
    const starting = runAgent(
      {
        cluster,
        hostId: host,
        advertise: '10.0.0.1',
        labels: { zone: 'a' },
        reserve: { cpuMilli: 100, memoryMiB: 100 },
        ports: { from: 20_000, to: 29_999 },
        agentPort: 7071,
        version: '0.1.0',
      },
      {
        clock: this.clock,
        chance: seededChance(this.#starts),
        log: silent,
        store,
        engine: this.docker.engine({ cluster, host }),
        network: this.network,
        files,
        openEdge: () =>
          Promise.resolve({ proxy: this.proxy, version: '2.6.12', shortcoming: 'there is no docker0' }),
      },
    )
    const outcome = Promise.allSettled([starting])
    let ended = false
    void outcome.then(() => {
      ended = true
    })
    await this.clock.advanceUntil(() => ended, 30_000)
    this.agent = await starting
    return this.agent
  }

  async stop(): Promise<void> {
    await this.agent?.leave()
    this.agent = undefined
  }

  async place(slot: number, more: Partial<Placement> = {}): Promise<InstanceId> {
    const instance = `${web}/1/${slot}` as InstanceId
    await this.write(
      put(
        placements,
        { host, instance },
        {
          instance,
          service: web,
          generation: 1 as GenerationNumber,
          slot,
          host,
          uid,
          term: '1',
          desired: 'run',
          because: 'missing',
          cpuMilli: 100,
          memoryMiB: 64,
          ports: { http: 20_000 + slot },
          image: this.image,
          ...more,
        },
      ),
    )
    return instance
  }

  async report(instance: InstanceId): Promise<Report | undefined> {
    return (await this.leader.get(reports, { host, instance }))?.value
  }

  async untilState(instance: InstanceId, state: InstanceState | undefined, ms = 10_000): Promise<number> {
    const began = this.clock.now()
    for (;;) {
      const seen = await this.report(instance)
      if (seen?.state === state) return this.clock.now() - began
      if (this.clock.now() - began >= ms)
        throw new Error(`not ${state} within ${ms} ms: ${JSON.stringify(seen)}`)
      await this.clock.advance(10)
    }
  }

  running(): readonly string[] {
    return this.docker
      .all()
      .filter(container => container.state === 'running')
      .map(container => container.name)
  }
  idOfRunning() {
    const running = this.docker.all().find(container => container.state === 'running')
    if (running === undefined) throw new Error('nothing runs')
    return running.id
  }
}

/** A proxy that serves what it is told at once, or fails when told. */
class TestProxy implements EdgeProxy {
  table: RouteTable | undefined
  leaving: readonly InstanceId[] = []
  state: ProxyHealth = { kind: 'ok', faults: [] }
  readonly #clock: VirtualClock
  readonly #listeners = new Set<() => void>()

  constructor(clock: VirtualClock) {
    this.#clock = clock
  }
  apply(table: RouteTable): Promise<ApplyOutcome> {
    this.table = table
    return Promise.resolve({ kind: 'applied', revision: table.revision, faults: [] })
  }
  servedRoutes(): ReadonlyMap<ServiceName, Route> {
    return new Map()
  }

  draining(): Promise<readonly InstanceId[]> {
    return Promise.resolve(this.leaving)
  }
  health(): ProxyHealth {
    return this.state
  }
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }
  become(kind: 'ok' | 'failing', faults: readonly ProxyFault[] = []): void {
    this.state =
      kind === 'ok' ? { kind, faults } : { kind, since: this.#clock.now(), why: 'it is told to', faults: [] }
    for (const listener of this.#listeners) listener()
  }
  leave(): Promise<void> {
    return Promise.resolve()
  }
  stop(): Promise<void> {
    return Promise.resolve()
  }
}

describe('an agent', () => {
  let bench: Bench
  const begin = async () => {
    bench = new Bench()
    await bench.open()
    await bench.start()
  }
  afterEach(async () => {
    await bench.stop()
  })

  test('registers its host and holds its presence', async () => {
    await begin()
    await bench.clock.advance(1000)
    const record = (await bench.leader.get(hosts, host))?.value
    expect(record).toMatchObject({
      address: '10.0.0.1',
      capacity: { cpuMilli: 1900, memoryMiB: 3996 },
      labels: { zone: 'a' },
      engine: { state: 'up', version: '20.10.24' },
      proxy: { state: 'up', version: '2.6.12' },
    })
    const first = await bench.leader.get(presences, host)
    await bench.clock.advance(60_000)
    const later = await bench.leader.get(presences, host)
    expect(later?.modified).toBe(first?.modified)
    expect(bench.agent?.isPresent()).toBe(true)
  })

  test('registers again within a second when the store revoked its lease', async () => {
    await begin()
    await bench.clock.advance(1000)
    bench.etcd.revokeAll()
    expect(await bench.leader.get(presences, host)).toBeUndefined()
    await bench.clock.advance(1000)
    expect(await bench.leader.get(presences, host)).toBeDefined()
  })

  test('writes nothing while nothing changes', async () => {
    await begin()
    const instance = await bench.place(0)
    await bench.untilState(instance, 'ready')
    await bench.clock.advance(5000)
    const before = bench.etcd.revision
    await bench.clock.advance(120_000)
    expect(bench.etcd.revision).toBe(before)
  })

  test('brings a placement to ready, and tells so', async () => {
    await begin()
    const instance = await bench.place(0)
    const tookMs = await bench.untilState(instance, 'ready')
    expect(tookMs).toBeLessThan(600)
    const [name] = bench.running()
    expect(name).toMatch(/^boxcar-test-shop-web-1-0-\d+-1$/)
    expect(await bench.report(instance)).toMatchObject({ attempt: 1, restarts: 0, uid })
    await bench.clock.advance(1000)
    expect(bench.told).toContain('instance-ready')
  })

  test('starts a killed container again at once, and traffic hears of it first', async () => {
    await begin()
    const instance = await bench.place(0)
    await bench.untilState(instance, 'ready')
    await bench.clock.advance(3000)
    bench.docker.crash(bench.idOfRunning(), 137)
    const leftMs = await bench.untilState(instance, 'starting', 300)
    expect(leftMs).toBeLessThan(200)
    const backMs = await bench.untilState(instance, 'ready')
    expect(backMs).toBeLessThan(1000)
    expect(await bench.report(instance)).toMatchObject({ attempt: 2, restarts: 1, exit: { code: 137 } })
    expect(bench.docker.all()).toHaveLength(2)
  })

  test('waits longer each time for what keeps failing, and keeps one dead container', async () => {
    await begin()
    bench.behaviour = {
      ends: { afterMs: 50, exitCode: 3 },
      writes: [{ afterMs: 10, stream: 'stderr', line: 'no database' }],
    }
    const instance = await bench.place(0)
    await bench.clock.advance(60_000)
    expect(bench.docker.all().length).toBeLessThanOrEqual(2)
    const report = await bench.report(instance)
    expect(report).toMatchObject({ state: 'backoff', exit: { code: 3 }, lastLog: ['no database'] })
    expect(report?.attempt).toBeLessThanOrEqual(6)
    expect(report?.attempt).toBeGreaterThanOrEqual(5)
  })

  test('waits no less for what keeps failing when it is restarted itself', async () => {
    await begin()
    bench.behaviour = { ends: { afterMs: 50, exitCode: 3 } }
    const instance = await bench.place(0)
    await bench.clock.advance(20_000)
    const attempts = async () => (await bench.report(instance))?.attempt ?? 0
    const before = await attempts()
    for (let restart = 0; restart < 10; restart++) {
      await bench.stop()
      await bench.start()
      await bench.clock.advance(6000)
    }
    expect((await attempts()) - before).toBeLessThanOrEqual(1)
    // Each end was looked into once.
    expect(bench.told.filter(kind => kind === 'instance-ended')).toHaveLength(await attempts())
  })

  test('forgives what failed before a long run, though it saw only the end of it itself', async () => {
    await begin()
    bench.behaviour = { ends: { afterMs: 50, exitCode: 3 } }
    const instance = await bench.place(0)
    await bench.clock.advance(15_000)
    bench.behaviour = {}
    await bench.untilState(instance, 'ready', 60_000)
    await bench.clock.advance(280_000)
    await bench.stop()
    await bench.start()
    await bench.clock.advance(30_000)
    bench.docker.crash(bench.idOfRunning(), 1)
    await bench.clock.advance(2000)
    expect(await bench.report(instance)).toMatchObject({ state: 'ready', exit: { code: 1 } })
  })

  test('ends its probing with itself, also of what is just being started', async () => {
    await begin()
    await bench.place(0)
    await bench.clock.advance(60)
    let asked = 0
    const answer = bench.network.tcp.bind(bench.network)
    bench.network.tcp = question => {
      asked += 1
      return answer(question)
    }
    await bench.stop()
    await bench.clock.advance(60_000)
    expect(asked).toBe(0)
    expect(bench.running()).toHaveLength(1)
  })

  test('stops as ordered, confirms, and forgets once the leader took the placement away', async () => {
    await begin()
    bench.behaviour = { onSignal: () => ({ inMs: 2000, exitCode: 0 }) }
    const instance = await bench.place(0)
    await bench.untilState(instance, 'ready')
    await bench.place(0, { desired: 'stop', because: 'unwanted' })
    await bench.untilState(instance, 'stopping', 500)
    await bench.untilState(instance, 'stopped')
    expect(bench.docker.all()).toHaveLength(0)
    await bench.write(remove(placements, { host, instance }))
    await bench.untilState(instance, undefined, 1000)
  })

  test('confirms the stop of what never ran', async () => {
    await begin()
    const instance = await bench.place(0, { desired: 'stop', because: 'unwanted' })
    await bench.untilState(instance, 'stopped', 1000)
  })

  test('gives up a start that is told to stop meanwhile', async () => {
    bench = new Bench()
    bench.docker.registry.state = 'away'
    await bench.open()
    await bench.start()
    bench.docker.failNext('pull', 'hangs')
    const instance = await bench.place(0)
    await bench.untilState(instance, 'pulling', 1000)
    await bench.place(0, { desired: 'stop', because: 'unwanted' })
    await bench.untilState(instance, 'stopped', 1000)
  })

  test('tells why an image cannot be pulled, and tries again', async () => {
    await begin()
    bench.docker.registry.state = 'away'
    const instance = await bench.place(0)
    await bench.untilState(instance, 'backoff', 2000)
    expect((await bench.report(instance))?.reason).toMatch(/cannot be pulled/)
    bench.docker.registry.state = 'up'
    await bench.untilState(instance, 'ready', 10_000)
    expect(bench.told).toContain('pull-failed')
  })

  test('moves traffic by readiness and restarts by liveness', async () => {
    bench = new Bench()
    await bench.open()
    await bench.write(
      ...bench.service(uid, {
        health: {
          readiness: { http: '/ready', every: '1s', failures: 2 },
          liveness: { http: '/live', every: '2s', failures: 3 },
        },
      }),
    )
    await bench.start()
    const instance = await bench.place(0)
    await bench.untilState(instance, 'ready')
    bench.network.answers(20_000, { kind: 'answered', status: 500, body: 'broken' })
    await bench.untilState(instance, 'unready', 3000)
    expect((await bench.report(instance))?.probe).toMatchObject({ kind: 'readiness' })
    await bench.untilState(instance, 'starting', 8000)
    bench.network.answers(20_000, undefined)
    await bench.untilState(instance, 'ready', 8000)
    expect((await bench.report(instance))?.restarts).toBe(1)
  })

  test('lets a container live whose own health check has no verdict yet', async () => {
    bench = new Bench()
    await bench.open()
    await bench.write(...bench.service(uid, { health: { liveness: { docker: true } } }))
    const image = { content: 'checked', behaves: () => bench.behaviour }
    const health = { healthcheck: { test: ['CMD', 'check'], intervalMs: 30_000 }, exposedPorts: [] }
    const digest = bench.docker.registry.push('checked:1', { ...image, health })
    await bench.start()
    const instance = await bench.place(0, { image: `checked@${digest}` })
    await bench.untilState(instance, 'ready', 40_000)
    await bench.clock.advance(60_000)
    expect(await bench.report(instance)).toMatchObject({ state: 'ready', attempt: 1, restarts: 0 })
    // Its verdict counts once there is one: the third check in a row that failed.
    bench.behaviour = { exec: () => ({ exitCode: 1, output: 'no' }) }
    bench.docker.crash(bench.idOfRunning(), 1)
    await bench.clock.advance(89_000)
    expect(await bench.report(instance)).toMatchObject({ state: 'unready', restarts: 1 })
    await bench.clock.advance(30_000)
    expect(await bench.report(instance)).toMatchObject({ restarts: 2 })
  })

  test('does not send traffic to what is never ready', async () => {
    await begin()
    bench.network.answers(20_000, { kind: 'failed', why: 'connection refused' })
    const instance = await bench.place(0)
    await bench.untilState(instance, 'unready', 2000)
    await bench.clock.advance(30_000)
    const key = `reports/${host}/${instance}`
    expect(bench.states.get(key)).not.toContain('ready')
  })

  test('starts again locally while the store is away, and reports afterwards', async () => {
    await begin()
    const instance = await bench.place(0)
    await bench.untilState(instance, 'ready')
    bench.store.faults.goAway()
    await bench.clock.advance(10_000)
    const before = bench.running()
    bench.docker.crash(bench.idOfRunning(), 1)
    await bench.clock.advance(2000)
    expect(bench.running()).toHaveLength(1)
    expect(bench.running()).not.toEqual(before)
    await bench.clock.advance(60_000)
    bench.store.faults.comeBack()
    await bench.clock.advance(5000)
    expect(await bench.report(instance)).toMatchObject({ state: 'ready', restarts: 1 })
    expect(bench.running()).toHaveLength(1)
    expect(bench.agent?.isPresent()).toBe(true)
  })

  test('adopts what an earlier run started; its report never moves', async () => {
    await begin()
    const instance = await bench.place(0)
    await bench.untilState(instance, 'ready')
    await bench.clock.advance(2000)
    const before = bench.docker.all().map(container => container.id)
    const key = `reports/${host}/${instance}`
    const states = bench.states.get(key)
    await bench.stop()
    await bench.clock.advance(1500)
    await bench.start()
    await bench.clock.advance(30_000)
    expect(bench.docker.all().map(container => container.id)).toEqual(before)
    expect(bench.states.get(key)).toEqual(states)
    expect(states).toEqual(['starting', 'ready'])
    expect(await bench.leader.get(presences, host)).toBeDefined()
  })

  test('is present without a gap when it is restarted within its lease', async () => {
    await begin()
    await bench.clock.advance(2000)
    let gaps = 0
    bench.etcd.observe(({ events }) => {
      for (const event of events) if (event.kind === 'removed' && event.key.startsWith('presence/')) gaps += 1
    })
    await bench.stop()
    await bench.clock.advance(2000)
    await bench.start()
    await bench.clock.advance(20_000)
    expect(gaps).toBe(0)
  })

  test('goes on from its state folder when it starts while the store is away', async () => {
    await begin()
    const instance = await bench.place(0)
    await bench.untilState(instance, 'ready')
    await bench.clock.advance(2000)
    await bench.stop()
    const before = bench.docker.all().map(container => container.id)
    const away = bench.etcd.connect({ cluster })
    away.faults.goAway()
    await bench.startOn(away)
    await bench.clock.advance(20_000)
    expect(bench.docker.all().map(container => container.id)).toEqual(before)
    bench.docker.crash(bench.idOfRunning(), 1)
    await bench.clock.advance(2000)
    expect(bench.running()).toHaveLength(1)
    away.faults.comeBack()
    await bench.clock.advance(5000)
    expect(await bench.report(instance)).toMatchObject({ state: 'ready' })
  })

  test('does not start without a store and without orders', async () => {
    bench = new Bench()
    await bench.open()
    const away = bench.etcd.connect({ cluster })
    away.faults.goAway()
    await expect(bench.startOn(away)).rejects.toThrow(StartError)
  })

  test('does not start without an engine and without orders', async () => {
    bench = new Bench()
    await bench.open()
    bench.docker.become('away')
    await expect(bench.start()).rejects.toThrow(/engine cannot be reached/)
  })

  test('does not start under the id of another host that lives', async () => {
    await begin()
    await bench.clock.advance(1000)
    const first = bench.agent
    await expect(bench.startOn(bench.etcd.connect({ cluster }), memoryFolder())).rejects.toThrow(
      /another machine is registered as host 'h1'/,
    )
    bench.agent = first
  })

  test('refuses the orders of another cluster and of an older store', async () => {
    await begin()
    const instance = await bench.place(0)
    await bench.untilState(instance, 'ready')
    await bench.clock.advance(2000)
    await bench.stop()
    const other = new MemoryEtcd(bench.clock)
    const foreign = other.connect({ cluster })
    await foreign.commit({
      guards: [],
      writes: [put(clusters, 'self', { uid: 'cluster-2', epoch: 1, schema: 1, secret: 'x' })],
    })
    const before = bench.running()
    await expect(bench.startOn(foreign)).rejects.toThrow(
      /orders.json in the state folder is of another cluster/,
    )
    expect(bench.running()).toEqual(before)
    foreign.faults.goAway()
    await bench.startOn(foreign)
    foreign.faults.comeBack()
    await bench.clock.advance(60_000)
    expect(bench.running()).toHaveLength(1)
    expect((await foreign.list(reports)).entries).toHaveLength(0)
    expect(await foreign.get(presences, host)).toBeUndefined()
    await bench.stop()
    const old = new MemoryEtcd(bench.clock)
    const behind = old.connect({ cluster })
    let told = ''
    old.observe(({ events }) => {
      for (const event of events)
        if (event.kind === 'put' && event.entry.key.startsWith('events/')) told += event.entry.json
    })
    await behind.commit({
      guards: [],
      writes: [put(clusters, 'self', { uid: 'cluster-1', epoch: 1, schema: 1, secret: 'secret' })],
    })
    await bench.startOn(behind)
    await bench.clock.advance(60_000)
    expect(bench.running()).toHaveLength(1)
    expect(told.match(/orders-refused/g)).toHaveLength(1)
    // The host's own record says so to everybody, though the host is not present there; what it says goes with the reason.
    const said = async () => whyOrdersRefused((await behind.get(hosts, host))?.value)
    expect(await said()).toMatch(/behind what was seen of it .*set the epoch in cluster\/self to 2 or higher/)
    expect(await behind.get(presences, host)).toBeUndefined()
    await behind.commit({
      guards: [],
      writes: [put(clusters, 'self', { uid: 'cluster-1', epoch: 2, schema: 1, secret: 'secret' })],
    })
    await bench.clock.advance(10_000)
    expect(await behind.get(presences, host)).toBeDefined()
    expect(await said()).toBeUndefined()
  })

  test('an epoch that goes back under a running agent is on its record, and goes with it', async () => {
    await begin()
    await bench.clock.advance(2000)
    const epoch = (epoch: number) =>
      bench.write(put(clusters, 'self', { uid: 'cluster-1', epoch, schema: 1, secret: 'secret' }))
    const said = async () => whyOrdersRefused((await bench.leader.get(hosts, host))?.value)
    await epoch(3)
    await bench.clock.advance(5000)
    await epoch(2)
    await bench.clock.advance(5000)
    expect(await said()).toMatch(/epoch 2, seen 3/)
    await epoch(4)
    await bench.clock.advance(5000)
    expect(await said()).toBeUndefined()
  })

  test('a state folder that takes nothing is a condition of the host, until it took what was not saved', async () => {
    bench = new Bench()
    await bench.open()
    const folder = { ...bench.files, isFull: false }
    const write = async (name: string, text: string) => {
      if (folder.isFull) throw new Error('ENOSPC: no space left on device')
      await bench.files.write(name, text)
    }
    await bench.startOn(bench.etcd.connect({ cluster }), { ...bench.files, write })
    const entry = () => bench.leader.get(hosts, host)
    await bench.clock.advance(2000)
    expect((await entry())?.value.conditions).toEqual([])
    folder.isFull = true
    const instance = await bench.place(0)
    await bench.untilState(instance, 'ready')
    await bench.clock.advance(2000)
    const standing = await entry()
    expect(standing?.value.conditions).toEqual([
      {
        kind: 'state-not-saved',
        reason: expect.stringMatching(
          /^the state folder does not take orders\.json \(ENOSPC: .*reports\.json/,
        ),
        since: expect.any(Number),
      },
    ])
    await bench.clock.advance(60_000)
    expect((await entry())?.modified, 'written on change only').toBe(standing?.modified)
    folder.isFull = false
    await bench.clock.advance(12_000)
    expect((await entry())?.value.conditions).toEqual([])
    for (const file of ['orders.json', 'templates.json', 'reports.json'])
      expect(bench.files.files.get(file), file).toContain(web)
  })

  test('files of the state folder that are of no use when it starts are told, with what comes of it', async () => {
    bench = new Bench()
    await bench.open()
    const said: string[] = []
    bench.etcd.observe(({ events }) => {
      for (const event of events)
        if (event.kind === 'put' && event.entry.key.startsWith('events/')) {
          const { kind, message } = JSON.parse(event.entry.json)
          if (kind === 'state-unread')
            said.push(
              message.replace('a file of the state folder was of no use when the agent started: ', ''),
            )
        }
    })
    for (const file of ['orders.json', 'routed-ports.json', 'templates.json', 'reports.json'])
      bench.files.files.set(file, '{"format":9}')
    const read = async (name: string) => {
      if (name === 'host.json')
        throw new Error('it was not as it was written, and is kept as host.json.broken')
      return await bench.files.read(name)
    }
    await bench.startOn(bench.etcd.connect({ cluster }), { ...bench.files, read })
    await bench.clock.advance(2000)
    expect(said).toEqual([
      'host.json: it was not as it was written, and is kept as host.json.broken',
      expect.stringMatching(/^orders\.json: .*; orders come from the store alone$/s),
      'templates.json: it cannot be understood; templates come from the store again',
      'routed-ports.json: it cannot be understood; the ports come from the store again',
      expect.stringMatching(/^reports\.json: .*counters of restarts begin anew$/),
    ])
    expect((await bench.leader.get(hosts, host))?.value.conditions).toEqual([])
  })

  test('a placement that it cannot read is a condition of the host for as long as it stands', async () => {
    await begin()
    const id = { host, instance: await bench.place(0) }
    await bench.untilState(id.instance, 'ready')
    const { key } = put(placements, id, {} as Placement)
    await bench.write({ kind: 'put', key, json: '{"instance":"newer"}', lease: undefined })
    await bench.clock.advance(2000)
    const conditions = async () => (await bench.leader.get(hosts, host))?.value.conditions
    expect(await conditions()).toMatchObject([
      {
        kind: 'orders-unreadable',
        reason: `this agent (0.1.0) cannot read the placement of ${id.instance}: what runs there is left as it is`,
      },
    ])
    await bench.write(remove(placements, id))
    await bench.clock.advance(2000)
    expect(await conditions()).toEqual([])
  })

  test('stops what nobody asks for, once the orders are known to be fresh for ten seconds', async () => {
    await begin()
    const instance = await bench.place(0)
    await bench.untilState(instance, 'ready')
    await bench.write(remove(placements, { host, instance }))
    await bench.clock.advance(8000)
    expect(bench.running()).toHaveLength(1)
    await bench.clock.advance(20_000)
    expect(bench.docker.all()).toHaveLength(0)
    expect(await bench.report(instance)).toBeUndefined()
  })

  test('lets run what is placed in words that it cannot read, whatever it remembers', async () => {
    await begin()
    const instance = await bench.place(0)
    await bench.untilState(instance, 'ready')
    await bench.clock.advance(2000)
    await bench.stop()
    bench.files.files.delete('orders.json')
    const key = put(placements, { host, instance }, {} as Placement).key
    await bench.write({ kind: 'put', key, json: '{"instance":"newer"}', lease: undefined })
    await bench.start()
    await bench.clock.advance(60_000)
    expect(bench.running()).toHaveLength(1)
    expect(await bench.report(instance)).toMatchObject({ state: 'ready' })
    await bench.write(remove(placements, { host, instance }))
    await bench.clock.advance(30_000)
    expect(bench.running()).toHaveLength(0)
  })

  test('never stops for want of orders while the store is away', async () => {
    await begin()
    const instance = await bench.place(0)
    await bench.untilState(instance, 'ready')
    bench.store.faults.goAway()
    await bench.clock.advance(100)
    await bench.write(remove(placements, { host, instance }))
    await bench.clock.advance(120_000)
    expect(bench.running()).toHaveLength(1)
    bench.store.faults.comeBack()
    await bench.clock.advance(30_000)
    expect(bench.running()).toHaveLength(0)
  })

  test('replaces the container of an earlier service of the same name', async () => {
    await begin()
    const instance = await bench.place(0)
    await bench.untilState(instance, 'ready')
    const before = bench.idOfRunning()
    await bench.write(...bench.service('uid-2'))
    await bench.place(0, { uid: 'uid-2' })
    await bench.clock.advance(3000)
    expect(await bench.report(instance)).toMatchObject({ state: 'ready', uid: 'uid-2' })
    expect(bench.idOfRunning()).not.toBe(before)
    expect(bench.running()).toHaveLength(1)
  })

  test.each(['runs on', 'is restarted'] as const)(
    'knows nothing of a recreated service by its earlier placement, where the agent %s',
    async how => {
      await begin()
      bench.behaviour = {
        ends: { afterMs: 50, exitCode: 3 },
        writes: [{ afterMs: 10, stream: 'stderr', line: 'of the earlier one' }],
      }
      const instance = await bench.place(0)
      await bench.clock.advance(45_000)
      await bench.place(0, { desired: 'stop', because: 'deleted' })
      await bench.untilState(instance, 'stopped')
      await bench.clock.advance(1000)
      if (how === 'is restarted') await bench.stop()
      else bench.store.faults.holdWatches()
      const id = { host, instance }
      await bench.write(remove(placements, id), remove(reports, id))
      await bench.write(...bench.service('uid-2'))
      bench.behaviour = {}
      await bench.place(0, { uid: 'uid-2' })
      if (how === 'is restarted') await bench.start()
      else bench.store.faults.releaseWatches()
      expect(await bench.untilState(instance, 'ready')).toBeLessThan(1000)
      const report = await bench.report(instance)
      expect(report).toMatchObject({ uid: 'uid-2', attempt: 1, restarts: 0 })
      expect(report).not.toHaveProperty('exit')
      expect(report).not.toHaveProperty('lastLog')
    },
  )

  test('a run that goes on under another placement stays ready', async () => {
    await begin()
    const instance = await bench.place(0)
    await bench.untilState(instance, 'ready')
    await bench.clock.advance(2000)
    const before = bench.idOfRunning()
    bench.store.faults.holdWatches()
    await bench.write(remove(placements, { host, instance }))
    await bench.place(0)
    bench.store.faults.releaseWatches()
    const { created } = (await bench.leader.get(placements, { host, instance })) ?? {}
    await bench.clock.advance(2000)
    expect(bench.idOfRunning()).toBe(before)
    expect(await bench.report(instance)).toMatchObject({ state: 'ready', placement: created })
    expect(bench.states.get(`reports/${host}/${instance}`)).toEqual(['starting', 'ready', 'ready'])
  })

  test('starts everything again after its engine was restarted', async () => {
    await begin()
    const all = [await bench.place(0), await bench.place(1), await bench.place(2)]
    for (const instance of all) await bench.untilState(instance, 'ready')
    bench.docker.restart()
    await bench.clock.advance(5000)
    expect(bench.running()).toHaveLength(3)
    for (const instance of all) expect(await bench.report(instance)).toMatchObject({ state: 'ready' })
  })

  test('says that its engine is down, and that it is back', async () => {
    await begin()
    const instance = await bench.place(0)
    await bench.untilState(instance, 'ready')
    bench.docker.become('silent')
    await bench.clock.advance(25_000)
    expect((await bench.leader.get(hosts, host))?.value.engine.state).toBe('down')
    expect(bench.running()).toHaveLength(1)
    bench.docker.become('up')
    await bench.clock.advance(25_000)
    expect((await bench.leader.get(hosts, host))?.value.engine.state).toBe('up')
    expect(bench.told).toEqual(expect.arrayContaining(['engine-down', 'engine-up']))
    expect(bench.running()).toHaveLength(1)
  })

  test('says that its engine is down where it lists and hangs below, and leaves its containers alone', async () => {
    await begin()
    const instance = await bench.place(0)
    await bench.untilState(instance, 'ready')
    const [before] = bench.running()
    const engineState = async () => (await bench.leader.get(hosts, host))?.value.engine.state
    bench.docker.failNext('info', 'hangs')
    await bench.clock.advance(40_000)
    expect(bench.told).not.toContain('engine-down')
    for (let i = 0; i < 20; i++) bench.docker.failNext('info', 'hangs')
    await bench.clock.advance(35_000)
    expect(await engineState()).toBe('down')
    expect(await bench.report(instance)).toMatchObject({ state: 'ready' })
    await bench.clock.advance(180_000)
    expect(await engineState()).toBe('up')
    expect(bench.running()).toEqual([before])
    expect(bench.told.filter(kind => kind.startsWith('engine'))).toEqual(['engine-down', 'engine-up'])
  })

  test('one container that hangs holds up no other', async () => {
    await begin()
    bench.docker.failNext('start', 'hangs')
    const [first, second] = [await bench.place(0), await bench.place(1)]
    await bench.untilState(second, 'ready', 2000)
    await bench.untilState(first, 'ready', 30_000)
    expect(bench.running()).toHaveLength(2)
  })

  test('acknowledges the routes that its proxy serves, and takes it back while the proxy fails', async () => {
    await begin()
    await bench.write(
      put(routes, web, { service: web, uid, term: '1', listeners: [], backings: [], drainMs: 1000 }),
    )
    const route = await bench.leader.get(routes, web)
    await bench.clock.advance(1000)
    const ack = await bench.leader.get(routeAcks, host)
    expect(ack?.value).toEqual({ revision: route?.modified, draining: [] })
    await bench.clock.advance(60_000)
    expect((await bench.leader.get(routeAcks, host))?.modified).toBe(ack?.modified)
    bench.proxy.become('failing')
    await bench.clock.advance(4000)
    expect(await bench.leader.get(routeAcks, host)).toBeDefined()
    await bench.clock.advance(2000)
    expect(await bench.leader.get(routeAcks, host)).toBeUndefined()
    bench.proxy.become('ok')
    await bench.clock.advance(1000)
    expect((await bench.leader.get(routeAcks, host))?.value.revision).toBe(route?.modified)
    expect(bench.told).toEqual(expect.arrayContaining(['proxy-failing', 'proxy-up']))
  })

  test('names what its proxy cannot serve beside that, and writes it again when it changes', async () => {
    await begin()
    await bench.write(
      put(routes, web, { service: web, uid, term: '1', listeners: [], backings: [], drainMs: 1000 }),
    )
    const revision = (await bench.leader.get(routes, web))?.modified
    const acked = async () => {
      await bench.clock.advance(1000)
      return (await bench.leader.get(routeAcks, host))?.value
    }
    expect(await acked()).toEqual({ revision, draining: [] })
    const held = { address: '0.0.0.0', reason: 'held', holder: 'process 812 (sshd)' } as const
    bench.proxy.become('ok', [{ kind: 'port', port: 22, ...held }])
    expect(await acked()).toEqual({ revision, draining: [], unserved: [{ listen: 22, ...held }] })
    bench.proxy.become('ok')
    expect(await acked()).toEqual({ revision, draining: [] })
  })

  test('says in its record what its proxy cannot do on this host, beside what it fails at', async () => {
    await begin()
    const proxy = async () => {
      await bench.clock.advance(1000)
      return (await bench.leader.get(hosts, host))?.value.proxy
    }
    const version = '2.6.12'
    expect(await proxy()).toEqual({ version, state: 'up', reason: 'there is no docker0' })
    bench.proxy.become('failing')
    const reason = 'there is no docker0; it is told to'
    expect(await proxy()).toEqual({ version, state: 'failing', reason })
  })

  test.each(['create', 'start'] as const)(
    'says of what hangs at each %s that it waits, and counts its starts',
    async call => {
      await begin()
      for (let i = 0; i < 20; i++) bench.docker.failNext(call, 'hangs')
      const instance = await bench.place(0)
      await bench.untilState(instance, 'backoff', 200_000)
      expect((await bench.report(instance))?.attempt).toBeGreaterThanOrEqual(3)
      for (let seen = 0; seen < 5; seen = (await bench.report(instance))?.attempt ?? 0)
        await bench.clock.advance(1000)
      await bench.untilState(instance, 'backoff', 200_000)
      expect((await bench.report(instance))?.reason).toMatch(/./)
    },
  )

  test('counts the starts that the engine refuses', async () => {
    await begin()
    bench.docker.registry.state = 'away'
    const instance = await bench.place(0)
    await bench.clock.advance(60_000)
    expect(await bench.report(instance)).toMatchObject({ state: 'backoff', restarts: 0 })
    expect((await bench.report(instance))?.attempt).toBeGreaterThanOrEqual(5)
  })

  test('takes up another back-off also for starts that the engine refuses', async () => {
    await begin()
    bench.docker.registry.state = 'away'
    const instance = await bench.place(0)
    await bench.clock.advance(120_000)
    const before = (await bench.report(instance))?.attempt ?? 0
    const spec = (await bench.leader.get(specs, web))?.value
    if (spec === undefined) throw new Error('the service has no spec')
    const backoff = { first: '1s', cap: '1s' }
    await bench.write(put(specs, web, { ...spec, text: { ...spec.text, restart: { backoff } } }))
    // The wait that has begun goes on, and so does that of the failure which reads the spec.
    await bench.clock.advance(180_000)
    expect((await bench.report(instance))?.attempt).toBeGreaterThan(before + 30)
  })

  test('what ended is not ready again while the engine is not heard', async () => {
    await begin()
    const instance = await bench.place(0)
    await bench.untilState(instance, 'ready')
    // The third end in a row waits before the next start.
    for (const end of [1, 2, 3]) {
      bench.docker.crash(bench.idOfRunning(), 1)
      if (end < 3) {
        await bench.clock.advance(3000)
        expect(await bench.report(instance)).toMatchObject({ state: 'ready', restarts: end })
      }
    }
    await bench.untilState(instance, 'backoff', 500)
    const key = `reports/${host}/${instance}`
    bench.docker.become('away')
    await bench.clock.advance(20_000)
    expect(bench.states.get(key)?.at(-1)).toBe('backoff')
    bench.docker.become('up')
    await bench.untilState(instance, 'ready')
  })

  test('asks at the routed port again after a restart without the store', async () => {
    await begin()
    const ports = [
      { name: 'admin', container: 9090 },
      { name: 'http', container: 8080 },
    ]
    await bench.write(...bench.service(uid, { ports }))
    await bench.write(
      put(routes, web, {
        service: web,
        uid,
        term: '1',
        listeners: [
          { protocol: 'tcp', listen: 8000, hostnames: [], path: '/', expose: 'private', port: 'http' },
        ],
        backings: [],
        drainMs: 1000,
      }),
    )
    bench.network.answers(21_000, { kind: 'failed', why: 'connection refused' })
    const instance = await bench.place(0, { ports: { admin: 21_000, http: 20_000 } })
    await bench.untilState(instance, 'ready')
    await bench.clock.advance(2000)
    const key = `reports/${host}/${instance}`
    for (const kept of ['kept', 'lost'] as const) {
      await bench.stop()
      if (kept === 'lost') bench.files.files.delete('routed-ports.json')
      const away = bench.etcd.connect({ cluster })
      away.faults.goAway()
      await bench.startOn(away)
      await bench.clock.advance(20_000)
      away.faults.comeBack()
      await bench.clock.advance(10_000)
      expect(bench.states.get(key)).toEqual(['starting', 'ready'])
    }
    bench.network.answers(20_000, { kind: 'failed', why: 'connection refused' })
    await bench.untilState(instance, 'unready')
  })

  test('a restart without its state folder moves no report', async () => {
    await begin()
    const instance = await bench.place(0)
    await bench.untilState(instance, 'ready')
    await bench.clock.advance(2000)
    const before = await bench.report(instance)
    await bench.stop()
    // Its presence ends first: without the folder it is another machine.
    await bench.clock.advance(6000)
    await bench.startOn(bench.etcd.connect({ cluster }), memoryFolder())
    await bench.clock.advance(10_000)
    expect(bench.states.get(`reports/${host}/${instance}`)).toEqual(['starting', 'ready'])
    expect(await bench.report(instance)).toEqual(before)
  })

  test('leaves containers that are not its own alone', async () => {
    await begin()
    bench.docker.import('other:1', { content: 'other', behaves: () => ({}) })
    const stranger = bench.docker.runStranger({
      name: 'stranger',
      image: 'other:1',
      labels: { [labels.cluster]: 'another', [labels.host]: host },
      env: {},
      resources: {},
      ports: [],
    })
    await bench.clock.advance(60_000)
    expect(bench.docker.all().find(container => container.id === stranger)?.state).toBe('running')
  })
})
