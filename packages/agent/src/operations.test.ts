import type { OperationKind } from '@boxcar/core/instance/operation-queue'
import type { ServiceName } from '@boxcar/core/model/ids'
import { VirtualClock } from '@boxcar/store/memory/virtual-clock'
import { beforeEach, expect, test } from 'vitest'
import { EngineFault, EngineUnavailable } from './engine/engine.ts'
import { Operations } from './operations.ts'

const web = 'shop/web' as ServiceName
const api = 'shop/api' as ServiceName
const never = new AbortController().signal

let clock: VirtualClock
let operations: Operations
let begun: string[]
beforeEach(() => {
  clock = new VirtualClock()
  operations = new Operations(clock)
  begun = []
})

/** Something that takes its time, by a name that shows when it is begun. */
const perform = (
  name: string,
  { kind = 'start' as OperationKind, service = web, tookMs = 100, signal = never } = {},
): Promise<string> =>
  operations.run({ kind, service, signal }, async () => {
    begun.push(name)
    await clock.sleep(tookMs)
    return name
  })
const failing = (error: Error = new EngineUnavailable('the engine is away')) =>
  operations.run({ kind: 'start', service: web, signal: never }, async () => {
    await clock.sleep(10)
    throw error
  })

test('begins as many as the limit lets, and the others as those end', async () => {
  const all = Promise.all(['1', '2', '3', '4', '5'].map(name => perform(name)))
  await clock.settle()
  expect(begun).toEqual(['1', '2'])
  await clock.advance(300)
  expect(await all).toEqual(['1', '2', '3', '4', '5'])
})

test('what is dropped in the queue rejects at once and is never begun', async () => {
  const dropping = new AbortController()
  const all = ['1', '2', '3', '4', '5'].map(name =>
    perform(name, name === '4' ? { signal: dropping.signal } : {}),
  )
  const dropped = expect(all[3]).rejects.toThrow('not wanted')
  dropping.abort(new Error('not wanted'))
  await dropped
  await clock.advance(300)
  expect(begun).toEqual(['1', '2', '3', '5'])
  await expect(perform('6', { signal: AbortSignal.abort(new Error('before')) })).rejects.toThrow('before')
})

test('what is dropped in the moment of its turn is not begun', async () => {
  const dropping = new AbortController()
  const dropped = expect(perform('1', { signal: dropping.signal })).rejects.toThrow('not wanted')
  dropping.abort(new Error('not wanted'))
  await dropped
  expect(begun).toEqual([])
  await Promise.all([expect(perform('2')).resolves.toBe('2'), clock.advance(100)])
})

test('a stop waits for no start, and one that takes long for no other stop', async () => {
  const starts = Array.from({ length: 100 }, (_, n) => perform(`start ${n}`))
  const stops = Array.from({ length: 20 }, (_, n) => perform(`stop ${n}`, { kind: 'stop', tookMs: 10_000 }))
  await clock.settle()
  expect(begun).toContain('stop 0')
  await clock.advance(1000)
  expect(begun.filter(name => name.startsWith('stop'))).toHaveLength(20)
  await clock.advance(20_000)
  await Promise.all([...starts, ...stops])
})

test('a single start of one service goes before the hundreds of another', async () => {
  const many = Array.from({ length: 300 }, (_, n) => perform(`web ${n}`))
  await clock.advance(50)
  const one = perform('api', { service: api })
  await clock.advance(100)
  expect(begun).toContain('api')
  await clock.advance(20_000)
  await Promise.all([...many, one])
})

test('learns from answers how many at once the engine takes', async () => {
  const quick = Array.from({ length: 100 }, (_, n) => perform(`quick ${n}`))
  await clock.advance(10_000)
  await Promise.all(quick)
  expect(operations.limits.start).toBe(8)
  const slow = Array.from({ length: 20 }, (_, n) => perform(`slow ${n}`, { tookMs: 1000 }))
  await clock.advance(20_000)
  await Promise.all(slow)
  expect(operations.limits.start).toBeLessThan(8)
})

test('learns that the engine became slower for good, also while two services always have starts', async () => {
  await Promise.all([perform('quick', { tookMs: 300 }), clock.advance(300)])
  const starts = Array.from({ length: 100 }, (_, n) =>
    perform(`${n}`, { service: n % 2 === 0 ? web : api, tookMs: 800 }),
  )
  let least = Number.POSITIVE_INFINITY
  for (let second = 0; second < 20; second++) {
    await clock.advance(1000)
    least = Math.min(least, operations.limits.start)
  }
  expect(least).toBe(1)
  expect(operations.limits.start).toBeGreaterThan(1)
  await Promise.all([...starts, clock.advance(100_000)])
})

test('an engine that refuses one container is given as many at once as before', async () => {
  await Promise.all([...['1', '2', '3', '4', '5', '6', '7'].map(name => perform(name)), clock.advance(1000)])
  const refusing = expect(failing(new EngineFault('it cannot'))).rejects.toThrow('it cannot')
  await Promise.all([refusing, clock.advance(10)])
  expect(operations.limits.start).toBe(4)
})

test('a failure of the engine halves the limit and gives its turn on', async () => {
  await Promise.all([...['1', '2', '3', '4', '5', '6', '7'].map(name => perform(name)), clock.advance(1000)])
  expect(operations.limits.start).toBe(4)
  await Promise.all([
    expect(failing()).rejects.toThrow('away'),
    expect(failing()).rejects.toThrow('away'),
    clock.advance(10),
  ])
  expect(operations.limits.start).toBe(2)
  await Promise.all([expect(perform('next')).resolves.toBe('next'), clock.advance(100)])
})

test('what says nothing of the pace is not learnt from', async () => {
  await Promise.all([...['1', '2', '3', '4', '5', '6', '7'].map(name => perform(name)), clock.advance(1000)])
  const refused = operations.run(
    { kind: 'start', service: web, signal: never, isTypical: kind => kind === 'started' },
    () => Promise.resolve('refused'),
  )
  await Promise.all([refused, perform('8', { tookMs: 150 }), clock.advance(200)])
  expect(operations.limits.start).toBe(4)
})
