/** What is not wanted any more is not started, and holds up nobody: invariants C11 and L12, over the agents of several hosts. */
import {
  type ClusterName,
  type GenerationNumber,
  type HostId,
  type InstanceId,
  instanceId,
  type ServiceName,
} from '@boxcar/core/model/ids'
import type { Placement } from '@boxcar/core/model/placement'
import type { Report } from '@boxcar/core/model/report'
import { put, remove } from '@boxcar/store/collection'
import { clusters, generations, placements, reports, specs } from '@boxcar/store/keys'
import { silent } from '@boxcar/store/log'
import { MemoryEtcd } from '@boxcar/store/memory/memory-etcd'
import type { MemoryStore } from '@boxcar/store/memory/memory-store'
import { seededChance } from '@boxcar/store/memory/seeded-chance'
import { VirtualClock } from '@boxcar/store/memory/virtual-clock'
import type { Write } from '@boxcar/store/store'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  checkNotWantedNotStarted,
  type Happening,
  type StartReport,
} from '../../../test/checks/not-wanted-not-started.ts'
import { type RunningAgent, runAgent } from './agent.ts'
import { type Call, MemoryDocker } from './engine/memory.ts'
import type { Behaviour } from './engine/memory-image.ts'
import { MemoryNetwork } from './probe/memory-network.ts'
import { memoryFolder } from './state/files.ts'
import { labels } from './state/labels.ts'

const cluster = 'test' as ClusterName
const one = 1 as GenerationNumber
const web = 'shop/web' as ServiceName
const api = 'shop/api' as ServiceName
const stop = { desired: 'stop', because: 'deleted' } as const
const uid = (service: ServiceName): string => `uid-of-${service}`

/** As on a slow machine: 0.25 s for one start, and never more than six a second, however many at once. */
function engineMs(call: Call, underWay: number): number {
  if (call === 'start') return Math.max(250, 160 * underWay)
  return call === 'remove' ? 20 + 15 * underWay : call === 'pull' ? 400 : 5
}

/** A host with its engine and its agent. */
class Host {
  readonly id: HostId
  readonly docker: MemoryDocker
  readonly files = memoryFolder()
  readonly happenings: Happening[] = []
  agent: RunningAgent | undefined
  /** The agent's own connection. */
  store: MemoryStore | undefined
  #instances = new Map<string, string>()

  constructor(id: string, clock: VirtualClock, over: AbortSignal) {
    this.id = id as HostId
    this.docker = new MemoryDocker({ clock, latencyMs: engineMs })
    void this.#listen(clock, over)
  }

  count(state: 'created' | 'running'): number {
    return this.docker.all().filter(container => container.state === state).length
  }

  async #listen(clock: VirtualClock, over: AbortSignal): Promise<void> {
    for await (const event of this.docker.engine({ cluster, host: this.id }).events(over)) {
      if (event.kind !== 'changed' || !isJudged(event.action)) continue
      const container = event.id
      const seen = this.docker.all().find(each => each.id === container)?.labels[labels.instance]
      const instance = seen ?? this.#instances.get(container) ?? ''
      this.#instances.set(container, instance)
      this.happenings.push({
        kind: 'container',
        at: clock.now(),
        host: this.id,
        instance,
        container,
        action: event.action,
      })
    }
  }
}

const isJudged = (action: string): action is 'create' | 'start' | 'destroy' =>
  action === 'create' || action === 'start' || action === 'destroy'

/** Hosts and what a leader orders of them. */
class Bench {
  readonly clock = new VirtualClock()
  readonly etcd = new MemoryEtcd(this.clock)
  readonly leader = this.etcd.connect({ cluster })
  readonly hosts: readonly Host[]
  readonly placed: Happening[] = []
  behaviour: Behaviour = {}
  readonly #over = new AbortController()
  #starts = 0

  constructor(hosts: number) {
    this.hosts = Array.from(
      { length: hosts },
      (_, index) => new Host(`h${index + 1}`, this.clock, this.#over.signal),
    )
    this.etcd.observe(({ events }) => {
      for (const event of events) {
        const key = event.kind === 'removed' ? event.key : event.entry.key
        const [, host = '', ...rest] = key.split('/')
        if (!key.startsWith('placements/')) continue
        const wants = event.kind === 'removed' ? 'gone' : JSON.parse(event.entry.json).desired
        this.placed.push({ kind: 'placement', at: this.clock.now(), host, instance: rest.join('/'), wants })
      }
    })
  }

  get host(): Host {
    return this.#hostOf(0)
  }

  #hostOf(slot: number): Host {
    const host = this.hosts[slot % this.hosts.length]
    if (host === undefined) throw new Error('a bench has hosts')
    return host
  }

