import type { Instant, WallTime } from '@boxcar/core/model/clock'
import type { GenerationNumber, HostId, InstanceId, ServiceName } from '@boxcar/core/model/ids'
import type { Report } from '@boxcar/core/model/report'
import type { Revision } from '@boxcar/store/store'
import { expect, test } from 'vitest'
import { Instance } from './instance.ts'
import type { PlacedOrder } from './state/orders.ts'

const id = 'shop/web/1/0' as InstanceId
const order: PlacedOrder = {
  instance: id,
  uid: 'u',
  desired: 'run',
  placement: '5',
  print: '',
  revision: '5' as Revision,
  placed: {
    instance: id,
    service: 'shop/web' as ServiceName,
    generation: 1 as GenerationNumber,
    slot: 0,
    host: 'h1' as HostId,
    uid: 'u',
    term: '1',
    desired: 'run',
    because: 'missing',
    cpuMilli: 1,
    memoryMiB: 1,
    ports: {},
    image: 'app',
  },
}
const earlier: Report = {
  instance: id,
  uid: 'u',
  state: 'ready',
  attempt: 3,
  restarts: 2,
  container: 'c1',
  since: 7,
  placement: '5',
}

test('what was reported before is believed also where the order was heard first', () => {
  const instance = new Instance(id)
  const say = () => instance.report(order, undefined, 100 as Instant, 200 as WallTime)
  expect(say()).toMatchObject({ state: 'starting', attempt: 0 })
  expect(instance.isBlank).toBe(true)
  instance.remember(earlier)
  expect(instance.isBlank).toBe(false)
  expect(say()).toEqual(earlier)
  expect(instance.wasReady('c1')).toBe(true)
})

test('what was begun here is known better than what was reported before', () => {
  const instance = new Instance(id)
  instance.begins(1)
  expect(instance.isBlank).toBe(false)
})
