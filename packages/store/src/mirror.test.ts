import type { HostId } from '@boxcar/core/model/ids'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { put, remove } from './collection.ts'
import { events, presences, routeAcks } from './keys.ts'
import { MemoryEtcd } from './memory/memory-etcd.ts'
import type { MemoryStore } from './memory/memory-store.ts'
import { VirtualClock } from './memory/virtual-clock.ts'
import { Mirror } from './mirror.ts'
import type { Change, Key, Revision, Write } from './store.ts'

const host = (n: number): HostId => `h${n}` as HostId
const putHost = (n: number, since = 1): Write => put(presences, host(n), { since })
const brief = (change: Change): string =>
  change.kind === 'put' ? `put ${String(change.entry.id)}` : `removed ${String(change.id)}`

describe('a mirror', () => {
  let clock: VirtualClock
  let world: MemoryEtcd
  let store: MemoryStore
  let writer: MemoryStore
  let stop: AbortController
  let heard: string[]

  beforeEach(() => {
    clock = new VirtualClock()
    world = new MemoryEtcd(clock)
    store = world.connect({ cluster: 'c1' })
    writer = world.connect({ cluster: 'c1' })
    stop = new AbortController()
    heard = []
  })
  afterEach(() => stop.abort())

  const write = async (...writes: readonly Write[]): Promise<Revision> => {
    const outcome = await writer.commit({ guards: [], writes })
    if (outcome.kind !== 'committed') throw new Error(outcome.kind)
    return outcome.revision
  }
  const open = async (): Promise<Mirror> => {
    const mirror = new Mirror({
      store,
      clock,
      scopes: [{ collection: presences }, { collection: routeAcks }],
      signal: stop.signal,
    })
    mirror.onChange((changes, revision) => heard.push(`${revision}: ${changes.map(brief).join(', ')}`))
    await clock.settle()
    return mirror
  }

  test('holds what was there, and then each change', async () => {
    await write(putHost(1), putHost(2))
    const mirror = await open()
    expect(mirror.caughtUp).toBe(true)
    expect([...mirror.of(presences).keys()]).toEqual(['h1', 'h2'])
    await write(putHost(3), remove(presences, host(1)))
    await clock.settle()
    expect([...mirror.of(presences).keys()]).toEqual(['h2', 'h3'])
    expect(mirror.get(presences, host(3))?.value.since).toBe(1)
    expect(heard).toEqual(['2: put h1, put h2', '3: put h3, removed h1'])
  })

  test('a listener that throws keeps no other from hearing', async () => {
    const mirror = await open()
    mirror.onChange(() => {
      throw new Error('this listener fails')
    })
    const later: number[] = []
    mirror.onChange(changes => later.push(changes.length))
    await write(putHost(1))
    await clock.settle()
    await write(putHost(2))
    await clock.settle()
    expect(later).toEqual([1, 1])
    expect([...mirror.of(presences).keys()]).toEqual(['h1', 'h2'])
  })

  test('reaches every revision, also those that concern others', async () => {
    const mirror = await open()
    const revision = await write(put(events, { writer: 'api', id: '1' }, event))
    expect(await mirror.reached(revision)).toBe(true)
    expect(mirror.revision).toBe(revision)
    expect(heard).toEqual([])
    const waiting = mirror.reached('999' as Revision)
    stop.abort()
    expect(await waiting).toBe(false)
  })

  test('tells only real differences after a lost history, removals before the rest', async () => {
    await write(putHost(1), putHost(2), putHost(3))
    const mirror = await open()
    heard = []
    store.faults.goAway()
    await write(remove(presences, host(2)))
    await write(putHost(3, 9))
    await write(putHost(4))
    world.compact()
    await clock.advance(5000)
    expect(mirror.trouble()).toBe('the store is away')
    expect([...mirror.of(presences).keys()]).toEqual(['h1', 'h2', 'h3'])
    store.faults.comeBack()
    await clock.settle()
    expect(heard).toEqual(['5: removed h2, put h3, put h4'])
    expect(mirror.trouble()).toBeUndefined()
  })

  test('a snapshot without any difference is silent', async () => {
    await write(putHost(1))
    await open()
    heard = []
    store.faults.goAway()
    await write(put(events, { writer: 'api', id: '1' }, event))
    await write(put(events, { writer: 'api', id: '2' }, event))
    world.compact()
    store.faults.comeBack()
    await clock.settle()
    expect(heard).toEqual([])
  })

  test('hears from a quiet store each second, and knows since when not', async () => {
    const mirror = await open()
    await clock.advance(60_000)
    expect(clock.now() - mirror.lastHeard()).toBeLessThanOrEqual(1000)
    store.faults.goAway()
    await clock.advance(60_000)
    expect(clock.now() - mirror.lastHeard()).toBeGreaterThanOrEqual(59_000)
  })

  test('counts its troubles, also one that nobody saw', async () => {
    const mirror = await open()
    store.faults.cutWatches()
    await write(putHost(1))
    await clock.settle()
    expect(mirror.trouble()).toBeUndefined()
    expect(mirror.troubles).toBe(1)
  })

  test('wakes who waits for a change, and no change is missed between looking and waiting', async () => {
    const mirror = await open()
    const before = mirror.changes
    await write(putHost(1))
    await clock.settle()
    await mirror.changedSince(before, 10_000)
    let woken = false
    const waiting = mirror.changedSince(mirror.changes, 10_000).then(() => {
      woken = true
    })
    await clock.advance(9_000)
    expect(woken).toBe(false)
    await clock.advance(1_000)
    expect(woken).toBe(true)
    await waiting
  })

  test('keeps apart what cannot be read', async () => {
    const bad: Write = { kind: 'put', key: 'presence/h1' as Key, json: '{}', lease: undefined }
    await write(bad, putHost(2))
    const mirror = await open()
    expect([...mirror.of(presences).keys()]).toEqual(['h2'])
    expect([...mirror.unreadable.keys()]).toEqual(['presence/h1'])
    await write(remove(presences, host(1)))
    await clock.settle()
    expect(mirror.unreadable.size).toBe(0)
  })

  test('tells what cannot be read any more as removed, and once more when it is gone', async () => {
    const bad: Write = { kind: 'put', key: 'presence/h1' as Key, json: '{}', lease: undefined }
    await write(putHost(1))
    const mirror = await open()
    heard = []
    await write(bad)
    await clock.settle()
    expect(heard).toEqual(['3: removed h1'])
    await write(bad)
    await clock.settle()
    expect([...mirror.unreadable.keys()]).toEqual(['presence/h1'])
    await write(remove(presences, host(1)))
    await clock.settle()
    expect(heard).toEqual(['3: removed h1', '5: removed h1'])
    expect(mirror.unreadable.size).toBe(0)
  })

  test('also where it went together with the history', async () => {
    const bad: Write = { kind: 'put', key: 'presence/h1' as Key, json: '{}', lease: undefined }
    await write(bad, putHost(2))
    const mirror = await open()
    heard = []
    store.faults.goAway()
    await write(remove(presences, host(1)))
    await write(putHost(3))
    world.compact()
    store.faults.comeBack()
    await clock.settle()
    expect(heard).toEqual(['4: put h3, removed h1'])
    expect(mirror.unreadable.size).toBe(0)
  })

  test('knows how a value ended that changed several times at once', async () => {
    const bad = (n: number): Write => ({
      kind: 'put',
      key: `presence/h${n}` as Key,
      json: '{}',
      lease: undefined,
    })
    await write(putHost(1), putHost(2), putHost(3))
    const mirror = await open()
    store.faults.holdWatches()
    await write(bad(1), bad(2))
    await write(remove(presences, host(1)), putHost(2), putHost(3))
    await write(bad(3))
    store.faults.releaseWatches()
    await clock.settle()
    expect([...mirror.of(presences).keys()]).toEqual(['h2'])
    expect([...mirror.unreadable.keys()]).toEqual(['presence/h3'])
  })

  test('a listener may leave', async () => {
    const mirror = await open()
    const seen: string[] = []
    const leave = mirror.onChange(changes => seen.push(...changes.map(brief)))
    await write(putHost(1))
    await clock.settle()
    leave()
    await write(putHost(2))
    await clock.settle()
    expect(seen).toEqual(['put h1'])
  })
})

const event = { at: 1, kind: 'k', message: 'm', level: 'info', writer: 'api' } as const
