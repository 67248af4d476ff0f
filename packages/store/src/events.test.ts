import { expect, test } from 'vitest'
import { put } from './collection.ts'
import { EventWriter } from './events.ts'
import { events } from './keys.ts'
import { MemoryEtcd } from './memory/memory-etcd.ts'
import { seededChance } from './memory/seeded-chance.ts'
import { VirtualClock } from './memory/virtual-clock.ts'

const hourMs = 60 * 60 * 1000

function open(begin: 'reachable' | 'away' = 'reachable') {
  const clock = new VirtualClock()
  const world = new MemoryEtcd(clock)
  const store = world.connect({ cluster: 'c1' })
  if (begin === 'away') store.faults.goAway()
  const stop = new AbortController()
  const writer = new EventWriter({
    store,
    clock,
    chance: seededChance(1),
    writer: 'api',
    signal: stop.signal,
  })
  const tell = async (message: string) =>
    store.commit({ guards: [], writes: [writer.write({ kind: 'told', message })] })
  return { clock, world, store, stop, writer, tell }
}

test('an event lives seven to eight days', async () => {
  const { clock, store, stop, writer, tell } = open()
  await writer.ready()
  await clock.advance(23 * hourMs)
  await tell('x')
  await clock.advance(6 * 24 * hourMs)
  expect((await store.list(events)).entries).toHaveLength(1)
  await clock.advance(2.1 * 24 * hourMs)
  expect((await store.list(events)).entries).toHaveLength(0)
  stop.abort()
})

test('ids sort by time, also when the wall clock goes back', async () => {
  const { clock, store, stop, writer, tell } = open()
  await writer.ready()
  for (let i = 0; i < 60; i += 1) {
    await tell(String(i).padStart(2, '0'))
    if (i % 7 === 3) await clock.advance(5)
    if (i === 30) clock.jumpWall(-hourMs)
  }
  const { entries } = await store.list(events, 'api')
  expect(entries.map(({ value }) => value.message)).toEqual(
    entries.map(({ value }) => value.message).toSorted(),
  )
  expect(entries).toHaveLength(60)
  stop.abort()
})

test('a lost lease is replaced when it is noticed, or when one asks', async () => {
  const { clock, world, stop, writer, tell } = open()
  await writer.ready()
  world.revokeAll()
  expect((await tell('refused')).kind).toBe('stale')
  await writer.check()
  expect((await tell('taken')).kind).toBe('committed')
  world.revokeAll()
  await clock.advance(6 * 60_000)
  expect((await tell('taken again')).kind).toBe('committed')
  stop.abort()
})

test('waits for a store that is away at the start', async () => {
  const { clock, store, stop, writer } = open('away')
  await clock.advance(5000)
  expect(writer.isReady).toBe(false)
  expect(() => writer.write({ kind: 'k', message: 'm' })).toThrow('ready')
  store.faults.comeBack()
  await clock.advance(3000)
  expect(writer.isReady).toBe(true)
  stop.abort()
})

test('an event is cut to a bound, whatever it quotes', async () => {
  const { store, stop, writer } = open()
  await writer.ready()
  const long = '\u0001'.repeat(1024 * 1024)
  const write = writer.write({ kind: 'told', message: long, actor: long })
  expect(write.kind === 'put' && Buffer.byteLength(write.json)).toBeLessThan(8 * 1024)
  expect(await store.commit({ guards: [], writes: [write] })).toMatchObject({ kind: 'committed' })
  const [entry] = (await store.list(events)).entries
  expect(entry?.value.message).toMatch(/…$/)
  stop.abort()
})

test('events without a lease, as a copied store has them, are read for as long as others, and then removed', async () => {
  const { clock, store, stop, writer, tell } = open()
  await writer.ready()
  const copy = (id: string, of: string) => {
    const value = { at: clock.wall(), kind: 'told', message: id, level: 'info', writer: of } as const
    return put(events, { writer: of, id }, value)
  }
  const copied = Array.from({ length: 150 }, (_, i) => copy(`copied-${i}`, 'api'))
  for (const some of [copied.slice(0, 100), copied.slice(100), [copy('other', 'scheduler')]])
    await store.commit({ guards: [], writes: some })
  await clock.advance(7 * 24 * hourMs)
  await tell('own')
  const left = async () => (await store.list(events)).entries.map(({ value }) => value.message)
  expect(await left()).toHaveLength(152)
  await clock.advance(2.1 * 24 * hourMs)
  // That of another writer is that writer's to remove.
  expect(await left()).toEqual(['own', 'other'])
  stop.abort()
})

test('a writer without such events looks for them once, and again when its lease was gone', async () => {
  const { clock, world, store, stop, writer } = open()
  let lists = 0
  const list = store.list.bind(store)
  store.list = (...args) => {
    lists++
    return list(...args)
  }
  await writer.ready()
  await clock.advance(5 * 24 * hourMs)
  expect(lists).toBe(1)
  world.revokeAll()
  await clock.advance(5 * 24 * hourMs)
  expect(lists).toBe(2)
  stop.abort()
})
