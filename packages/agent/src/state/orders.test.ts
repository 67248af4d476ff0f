import type { Instant } from '@boxcar/core/model/clock'
import {
  type ClusterName,
  type GenerationNumber,
  hostId,
  type InstanceId,
  type ServiceName,
} from '@boxcar/core/model/ids'
import type { Placement } from '@boxcar/core/model/placement'
import { clusters, placements } from '@boxcar/store/keys'
import type { Change, FollowStep, Revision } from '@boxcar/store/store'
import { beforeEach, describe, expect, test } from 'vitest'
import { Orders } from './orders.ts'

const host = hostId.parse('h1')
const now = 0 as Instant
const rev = (n: number) => String(n) as Revision
const instance = (slot: number) => `shop/web/1/${slot}` as InstanceId

function cluster(uid = 'c1', epoch = 1): Change {
  const value = { uid, epoch, schema: 1, secret: 's' }
  return {
    kind: 'put',
    collection: clusters,
    entry: { id: 'self', value, created: rev(1), modified: rev(1), lease: undefined },
  }
}
function placed(
  slot: number,
  modified: number,
  desired: Placement['desired'] = 'run',
  created = modified,
): Change {
  const value: Placement = {
    instance: instance(slot),
    service: 'shop/web' as ServiceName,
    generation: 1 as GenerationNumber,
    slot,
    host,
    uid: 'u',
    term: '1',
    desired,
    because: 'missing',
    cpuMilli: 1,
    memoryMiB: 1,
    ports: { http: 20_000 },
    image: 'app',
  }
  const id = { host, instance: instance(slot) }
  return {
    kind: 'put',
    collection: placements,
    entry: { id, value, created: rev(created), modified: rev(modified), lease: undefined },
  }
}
const removed = (slot: number, at: number): Change => ({
  kind: 'removed',
  collection: placements,
  id: { host, instance: instance(slot) },
  revision: rev(at),
})
const snapshot = (at: number, ...entries: Change[]): FollowStep => ({
  kind: 'snapshot',
  revision: rev(at),
  entries,
  unreadable: [],
})
const changes = (at: number, ...list: Change[]): FollowStep => ({
  kind: 'changes',
  revision: rev(at),
  changes: list,
  unreadable: [],
})

