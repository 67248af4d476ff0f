/** The real loop, election and commits on the memory store under a virtual clock. */
import { type HostId, serviceName } from '@boxcar/core/model/ids'
import { put, remove } from '@boxcar/store/collection'
import * as keys from '@boxcar/store/keys'
import type { MemoryEtcd } from '@boxcar/store/memory/memory-etcd'
import type { MemoryStore } from '@boxcar/store/memory/memory-store'
import type { VirtualClock } from '@boxcar/store/memory/virtual-clock'
import type { Write } from '@boxcar/store/store'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { hostWrites, service, type TestCandidate, TestCluster, withRoute } from './testing.ts'

const web = serviceName('shop', 'web')
let cluster: TestCluster
let clock: VirtualClock
let etcd: MemoryEtcd
let people: MemoryStore
/** Hosts whose agents answer questions. */
let answering: Set<string>

beforeEach(() => {
  cluster = new TestCluster()
  clock = cluster.clock
  etcd = cluster.etcd
  people = cluster.people
  answering = cluster.answering
})
afterEach(() => cluster.stop())

const candidate = (seed: number): TestCandidate => cluster.candidate(seed)
const write = (...writes: Write[]): Promise<void> => cluster.write(...writes)
const host = (id: string): Write[] => hostWrites(id, cluster.lease)
const placed = (): Promise<readonly string[]> => cluster.placed()
const hasPlaced = (count: number) => cluster.hasPlaced(count)
const until = (holds: () => Promise<boolean> | boolean, mostMs: number): Promise<number> =>
  cluster.until(holds, mostMs)

const reserving = (memory: string) => ({ resources: { reservations: { memory } } })

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

test('a presence without a lease, as a copied store has it, is none: the host is lost like any other', async () => {
  candidate(1)
  await write(...host('h1'), ...host('h2'), ...host('h3'), ...service(web, 3))
  await until(hasPlaced(3), 3000)
  answering.delete('h3')
  await write(put(keys.presences, 'h3' as HostId, { since: 0 }))
  await until(async () => !(await placed()).some(p => p.endsWith('@h3')), 10_000)
  await until(hasPlaced(3), 1000)
})

test('a host that refuses the orders of the store gets no new work, and why is told', async () => {
  candidate(1)
  const [record, presence] = host('h1')
  if (record?.kind !== 'put' || presence === undefined) throw new Error('a host is a record and a presence')
  const refusing = {
    ...JSON.parse(record.json),
    conditions: [{ kind: 'orders-refused', reason: 'the store is behind' }],
  }
  await write({ ...record, json: JSON.stringify(refusing) }, presence, ...service(web, 1))
  await until(async () => (await people.list(keys.pendings)).entries.length === 1, 10_000)
  expect((await people.list(keys.pendings)).entries[0]?.value.waiting[0]?.hosts).toEqual([
    { host: 'h1', obstacles: [{ kind: 'orders-refused', reason: 'the store is behind' }] },
  ])
  expect(await placed()).toEqual([])
  await write(record)
  await until(hasPlaced(1), 5000)
})

test('a host that answers and does not reach the store holds up no stop for more than a minute, and that is told', async () => {
  const reached = (...ids: string[]) =>
    write(
      ...ids.map(id =>
        put(keys.routeAcks, id as HostId, { revision: '1000000', draining: [] }, cluster.lease),
      ),
    )
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
  const { scheduler } = candidate(1)
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
  await scheduler.stop()
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
  cluster.resolves = (_, image) => ({
    kind: 'resolved',
    image: `${image}@sha256:${'d'.repeat(1.2 * 1024 * 1024)}`,
  })
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
  const report = { instance, uid: `u-${web}`, attempt: 1, restarts: 0, since: 0, ...evidence }
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
  cluster.resolves = () => ({ kind: 'failed', reason: 'the registry does not answer', permanent: false })
  await write(...service(web, 1))
  await clock.advance(10_000)
  expect(cluster.questions.length).toBeGreaterThan(1)
  expect(cluster.questions.length).toBeLessThan(6)
  expect(new Set(cluster.questions).size).toBeGreaterThan(1)
  cluster.resolves = (asked, image) =>
    asked === 'h2'
      ? { kind: 'failed', reason: 'denied', permanent: true }
      : { kind: 'resolved', image: `${image}@sha256:d` }
  await until(hasPlaced(1), 40_000)
})
