import type { HostRecord } from '@boxcar/core/model/host'
import type { ClusterName, HostId } from '@boxcar/core/model/ids'
import type { RouteAck } from '@boxcar/core/model/route'
import { keyOf, put, remove } from '@boxcar/store/collection'
import { hosts, presences, routeAcks } from '@boxcar/store/keys'
import { silent } from '@boxcar/store/log'
import { MemoryEtcd } from '@boxcar/store/memory/memory-etcd'
import { VirtualClock } from '@boxcar/store/memory/virtual-clock'
import { afterEach, describe, expect, test } from 'vitest'
import { InternalErrors } from './internal-errors.ts'
import { Registration } from './registration.ts'

const host = 'h1' as HostId
const record = (version: string): HostRecord => ({
  id: host,
  address: '10.0.0.1',
  agentPort: 7071,
  capacity: { cpuMilli: 1000, memoryMiB: 1000 },
  labels: {},
  ports: { from: 20_000, to: 29_999 },
  engine: { version: '20.10.24', state: 'up' },
  proxy: { version: '2.6.12', state: 'up' },
  agentVersion: version,
})
function memory() {
  const clock = new VirtualClock()
  return { clock, etcd: new MemoryEtcd(clock) }
}
const ack = (revision: string): RouteAck => ({ revision, draining: [] })

describe('a registration', () => {
  const ends: (() => Promise<void>)[] = []
  afterEach(async () => {
    for (const end of ends.splice(0)) await end()
  })

  async function begin({ clock, etcd } = memory()) {
    const store = etcd.connect({ cluster: 'test' as ClusterName })
    const told: string[] = []
    const registration = new Registration({
      store,
      clock,
      log: silent,
      errors: new InternalErrors({ log: silent, tell: () => {} }),
      tell: ({ kind }) => told.push(kind),
      host,
      token: 'token',
      believed: () => Promise.resolve(),
    })
    const stop = new AbortController()
    registration.setRecord(record('1'))
    const running = registration.run(stop.signal)
    const loop = { turns: true }
    const turn = async () => {
      for (; !stop.signal.aborted; await clock.sleep(5000, stop.signal))
        if (loop.turns) registration.progress()
    }
    void turn()
    ends.push(async () => {
      stop.abort()
      await clock.advance(5000)
      await running
    })
    await clock.advance(1000)
    const acked = async () => (await store.get(routeAcks, host))?.value.revision
    const version = async () => (await store.get(hosts, host))?.value.agentVersion
    const isThere = async () => (await store.get(presences, host)) !== undefined
    return { clock, etcd, store, registration, loop, told, acked, version, isThere }
  }

  test.each(['done', 'landing later'] as const)(
    'an acknowledgement whose answer was lost is withdrawn as any other, %s',
    async how => {
      const { clock, store, registration, acked } = await begin()
      if (how === 'done') store.faults.loseAnswers(1)
      else store.faults.delayRequests(1)
      registration.setAck(ack('7'))
      await clock.advance(100)
      registration.setAck(undefined)
      await clock.advance(5000)
      expect(await acked()).toBeUndefined()
      store.faults.deliverRequests()
      await clock.advance(10_000)
      expect(await acked()).toBeUndefined()
    },
  )

  test('one that an earlier run left is withdrawn too, and left alone before', async () => {
    const { clock, store, registration, acked } = await begin()
    await store.commit({ guards: [], writes: [put(routeAcks, host, ack('3'))] })
    registration.setRecord(record('2'))
    await clock.advance(1000)
    expect(await acked()).toBe('3')
    registration.setAck(undefined)
    await clock.advance(1000)
    expect(await acked()).toBeUndefined()
  })

  test('what lands late undoes nothing that was written since', async () => {
    const { clock, store, registration, acked, version } = await begin()
    registration.setAck(ack('1'))
    await clock.advance(1000)
    store.faults.delayRequests(1)
    registration.setAck(ack('2'))
    registration.setRecord(record('2'))
    await clock.advance(100)
    registration.setAck(ack('3'))
    // As it was before: still to be written once more.
    registration.setRecord(record('1'))
    await clock.advance(5000)
    store.faults.deliverRequests()
    await clock.advance(5000)
    expect([await acked(), await version()]).toEqual(['3', '1'])
  })

  test('a host whose main loop has stopped is gone, and comes back with it', async () => {
    const { clock, loop, isThere } = await begin()
    await clock.advance(60_000)
    expect(await isThere()).toBe(true)
    loop.turns = false
    await clock.advance(14_000)
    expect(await isThere()).toBe(true)
    await clock.advance(10_000)
    expect(await isThere()).toBe(false)
    loop.turns = true
    await clock.advance(6000)
    expect(await isThere()).toBe(true)
  })

  test('presence and acknowledgement without a lease, as a copied store has them, are put under its own', async () => {
    const { clock, etcd } = memory()
    const copied = etcd.connect({ cluster: 'test' as ClusterName })
    const presence = (token: string) => put(presences, host, { since: 1, token })
    // Of another machine: whoever held it does not renew it.
    await copied.commit({ guards: [], writes: [presence('foreign'), put(routeAcks, host, ack('3'))] })
    const { registration } = await begin({ clock, etcd })
    registration.setAck(ack('3'))
    await clock.advance(1000)
    expect((await copied.get(presences, host))?.value.token).toBe('token')
    expect((await copied.get(presences, host))?.lease).toBeDefined()
    expect((await copied.get(routeAcks, host))?.lease).toBeDefined()
  })

  test.each([
    ['cannot be read', { kind: 'put', key: keyOf(presences, host), json: '{"si', lease: undefined } as const],
    ['was removed', remove(presences, host)],
    ['was put without its lease', put(presences, host, { since: 1, token: 'token' })],
  ])('a presence that %s is put again', async (_, done) => {
    const { clock, store } = await begin()
    await store.commit({ guards: [], writes: [done] })
    await clock.advance(61_000)
    expect((await store.get(presences, host))?.lease).toBeDefined()
  })

  test('another machine that took the host id meanwhile is told once, and its record is left alone', async () => {
    const { clock, etcd, store, registration, told, version } = await begin()
    etcd.revokeAll()
    const { id } = await store.grant(60_000)
    await store.commit({
      guards: [],
      writes: [put(presences, host, { since: 1, token: 'other' }, id), put(hosts, host, record('other'))],
    })
    await clock.advance(2000)
    registration.setRecord(record('2'))
    await clock.advance(28_000)
    expect(told).toEqual(['host-id-taken'])
    expect([registration.isPresent, await version()]).toEqual([false, 'other'])
    await clock.advance(60_000)
    expect([registration.isPresent, await version()]).toEqual([true, '2'])
  })

  test('an acknowledgement comes back with the lease', async () => {
    const { clock, etcd, registration, acked } = await begin()
    registration.setAck(ack('1'))
    await clock.advance(1000)
    etcd.revokeAll()
    expect(await acked()).toBeUndefined()
    await clock.advance(2000)
    expect(await acked()).toBe('1')
  })
})
