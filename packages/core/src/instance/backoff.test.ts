import { describe, expect, test } from 'vitest'
import type { Instant } from '../model/clock.ts'
import { defaultBackoff, delayBefore, strike } from './backoff.ts'

describe('back-off', () => {
  test.each([
    [1, 0],
    [2, 1000],
    [3, 3000],
    [4, 9000],
    [5, 27_000],
    [6, 60_000],
    [400, 60_000],
  ])('after %i failures in a row it waits %i ms', (streak, ms) => {
    expect(delayBefore(streak, defaultBackoff)).toBe(ms)
  })

  test('no sixty seconds see more than six starts of what ends at once', () => {
    const starts = [0]
    let [streak, now] = [0, 0]
    while (now < 600_000) {
      const next = strike(streak, 0, defaultBackoff, now as Instant)
      streak = next.streak
      now = next.notBefore
      starts.push(now)
    }
    for (const from of starts) {
      expect(starts.filter(at => at >= from && at < from + 60_000).length).toBeLessThanOrEqual(6)
    }
  })

  test('a long run forgives what was before it', () => {
    expect(strike(7, 300_000, defaultBackoff, 0 as Instant)).toEqual({ streak: 1, notBefore: 0 })
    expect(strike(7, 299_999, defaultBackoff, 0 as Instant).streak).toBe(8)
  })
})
