/** An agent of a newer version says what it cannot serve in words that this leader does not know. */
import type { HostId } from '@boxcar/core/model/ids'
import { serviceName } from '@boxcar/core/model/ids'
import { keyOf, remove } from '@boxcar/store/collection'
import * as keys from '@boxcar/store/keys'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { hostWrites, service, TestCluster, withRoute } from './testing.ts'

const web = serviceName('shop', 'web')
const api = serviceName('shop', 'api')
let cluster: TestCluster
beforeEach(() => {
  cluster = new TestCluster()
})
afterEach(() => cluster.stop())

const acknowledge = (host: string, ack: object) =>
  cluster.write({
    ...{ kind: 'put' as const, key: keyOf(keys.routeAcks, host as HostId), json: JSON.stringify(ack) },
    lease: cluster.lease,
  })

test.each<[string, object]>([
  ['routes', { listen: 443, only: 'private', reason: 'held' }],
  ['a listener', { listen: '443-450', reason: 'held' }],
])('%s: its revision is waited for all the same, and it gets work', async (_, one) => {
  for (const host of ['h1', 'h2', 'h3']) await cluster.write(...hostWrites(host, cluster.lease))
  cluster.obey('h1', 'h2')
  await acknowledge('h3', { revision: '1', draining: [], unserved: [one] })
  cluster.candidate(1)
  await cluster.write(...service(web, 1, withRoute))
  await cluster.clock.advance(2_000)
  expect(await cluster.placed(web)).toEqual(['0@h1'])
  await cluster.write(remove(keys.specs, web))
  await cluster.clock.advance(2_000)
  expect(await cluster.placed(web)).toEqual(['0@h1'])
  const { revision } = await cluster.people.list(keys.routes)
  await acknowledge('h3', { revision, draining: [], unserved: [one] })
  await cluster.clock.advance(2_000)
  expect(await cluster.placed(web)).toEqual([])
  await cluster.write(...service(api, 3, { placement: { maxPerHost: 1 } }))
  await cluster.clock.advance(2_000)
  expect(await cluster.placed(api)).toEqual(['0@h1', '1@h2', '2@h3'])
})
