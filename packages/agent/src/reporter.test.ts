import type { ClusterName, HostId, InstanceId } from '@boxcar/core/model/ids'
import type { Report } from '@boxcar/core/model/report'
import { remove } from '@boxcar/store/collection'
import { EventWriter } from '@boxcar/store/events'
import { events, reports } from '@boxcar/store/keys'
import { silent } from '@boxcar/store/log'
import { MemoryEtcd } from '@boxcar/store/memory/memory-etcd'
import { seededChance } from '@boxcar/store/memory/seeded-chance'
import { VirtualClock } from '@boxcar/store/memory/virtual-clock'
import { afterEach, describe, expect, test } from 'vitest'
import type { Strikes } from './instance.ts'
import { InternalErrors } from './internal-errors.ts'
import { Reporter } from './reporter.ts'
import { memoryFolder } from './state/files.ts'
import { SavedState } from './state/saved-state.ts'

const host = 'h1' as HostId
const megabyte = 1024 * 1024

const report = (slot: number, more: Partial<Report> = {}): Report => ({
  instance: `shop/web/1/${slot}` as InstanceId,
  uid: 'u',
  state: 'backoff',
  attempt: 1,
  restarts: 0,
  since: 0,
  ...more,
})
const idOf = (slot: number) => ({ host, instance: report(slot).instance })

describe('a reporter', () => {
  const ends: (() => Promise<void>)[] = []
  afterEach(async () => {
    for (const end of ends.splice(0)) await end()
  })

  function begin() {
    const clock = new VirtualClock()
    const store = new MemoryEtcd(clock).connect({ cluster: 'test' as ClusterName })
    const files = memoryFolder()
    const stop = new AbortController()
    const { signal } = stop
    const options = {
      store,
      clock,
      log: silent,
      errors: new InternalErrors({ log: silent, tell: event => reporter.tell(event) }),
      host,
      state: new SavedState({ files, clock, log: silent }),
      events: new EventWriter({ store, clock, chance: seededChance(1), writer: 'agent/h1', signal }),
      mayWrite: () => true,
      onFound: () => {},
      onRead: () => {},
    }
    const reporter: Reporter = new Reporter(options)
    const running = reporter.run(signal)
    const end = async () => {
      stop.abort()
      await clock.advance(1000)
      await running
    }
    ends.push(end)
    const want = (wanted: Report, strikes: Strikes = { streak: 0 }) => reporter.want(wanted, strikes)
    const stateOf = async (slot: number) => (await store.get(reports, idOf(slot)))?.value.state
    return { clock, store, reporter, want, stateOf, end, again: () => new Reporter(options) }
  }

  test('what does not fit one transaction comes in several, and one that never fits comes without its log', async () => {
    const { clock, store, want } = begin()
    const ofBytes = (bytes: number) => ({ lastLog: ['x'.repeat(bytes)] })
    for (let slot = 0; slot < 20; slot++) want(report(slot, ofBytes(megabyte / 10)))
    want(report(99, ofBytes(2 * megabyte)))
    await clock.advance(10_000)
    const { entries } = await store.list(reports, host)
    expect(entries).toHaveLength(21)
    const logged = entries.filter(({ value }) => value.lastLog !== undefined)
    expect(logged.map(({ value }) => value.instance)).not.toContain('shop/web/1/99')
    expect(logged).toHaveLength(20)
  })

  test('many small ones fit too', async () => {
    const { clock, store, want } = begin()
    for (let slot = 0; slot < 200; slot++) want(report(slot))
    await clock.advance(1000)
    for (let slot = 0; slot < 200; slot++) want(report(slot, { state: 'ready' }))
    await clock.advance(1000)
    const { entries } = await store.list(reports, host)
    expect(entries.filter(({ value }) => value.state === 'ready')).toHaveLength(200)
  })

  test.each([
    ['another one that was written since', 'unready'],
    ['the same as was stored before it', 'ready'],
  ] as const)('a write whose answer was lost, landing late, does not undo %s', async (_, last) => {
    const { clock, store, want, stateOf } = begin()
    want(report(0, { state: 'ready' }))
    await clock.advance(1000)
    store.faults.delayRequests(1)
    want(report(0, { state: 'starting' }))
    await clock.advance(100)
    want(report(0, { state: last }))
    await clock.advance(5000)
    expect(await stateOf(0)).toBe(last)
    store.faults.deliverRequests()
    await clock.advance(5000)
    expect(await stateOf(0)).toBe(last)
  })

  test('one that lands before the newer one is replaced by it', async () => {
    const { clock, store, want, stateOf } = begin()
    store.faults.delayRequests(1)
    want(report(0, { state: 'starting' }))
    await clock.advance(100)
    want(report(0, { state: 'ready' }))
    store.faults.deliverRequests()
    await clock.advance(5000)
    expect(await stateOf(0)).toBe('ready')
  })

  test('what the leader took away is written anew where it is wanted, at once', async () => {
    const { clock, store, want, reporter, stateOf } = begin()
    for (const slot of [0, 1, 2]) want(report(slot))
    await clock.advance(1000)
    await store.commit({ guards: [], writes: [remove(reports, idOf(0)), remove(reports, idOf(1))] })
    want(report(0, { state: 'ready' }))
    reporter.forget(report(1).instance)
    reporter.forget(report(2).instance)
    await clock.advance(200)
    expect([await stateOf(0), await stateOf(1), await stateOf(2)]).toEqual(['ready', undefined, undefined])
  })

  test('an event says when it happened, and comes once though the answer to its write was lost', async () => {
    const { clock, store, reporter } = begin()
    await clock.advance(1000)
    store.faults.goAway()
    const at = clock.wall()
    reporter.tell({ kind: 'one', message: 'it happened' })
    await clock.advance(60_000)
    store.faults.comeBack()
    store.faults.loseAnswers(1)
    await clock.advance(10_000)
    const { entries } = await store.list(events)
    expect(entries.map(({ value }) => ({ kind: value.kind, at: value.at }))).toEqual([{ kind: 'one', at }])
    expect(entries[0]?.modified).toBe(entries[0]?.created)
  })

  test('what is known when it ends is known to the next run', async () => {
    const { clock, want, end, again } = begin()
    want(report(0))
    await clock.advance(1000)
    want(report(0, { attempt: 2 }), { streak: 2, examined: 'c1' })
    await end()
    expect(await again().load()).toEqual([{ report: report(0, { attempt: 2 }), streak: 2, examined: 'c1' }])
  })
})
