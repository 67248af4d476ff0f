/** The real loop, election and commits on the memory store under a virtual clock. */
import type { Clock } from '@boxcar/core/model/clock'
import { type GenerationNumber, type HostId, type ServiceName, serviceName } from '@boxcar/core/model/ids'
import { templateText } from '@boxcar/core/model/spec'
import type { Resolution } from '@boxcar/core/rollout/rollout'
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
  questions = []
  resolves = (_, image) => ({ kind: 'resolved', image: `${image}@sha256:d` })
})
afterEach(async () => {
  const stopped = Promise.all(ending.splice(0).map(stop => stop()))
  await clock.advance(5000)
  await stopped
})

/** What hosts say to the question for a digest, and every question so far. */
let resolves: (host: string, image: string) => Resolution
let questions: string[]

const agents: Agents = {
  isAlive: host => Promise.resolve(answering.has(host.id)),
  resolve: (host, image) => {
    questions.push(host.id)
    return Promise.resolve(resolves(host.id, image))
  },
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

const withRoute = {
  ports: [{ name: 'http', container: 80 }],
  routes: [{ port: 'http', listen: 80, protocol: 'http' as const }],
}
const reserving = (memory: string) => ({ resources: { reservations: { memory } } })
const service = (name: ServiceName, replicas: number, more: object = {}): Write[] => {
  const text = { name: name.split('/')[1] ?? '', image: 'app:1', replicas, ...more }
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

test('a host that answers and does not reach the store holds up no stop for more than a minute, and that is told', async () => {
  const reached = (...ids: string[]) =>
    write(...ids.map(id => put(keys.routeAcks, id as HostId, { revision: '1000000', draining: [] })))
  candidate(1)
  await write(...host('h1'), ...host('h2'), ...host('h3'), ...service(web, 6, withRoute))
  await until(hasPlaced(6), 3000)
  await reached('h1', 'h2', 'h3')
  await clock.advance(1000)
  await write(remove(keys.presences, 'h3' as HostId), remove(keys.routeAcks, 'h3' as HostId))
  await write(...service(web, 2, withRoute))
  await clock.advance(58_000)
  expect(await placed()).toHaveLength(6)
  await until(hasPlaced(2), 4000)
  const told = (await people.list(keys.events)).entries.filter(e => e.value.kind === 'host-cut-off')
  expect(told).toHaveLength(1)
})

test('a trouble of the store that ends within a turn is noticed: its word on leases is not believed for a while', async () => {
  const { store } = candidate(1)
  await write(...host('h1'), ...host('h2'), ...host('h3'), ...service(web, 3))
  await until(hasPlaced(3), 3000)
  answering.delete('h3')
  store.faults.cutWatches()
  await write(remove(keys.presences, 'h3' as HostId))
  const tookMs = await until(async () => !(await placed()).some(p => p.endsWith('@h3')), 10_000)
  expect(tookMs).toBeGreaterThanOrEqual(5900)
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

test('a spec that cannot be read is left alone, and holds up nobody', async () => {
  candidate(1)
  await write(...host('h1'), ...service(web, 2))
  await until(hasPlaced(2), 3000)
  const spec = (await people.get(keys.specs, web))?.value
  await write(put(keys.specs, web, { ...spec, text: { ...spec?.text, newerField: true } } as never))
  await write(...service(serviceName('shop', 'zeta'), 1))
  await until(hasPlaced(3), 3000)
  await clock.advance(5000)
  expect(await placed()).toHaveLength(3)
  const told = (await people.list(keys.events)).entries.filter(e => e.value.kind === 'unreadable')
  expect(told).toHaveLength(1)
})

test('a host and a placement that cannot be read any more stay where they are, and their room is not given away', async () => {
  candidate(1)
  await write(...host('h1'), ...host('h2'), ...service(web, 2, reserving('512MiB')))
  await until(hasPlaced(2), 3000)
  const [h1] = host('h1')
  const record = JSON.parse((h1 as { readonly json: string }).json)
  await write({ ...h1, json: JSON.stringify({ ...record, engine: { state: 'resting' } }) } as Write)
  const orders = (await people.list(keys.placements)).entries
  const onH2 = orders.find(({ value }) => value.host === 'h2')?.value
  const id = { host: 'h2' as HostId, instance: onH2?.instance ?? ('' as never) }
  await write(put(keys.placements, id, { ...onH2, desired: 'rest' } as never))
  await write(...service(serviceName('shop', 'zeta'), 2, reserving('4000MiB')))
  await clock.advance(10_000)
  const now = await people.list(keys.placements)
  expect(now.entries.map(({ value }) => [value.host, value.desired])).toEqual([['h1', 'run']])
  expect(now.unreadable).toHaveLength(1)
  const told = (await people.list(keys.events)).entries.filter(e => e.value.kind === 'unreadable')
  expect(told.at(-1)?.value.message).toMatch(/shop\/web; .*: h1$/)
  // A new leader knows as much of the host.
  candidate(2)
  await clock.advance(1000)
  await ending.shift()?.()
  await clock.advance(10_000)
  expect((await people.list(keys.placements)).entries.map(({ value }) => value.desired)).toEqual(['run'])
  await write(remove(keys.placements, id), ...host('h1'), ...host('h2'))
  await until(hasPlaced(2), 3000)
})

test('a full store is asked again with patience, and all is done soon after it takes writes', async () => {
  const { store } = candidate(1)
  let commits = 0
  const commit = store.commit.bind(store)
  store.commit = transaction => {
    commits++
    return commit(transaction)
  }
  await write(...host('h1'), ...host('h2'))
  await clock.advance(3000)
  await write(...service(web, 2))
  etcd.full = true
  commits = 0
  await clock.advance(20_000)
  expect(commits).toBeLessThan(30)
  etcd.full = false
  const tookMs = await until(hasPlaced(2), 15_000)
  expect(tookMs).toBeLessThan(10_500)
})

test('so it is when a deadline has passed meanwhile', async () => {
  const { store } = candidate(1)
  let commits = 0
  const commit = store.commit.bind(store)
  store.commit = transaction => {
    commits++
    return commit(transaction)
  }
  await write(...host('h1'), ...service(web, 2, { rollout: { progressDeadline: '10s' } }))
  await until(hasPlaced(2), 3000)
  etcd.full = true
  commits = 0
  await clock.advance(30_000)
  expect(commits).toBeGreaterThan(1)
  expect(commits).toBeLessThan(30)
  etcd.full = false
  await until(hasPlaced(0), 10_000)
})

test('a plan that does not fit into one write is told, once, and stands among what is pending', async () => {
  candidate(1)
  resolves = (_, image) => ({ kind: 'resolved', image: `${image}@sha256:${'d'.repeat(1.2 * 1024 * 1024)}` })
  await write(...host('h1'), ...service(web, 1, { rollout: { progressDeadline: '10m' } }))
  await clock.advance(60_000)
  const told = (await people.list(keys.events)).entries.filter(e => e.value.level === 'error')
  expect(told.map(e => [e.value.kind, e.value.service])).toEqual([['too-large', 'web']])
  const pending = await people.get(keys.pendings, web)
  expect(pending?.value.obstacles).toEqual([
    {
      kind: 'internal-error',
      doing: 'committing its plan',
      error: 'it does not fit into one write of the store',
    },
  ])
})

test('evidence of any size is cut to fit', async () => {
  candidate(1)
  await write(...host('h1'), ...service(web, 1, { rollout: { progressDeadline: '10s' } }))
  await until(hasPlaced(1), 3000)
  const [entry] = (await people.list(keys.placements)).entries
  const evidence = { state: 'backoff' as const, lastLog: ['x'.repeat(1.2 * 1024 * 1024)] }
  const instance = entry?.value.instance ?? ('' as never)
  const report = { instance, uid: 'u1', attempt: 1, restarts: 0, since: 0, ...evidence }
  await write(put(keys.reports, { host: 'h1' as HostId, instance }, report))
  await clock.advance(15_000)
  const rollout = await people.get(keys.rollouts, web)
  expect(rollout?.value.now).toEqual({ phase: 'reverted', rejected: 1 })
  expect(JSON.stringify(rollout?.value).length).toBeLessThan(4096)
  expect(rollout?.value.rejections[0]?.evidence[0]?.lastLog?.[0]).toMatch(/^x+…$/)
})

test('a write whose answer was lost is not made twice, however late the news of it comes', async () => {
  const { store } = candidate(1)
  await write(...host('h1'), ...host('h2'))
  await clock.advance(3000)
  store.faults.holdWatches()
  store.faults.loseAnswers(1)
  const seen: string[] = []
  etcd.observe(({ events }) => {
    for (const event of events)
      if (event.kind === 'put' && event.entry.key.startsWith('placements/')) seen.push(event.entry.key)
  })
  await write(...service(web, 2))
  store.faults.releaseWatches()
  await clock.advance(60)
  store.faults.holdWatches()
  await clock.advance(4000)
  store.faults.releaseWatches()
  await until(hasPlaced(2), 5000)
  await clock.advance(5000)
  expect(seen).toHaveLength(2)
})

test('a write that lands late, after it was decided anew, is refused', async () => {
  const { store } = candidate(1)
  await write(...host('h1'), ...host('h2'))
  await clock.advance(3000)
  store.faults.delayRequests(1)
  await write(...service(web, 2))
  await until(hasPlaced(2), 10_000)
  const late = store.faults.deliverRequests()
  expect(late.map(({ kind }) => kind)).toEqual(['stale'])
  await clock.advance(5000)
  expect(await hasPlaced(2)()).toBe(true)
})

test('hosts are asked for a digest with patience and in turns; one that cannot find it is not believed alone', async () => {
  candidate(1)
  await write(...host('h1'), ...host('h2'), ...host('h3'))
  await clock.advance(3000)
  resolves = () => ({ kind: 'failed', reason: 'the registry does not answer', permanent: false })
  await write(...service(web, 1))
  await clock.advance(10_000)
  expect(questions.length).toBeGreaterThan(1)
  expect(questions.length).toBeLessThan(6)
  expect(new Set(questions).size).toBeGreaterThan(1)
  resolves = (asked, image) =>
    asked === 'h2'
      ? { kind: 'failed', reason: 'denied', permanent: true }
      : { kind: 'resolved', image: `${image}@sha256:d` }
  await until(hasPlaced(1), 40_000)
})
