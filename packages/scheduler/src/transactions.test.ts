/** Plans as groups of writes: no key twice, and each group fits into one transaction of the store. */
import type { GenerationNumber, HostId, InstanceId } from '@boxcar/core/model/ids'
import { serviceName } from '@boxcar/core/model/ids'
import type { Placement } from '@boxcar/core/model/placement'
import type { Rollout } from '@boxcar/core/model/rollout'
import type { Route } from '@boxcar/core/model/route'
import type { ServicePlan } from '@boxcar/core/plan/draft'
import { doing, Play } from '@boxcar/core/plan/play'
import { unchanged } from '@boxcar/store/collection'
import type { Group } from '@boxcar/store/commit'
import { EventWriter } from '@boxcar/store/events'
import { leaders } from '@boxcar/store/keys'
import { bytesOf, fits, keysWrittenTwice } from '@boxcar/store/limits'
import { MemoryEtcd } from '@boxcar/store/memory/memory-etcd'
import { seededChance } from '@boxcar/store/memory/seeded-chance'
import { VirtualClock } from '@boxcar/store/memory/virtual-clock'
import type { Guard, Revision } from '@boxcar/store/store'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { groupsOf, type Planned } from './transactions.ts'

const clock = new VirtualClock()
const stopping = new AbortController()
let planned: Planned
beforeAll(async () => {
  const store = new MemoryEtcd(clock).connect({ cluster: 'c' })
  const { signal } = stopping
  const events = new EventWriter({ store, clock, chance: seededChance(1), writer: 'scheduler', signal })
  await events.ready()
  planned = { events, term: '7', since: '1000' as Revision }
})
afterAll(() => stopping.abort())

const term: Guard = unchanged(leaders, 'self', '7' as Revision)

function checkGroups(groups: readonly Group<unknown>[]): void {
  expect([...keysWrittenTwice(groups).keys()]).toEqual([])
  for (const { guards, writes } of groups) {
    expect(fits({ guards: [term, ...guards], writes })).toBe(true)
    for (const write of writes) expect(bytesOf(write)).toBeLessThan(64 * 1024)
  }
}

test('whatever people and hosts do: no plan writes a key twice, and every group fits', () => {
  fc.assert(
    fc.property(fc.array(doing, { minLength: 5, maxLength: 60, size: 'max' }), script => {
      const play = new Play()
      play.stage.planned = ({ services }) =>
        checkGroups(services.flatMap(service => groupsOf(service, planned)))
      for (const it of script) play.act(it)
      play.mend()
      play.stage.settle()
    }),
    { numRuns: 200 },
  )
}, 30_000)

describe('a large plan', () => {
  const service = serviceName('shop', 'web')
  const generation = 1 as GenerationNumber
  const placement = (slot: number, bytes: number): Placement => ({
    instance: `shop/web/1/${slot}` as InstanceId,
    service,
    generation,
    slot,
    host: 'h1' as HostId,
    uid: 'u1',
    term: '7',
    desired: 'run',
    because: 'missing',
    cpuMilli: 0,
    memoryMiB: 0,
    ports: {},
    image: 'x'.repeat(bytes),
  })
  const rollout: Rollout = {
    service,
    uid: 'u1',
    term: '7',
    asked: generation,
    now: { phase: 'settled', live: generation },
    images: {},
    rejections: [],
    same: {},
    since: 0,
  }
  const route: Route = { service, uid: 'u1', term: '7', listeners: [], backings: [], drainMs: 0 }
  const large = (bytes: number): ServicePlan => ({
    service,
    specRevision: '5' as Revision,
    actions: [
      ...Array.from({ length: 300 }, (_, slot) => ({
        kind: 'place' as const,
        placement: placement(slot, bytes),
      })),
      { kind: 'rollout', rollout },
      { kind: 'route', route },
      { kind: 'intent-done', id: 'i1' },
    ],
    stories: Array.from({ length: 200 }, (_, n) => ({ level: 'info', kind: 'told', message: `${n}` })),
  })

  test.each([10, 30_000])('of placements of %i bytes is cut into groups that fit', bytes => {
    const groups = groupsOf(large(bytes), planned)
    checkGroups(groups)
    expect(groups.flatMap(({ writes }) => writes)).toHaveLength(503)
  })

  test('moves traffic in one group with the phase and the intent that is done', () => {
    const [first] = groupsOf(large(10), planned)
    expect(first?.writes.map(({ key }) => key)).toEqual(
      expect.arrayContaining([`rollouts/${service}`, `routes/${service}`, `intents/${service}/i1`]),
    )
  })
})
