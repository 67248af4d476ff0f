import { serviceName } from '@boxcar/core/model/ids'
import * as keys from '@boxcar/store/keys'
import { seededChance } from '@boxcar/store/memory/seeded-chance'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { CampaignPause } from './campaign-pause.ts'
import { type CandidateChanges, hostWrites, service, type TestCandidate, TestCluster } from './testing.ts'

test('grows with each failure up to half a minute, and no two candidates keep step', () => {
  const pause = new CampaignPause(seededChance(1))
  const full = [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]
  for (const fullMs of full) {
    const ms = pause.afterFailure(10)
    expect(ms).toBeGreaterThanOrEqual(fullMs / 2)
    expect(ms).toBeLessThan(fullMs)
  }
  expect(new CampaignPause(seededChance(2)).afterFailure(10)).not.toBe(
    new CampaignPause(seededChance(3)).afterFailure(10),
  )
})

test('a term that went well for a minute forgives what was before it, however it ended', () => {
  const pause = new CampaignPause(seededChance(1))
  for (let i = 0; i < 5; i++) pause.afterFailure(10)
  expect(pause.afterFailure(60_000)).toBeLessThan(500)
  for (let i = 0; i < 5; i++) pause.afterFailure(10)
  pause.afterTerm(60_000)
  expect(pause.afterFailure(10)).toBeLessThan(500)
})

describe('a leader that fails as soon as it is elected', () => {
  let cluster: TestCluster
  let failed: TestCandidate
  beforeEach(() => {
    cluster = new TestCluster()
    failed = cluster.candidate(1, failing)
  })
  afterEach(() => cluster.stop())

  const failing: CandidateChanges = {
    mirror: mirror => {
      mirror.onChange = () => {
        throw new Error('nobody can follow this')
      }
    },
  }
  /** Elections from here on, as the store sees them. */
  function elections(): () => number {
    let count = 0
    cluster.etcd.observe(({ events }) => {
      for (const event of events)
        if (
          event.kind === 'put' &&
          event.entry.key === 'leader/self' &&
          event.entry.created === event.entry.modified
        )
          count++
    })
    return () => count
  }

  test('stands again after a pause that grows', async () => {
    const won = elections()
    await cluster.clock.advance(10_000)
    const first = won()
    expect(first).toBeGreaterThan(2)
    expect(first).toBeLessThan(9)
    await cluster.clock.advance(600_000)
    expect(won() - first).toBeGreaterThan(18)
    expect(won() - first).toBeLessThan(45)
  })

  test('tells why, once', async () => {
    await cluster.clock.advance(120_000)
    const { entries } = await cluster.people.list(keys.events)
    expect(entries.map(({ value }) => [value.kind, value.level, value.message])).toEqual([
      [
        'leader-failed',
        'error',
        'the leader at server-1 failed, and stands for election again later: nobody can follow this',
      ],
    ])
  })

  test('leaves the office to one that does not', async () => {
    await cluster.clock.advance(5000)
    const { scheduler } = cluster.candidate(2)
    await cluster.write(...hostWrites('h1', cluster.lease), ...service(serviceName('shop', 'web'), 2))
    await cluster.until(cluster.hasPlaced(2), 5000)
    const term = scheduler.term()?.id
    await cluster.clock.advance(120_000)
    expect(term).toBeDefined()
    expect(scheduler.term()?.id).toBe(term)
    expect(failed.scheduler.term()).toBeUndefined()
  })
})
