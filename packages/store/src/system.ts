/** The real clock and real chance; the only place that our own code takes them from. */
import { randomBytes } from 'node:crypto'
import type { Chance, Clock, Instant, WallTime } from '@boxcar/core/model/clock'

export const systemClock: Clock = {
  now: () => performance.now() as Instant,
  wall: () => Date.now() as WallTime,
  sleep: (ms, signal) =>
    new Promise(resolve => {
      if (signal?.aborted === true) return resolve()
      const timer = setTimeout(done, ms)
      function done(): void {
        clearTimeout(timer)
        signal?.removeEventListener('abort', done)
        resolve()
      }
      signal?.addEventListener('abort', done, { once: true })
    }),
}

export const systemChance: Chance = {
  next: () => randomBytes(4).readUInt32BE() / 2 ** 32,
  id: () => {
    const digits = '0123456789abcdefghijklmnopqrstuvwxyz'
    return Array.from(randomBytes(20), byte => digits[byte % 36]).join('')
  },
}
