import fc from 'fast-check'
import { expect, test } from 'vitest'
import { bucketCount, type LaneShare, laneOf, planWord } from './buckets.ts'

const split = (...shares: number[]): LaneShare[] =>
  shares.map((share, at) => ({ lane: at, generation: at + 1, share }))

test.each([
  [split(1000), '0'],
  [split(0, 1000), '1'],
  [split(900, 100), '1:100:0:1000'],
  [split(1, 0, 999), '2:999:0:1000'],
  [split(0, 0), undefined],
  [[], undefined],
])('%j is said as %s', (shares, word) => expect(planWord(shares)).toBe(word))

const shares = fc.array(fc.integer({ min: 0, max: 1000 }), { minLength: 1, maxLength: 4 }).map(cuts => {
  const ends = [...cuts.toSorted((a, b) => a - b), 1000]
  return split(...ends.map((end, at) => end - (ends[at - 1] ?? 0)))
})

test('each lane answers exactly as many buckets as its share', () => {
  fc.assert(
    fc.property(shares, list => {
      const word = planWord(list) ?? ''
      const counts = new Map<number, number>()
      for (let bucket = 0; bucket < bucketCount; bucket++) {
        const lane = laneOf(word, bucket)
        counts.set(lane, (counts.get(lane) ?? 0) + 1)
      }
      for (const { lane, share } of list) expect(counts.get(lane) ?? 0).toBe(share)
    }),
  )
})

test('a share that rises takes no bucket from the newer generation', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 1000 }), fc.integer({ min: 0, max: 1000 }), (a, b) => {
      const [less, more] = a < b ? [a, b] : [b, a]
      const before = planWord(split(1000 - less, less)) ?? ''
      const later = planWord(split(1000 - more, more)) ?? ''
      for (let bucket = 0; bucket < bucketCount; bucket++) {
        if (laneOf(before, bucket) === 1) expect(laneOf(later, bucket)).toBe(1)
      }
    }),
  )
})
