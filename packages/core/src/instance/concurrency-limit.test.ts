import { describe, expect, test } from 'vitest'
import type { Instant } from '../model/clock.ts'
import { adapt, type ConcurrencyLimit, firstLimit, type Sample, wholeLimit } from './concurrency-limit.ts'

const bounds = { least: 1, most: 8, first: 1 }
const limit = (value: number, bestMs?: number, decreasedAt?: number): ConcurrencyLimit => ({
  value,
  bestMs,
  decreasedAt: decreasedAt as Instant | undefined,
})
const sample = (
  began: number,
  tookMs: number,
  atOnce: number,
  outcome: Sample['outcome'] = 'done',
): Sample => ({
  began: began as Instant,
  ended: (began + tookMs) as Instant,
  atOnce,
  outcome,
})

test.each<[string, ConcurrencyLimit, Sample, ConcurrencyLimit]>([
  [
    'the first one is the best so far, and lets one more in',
    limit(3),
    sample(0, 300, 3),
    limit(3 + 1 / 3, 300),
  ],
  ['near the best: more', limit(4, 200), sample(0, 320, 4), limit(4.25, 200)],
  ['quicker than the best: more, and a new best', limit(4, 200), sample(0, 150, 4), limit(4.25, 150)],
  ['slow: fewer', limit(4, 200), sample(0, 321, 4), limit(3, 200, 321)],
  ['slow again, of the same time: no fewer', limit(3, 200, 321), sample(320, 800, 4), limit(3, 200, 321)],
  ['slow again, begun since: fewer', limit(4, 200, 321), sample(321, 800, 3), limit(3, 200, 1121)],
  ['failed: half', limit(6, 200), sample(0, 10, 6, 'failed'), limit(3, 200, 10)],
  ['failed together: half once', limit(3, 200, 10), sample(5, 10, 6, 'failed'), limit(3, 200, 10)],
  ['a limit that is not reached stays', limit(4, 200), sample(0, 200, 3), limit(4, 200)],
  ['never more than the most', limit(8, 200), sample(0, 200, 8), limit(8, 200)],
  ['never fewer than the least', limit(1.2, 200), sample(0, 900, 2), limit(1, 235, 900)],
  [
    'slow although alone: the best is forgotten bit by bit',
    limit(1, 200),
    sample(0, 900, 1),
    limit(1, 340, 900),
  ],
  [
    'slow at the least, beside the one of the kept place: a smaller bit',
    limit(1, 200),
    sample(0, 900, 2),
    limit(1, 235, 900),
  ],
  ['slow at more than the least: the best is kept', limit(2, 200), sample(0, 900, 2), limit(1.5, 200, 900)],
  ['near the best and alone: the same', limit(1, 200), sample(0, 300, 1), limit(2, 220)],
])('%s', (_, before, seen, after) => {
  expect(adapt(before, seen, bounds)).toEqual(after)
})

describe('against an engine', () => {
  /** Rounds of as many operations as the limit lets; gives the limits of the later rounds. */
  function settle(tookMs: (atOnce: number) => number, from = firstLimit(bounds), rounds = 60) {
    let now = 0
    let learnt = from
    const seen: number[] = []
    for (let round = 0; round < rounds; round++) {
      const atOnce = wholeLimit(learnt)
      for (let n = 0; n < atOnce; n++) learnt = adapt(learnt, sample(now, tookMs(atOnce), atOnce), bounds)
      now += tookMs(atOnce)
      if (round >= rounds / 2) seen.push(atOnce)
    }
    return { learnt, least: Math.min(...seen), most: Math.max(...seen) }
  }

  /** As measured: 165 ms for one, 365 for four, 1.5 s for sixteen. */
  const measured = (atOnce: number) => 165 + 66 * (atOnce - 1)

  test('that slows down with more at once, it stays where the rate is full', () => {
    const { least, most } = settle(measured)
    expect(least).toBeGreaterThanOrEqual(2)
    expect(most).toBeLessThanOrEqual(4)
  })

  test('that does not slow down, it grows to the most', () => {
    expect(settle(() => 100).least).toBe(bounds.most)
  })

  test('that can do only one at a time, it goes down to one or two', () => {
    expect(settle(atOnce => 200 * atOnce ** 2).most).toBeLessThanOrEqual(2)
  })

  test('that became slower for good, it grows again', () => {
    const { learnt } = settle(measured)
    expect(settle(atOnce => 5 * measured(atOnce), learnt).least).toBeGreaterThanOrEqual(2)
  })

  test.each([
    [{ least: 1, most: 8, first: 2 }, 2],
    [{ least: 4, most: 8, first: 6 }, 5],
  ])('that became slower for good while at least so many are under way, too (%j, %i)', (own, atOnce) => {
    let learnt = adapt(firstLimit(own), sample(0, 300, 1), own)
    const limits: number[] = []
    for (let n = 0; n < 40; n++) {
      const busy = Math.max(atOnce, wholeLimit(learnt))
      learnt = adapt(learnt, sample(1000 + n * 400, 800, busy), own)
      limits.push(wholeLimit(learnt))
    }
    expect(Math.min(...limits)).toBe(own.least)
    expect(limits.at(-1)).toBeGreaterThan(own.least)
  })

  test('that does only one at a time, two services with work at once do not raise it above two', () => {
    let learnt = adapt(firstLimit({ ...bounds, first: 2 }), sample(0, 200, 1), bounds)
    let now = 1000
    for (let n = 0; n < 400; n++) {
      // The kept place lets one more in.
      const atOnce = wholeLimit(learnt) + 1
      const tookMs = 200 * atOnce ** 2
      learnt = adapt(learnt, sample(now, tookMs, atOnce), bounds)
      now += tookMs
      expect(wholeLimit(learnt)).toBeLessThanOrEqual(2)
    }
  })
})
