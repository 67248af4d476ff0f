import { silent } from '@boxcar/store/log'
import { VirtualClock } from '@boxcar/store/memory/virtual-clock'
import { afterEach, expect, test } from 'vitest'
import { InternalErrors } from './internal-errors.ts'
import { Tasks } from './tasks.ts'

const stops: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop()
})

/** Keeps one task that breaks at once while `isBroken` says so, and runs until it is ended otherwise. */
function keep(isBroken: () => boolean) {
  const clock = new VirtualClock()
  const told: string[] = []
  const errors = new InternalErrors({ log: silent, tell: ({ message }) => told.push(message) })
  const tasks = new Tasks({ clock, errors, onBreak: () => {} })
  const stop = new AbortController()
  const starts: number[] = []
  const aborted: boolean[] = []
  const run = async (signal: AbortSignal) => {
    starts.push(clock.now())
    signal.addEventListener('abort', () => aborted.push(true))
    if (isBroken()) throw new Error('it broke')
    while (!signal.aborted && !isBroken()) await clock.sleep(100, signal)
    if (!signal.aborted) throw new Error('it broke')
  }
  const kept = tasks.keep('task', run, stop.signal)
  stops.push(async () => {
    stop.abort()
    await kept
  })
  return { clock, tasks, starts, aborted, told }
}

test('a task that breaks is started again after a pause that grows to half a minute, and told once', async () => {
  const { clock, starts, aborted, told } = keep(() => true)
  await clock.advance(125_000)
  const pauses = starts.slice(1).map((at, n) => at - (starts[n] ?? 0))
  expect(pauses).toEqual([250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000])
  // What one run left under way ends before the next begins.
  expect(aborted.length).toBe(starts.length)
  expect(told).toEqual(["the agent's task: running it: internal error: it broke"])
})

test('a task that is broken for a quarter of a minute is not well, and is once it has run for a minute', async () => {
  let isBroken = true
  const { clock, tasks, starts } = keep(() => isBroken)
  await clock.advance(15_000)
  expect(tasks.areWell).toBe(true)
  await clock.advance(1000)
  expect(tasks.areWell).toBe(false)
  isBroken = false
  const before = starts.length
  await clock.advanceUntil(() => starts.length > before, 60_000)
  await clock.advance(59_000)
  expect(tasks.areWell).toBe(false)
  await clock.advance(1000)
  expect(tasks.areWell).toBe(true)
  // A later failure is a first one again.
  isBroken = true
  await clock.advance(1000)
  expect(tasks.areWell).toBe(true)
})

test('a task that broke once and has run since is well all along', async () => {
  let breaks = 1
  const { clock, tasks, starts } = keep(() => breaks-- > 0)
  for (let second = 0; second < 70; second++) {
    expect(tasks.areWell, `after ${second} s`).toBe(true)
    await clock.advance(1000)
  }
  expect(starts).toEqual([0, 250])
})

test('a task that broke twice within a minute is not well until it has run for a minute', async () => {
  let isBroken = true
  const { clock, tasks, starts } = keep(() => isBroken)
  await clock.advance(100)
  isBroken = false
  await clock.advance(30_000)
  expect(starts).toEqual([0, 250])
  expect(tasks.areWell).toBe(true)
  isBroken = true
  await clock.advance(100)
  isBroken = false
  await clock.advance(1000)
  expect(starts).toHaveLength(3)
  expect(tasks.areWell).toBe(false)
  await clock.advance(60_000)
  expect(tasks.areWell).toBe(true)
})
