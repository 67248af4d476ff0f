import { beforeEach, describe, expect, test } from 'vitest'
import { put } from './collection.ts'
import { presences } from './keys.ts'
import { type KeepLeaseOptions, type KeptLease, keepLease } from './lease.ts'
import { MemoryEtcd } from './memory/memory-etcd.ts'
import type { MemoryStore } from './memory/memory-store.ts'
import { VirtualClock } from './memory/virtual-clock.ts'
import type { LeaseId } from './store.ts'

const ttlMs = 4000
const marginMs = ttlMs * 0.05

describe('a kept lease', () => {
  let clock: VirtualClock
  let world: MemoryEtcd
  let store: MemoryStore
  let stop: AbortController
  let granted: LeaseId[]
  let lost: string[]

  beforeEach(() => {
    clock = new VirtualClock()
    world = new MemoryEtcd(clock)
    store = world.connect({ cluster: 'c1' })
    stop = new AbortController()
    granted = []
    lost = []
  })

  const keep = (options: Partial<KeepLeaseOptions> = {}): KeptLease =>
    keepLease({
      store,
      clock,
      ttlMs,
      signal: stop.signal,
      onGranted: async lease => {
        granted.push(lease)
        await store.commit({ guards: [], writes: [put(presences, 'h1' as never, { since: 1 }, lease)] })
      },
      onLost: reason => lost.push(reason),
      ...options,
    })
  const stands = (): boolean => world.get('c1', 'presence/h1') !== undefined

  test('is renewed each fifth of its time, for days', async () => {
    const kept = keep()
    await clock.advance(3 * 60 * 60 * 1000)
    expect(granted).toHaveLength(1)
    expect(stands()).toBe(true)
    expect(kept.isGood()).toBe(true)
    expect(kept.goodUntil() - clock.now()).toBeGreaterThan(ttlMs * 0.75 - 1)
  })

  test('is good until its last renewal as sent, plus its time, less a margin', async () => {
    const kept = keep()
    await clock.advance(10_000)
    store.faults.goAway()
    const deadline = kept.goodUntil()
    expect(deadline - clock.now()).toBeLessThanOrEqual(ttlMs - marginMs)
    await clock.advance(deadline - clock.now() - 1)
    expect(kept.isGood()).toBe(true)
    await clock.advance(2)
    expect(kept.isGood()).toBe(false)
    expect(kept.trouble()).toMatch(/no answer/)
    // The store itself took nothing away before.
    expect(stands()).toBe(true)
  })

  test('survives a silence shorter than its time, and the same lease goes on', async () => {
    const kept = keep()
    await clock.advance(1000)
    store.faults.goAway()
    await clock.advance(2500)
    store.faults.comeBack()
    await clock.advance(800)
    expect(kept.isGood()).toBe(true)
    expect(granted).toHaveLength(1)
    expect(kept.trouble()).toBeUndefined()
  })

  test('stands again, with its keys, within a second of being taken away', async () => {
    const kept = keep()
    await clock.advance(1000)
    world.revokeAll()
    expect(stands()).toBe(false)
    await clock.advance(1000)
    expect(stands()).toBe(true)
    expect(granted).toHaveLength(2)
    expect(lost).toHaveLength(1)
    expect(kept.id()).toBe(granted[1])
  })

  test('a silence longer than its time ends in a new lease as soon as the store answers', async () => {
    keep()
    await clock.advance(1000)
    store.faults.goAway()
    await clock.advance(20_000)
    expect(stands()).toBe(false)
    store.faults.comeBack()
    await clock.advance(1000)
    expect(stands()).toBe(true)
    expect(lost).toHaveLength(1)
  })

  test('keys that could not be put are put again', async () => {
    let tries = 0
    keep({
      onGranted: async () => {
        tries += 1
        if (tries < 4) throw new Error('not now')
      },
    })
    await clock.advance(1000)
    expect(tries).toBe(4)
  })

  test('is not renewed for a loop that makes no progress, and is renewed again once it does', async () => {
    const kept = keep({ progressWithinMs: 3000 })
    for (let i = 0; i < 10; i += 1) {
      await clock.advance(1000)
      kept.progress()
    }
    expect(kept.isGood()).toBe(true)
    await clock.advance(3000 + ttlMs + 300)
    expect(kept.isGood()).toBe(false)
    expect(stands()).toBe(false)
    kept.progress()
    await clock.advance(500)
    expect(stands()).toBe(true)
  })

  test('a loop blocked for less than the bound loses nothing', async () => {
    const kept = keep({ progressWithinMs: 3000 })
    await clock.advance(2900)
    kept.progress()
    await clock.advance(2900)
    expect(granted).toHaveLength(1)
    expect(kept.isGood()).toBe(true)
  })

  test('lives on for its time when the keeping ends, unless it is revoked', async () => {
    const kept = keep()
    await clock.advance(1000)
    stop.abort()
    await kept.ended
    expect(stands()).toBe(true)
    await clock.advance(ttlMs + 500)
    expect(stands()).toBe(false)

    stop = new AbortController()
    const second = keep()
    await clock.advance(100)
    expect(stands()).toBe(true)
    await second.revoke()
    expect(stands()).toBe(false)
    expect(second.isGood()).toBe(false)
  })
})
