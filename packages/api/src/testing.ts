/** A server over the store in memory, for tests: everything is real but etcd, the agents and the network. */
import type { HostRecord } from '@boxcar/core/model/host'
import {
  type GenerationNumber,
  type HostId,
  type InstanceId,
  placeOf,
  type ServiceName,
} from '@boxcar/core/model/ids'
import type { Placement } from '@boxcar/core/model/placement'
import type { Report } from '@boxcar/core/model/report'
import type { Phase, Rollout } from '@boxcar/core/model/rollout'
import { openCluster } from '@boxcar/store/cluster'
import { put } from '@boxcar/store/collection'
import { EventWriter } from '@boxcar/store/events'
import { hosts, leaders, placements, presences, reports, rollouts, specs } from '@boxcar/store/keys'
import { silent } from '@boxcar/store/log'
import { MemoryEtcd } from '@boxcar/store/memory/memory-etcd'
import type { MemoryStore } from '@boxcar/store/memory/memory-store'
import { Mirror } from '@boxcar/store/mirror'
import type { LeaseId, Store, Write } from '@boxcar/store/store'
import { systemChance, systemClock } from '@boxcar/store/system'
import type { Agents } from './agents.ts'
import { buildApp } from './app.ts'
import { type ApiDeps, apiScopes } from './deps.ts'
import type { App } from './routes/route.ts'

export interface TestServer {
  readonly deps: ApiDeps
  readonly app: App
  readonly etcd: MemoryEtcd
  /** The server's own connection: its faults are the server's. */
  readonly store: MemoryStore
  /** By which the leader record and the presences live; it lasts longer than any test. */
  readonly lease: LeaseId
  /** Writes as any other process would, and waits until the server's mirror shows it. */
  write(...writes: Write[]): Promise<void>
  /** What the leader would write. */
  roll(service: ServiceName, now: Phase, rest?: Partial<Rollout>): Promise<void>
  addHost(id: string, record?: Partial<HostRecord>): Promise<void>
  /** What the leader would write of an instance that runs on a host, and the host of it where it reports a state. */
  place(id: string, host: string, state?: Report['state'], more?: Partial<Placement>): Promise<void>
  close(): Promise<void>
}

export interface TestOptions {
  /** Of another server, which this one stands beside. */
  readonly etcd?: MemoryEtcd
  readonly token?: string
  readonly agents?: Agents
  /** The store as the server's mirror and its event streams hear it. */
  readonly heard?: (store: Store) => Store
}

const dayMs = 24 * 60 * 60 * 1000
const nobody: Agents = { logs: async () => ({ kind: 'unreachable', reason: 'no agent in this test' }) }

export async function testServer({
  token,
  agents = nobody,
  heard = store => store,
  etcd = new MemoryEtcd(systemClock),
}: TestOptions = {}): Promise<TestServer> {
  const stop = new AbortController()
  const clock = systemClock
  const store = etcd.connect({ cluster: 'test' })
  const asHeard = heard(store)
  const others = etcd.connect({ cluster: 'test' })
  const cluster = await openCluster(store, systemChance)
  const mirror = new Mirror({ store: asHeard, clock, scopes: apiScopes, signal: stop.signal })
  const events = new EventWriter({
    store,
    clock,
    chance: systemChance,
    writer: 'api',
    signal: stop.signal,
  })
  const deps: ApiDeps = {
    store: asHeard,
    mirror,
    clock,
    chance: systemChance,
    events,
    agents,
    clusterName: 'test',
    cluster,
    log: silent,
    version: '0.0.0-test',
    signal: stop.signal,
    ...(token === undefined ? {} : { token }),
  }
  await Promise.all([mirror.untilCaughtUp(), events.ready()])
  const app = await buildApp(deps)
  await app.ready()

  const write = async (...writes: Write[]): Promise<void> => {
    const outcome = await others.commit({ guards: [], writes })
    if (outcome.kind !== 'committed') throw new Error(`the test's own write failed: ${outcome.kind}`)
    await mirror.reached(outcome.revision)
  }
  const lease = (await others.grant(dayMs)).id
  await write(put(leaders, 'self', { address: '127.0.0.1:7071', token: 't' }, lease))

  return {
    deps,
    app,
    etcd,
    store,
    lease,
    write,
    roll: async (service, now, rest = {}) => {
      const spec = await others.get(specs, service)
      const before = await others.get(rollouts, service)
      await write(
        put(rollouts, service, {
          service,
          uid: spec?.value.uid ?? 'none',
          term: '1',
          asked: spec?.value.generation ?? (1 as GenerationNumber),
          images: {},
          rejections: [],
          same: {},
          since: clock.wall(),
          ...before?.value,
          now,
          ...rest,
        }),
      )
    },
    addHost: async (id, record = {}) => {
      const host = id as HostId
      await write(
        put(hosts, host, {
          id: host,
          address: '127.0.0.2',
          agentPort: 1,
          capacity: { cpuMilli: 4000, memoryMiB: 8192 },
          labels: {},
          ports: { from: 20_000, to: 29_999 },
          engine: { version: '28.0', state: 'up' },
          proxy: { version: '3.0', state: 'up' },
          agentVersion: '0.0.0-test',
          ...record,
        }),
        put(presences, host, { since: clock.wall() }, lease),
      )
    },
    place: async (id, host, state, more = {}) => {
      const { service, generation, slot } = placeOf(id as InstanceId)
      const uid = (await others.get(specs, service))?.value.uid ?? ''
      const at = { host: host as HostId, instance: id as InstanceId }
      const placed: Placement = {
        ...at,
        service,
        generation,
        slot,
        uid,
        term: '1',
        desired: 'run',
        because: 'missing',
        cpuMilli: 100,
        memoryMiB: 64,
        ports: {},
        image: `web@sha256:${'a'.repeat(64)}`,
        ...more,
      }
      const report = { instance: at.instance, uid, attempt: 1, restarts: 0, since: 0 }
      await write(
        put(placements, at, placed),
        ...(state === undefined ? [] : [put(reports, at, { ...report, state })]),
      )
    },
    close: async () => {
      stop.abort()
      await app.close()
      await store.close()
      await others.close()
    },
  }
}
