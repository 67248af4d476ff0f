import { expect, test } from 'vitest'
import type { Evidence } from '../model/rollout.ts'
import { boundedEvidence } from './evidence.ts'

const huge = '\u0001'.repeat(100_000)
const one = (what: string): Evidence => ({ what, probe: huge, lastLog: Array(500).fill(huge) })

test('keeps the last lines of a few instances, each cut', () => {
  const kept = boundedEvidence([one(huge), one(huge), one(huge), one('left out')])
  expect(kept).toHaveLength(3)
  expect(kept[0]?.lastLog).toHaveLength(20)
  expect(new TextEncoder().encode(JSON.stringify(kept)).length).toBeLessThan(20 * 1024)
})

test('leaves what is within the bounds as it is', () => {
  const evidence: Evidence = { what: 'it exited', exitCode: 7, probe: '503', lastLog: ['a', 'b'] }
  expect(boundedEvidence([evidence])).toEqual([evidence])
})