describe('orders', () => {
  let orders: Orders
  const standing = () =>
    [...orders.orders.values()].map(order => `${order.instance} ${order.desired} ${order.revision}`)
  beforeEach(() => {
    orders = new Orders('test' as ClusterName)
    expect(orders.take(snapshot(10, cluster(), placed(0, 5), placed(1, 6)), now)).toEqual({ kind: 'changed' })
  })

  test('are taken as they come, and are fresh until nothing is heard', () => {
    orders.take(changes(11, placed(0, 11, 'stop', 5), removed(1, 11)), now)
    expect(standing()).toEqual(['shop/web/1/0 stop 11'])
    expect(orders.areFresh(4000 as Instant)).toBe(true)
    expect(orders.areFresh(6000 as Instant)).toBe(false)
    expect(orders.lost('away')).toBe('news')
    expect(orders.areFresh(1 as Instant)).toBe(false)
    orders.take({ kind: 'quiet', revision: rev(12) }, 1 as Instant)
    expect(orders.areFresh(1 as Instant)).toBe(true)
  })

  test('no older one is obeyed after a newer one', () => {
    orders.take(changes(20, placed(0, 20, 'stop', 5)), now)
    expect(orders.take(changes(21, placed(0, 12)), now)).toEqual({ kind: 'same' })
    expect(orders.take(changes(21, removed(0, 12)), now)).toEqual({ kind: 'same' })
    expect(standing()).toContain('shop/web/1/0 stop 20')
  })

  test('what a later snapshot lacks is gone', () => {
    orders.take(snapshot(12, cluster(), placed(1, 6)), now)
    expect(standing()).toEqual(['shop/web/1/1 run 6'])
  })

  test.each<[string, FollowStep, 'foreign' | 'behind']>([
    ['an empty store', snapshot(50), 'foreign'],
    ['the store of another cluster', snapshot(50, cluster('c2')), 'foreign'],
    ['a store that was set back', snapshot(9, cluster()), 'behind'],
    ['an earlier epoch', snapshot(50, cluster('c1', 0)), 'behind'],
    [
      'a store whose cluster was removed',
      changes(50, { kind: 'removed', collection: clusters, id: 'self', revision: rev(50) }),
      'foreign',
    ],
  ])('of %s are refused; those before stand', (_, step, store) => {
    const before = standing()
    expect(orders.take(step, now)).toMatchObject({ kind: 'refused', store })
    expect(standing()).toEqual(before)
    expect(orders.believed).toBe(false)
    expect(orders.areFresh(now)).toBe(false)
    expect(orders.mayReport).toBe(store === 'behind')
    orders.take(snapshot(51, cluster(), placed(0, 5), placed(1, 6)), now)
    expect(orders.believed).toBe(true)
  })

  test('a record of the cluster that cannot be read is told as that', () => {
    const unreadable = [{ collection: 'cluster', key: 'cluster/self', reason: 'not JSON' }]
    const gone: Change = { kind: 'removed', collection: clusters, id: 'self', revision: rev(50) }
    const reason = 'cluster/self cannot be read: not JSON'
    const refused = { kind: 'refused', store: 'foreign', reason }
    expect(orders.take({ kind: 'changes', revision: rev(50), changes: [gone], unreadable }, now)).toEqual(
      refused,
    )
    expect(orders.take({ kind: 'snapshot', revision: rev(51), entries: [], unreadable }, now)).toEqual(
      refused,
    )
  })

  test('a store that was behind and caught up is believed once it shows a placement that was seen', () => {
    const behind = { kind: 'refused', store: 'behind' }
    expect(orders.take(snapshot(9, cluster(), placed(0, 3)), now)).toMatchObject(behind)
    // Its revision goes on by whatever is written there; the placements stay those of a copy, or none at all.
    expect(orders.take(snapshot(20, cluster(), placed(0, 3), placed(1, 4)), now)).toMatchObject(behind)
    expect(orders.take(snapshot(30, cluster()), now)).toMatchObject(behind)
    expect(standing()).toEqual(['shop/web/1/0 run 5', 'shop/web/1/1 run 6'])
    expect(orders.take(snapshot(40, cluster(), placed(0, 5)), now)).toEqual({ kind: 'changed' })
    expect(standing()).toEqual(['shop/web/1/0 run 5'])
  })

  test('a restore says so by its epoch, and its revisions count anew', () => {
    expect(orders.take(snapshot(4, cluster('c1', 2), placed(0, 3)), now)).toEqual({ kind: 'changed' })
    expect(standing()).toEqual(['shop/web/1/0 run 3'])
  })

  test('one that cannot be read is no order to stop', () => {
    const key = `placements/h1/${instance(0)}`
    const unreadable = [{ collection: 'placements', key, reason: 'of a newer version' }]
    orders.take({ kind: 'changes', revision: rev(11), changes: [removed(0, 11)], unreadable }, now)
    expect(standing()).toContain('shop/web/1/0 run 5')
    orders.take({ kind: 'snapshot', revision: rev(12), entries: [cluster(), placed(1, 6)], unreadable }, now)
    expect(standing()).toContain('shop/web/1/0 run 5')
  })

  test('are found again as they were saved', () => {
    const next = new Orders('test' as ClusterName)
    expect(next.load(orders.saved() ?? '')).toBeUndefined()
    expect([...next.orders.values()]).toEqual([...orders.orders.values()])
    expect(next.cluster).toEqual(orders.cluster)
    expect(next.believed).toBe(false)
    expect(next.take(snapshot(9, cluster()), now)).toMatchObject({ kind: 'refused', store: 'behind' })
  })

  test('of a cluster of another name are not taken up', () => {
    const next = new Orders('other' as ClusterName)
    expect(next.load(orders.saved() ?? '')).toMatchObject({ is: 'foreign' })
    expect(next.orders.size).toBe(0)
    expect(next.cluster).toBeUndefined()
  })

  test.each(['', '{', '[]', '{"format":2}', '{"format":1}'])('%j is no saved orders', text => {
    expect(new Orders('test' as ClusterName).load(text)).toHaveProperty('problem')
  })
})