  async open(): Promise<void> {
    await this.write(
      put(clusters, 'self', { uid: 'cluster-1', epoch: 1, schema: 1, secret: 'secret' }),
      ...[web, api].flatMap(service => serviceWrites(service)),
    )
    for (const host of this.hosts) {
      for (const service of [web, api])
        host.docker.registry.push(`${service}:1`, { content: service, behaves: () => this.behaviour })
      await this.start(host)
    }
  }

  async start(host: Host): Promise<void> {
    const store = this.etcd.connect({ cluster })
    host.store = store
    const starting = runAgent(
      {
        cluster,
        hostId: host.id,
        advertise: '10.0.0.1',
        labels: {},
        reserve: { cpuMilli: 0, memoryMiB: 0 },
        ports: { from: 20_000, to: 29_999 },
        agentPort: 7071,
        version: '0.1.0',
      },
      {
        clock: this.clock,
        chance: seededChance(++this.#starts),
        log: silent,
        store,
        engine: host.docker.engine({ cluster, host: host.id }),
        network: new MemoryNetwork(host.docker),
        files: host.files,
      },
    )
    let ended = false
    void Promise.allSettled([starting]).then(() => {
      ended = true
    })
    await this.clock.advanceUntil(() => ended, 30_000)
    host.agent = await starting
  }

  async close(): Promise<void> {
    for (const host of this.hosts) await host.agent?.leave()
    this.#over.abort()
  }

  async write(...writes: readonly Write[]): Promise<void> {
    for (let from = 0; from < writes.length; from += 100) {
      const outcome = await this.leader.commit({ guards: [], writes: writes.slice(from, from + 100) })
      expect(outcome.kind).toBe('committed')
    }
  }

  /** Slots are spread over the hosts. */
  async order(service: ServiceName, replicas: number, more: Partial<Placement> = {}): Promise<void> {
    const digest = this.host.docker.registry.push(`${service}:1`, {
      content: service,
      behaves: () => this.behaviour,
    })
    const writes = Array.from({ length: replicas }, (_, slot) => {
      const { host, instance } = this.place(service, slot)
      return put(placements, { host, instance }, {
        instance,
        service,
        generation: one,
        slot,
        host,
        uid: uid(service),
        term: '1',
        desired: 'run',
        because: 'missing',
        cpuMilli: 10,
        memoryMiB: 16,
        ports: { http: 20_000 + slot + (service === api ? 1000 : 0) },
        image: `${service}@${digest}`,
        ...more,
      } satisfies Placement)
    })
    await this.write(...writes)
  }

  async forget(service: ServiceName, replicas: number): Promise<void> {
    await this.write(
      ...Array.from({ length: replicas }, (_, slot) => remove(placements, this.place(service, slot))),
    )
  }

  async takeAway(service: ServiceName, replicas: number): Promise<void> {
    await this.order(service, replicas, stop)
    await this.until(service, replicas, 'stopped')
    await this.forget(service, replicas)
    await this.clock.advance(1000)
  }

  /** How long a service takes to be ready where nothing else goes on and its image is here. */
  async idleMs(service: ServiceName, replicas: number): Promise<number> {
    await this.order(service, replicas)
    await this.until(service, replicas, 'ready')
    await this.takeAway(service, replicas)
    await this.order(service, replicas)
    const tookMs = await this.until(service, replicas, 'ready')
    await this.takeAway(service, replicas)
    return tookMs
  }

  place(service: ServiceName, slot: number): { readonly host: HostId; readonly instance: InstanceId } {
    const instance = instanceId({ service, generation: one, slot })
    return { host: this.#hostOf(slot).id, instance }
  }

  async report(service: ServiceName, slot = 0): Promise<Report | undefined> {
    return (await this.leader.get(reports, this.place(service, slot)))?.value
  }

  /** Time until all of a service's instances are reported so. */
  async until(service: ServiceName, replicas: number, state: Report['state'], ms = 60_000): Promise<number> {
    const began = this.clock.now()
    for (let slot = 0; slot < replicas; ) {
      if ((await this.report(service, slot))?.state === state) slot++
      else if (this.clock.now() - began >= ms)
        throw new Error(`slot ${slot} of ${service} is not ${state} within ${ms} ms`)
      else await this.clock.advance(10)
    }
    return this.clock.now() - began
  }

  check(): StartReport {
    const history = [...this.placed, ...this.hosts.flatMap(host => host.happenings)]
    return checkNotWantedNotStarted(history, this.clock.now())
  }
}

function serviceWrites(service: ServiceName): readonly Write[] {
  const text = { image: `${service}:1`, ports: [{ name: 'http', container: 8080 }] }
  return [
    put(specs, service, {
      service,
      uid: uid(service),
      text: { name: service.split('/')[1] ?? '', ...text },
      replicas: 1,
      generation: one,
      by: 'test',
      at: 0,
    }),
    put(
      generations,
      { service, number: one },
      { service, uid: uid(service), number: one, text, at: 0, by: 'test' },
    ),
  ]
}

let bench: Bench
afterEach(() => bench.close())

describe('ninety replicas over three hosts, deleted three seconds later', () => {
  const replicas = 90
  beforeEach(async () => {
    bench = new Bench(3)
    await bench.open()
  })

  test('no further one is started, and all of them are gone in the time that stopping those takes', async () => {
    await bench.order(web, replicas)
    await bench.clock.advance(3000)
    const started = bench.hosts.reduce((sum, host) => sum + host.count('running'), 0)
    expect(started).toBeGreaterThan(9)
    expect(started).toBeLessThan(60)
    await bench.order(web, replicas, stop)
    const goneMs = await bench.until(web, replicas, 'stopped')
    expect(goneMs).toBeLessThan(1500)
    const { violations, starts } = bench.check()
    expect(violations).toEqual([])
    // Those that the engines had begun.
    expect(starts.unwanted).toBeLessThanOrEqual(3 * 4)
    for (const host of bench.hosts) expect(host.docker.all()).toEqual([])
  })

  test('another service starts meanwhile in at most three times its time on idle hosts', async () => {
    const idle = await bench.idleMs(api, 3)
    await bench.order(web, replicas)
    await bench.clock.advance(3000)
    await bench.order(web, replicas, stop)
    await bench.order(api, 3)
    expect(await bench.until(api, 3, 'ready')).toBeLessThanOrEqual(3 * idle)
    expect(bench.check().violations).toEqual([])
  })
})

describe('on one host', () => {
  beforeEach(async () => {
    bench = new Bench(1)
    await bench.open()
  })

  test('a service with a hundred waiting starts hardly delays the single start of another', async () => {
    const idle = await bench.idleMs(api, 1)
    await bench.order(web, 100)
    await bench.clock.advance(5000)
    await bench.order(api, 1)
    expect(await bench.until(api, 1, 'ready')).toBeLessThanOrEqual(3 * idle)
    expect(bench.host.count('running')).toBeLessThan(50)
  })

  test('queued starts are dropped when their placements are gone', async () => {
    await bench.order(web, 60)
    await bench.clock.advance(1000)
    await bench.forget(web, 60)
    await bench.clock.advance(30_000)
    expect(bench.check().violations).toEqual([])
    expect(bench.host.docker.all()).toEqual([])
  })

  test('a container that an earlier run of the agent created is removed without a start', async () => {
    bench.host.docker.failNext('start', 'fails')
    await bench.order(web, 1)
    await bench.clock.advanceUntil(() => bench.host.count('created') === 1, 5000)
    await bench.host.agent?.leave()
    await bench.forget(web, 1)
    await bench.start(bench.host)
    await bench.clock.advance(15_000)
    expect(bench.check()).toMatchObject({
      violations: [],
      starts: { wanted: 0, unwanted: 0 },
      neverStarted: 1,
    })
    expect(bench.host.docker.all()).toEqual([])
  })

  test('one that an earlier run created and whose stop is ordered meanwhile is removed without a start', async () => {
    bench.host.docker.failNext('start', 'fails')
    await bench.order(web, 1)
    await bench.clock.advanceUntil(() => bench.host.count('created') === 1, 5000)
    await bench.host.agent?.leave()
    await bench.order(web, 1, stop)
    await bench.start(bench.host)
    await bench.until(web, 1, 'stopped', 2000)
    expect(bench.check()).toMatchObject({ starts: { wanted: 0, unwanted: 0 }, neverStarted: 1 })
  })

  test('one that was created for other ports is removed without a start', async () => {
    bench.host.docker.failNext('start', 'fails')
    await bench.order(web, 1)
    await bench.clock.advanceUntil(() => bench.host.count('created') === 1, 5000)
    await bench.forget(web, 1)
    await bench.order(web, 1, { ports: { http: 25_000 } })
    await bench.until(web, 1, 'ready')
    expect(bench.check()).toMatchObject({ starts: { wanted: 1, unwanted: 0 }, neverStarted: 1 })
  })

  test('the attempt that was only queued when the agent ended is counted once', async () => {
    await bench.order(web, 60)
    await bench.clock.advance(500)
    await bench.host.agent?.leave()
    await bench.start(bench.host)
    await bench.until(web, 60, 'ready')
    expect((await bench.report(web, 59))?.attempt).toBe(1)
  })

  test('a pull that nobody wants any more is given up, and held up no other service', async () => {
    bench.host.docker.failNext('pull', 'hangs')
    await bench.order(web, 20)
    await bench.until(web, 20, 'pulling', 2000)
    await bench.order(api, 1)
    await bench.until(api, 1, 'ready', 2000)
    await bench.order(web, 20, stop)
    await bench.until(web, 20, 'stopped', 1000)
    expect(bench.host.docker.all()).toHaveLength(1)
  })

  test('what nobody asks for is removed after a pause that grows while the engine refuses', async () => {
    await bench.order(web, 1)
    await bench.until(web, 1, 'ready')
    const refusals = 5
    for (let n = 0; n < refusals; n++) bench.host.docker.failNext('remove', 'fails')
    await bench.forget(web, 1)
    const began = bench.clock.now()
    await bench.clock.advanceUntil(() => bench.host.docker.all().length === 0, 120_000)
    // Ten seconds without an order; then 1, 2, 4, 8 and 15 between the tries.
    const tookMs = bench.clock.now() - began
    expect(tookMs).toBeGreaterThanOrEqual(40_000)
    expect(tookMs).toBeLessThan(45_000)
  })

  test('a stop does not wait for the look into an end', async () => {
    await bench.order(web, 1)
    await bench.until(web, 1, 'ready')
    bench.host.docker.failNext('inspect', 'hangs')
    bench.host.docker.failNext('inspect', 'hangs')
    const [container] = bench.host.docker.all()
    if (container === undefined) throw new Error('nothing runs')
    bench.host.docker.crash(container.id, 1)
    await bench.clock.advance(1000)
    await bench.order(web, 1, stop)
    await bench.until(web, 1, 'stopped', 1000)
  })

  test('a new placement does not wait for the look into an end', async () => {
    await bench.order(web, 1)
    await bench.until(web, 1, 'ready')
    bench.host.docker.failNext('inspect', 'hangs')
    bench.host.docker.failNext('inspect', 'hangs')
    const [container] = bench.host.docker.all()
    if (container === undefined) throw new Error('nothing runs')
    bench.host.docker.crash(container.id, 1)
    await bench.clock.advance(1000)
    // Heard together: that the earlier placement is gone is not seen by itself.
    bench.host.store?.faults.goAway()
    await bench.forget(web, 1)
    await bench.order(web, 1)
    bench.host.store?.faults.comeBack()
    await bench.clock.advance(5000)
    expect(bench.host.count('running')).toBe(1)
  })

  test('a stop does not wait for a back-off', async () => {
    bench.behaviour = { ends: { afterMs: 50, exitCode: 1 } }
    await bench.order(web, 1)
    await bench.clock.advance(20_000)
    await bench.order(web, 1, stop)
    await bench.until(web, 1, 'stopped', 1000)
    expect(bench.check().violations).toEqual([])
  })

  test('a hundred processes that do not end at their signal are stopped together', async () => {
    bench.behaviour = { onSignal: () => 'ignored' }
    await bench.order(web, 100)
    await bench.until(web, 100, 'ready', 120_000)
    await bench.order(web, 100, stop)
    // The usual grace is ten seconds; one after the other they would take a hundred and more.
    expect(await bench.until(web, 100, 'stopped')).toBeLessThan(20_000)
  })

  test('starts that hang hold up no others', async () => {
    for (let n = 0; n < 4; n++) bench.host.docker.failNext('start', 'hangs')
    await bench.order(web, 12)
    await bench.clock.advance(14_000)
    expect(bench.host.count('running')).toBe(8)
  })
})
