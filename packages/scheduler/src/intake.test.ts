/** What the leader takes in of a store in memory, into a world that can be made to fail. */
import type { GenerationNumber, HostId } from '@boxcar/core/model/ids'
import { serviceName } from '@boxcar/core/model/ids'
import { World } from '@boxcar/core/model/world'
import { keyOf } from '@boxcar/store/collection'
import * as keys from '@boxcar/store/keys'
import { silent } from '@boxcar/store/log'
import { MemoryEtcd } from '@boxcar/store/memory/memory-etcd'
import { VirtualClock } from '@boxcar/store/memory/virtual-clock'
import { Mirror } from '@boxcar/store/mirror'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { followed } from './feed.ts'
import { Intake } from './intake.ts'
import { InternalErrors } from './internal-errors.ts'
import { hostWrites } from './testing.ts'

class FailingWorld extends World {
  isFailing = false

  override apply(...change: Parameters<World['apply']>): void {
    if (this.isFailing) throw new Error('this change cannot be taken in')
    super.apply(...change)
  }
}

const web = serviceName('shop', 'web')
let stopping: AbortController
let clock: VirtualClock
let etcd: MemoryEtcd
let world: FailingWorld
let errors: InternalErrors
let intake: Intake

beforeEach(async () => {
  stopping = new AbortController()
  clock = new VirtualClock()
  etcd = new MemoryEtcd(clock)
  world = new FailingWorld()
  errors = new InternalErrors(clock, silent, (host, failure) => world.setFailure(host, failure))
  const { signal } = stopping
  const store = etcd.connect({ cluster: 'c' })
  const mirror = new Mirror({ store, clock, scopes: followed.map(collection => ({ collection })), signal })
  await clock.advance(100)
  intake = new Intake({ mirror, clock, world, errors, changed: () => {} })
  intake.open()
})
afterEach(() => stopping.abort())

const write = async (...writes: ReturnType<typeof hostWrites>) => {
  await etcd.connect({ cluster: 'c' }).commit({ guards: [], writes })
  await clock.advance(100)
}

test('a host whose record could not even be left out is well once it is taken in', async () => {
  const { id: lease } = etcd.grant(1_000_000)
  world.isFailing = true
  await write(...hostWrites('h1', lease))
  const failing = errors.failing().map(({ owner, standing }) => [owner, standing.map(it => it.doing)])
  const doings = ['reading its records', 'leaving out what cannot be read']
  expect(failing).toEqual([[{ kind: 'host', host: 'h1' as HostId }, doings]])
  world.isFailing = false
  await write(...hostWrites('h1', lease))
  expect(errors.failing().flatMap(({ standing }) => standing)).toEqual([])
})

test('what cannot be read is looked at again only when that changes', async () => {
  const garble = (number: number, json: string) =>
    write({
      kind: 'put',
      key: keyOf(keys.generations, { service: web, number: number as GenerationNumber }),
      json,
      lease: undefined,
    })
  await garble(1, '{}')
  const first = intake.unread()
  expect([...first.services]).toEqual([web])
  await write(...hostWrites('h1', etcd.grant(1_000_000).id))
  expect(intake.unread()).toBe(first)
  await garble(2, '{"odd":1}')
  const second = intake.unread()
  expect(second.records.size).toBe(2)
  const remove = (number: number) =>
    write({
      kind: 'remove',
      key: keyOf(keys.generations, { service: web, number: number as GenerationNumber }),
    })
  await remove(1)
  expect([...intake.unread().records.keys()]).toEqual([`generations/${web}/2`])
  await remove(2)
  expect(intake.unread().services.size).toBe(0)
  expect(intake.unreadServices().size).toBe(0)
})
