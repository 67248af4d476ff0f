/** What the leader failed at is over when it succeeds. */
import type { GenerationNumber, HostId } from '@boxcar/core/model/ids'
import { serviceName } from '@boxcar/core/model/ids'
import { keyOf, put, remove } from '@boxcar/store/collection'
import * as keys from '@boxcar/store/keys'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { hostWrites, service, TestCluster } from './testing.ts'

const web = serviceName('shop', 'web')
const hosts = ['h1', 'h2', 'h3']

let cluster: TestCluster
beforeEach(() => {
  cluster = new TestCluster()
})
afterEach(() => cluster.stop())

async function open(): Promise<void> {
  cluster.obey(...hosts)
  await cluster.write(...hosts.flatMap(id => hostWrites(id, cluster.lease)))
  cluster.candidate(1)
  await cluster.clock.advance(5000)
}

const eventsOf = async (kind: string) =>
  (await cluster.people.list(keys.events)).entries.map(({ value }) => value).filter(it => it.kind === kind)

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
