import type { Chance } from '@boxcar/core/model/clock'

const digits = '0123456789abcdefghijklmnopqrstuvwxyz'

/** Chance that is the same for the same seed (mulberry32); one stream per purpose. */
export function seededChance(seed: number): Chance {
  let state = seed >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  return { next, id: () => Array.from({ length: 20 }, () => digits[Math.floor(next() * 36)]).join('') }
}
