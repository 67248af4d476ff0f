/** The real loop, election and commits on the memory store under a virtual clock. */
import type { Clock } from '@boxcar/core/model/clock'
import { type GenerationNumber, type HostId, type ServiceName, serviceName } from '@boxcar/core/model/ids'
import { templateText } from '@boxcar/core/model/spec'
import { put, remove } from '@boxcar/store/collection'
import { EventWriter } from '@boxcar/store/events'
import * as keys from '@boxcar/store/keys'
import { MemoryEtcd } from '@boxcar/store/memory/memory-etcd'
import type { MemoryStore } from '@boxcar/store/memory/memory-store'
import { seededChance } from '@boxcar/store/memory/seeded-chance'
import { VirtualClock } from '@boxcar/store/memory/virtual-clock'
import { Mirror } from '@boxcar/store/mirror'
import type { Write } from '@boxcar/store/store'
import { pino } from 'pino'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Agents } from './agents.ts'
import { followed } from './feed.ts'
import { type RunningScheduler, startScheduler } from './main.ts'

const web = serviceName('shop', 'web')
const ending: (() => Promise<void>)[] = []
let clock: VirtualClock
let etcd: MemoryEtcd
let people: MemoryStore
/** Hosts whose agents answer questions. */
let answering: Set<string>

beforeEach(async () => {
  clock = new VirtualClock()
  etcd = new MemoryEtcd(clock)
  people = etcd.connect({ cluster: 'c' })
  answering = new Set(['h1', 'h2', 'h3'])
})
afterEach(async () => {
  const stopped = Promise.all(ending.splice(0).map(stop => stop()))
  await clock.advance(5000)
  await stopped
})

const agents: Agents = {
  isAlive: host => Promise.resolve(answering.has(host.id)),
  resolve: (_, image) => Promise.resolve({ kind: 'resolved', image: `${image}@sha256:d` }),
}

function candidate(seed: number): { readonly scheduler: RunningScheduler; readonly store: MemoryStore } {
  const store = etcd.connect({ cluster: 'c' })
  const chance = seededChance(seed)
  const stopping = new AbortController()
  const mirror = new Mirror({
    store,
    clock,
    scopes: followed.map(collection => ({ collection })),
    signal: stopping.signal,
  })
  const events = new EventWriter({ store, clock, chance, writer: 'scheduler', signal: stopping.signal })
  const log = pino({ level: 'silent' })
  const scheduler = startScheduler({
    store,
    mirror,
    events,
    agents,
    clock,
    chance,
    log,
    address: `server-${seed}`,
  })
  ending.push(async () => {
    await scheduler.stop()
    stopping.abort()
    await store.close()
  })
  return { scheduler, store }
}

async function write(...writes: Write[]): Promise<void> {
  expect(await people.commit({ guards: [], writes })).toMatchObject({ kind: 'committed' })
}

const host = (id: string): Write[] => [
  put(keys.hosts, id as HostId, {
    id: id as HostId,
    address: `10.0.0.${id.slice(1)}`,
    agentPort: 7071,
    capacity: { cpuMilli: 4000, memoryMiB: 4096 },
    labels: {},
    ports: { from: 20_000, to: 29_999 },
    engine: { version: '20.10', state: 'up' },
    proxy: { version: '2.6', state: 'up' },
    agentVersion: '1',
  }),
  put(keys.presences, id as HostId, { since: 0 }),
]

const service = (name: ServiceName, replicas: number): Write[] => {
  const text = { name: name.split('/')[1] ?? '', image: 'app:1', replicas }
  const by = { uid: 'u1', by: 'ann', at: 0 }
  const number = 1 as GenerationNumber
  return [
    put(keys.specs, name, { service: name, text, replicas, generation: number, ...by }),
    put(
      keys.generations,
      { service: name, number },
      { service: name, number, text: templateText(text), ...by },
    ),
  ]
}

async function placed(): Promise<readonly string[]> {
  const { entries } = await people.list(keys.placements)
  return entries
    .filter(e => e.value.desired === 'run')
    .map(e => `${e.value.slot}@${e.value.host}`)
    .sort()
}

async function until(
  holds: () => Promise<boolean> | boolean,
  mostMs: number,
  on: Clock = clock,
): Promise<number> {
  const began = on.now()
  while (!(await holds())) {
    if (on.now() - began > mostMs) throw new Error(`not within ${mostMs} ms`)
    await clock.advance(20)
  }
  return on.now() - began
}

const hasPlaced = (count: number) => async () => (await placed()).length === count

test('a spec becomes placements, one a host', async () => {
  candidate(1)
  await write(...host('h1'), ...host('h2'), ...host('h3'), ...service(web, 3))
  await until(hasPlaced(3), 3000)
  expect(await placed()).toEqual(['0@h1', '1@h2', '2@h3'])
  const told = (await people.list(keys.events)).entries.map(e => e.value.kind)
  expect(told).toContain('placed')
})

test('a missing presence key is a question: nothing moves while the agent answers', async () => {
  candidate(1)
  await write(...host('h1'), ...host('h2'), ...host('h3'), ...service(web, 3))
  await until(hasPlaced(3), 3000)
  await write(remove(keys.presences, 'h3' as HostId))
  await clock.advance(30_000)
  expect(await placed()).toEqual(['0@h1', '1@h2', '2@h3'])
})

test('gone and silent for the grace: its instances are placed elsewhere', async () => {
  candidate(1)
  await write(...host('h1'), ...host('h2'), ...host('h3'), ...service(web, 3))
  await until(hasPlaced(3), 3000)
  answering.delete('h3')
  await write(remove(keys.presences, 'h3' as HostId))
  const tookMs = await until(async () => !(await placed()).some(p => p.endsWith('@h3')), 10_000)
  expect(tookMs).toBeGreaterThanOrEqual(2000)
  expect(tookMs).toBeLessThan(3500)
  await until(hasPlaced(3), 1000)
})

test('two of three hosts vanish together: the brake holds', async () => {
  candidate(1)
  await write(...host('h1'), ...host('h2'), ...host('h3'), ...service(web, 3))
  await until(hasPlaced(3), 3000)
  answering.clear()
  await write(remove(keys.presences, 'h2' as HostId), remove(keys.presences, 'h3' as HostId))
  await clock.advance(14_000)
  expect(await placed()).toEqual(['0@h1', '1@h2', '2@h3'])
  const told = (await people.list(keys.events)).entries.map(e => e.value.message)
  expect(told.some(message => message.startsWith('evictions wait (many hosts vanished together)'))).toBe(true)
  await until(async () => !(await placed()).some(p => p.endsWith('@h2')), 10_000)
})

test('a leader that the store no longer hears stops, the next one goes on within 5 s, and the old one writes nothing more', async () => {
  const first = candidate(1)
  await until(() => first.scheduler.term() !== undefined, 5000)
  candidate(2)
  await write(...host('h1'), ...service(web, 1))
  await until(hasPlaced(1), 3000)
  const old = first.scheduler.term()?.id
  first.store.faults.goAway()
  await write(...service(web, 2))
  const tookMs = await until(hasPlaced(2), 10_000)
  expect(tookMs).toBeLessThan(5000)
  first.store.faults.comeBack()
  await write(...service(web, 3))
  await until(hasPlaced(3), 3000)
  await clock.advance(5000)
  const leader = await people.get(keys.leaders, 'self')
  expect(leader?.value.address).toBe('server-2')
  const late = (await people.list(keys.placements)).entries.filter(
    e => e.value.slot > 0 && e.value.term === old,
  )
  expect(late).toEqual([])
})
