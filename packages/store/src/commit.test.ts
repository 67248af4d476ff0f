import type { HostId } from '@boxcar/core/model/ids'
import { beforeEach, describe, expect, test } from 'vitest'
import { absent, created, put } from './collection.ts'
import { commitAll, type Group } from './commit.ts'
import { hosts, presences } from './keys.ts'
import { fits } from './limits.ts'
import { type Happening, MemoryEtcd } from './memory/memory-etcd.ts'
import type { MemoryStore } from './memory/memory-store.ts'
import { VirtualClock } from './memory/virtual-clock.ts'
import type { Guard, Key, Revision, Write } from './store.ts'

const host = (n: number): HostId => `h${n}` as HostId
const putHost = (n: number): Write => put(presences, host(n), { since: 1 })
const group = (n: number, size = 1): Group<number> => ({
  guards: [],
  writes: Array.from({ length: size }, (_, i) => putHost(n * 1000 + i)),
  tag: n,
})

describe('commitAll', () => {
  let clock: VirtualClock
  let world: MemoryEtcd
  let store: MemoryStore
  let history: Happening[]

  beforeEach(() => {
    clock = new VirtualClock()
    world = new MemoryEtcd(clock)
    store = world.connect({ cluster: 'c1' })
    history = []
    world.observe(happening => history.push(happening))
  })

  test('fills transactions to 128 writes', async () => {
    const outcomes = await commitAll(
      store,
      Array.from({ length: 1000 }, (_, i) => group(i)),
    )
    expect(outcomes.map(({ tag }) => tag)).toEqual(Array.from({ length: 1000 }, (_, i) => i))
    expect(outcomes.every(({ outcome }) => outcome.kind === 'committed')).toBe(true)
    expect(history.map(({ events }) => events.length)).toEqual([...Array(7).fill(128), 104])
  })

  test('never splits a group', async () => {
    await commitAll(store, [group(1, 100), group(2, 100), group(3, 28), group(4, 100)])
    expect(history.map(({ events }) => events.length)).toEqual([100, 128, 100])
  })

  test('stays below a mebibyte', async () => {
    const big = (n: number): Group<number> => ({
      guards: [],
      writes: [
        {
          kind: 'put',
          key: `presence/h${n}` as Key,
          json: JSON.stringify({ since: 1, pad: 'ü'.repeat(100_000) }),
          lease: undefined,
        },
      ],
      tag: n,
    })
    await commitAll(
      store,
      Array.from({ length: 12 }, (_, i) => big(i)),
    )
    expect(history.map(({ events }) => events.length)).toEqual([5, 5, 2])
  })

  test('shares equal guards, and counts all compares against the limit', async () => {
    const shared: Guard = { kind: 'collection-unchanged', collection: hosts, since: '1' as Revision }
    const groups = Array.from({ length: 128 }, (_, i): Group<number> => ({ ...group(i), guards: [shared] }))
    await commitAll(store, groups, { always: [absent(hosts, host(1))] })
    expect(history).toHaveLength(1)

    history = []
    const guarded = Array.from(
      { length: 130 },
      (_, i): Group<number> => ({ ...group(i + 500), guards: [absent(presences, host((i + 500) * 1000))] }),
    )
    await commitAll(store, guarded, { always: [absent(hosts, host(1))] })
    expect(history.map(({ events }) => events.length)).toEqual([127, 3])
  })

  test('a group that fits no transaction is too large, and the others go on', async () => {
    const outcomes = await commitAll(store, [group(1), group(2, 129), group(3)])
    expect(outcomes.map(({ outcome }) => outcome.kind)).toEqual(['committed', 'too-large', 'committed'])
    expect(fits({ guards: [], writes: group(2, 128).writes })).toBe(true)
  })

  test('a stale term refuses everything', async () => {
    const outcomes = await commitAll(
      store,
      Array.from({ length: 300 }, (_, i) => group(i)),
      { always: [created(hosts, host(1), '5' as Revision)] },
    )
    expect(new Set(outcomes.map(({ outcome }) => outcome.kind))).toEqual(new Set(['stale']))
    expect(history).toEqual([])
  })

  test('one stale group holds up none that went with it', async () => {
    const groups = Array.from(
      { length: 256 },
      (_, i): Group<number> =>
        i === 5 ? { ...group(i), guards: [created(hosts, host(1), '5' as Revision)] } : group(i),
    )
    const outcomes = await commitAll(store, groups)
    expect(outcomes.filter(({ outcome }) => outcome.kind === 'stale')).toEqual([
      expect.objectContaining({ tag: groups[5]?.tag }),
    ])
    expect(outcomes.filter(({ outcome }) => outcome.kind === 'committed')).toHaveLength(255)
  })

  test('stops sending when an answer does not come', async () => {
    store.faults.loseAnswers(1)
    const committing = commitAll(
      store,
      Array.from({ length: 1280 }, (_, i) => group(i)),
      { inFlight: 1 },
    )
    await clock.advance(2000)
    const outcomes = await committing
    expect(outcomes.every(({ outcome }) => outcome.kind === 'unknown')).toBe(true)
    expect(history).toHaveLength(1)
  })

  test('groups that write one key are invalid, and the others are committed', async () => {
    const twice: Group<number> = { guards: [], writes: [putHost(7), putHost(7)], tag: 7 }
    const outcomes = await commitAll(store, [group(1), group(2), group(1), twice, group(3)])
    expect(outcomes.map(({ outcome }) => outcome.kind)).toEqual([
      'invalid',
      'committed',
      'invalid',
      'invalid',
      'committed',
    ])
    expect(outcomes[3]?.outcome).toEqual({ kind: 'invalid', reason: 'presence/h7 is written twice' })
    expect(history.map(({ events }) => events.length)).toEqual([2])
  })

  test('a group at which the store throws is invalid, and those that went with it are committed', async () => {
    const commit = store.commit.bind(store)
    store.commit = transaction =>
      transaction.writes.some(({ key }) => key === 'presence/h2000')
        ? Promise.reject(new Error('cannot be sent'))
        : commit(transaction)
    const outcomes = await commitAll(store, [group(1), group(2), group(3)])
    expect(outcomes.map(({ outcome }) => outcome.kind)).toEqual(['committed', 'invalid', 'committed'])
  })

  test('a group that shall go alone goes after the others, and costs them nothing', async () => {
    const commit = store.commit.bind(store)
    store.commit = async transaction =>
      transaction.writes.some(({ key }) => key === 'presence/h1000')
        ? { kind: 'unknown', reason: 'no answer' }
        : commit(transaction)
    const outcomes = await commitAll(store, [
      { ...group(1), alone: true },
      group(2),
      { ...group(4), alone: true },
      group(3),
    ])
    expect(outcomes.map(({ outcome }) => outcome.kind)).toEqual([
      'unknown',
      'committed',
      'committed',
      'committed',
    ])
    expect(history.map(({ events }) => events.length)).toEqual([2, 1])
  })

  test('what was not sent after an unknown outcome is told apart', async () => {
    store.faults.loseAnswers(1)
    const committing = commitAll(store, [group(1, 100), group(2, 100)], { inFlight: 1 })
    await clock.advance(2000)
    expect((await committing).map(({ sent }) => sent)).toEqual([true, false])
  })

  test('no groups, no transactions', async () => {
    expect(await commitAll(store, [])).toEqual([])
    expect(history).toEqual([])
  })
})
