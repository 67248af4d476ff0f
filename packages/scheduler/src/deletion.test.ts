/** Deleting a service waits for nothing that is under way for it; the leader's part of invariants C11 and L12. */
import { type HostId, serviceName } from '@boxcar/core/model/ids'
import { put, remove } from '@boxcar/store/collection'
import * as keys from '@boxcar/store/keys'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { hostWrites, service, TestCluster, withRoute } from './testing.ts'

const web = serviceName('shop', 'web')
const tiny = { resources: { reservations: { cpus: 0.001, memory: '4MiB' } } }
const hosts = ['h1', 'h2', 'h3']
let cluster: TestCluster

beforeEach(async () => {
  cluster = new TestCluster()
  cluster.candidate(1)
  await cluster.write(...hosts.flatMap(id => hostWrites(id, cluster.lease)))
  await cluster.clock.advance(3000)
})
afterEach(() => cluster.stop())

/** Whether nothing of the service is left in the store. */
async function isGone(): Promise<boolean> {
  const left = await Promise.all([
    cluster.people.list(keys.placements),
    cluster.people.list(keys.generations),
    cluster.people.list(keys.rollouts),
    cluster.people.list(keys.routes),
  ])
  return left.every(({ entries }) => entries.length === 0)
}

test('one whose image is still asked for is gone at once', async () => {
  cluster.resolves = () => new Promise(() => undefined)
  await cluster.write(...service(web, 3))
  await cluster.clock.advance(1000)
  expect(cluster.questions).toHaveLength(1)
  await cluster.write(remove(keys.specs, web))
  await cluster.until(isGone, 200)
})

test('three hundred replicas that were never started are told to stop at once, and forgotten as they are confirmed', async () => {
  await cluster.write(...service(web, 300, tiny))
  await cluster.until(cluster.hasPlaced(300), 3000)
  await cluster.write(remove(keys.specs, web))
  await cluster.until(cluster.hasPlaced(0), 200)
  const { entries } = await cluster.people.list(keys.placements)
  const confirmed = entries.map(({ id, value, created }) =>
    put(keys.reports, id, {
      instance: id.instance,
      uid: value.uid,
      state: 'stopped',
      attempt: 0,
      restarts: 0,
      since: 0,
      placement: created,
    }),
  )
  for (let from = 0; from < confirmed.length; from += 100)
    await cluster.write(...confirmed.slice(from, from + 100))
  await cluster.until(isGone, 300)
})

test('with a route, those that were never ready are told to stop before any proxy has acknowledged', async () => {
  await cluster.write(...service(web, 300, { ...tiny, ...withRoute }))
  await cluster.until(cluster.hasPlaced(300), 3000)
  // The route as it stands, without any endpoint, is applied by all.
  const { revision } = await cluster.people.list(keys.routes)
  await cluster.write(
    ...hosts.map(host => put(keys.routeAcks, host as HostId, { revision, draining: [] }, cluster.lease)),
  )
  await cluster.clock.advance(100)
  await cluster.write(remove(keys.specs, web))
  await cluster.until(cluster.hasPlaced(0), 200)
})
