/** What the leader failed at once is over when it succeeds, and what the store did not take is tried again, no more often than it should. */
import type { GenerationNumber, HostId } from '@boxcar/core/model/ids'
import { serviceName } from '@boxcar/core/model/ids'
import { keyOf, put, remove } from '@boxcar/store/collection'
import * as keys from '@boxcar/store/keys'
import type { MemoryStore } from '@boxcar/store/memory/memory-store'
import type { CommitOutcome, Key, Transaction } from '@boxcar/store/store'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type CandidateChanges, hostWrites, service, TestCluster } from './testing.ts'

const web = serviceName('shop', 'web')
const hosts = ['h1', 'h2', 'h3']

let cluster: TestCluster
beforeEach(() => {
  cluster = new TestCluster()
})
afterEach(() => cluster.stop())

async function open(changes: CandidateChanges = {}): Promise<void> {
  cluster.obey(...hosts)
  await cluster.write(...hosts.flatMap(id => hostWrites(id, cluster.lease)))
  cluster.candidate(1, changes)
  await cluster.clock.advance(5000)
}

const eventsOf = async (kind: string) =>
  (await cluster.people.list(keys.events)).entries.map(({ value }) => value).filter(it => it.kind === kind)

/** A store that answers some transactions so while `outcome` says so. */
function refusing(outcome: (transaction: Transaction) => CommitOutcome | undefined): CandidateChanges {
  const store = (it: MemoryStore): void => {
    const commit = it.commit.bind(it)
    it.commit = async transaction => outcome(transaction) ?? commit(transaction)
  }
  return { store }
}

test('two records of a service that cannot be read for the same reason are told once, and an idle minute writes nothing', async () => {
  await open()
  await cluster.write(...service(web, 1))
  await cluster.until(cluster.hasPlaced(1, web), 20_000)
  for (const number of [7, 8] as GenerationNumber[]) {
    const key = keyOf(keys.generations, { service: web, number })
    await cluster.write({ kind: 'put', key, json: '{}', lease: undefined })
  }
  await cluster.clock.advance(5000)
  expect((await cluster.people.get(keys.pendings, web))?.value.obstacles).toHaveLength(1)
  const written: string[] = []
  const stop = cluster.etcd.observe(({ events }) => {
    for (const event of events) if (event.kind === 'put') written.push(event.entry.key)
  })
  await cluster.clock.advance(60_000)
  stop()
  expect(written).toEqual([])
})

test('a host that the leader failed at while it was missing takes work again once it is back', async () => {
  await open()
  cluster.isAlive = () => {
    throw new Error('odd address')
  }
  await cluster.write(remove(keys.presences, 'h1' as HostId))
  await cluster.clock.advance(600)
  await cluster.write(put(keys.presences, 'h1' as HostId, { since: 1 }, cluster.lease))
  cluster.isAlive = () => true
  await cluster.clock.advance(5000)
  await cluster.write(...service(web, 3, { placement: { maxPerHost: 1 } }))
  await cluster.until(cluster.hasPlaced(3, web), 20_000)
})

test('so does one that is back before the failed question ends', async () => {
  await open()
  let fail: (error: Error) => void = () => {}
  cluster.isAlive = () =>
    new Promise((_, reject) => {
      fail = reject
    })
  await cluster.write(remove(keys.presences, 'h1' as HostId))
  await cluster.clock.advance(300)
  await cluster.write(put(keys.presences, 'h1' as HostId, { since: 1 }, cluster.lease))
  await cluster.clock.advance(5000)
  fail(new Error('odd answer'))
  await cluster.write(...service(web, 3, { placement: { maxPerHost: 1 } }))
  await cluster.until(cluster.hasPlaced(3, web), 20_000)
})

test('a full store is asked with as few transactions again as at first', async () => {
  let isFull = false
  let sent = 0
  await open(
    refusing(() => {
      if (!isFull) return undefined
      sent++
      return { kind: 'full' }
    }),
  )
  const names = Array.from({ length: 300 }, (_, i) => serviceName('shop', `s${i}`))
  for (const name of names) await cluster.write(...service(name, 0))
  isFull = true
  await cluster.clock.advance(60_000)
  expect(sent).toBeLessThan(500)
  // The first round after it has room again is packed as well.
  isFull = false
  let transactions = 0
  const stop = cluster.etcd.observe(({ events }) => {
    if (events.some(it => it.kind === 'put' && it.entry.key.startsWith('rollouts/'))) transactions++
  })
  const isDone = async () => (await cluster.people.list(keys.rollouts)).entries.length === names.length
  await cluster.until(isDone, 10_000)
  stop()
  expect(transactions).toBeLessThan(30)
})

test('a waiting service whose plan is refused is planned again after its pause, whatever becomes of the hosts meanwhile', async () => {
  let tries = 0
  await open(
    refusing(({ writes }) => {
      if (!writes.some(({ key }) => key === keyOf(keys.pendings, web))) return undefined
      tries++
      return { kind: 'full' }
    }),
  )
  await cluster.write(...service(web, 1, { resources: { reservations: { memory: '64GiB' } } }))
  await cluster.until(() => tries > 0, 5000)
  tries = 0
  for (let i = 0; i < 90; i++) {
    await cluster.write(put(keys.hostSettingsOf, 'h1' as HostId, { labels: { turn: String(i) } }))
    await cluster.clock.advance(100)
  }
  expect(tries).toBeGreaterThan(0)
  expect(tries).toBeLessThanOrEqual(9)
})

const outcomes: readonly CommitOutcome[] = [
  { kind: 'full' },
  { kind: 'unknown', reason: 'no answer' },
  { kind: 'stale', revision: '1' as never },
]
test.each(outcomes)('what is told of no plan is kept until it is written: $kind at first', async outcome => {
  let refused = 0
  const changes = refusing(({ writes }) => {
    const isRemark = writes.some(write => write.kind === 'put' && write.json.includes('"unreadable"'))
    return isRemark && refused++ < 3 ? outcome : undefined
  })
  await open(changes)
  await cluster.write({ kind: 'put', key: `rollouts/${web}` as Key, json: '{', lease: undefined })
  await cluster.clock.advance(20_000)
  expect(refused).toBe(4)
  expect(await eventsOf('unreadable')).toHaveLength(1)
})

test('an error of a host that is over and comes back later is told again, and not each time', async () => {
  await open()
  const missTheAnswer = async () => {
    cluster.isAlive = () => {
      throw new Error('odd address')
    }
    await cluster.write(remove(keys.presences, 'h1' as HostId))
    await cluster.clock.advance(600)
    await cluster.write(put(keys.presences, 'h1' as HostId, { since: 1 }, cluster.lease))
    await cluster.clock.advance(5000)
  }
  for (let i = 0; i < 3; i++) await missTheAnswer()
  expect(await eventsOf('internal-error')).toHaveLength(1)
  await cluster.clock.advance(600_000)
  await missTheAnswer()
  expect(await eventsOf('internal-error')).toHaveLength(2)
})
