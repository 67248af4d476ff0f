import { expect, test } from 'vitest'
import type { Evidence } from '../model/rollout.ts'
import { boundedEvidence } from './evidence.ts'

const huge = '\u0001'.repeat(100_000)
const one = (what: string): Evidence => ({ what, probe: huge, lastLog: Array(500).fill(huge) })

test('keeps the last lines of a few instances, each cut', () => {
  const kept = boundedEvidence(Array(20).fill(one(huge)))
  expect(kept.map(it => it.lastLog?.length)).toEqual([20, 20, 20, ...Array(5).fill(undefined)])
  // Three of these are kept, and a record must stay below 64 KiB.
  expect(new TextEncoder().encode(JSON.stringify(kept)).length).toBeLessThan(21 * 1024)
})

test('leaves what is within the bounds as it is', () => {
  const evidence: Evidence = { what: 'it exited', exitCode: 7, probe: '503', lastLog: ['a', 'b'] }
  expect(boundedEvidence([evidence])).toEqual([evidence])
})
