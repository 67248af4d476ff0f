import type { ClusterName, HostId, InstanceId } from '@boxcar/core/model/ids'
import type { Report } from '@boxcar/core/model/report'
import { EventWriter } from '@boxcar/store/events'
import { reports } from '@boxcar/store/keys'
import { silent } from '@boxcar/store/log'
import { MemoryEtcd } from '@boxcar/store/memory/memory-etcd'
import { seededChance } from '@boxcar/store/memory/seeded-chance'
import { VirtualClock } from '@boxcar/store/memory/virtual-clock'
import { afterEach, describe, expect, test } from 'vitest'
import { Reporter } from './reporter.ts'
import { memoryFolder } from './state/files.ts'

const host = 'h1' as HostId
const megabyte = 1024 * 1024

describe('a reporter', () => {
  const stop = new AbortController()
  afterEach(() => stop.abort())

  test('what does not fit one transaction comes in several, and one that never fits comes without its log', async () => {
    const clock = new VirtualClock()
    const store = new MemoryEtcd(clock).connect({ cluster: 'test' as ClusterName })
    const chance = seededChance(1)
    const { signal } = stop
    const reporter = new Reporter({
      store,
      clock,
      log: silent,
      host,
      files: memoryFolder(),
      events: new EventWriter({ store, clock, chance, writer: 'agent/h1', signal }),
      mayWrite: () => true,
      onFound: () => {},
      onRead: () => {},
    })
    const report = (slot: number, bytes: number): Report => ({
      instance: `shop/web/1/${slot}` as InstanceId,
      uid: 'u',
      state: 'backoff',
      attempt: 1,
      restarts: 0,
      lastLog: ['x'.repeat(bytes)],
      since: 0,
    })
    for (let slot = 0; slot < 60; slot++) reporter.want(report(slot, megabyte / 10))
    reporter.want(report(99, 4 * megabyte))
    const running = reporter.run(signal)
    await clock.advance(10_000)
    const { entries } = await store.list(reports, host)
    expect(entries).toHaveLength(61)
    const logged = entries.filter(({ value }) => value.lastLog !== undefined)
    expect(logged.map(({ value }) => value.instance)).not.toContain('shop/web/1/99')
    expect(logged).toHaveLength(60)
    stop.abort()
    await clock.advance(1000)
    await running
  })
})
