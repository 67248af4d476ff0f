/** What every store promises, asked of the one in memory and of a real etcd alike. */
import type { HostId } from '@boxcar/core/model/ids'
import { openCluster } from '@boxcar/store/cluster'
import { absent, created, keyOf, put, remove, unchanged, unleased } from '@boxcar/store/collection'
import { commitAll } from '@boxcar/store/commit'
import { campaign, type Term } from '@boxcar/store/election'
import { EventWriter } from '@boxcar/store/events'
import { events, hostSettingsOf, hosts, leaders, pendings, presences, routeAcks } from '@boxcar/store/keys'
import { keepLease } from '@boxcar/store/lease'
import { Mirror } from '@boxcar/store/mirror'
import { storeProblems } from '@boxcar/store/problems'
import {
  compareRevisions,
  type FollowStep,
  type Guard,
  type Key,
  noRevision,
  type Revision,
  type Store,
  StoreFull,
  type Write,
} from '@boxcar/store/store'
import { systemChance, systemClock } from '@boxcar/store/system'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { etcdBench, type Line, memoryBench, type StoreBench } from './store-benches.ts'

const host = (n: number | string): HostId => `h${n}` as HostId
const putHost = (n: number | string, since = 1): Write => put(presences, host(n), { since })

describe.each([
  ['memory', memoryBench],
  ['etcd', etcdBench],
])('the store: %s', (kind, open) => {
  let bench: StoreBench
  let clusters = 0
  /** Aborted after each test, so that nothing outlives it. */
  let stop = new AbortController()

  beforeAll(async () => {
    bench = await open()
  })
  afterAll(async () => {
    await bench?.stop()
  })
  afterEach(() => {
    stop.abort()
    stop = new AbortController()
  })

  /** A line to a cluster of its own, so that tests do not meet. */
  const fresh = async (): Promise<Line & { readonly cluster: string }> => {
    clusters += 1
    const cluster = `c${clusters}`
    return { ...(await bench.connect(cluster)), cluster }
  }
  const write = async (store: Store, writes: readonly Write[], guards: readonly Guard[] = []) => {
    const outcome = await store.commit({ guards, writes })
    if (outcome.kind !== 'committed') throw new Error(`not committed: ${JSON.stringify(outcome)}`)
    return outcome.revision
  }

  describe('transactions', () => {
    test('what was written is read, with its revisions', async () => {
      const { store } = await fresh()
      expect(await store.get(presences, host(1))).toBeUndefined()
      const first = await write(store, [putHost(1, 5)])
      const second = await write(store, [putHost(1, 6)])
      expect(await store.get(presences, host(1))).toEqual({
        id: 'h1',
        value: { since: 6 },
        created: first,
        modified: second,
        lease: undefined,
      })
      const third = await write(store, [remove(presences, host(1))])
      expect(compareRevisions(third, second)).toBeGreaterThan(0)
      expect(await store.get(presences, host(1))).toBeUndefined()
    })

    test('each guard holds where it should, and refuses where it should', async () => {
      const { store } = await fresh()
      const before = await write(store, [putHost('x')])
      const made = await write(store, [putHost(1)])
      const changed = await write(store, [putHost(1, 2)])
      const gone = await write(store, [putHost('gone')])
      await write(store, [remove(presences, host('gone'))])
      const lease = await store.grant(60_000)
      const odd = { kind: 'put', key: keyOf(presences, host('odd')), json: '{"si', lease: undefined } as const
      const quietFrom = await write(store, [odd, put(presences, host('there'), { since: 1 }, lease.id)])
      const quiet: Guard = { kind: 'collection-unchanged', collection: presences, since: made }
      const table: readonly (readonly [string, Guard, boolean])[] = [
        ['absent, and it is', absent(presences, host('none')), true],
        ['absent, and it stands', absent(presences, host(1)), false],
        ['absent, and it was removed', absent(presences, host('gone')), true],
        ['unleased, and nothing stands', unleased(presences, host('none')), true],
        ['unleased, and it was removed', unleased(presences, host('gone')), true],
        ['unleased, and it stands without a lease', unleased(presences, host(1)), true],
        ['unleased, and it cannot be read', unleased(presences, host('odd')), true],
        ['unleased, and it lives by a lease', unleased(presences, host('there')), false],
        ['created then', created(presences, host(1), made), true],
        ['created at another time', created(presences, host(1), changed), false],
        ['created, and removed since', created(presences, host('gone'), gone), false],
        ['unchanged since its change', unchanged(presences, host(1), changed), true],
        ['unchanged since a later moment', unchanged(presences, host(1), gone), true],
        ['unchanged since before its change', unchanged(presences, host(1), made), false],
        ['unchanged, but removed', unchanged(presences, host('gone'), gone), false],
        ['unchanged, and never there', unchanged(presences, host('none'), gone), false],
        ['collection written since', quiet, false],
        ['collection not written since', { ...quiet, since: quietFrom }, true],
        ['collection of none', { ...quiet, collection: hosts, since: before }, true],
        ['a neighbour of the collection counts not', { ...quiet, collection: pendings, since: before }, true],
      ]
      for (const [name, guard, holds] of table) {
        const outcome = await store.commit({ guards: [guard], writes: [put(routeAcks, host(1), ack('1'))] })
        expect([name, outcome.kind]).toEqual([name, holds ? 'committed' : 'stale'])
      }
    })

    test('a refused transaction writes nothing at all', async () => {
      const { store } = await fresh()
      const outcome = await store.commit({
        guards: [absent(presences, host(1)), created(presences, host(2), '1' as Revision)],
        writes: [putHost(1), putHost(2)],
      })
      expect(outcome.kind).toBe('stale')
      expect((await store.list(presences)).entries).toEqual([])
    })

    test('128 writes and as many compares are one transaction; one more of either is too large', async () => {
      const { store } = await fresh()
      const numbers = Array.from({ length: 129 }, (_, i) => i)
      const puts = numbers.map(i => putHost(i))
      const guards = numbers.map(i => absent(presences, host(i)))
      expect(await store.commit({ guards, writes: puts.slice(1) })).toEqual({ kind: 'too-large' })
      expect(await store.commit({ guards: guards.slice(1), writes: puts })).toEqual({ kind: 'too-large' })
      await write(store, puts.slice(1), guards.slice(1))
    })

    test('more bytes than a transaction may have are too large, and the store goes on', async () => {
      const { store } = await fresh()
      const json = JSON.stringify({ since: 1, padding: 'x'.repeat(1_600_000) })
      const large: Write = { kind: 'put', key: 'presence/h1' as Key, json, lease: undefined }
      expect(await store.commit({ guards: [], writes: [large] })).toEqual({ kind: 'too-large' })
      await write(store, [putHost(1)])
    })

    test('writing a key twice in one transaction is a mistake of the caller', async () => {
      const { store } = await fresh()
      await expect(store.commit({ guards: [], writes: [putHost(1), putHost(1)] })).rejects.toThrow('once')
    })

    test('an answer that is lost is reported as unknown, and reading tells', async () => {
      const { store, loseAnswerOf } = await fresh()
      await write(store, [putHost(0)])
      const outcome = await loseAnswerOf(() =>
        store.commit({ guards: [absent(presences, host(1))], writes: [putHost(1)] }),
      )
      expect(outcome.kind).toBe('unknown')
      expect(await store.get(presences, host(1))).toMatchObject({ value: { since: 1 } })
    })

    test('while nothing goes through, commits are unknown and reads throw in time', async () => {
      const { store, part, heal } = await fresh()
      await write(store, [putHost(1)])
      part()
      const began = performance.now()
      const [commit, read, list, grant] = await Promise.allSettled([
        store.commit({ guards: [], writes: [putHost(2)] }),
        store.get(presences, host(1)),
        Promise.resolve(),
        store.grant(2000),
      ])
      expect(performance.now() - began).toBeLessThan(4500)
      expect(commit).toMatchObject({ value: { kind: 'unknown' } })
      expect(read).toMatchObject({ reason: { name: 'StoreUnavailable' } })
      expect(grant).toMatchObject({ reason: { name: 'StoreUnavailable' } })
      expect(list.status).toBe('fulfilled')
      heal()
      await expect.poll(() => store.get(presences, host(1)), { timeout: 5000 }).toBeDefined()
    })
  })

  describe('listings', () => {
    test('a collection of many pages is read whole, at one revision, in order', async () => {
      const { store } = await fresh()
      const groups = Array.from({ length: 12_000 }, (_, i) => ({
        guards: [],
        writes: [putHost(String(i).padStart(5, '0'))],
        tag: i,
      }))
      const outcomes = await commitAll(store, groups)
      expect(outcomes.every(({ outcome }) => outcome.kind === 'committed')).toBe(true)
      const { entries, revision } = await store.list(presences)
      expect(entries).toHaveLength(12_000)
      expect(entries.every(({ modified }) => compareRevisions(modified, revision) <= 0)).toBe(true)
      expect(entries[7000]?.id).toBe('h07000')
    })

    test('within names whole parts of an id', async () => {
      const { store } = await fresh()
      const event = (writer: string) =>
        put(events, { writer, id: '1' }, { at: 1, kind: 'k', message: 'm', level: 'info', writer })
      await write(store, [event('agent/h1'), event('agent/h10'), event('api')])
      const { entries } = await store.list(events, 'agent/h1')
      expect(entries.map(({ id }) => id)).toEqual([{ writer: 'agent/h1', id: '1' }])
    })

    test('what does not parse is told apart and treated as absent', async () => {
      const { store } = await fresh()
      await write(store, [
        putHost(1),
        { kind: 'put', key: 'presence/h2' as Key, json: '{"since":"soon"}', lease: undefined },
        { kind: 'put', key: 'presence/h3' as Key, json: 'no json', lease: undefined },
        { kind: 'put', key: 'presence/NOT AN ID' as Key, json: '{"since":1}', lease: undefined },
      ])
      const { entries, unreadable } = await store.list(presences)
      expect(entries.map(({ id }) => id)).toEqual(['h1'])
      expect(unreadable.map(({ key }) => key).sort()).toEqual([
        'presence/NOT AN ID',
        'presence/h2',
        'presence/h3',
      ])
      expect(await store.get(presences, host(2))).toBeUndefined()
    })

    test('two clusters in one store do not see each other', async () => {
      const [a, b] = [await fresh(), await fresh()]
      await write(a.store, [putHost(1)])
      expect((await b.store.list(presences)).entries).toEqual([])
      expect(await b.store.commit({ guards: [absent(presences, host(1))], writes: [] })).toMatchObject({
        kind: 'committed',
      })
      const [one, other] = [
        await openCluster(a.store, systemChance),
        await openCluster(b.store, systemChance),
      ]
      expect(one.uid).not.toBe(other.uid)
      expect(one.secret).toHaveLength(40)
      expect(await openCluster(a.store, systemChance)).toEqual(one)
    })
  })

  describe('leases', () => {
    test('keys go with their lease, no sooner than its time', async () => {
      const { store } = await fresh()
      const sent = performance.now()
      const lease = await store.grant(2000)
      expect(lease.ttlMs).toBe(2000)
      await write(store, [put(presences, host(1), { since: 1 }, lease.id)])
      expect(await store.get(presences, host(1))).toMatchObject({ lease: lease.id })
      await expect.poll(() => store.get(presences, host(1)), { timeout: 6000, interval: 20 }).toBeUndefined()
      expect(performance.now() - sent).toBeGreaterThan(2000)
      expect(await lease.renew(500)).toBe('gone')
    })

    test('renewing keeps it, revoking ends it at once', async () => {
      const { store } = await fresh()
      const lease = await store.grant(2000)
      await write(store, [put(presences, host(1), { since: 1 }, lease.id)])
      for (let i = 0; i < 8; i += 1) {
        await systemClock.sleep(400)
        expect(await lease.renew(500)).toBe('renewed')
      }
      expect(await store.get(presences, host(1))).toBeDefined()
      await lease.revoke()
      expect(await store.get(presences, host(1))).toBeUndefined()
      expect(await lease.renew(500)).toBe('gone')
    })

    test('a put under a lease that is gone is stale, and nothing is written', async () => {
      const { store } = await fresh()
      const lease = await store.grant(2000)
      await lease.revoke()
      const outcome = await store.commit({
        guards: [],
        writes: [put(presences, host(1), { since: 1 }, lease.id), putHost(2)],
      })
      expect(outcome.kind).toBe('stale')
      expect((await store.list(presences)).entries).toEqual([])
    })

    test('a renewal without an answer throws within its time', async () => {
      const { store, part, heal } = await fresh()
      const lease = await store.grant(10_000)
      part()
      const began = performance.now()
      await expect(lease.renew(500)).rejects.toMatchObject({ name: 'StoreUnavailable' })
      expect(performance.now() - began).toBeLessThan(1000)
      heal()
      await expect.poll(() => lease.renew(500).catch(() => 'unknown'), { timeout: 5000 }).toBe('renewed')
    })

    test('a kept lease that the store takes away stands again within a second, with its keys', async () => {
      const { store } = await fresh()
      const lost: string[] = []
      const kept = keepLease({
        store,
        clock: systemClock,
        ttlMs: 4000,
        signal: stop.signal,
        onGranted: async lease => {
          const outcome = await store.commit({
            guards: [],
            writes: [put(presences, host(1), { since: 1 }, lease)],
          })
          if (outcome.kind !== 'committed') throw new Error(outcome.kind)
        },
        onLost: reason => lost.push(reason),
      })
      await expect.poll(() => store.get(presences, host(1)), { timeout: 3000 }).toBeDefined()
      const before = kept.id()
      await bench.revokeAllLeases()
      const gone = performance.now()
      await expect
        .poll(async () => (await store.get(presences, host(1)))?.lease ?? before, {
          timeout: 3000,
          interval: 20,
        })
        .not.toBe(before)
      expect(performance.now() - gone).toBeLessThan(1100)
      expect(lost).toHaveLength(1)
      expect(kept.isGood()).toBe(true)
      stop.abort()
      await kept.ended
    })
  })

  describe('following', () => {
    test('first everything, then each change; removals and lease ends too', async () => {
      const { store } = await fresh()
      await write(store, [putHost(1), putHost(2)])
      const steps = collect(store, [{ collection: presences }])
      await steps.until(s => s.length === 1)
      const lease = await store.grant(2000)
      await write(store, [put(presences, host(3), { since: 3 }, lease.id)])
      const together = await write(store, [putHost(1, 9), remove(presences, host(2))])
      await lease.revoke()
      await steps.until(s => s.flatMap(changesOf).length >= 6)
      expect(steps.all[0]).toMatchObject({
        kind: 'snapshot',
        entries: [{ entry: { id: 'h1' } }, { entry: { id: 'h2' } }],
      })
      expect(steps.all.slice(1).flatMap(changesOf).map(brief)).toEqual([
        'put h3',
        'put h1',
        'removed h2',
        'removed h3',
      ])
      const withIt = steps.all.slice(1).find(step => changesOf(step).some(c => revisionOf(c) === together))
      expect(withIt && changesOf(withIt).filter(c => revisionOf(c) === together)).toHaveLength(2)
    })

    test('a quiet store says so, with the revision it stands at', async () => {
      const { store } = await fresh()
      const steps = collect(store, [{ collection: presences }])
      await steps.until(s => s.length === 1)
      // Not followed, but every revision is reached.
      const elsewhere = await write(store, [put(routeAcks, host(1), ack('1'))])
      await steps.until(s =>
        s.some(step => step.kind === 'quiet' && compareRevisions(step.revision, elsewhere) >= 0),
      )
    })

    test('several scopes come in one order, whole revisions together', async () => {
      const { store } = await fresh()
      const scopes = [
        { collection: presences },
        { collection: hostSettingsOf, within: 'h1' },
        { collection: routeAcks },
      ]
      const steps = collect(store, scopes)
      await steps.until(s => s.length === 1)
      const revisions: Revision[] = []
      for (let i = 0; i < 200; i += 1)
        revisions.push(
          await write(
            store,
            i % 3 === 0
              ? [putHost(i), put(routeAcks, host(i), ack('1'))]
              : i % 3 === 1
                ? [putHost(i)]
                : [put(routeAcks, host(i), ack('2'))],
          ),
        )
      await steps.until(s => s.flatMap(changesOf).length >= 267)
      const seen = steps.all.flatMap(changesOf).map(revisionOf)
      expect(seen).toEqual([...seen].sort(compareRevisions))
      expect([...new Set(seen)]).toEqual(revisions)
      // Each step holds its revisions whole: none of its changes is above it, and none of the next step's is not.
      let before = noRevision as Revision
      for (const step of steps.all.slice(1)) {
        if (step.kind === 'compacted') throw new Error('nothing was compacted')
        for (const change of changesOf(step)) {
          expect(compareRevisions(revisionOf(change), before)).toBeGreaterThan(0)
          expect(compareRevisions(revisionOf(change), step.revision)).toBeLessThanOrEqual(0)
        }
        before = step.revision
      }
    })

    test('twenty thousand events arrive complete and in order under cuts', async () => {
      const { store, cluster, cut } = await fresh()
      const writer = (await bench.connect(cluster)).store
      const seen = new Map<string, number>()
      let last = noRevision as Revision
      let disorder = 0
      const mirror = new Mirror({
        store,
        clock: systemClock,
        scopes: [{ collection: presences }],
        signal: stop.signal,
      })
      mirror.onChange((changes, revision) => {
        for (const change of changes) {
          if (compareRevisions(revisionOf(change), last) < 0) disorder += 1
          last = revisionOf(change)
          if (change.kind === 'put') seen.set(brief(change), (seen.get(brief(change)) ?? 0) + 1)
        }
        if (compareRevisions(last, revision) > 0) disorder += 1
      })
      await mirror.untilCaughtUp()
      const cutting = new AbortController()
      const cuts = (async () => {
        while (!cutting.signal.aborted) {
          await systemClock.sleep(120, cutting.signal)
          cut()
        }
      })()
      const groups = Array.from({ length: 20_000 }, (_, i) => ({ guards: [], writes: [putHost(i)], tag: i }))
      let newest = noRevision as Revision
      for (let i = 0; i < groups.length; i += 500) {
        const outcomes = await commitAll(writer, groups.slice(i, i + 500))
        for (const { outcome } of outcomes)
          if (outcome.kind === 'committed' && compareRevisions(outcome.revision, newest) > 0)
            newest = outcome.revision
      }
      await systemClock.sleep(300)
      cutting.abort()
      await cuts
      expect(await mirror.reached(newest, AbortSignal.timeout(10_000))).toBe(true)
      expect(seen.size).toBe(20_000)
      expect([...seen.values()].every(times => times === 1)).toBe(true)
      expect(disorder).toBe(0)
    })

    test('a compaction while disconnected: a mirror learns what vanished', async () => {
      const { store, cluster, part, heal } = await fresh()
      const writer = (await bench.connect(cluster)).store
      await write(writer, [putHost(1), putHost(2), putHost(3)])
      const mirror = new Mirror({
        store,
        clock: systemClock,
        scopes: [{ collection: presences }],
        signal: stop.signal,
      })
      await mirror.untilCaughtUp()
      const heard: string[] = []
      mirror.onChange(changes => heard.push(...changes.map(brief)))
      part()
      await write(writer, [remove(presences, host(2)), putHost(3, 7)])
      const newest = await write(writer, [putHost(4)])
      await expect.poll(() => mirror.trouble(), { timeout: 10_000 }).toBeDefined()
      await bench.compact()
      heal()
      expect(await mirror.reached(newest, AbortSignal.timeout(10_000))).toBe(true)
      expect(heard).toEqual(['removed h2', 'put h3', 'put h4'])
      expect([...mirror.of(presences).keys()].sort()).toEqual(['h1', 'h3', 'h4'])
      expect(mirror.trouble()).toBeUndefined()
    })

    test('since a revision there is no snapshot; since a compacted one it ends and says so', async () => {
      const { store } = await fresh()
      const first = await write(store, [putHost(1)])
      await write(store, [putHost(2)])
      const later = collect(store, [{ collection: presences }], first)
      await later.until(s => s.flatMap(changesOf).length === 1)
      expect(later.all.flatMap(changesOf).map(brief)).toEqual(['put h2'])
      const two = collect(store, [{ collection: presences }, { collection: routeAcks }], first)
      await two.until(s => s.flatMap(changesOf).length === 1)
      await write(store, [putHost(3)])
      await write(store, [putHost(4)])
      await bench.compact()
      const [lost, lostTwo] = [
        collect(store, [{ collection: presences }], first),
        collect(store, [{ collection: presences }, { collection: routeAcks }], first),
      ]
      await lost.ended
      await lostTwo.ended
      expect(lost.all.map(step => step.kind)).toEqual(['compacted'])
      expect(lostTwo.all.map(step => step.kind)).toEqual(['compacted'])
    })

    test('a restart of the store costs time, not changes', async () => {
      const { store } = await fresh()
      await write(store, [putHost(1)])
      const mirror = new Mirror({
        store,
        clock: systemClock,
        scopes: [{ collection: presences }],
        signal: stop.signal,
      })
      await mirror.untilCaughtUp()
      let snapshots = 0
      mirror.onChange(changes => {
        if (changes.some(change => brief(change) === 'put h1')) snapshots += 1
      })
      await bench.restart()
      await expect
        .poll(() => store.commit({ guards: [], writes: [putHost(2)] }).then(o => o.kind), { timeout: 10_000 })
        .toBe('committed')
      await expect.poll(() => [...mirror.of(presences).keys()], { timeout: 10_000 }).toEqual(['h1', 'h2'])
      expect(snapshots).toBe(0)
    })

    test('a value that turns unreadable is gone for those who follow', async () => {
      const { store } = await fresh()
      await write(store, [putHost(1)])
      const mirror = new Mirror({
        store,
        clock: systemClock,
        scopes: [{ collection: presences }],
        signal: stop.signal,
      })
      await mirror.untilCaughtUp()
      const bad = await write(store, [
        { kind: 'put', key: 'presence/h1' as Key, json: '{}', lease: undefined },
      ])
      await mirror.reached(bad)
      expect(mirror.of(presences).size).toBe(0)
      expect([...mirror.unreadable.keys()]).toEqual(['presence/h1'])
      await mirror.reached(await write(store, [putHost(1, 3)]))
      expect(mirror.get(presences, host(1))?.value).toEqual({ since: 3 })
      expect(mirror.unreadable.size).toBe(0)
    })

    test('ends when told to, also while the store is away', async () => {
      const { store, part } = await fresh()
      const steps = collect(store, [{ collection: presences }])
      await steps.until(s => s.length === 1)
      part()
      await systemClock.sleep(100)
      stop.abort()
      await steps.ended
    })
  })

  describe('events', () => {
    test('are written with the change, sort by time and live by a lease', async () => {
      const { store } = await fresh()
      const writer = new EventWriter({
        store,
        clock: systemClock,
        chance: systemChance,
        writer: 'api',
        signal: stop.signal,
      })
      await writer.ready()
      await write(store, [putHost(1), writer.write({ kind: 'first', message: 'one' })])
      await write(store, [
        writer.write({ kind: 'second', message: 'two' }),
        writer.write({ kind: 'third', message: 'three' }),
      ])
      const { entries } = await store.list(events, 'api')
      expect(entries.map(({ value }) => value.kind)).toEqual(['first', 'second', 'third'])
      expect(entries.every(({ lease }) => lease !== undefined)).toBe(true)
    })
  })

  describe('the election', () => {
    test('one at a time; the next one follows a resignation at once', async () => {
      const { store } = await fresh()
      const a = candidate(store, 'a')
      await expect.poll(() => a.holds(), { timeout: 5000, interval: 5 }).toBe(true)
      const b = candidate(store, 'b')
      await systemClock.sleep(300)
      expect(b.holds()).toBe(false)
      const began = performance.now()
      a.stop()
      await expect.poll(() => b.holds(), { timeout: 5000, interval: 2 }).toBe(true)
      expect(performance.now() - began).toBeLessThan(500)
      expect(compareRevisions(b.terms[0]?.id ?? noRevision, a.terms[0]?.id ?? noRevision)).toBeGreaterThan(0)
      expect(await store.commit({ guards: [a.terms[0]?.guard as Guard], writes: [] })).toMatchObject({
        kind: 'stale',
      })
      expect(await store.commit({ guards: [b.terms[0]?.guard as Guard], writes: [] })).toMatchObject({
        kind: 'committed',
      })
    })

    test('a leader cut off stops by its own clock before the next one begins, and goes on where nobody came', async () => {
      const first = await fresh()
      const second = await bench.connect(first.cluster)
      const a = candidate(first.store, 'a', 2000)
      await expect.poll(() => a.holds(), { timeout: 5000, interval: 5 }).toBe(true)
      const b = candidate(second.store, 'b', 2000)
      const watch = overlaps([a, b])
      // As if it were killed: nothing more is heard of it.
      first.part()
      const began = performance.now()
      await expect.poll(() => b.holds(), { timeout: 8000, interval: 5 }).toBe(true)
      expect(performance.now() - began).toBeLessThan(4500)
      expect(a.holds()).toBe(false)
      first.heal()
      await expect.poll(() => a.terms[0]?.signal.aborted, { timeout: 8000 }).toBe(true)
      expect(watch()).toBe(0)
    })

    test('no two believe at once through rounds of cuts, silences and lost answers', async () => {
      const cluster = (await fresh()).cluster
      const lines = [await bench.connect(cluster), await bench.connect(cluster), await bench.connect(cluster)]
      const candidates = lines.map((line, i) => candidate(line.store, `s${i}`, 2000))
      const watch = overlaps(candidates)
      let random = 7
      const draw = (n: number): number => {
        random = (random * 48_271) % 2_147_483_647
        return random % n
      }
      for (let round = 0; round < 6; round += 1) {
        const leading = candidates.findIndex(c => c.holds())
        const line = lines[leading >= 0 && draw(3) > 0 ? leading : draw(lines.length)]
        if (draw(2) === 0) line?.cut()
        else {
          line?.part()
          await systemClock.sleep([300, 1200, 2600][draw(3)] ?? 300)
          line?.heal()
        }
        await systemClock.sleep(draw(400))
      }
      await expect.poll(() => candidates.some(c => c.holds()), { timeout: 8000 }).toBe(true)
      expect(watch()).toBe(0)
      expect((await lines[0]?.store.list(leaders))?.entries).toHaveLength(1)
    })

    test('a candidate whose creation was answered by nobody finds that it leads', async () => {
      const { store, loseAnswerOf } = await fresh()
      await store.get(leaders, 'self')
      const lossy: Store = {
        get: (c, id) => store.get(c, id),
        list: (c, within) => store.list(c, within),
        follow: (s, o) => store.follow(s, o),
        grant: ttl => store.grant(ttl),
        status: () => store.status(),
        close: () => store.close(),
        commit: transaction => {
          const call = () => store.commit(transaction)
          return transaction.guards[0]?.kind === 'absent' ? loseAnswerOf(call) : call()
        },
      }
      const a = candidate(lossy, 'a', 4000)
      await expect.poll(() => a.holds(), { timeout: 6000 }).toBe(true)
      expect((await store.get(leaders, 'self'))?.created).toBe(a.terms[0]?.id)
      expect(a.terms).toHaveLength(1)
    })

    test('a fence shuts out what was sent before it, and the term goes on', async () => {
      const { store } = await fresh()
      const a = candidate(store, 'a')
      await expect.poll(() => a.holds(), { timeout: 5000, interval: 5 }).toBe(true)
      const [term] = a.terms
      if (term === undefined) throw new Error('it leads')
      const before = { guards: [term.guard], writes: [putHost(1)] }
      const fenced = await term.fence()
      expect((await store.commit(before)).kind).toBe('stale')
      expect((await store.commit({ ...before, guards: [term.guard] })).kind).toBe('committed')
      expect(await store.get(leaders, 'self')).toMatchObject({ created: term.id, modified: fenced })
      expect(a.holds()).toBe(true)
      // It goes with the lease, as the key did before.
      await bench.revokeAllLeases()
      await expect.poll(() => a.terms.length, { timeout: 5000 }).toBe(2)
      expect(await term.fence()).toBeUndefined()
    })

    test('a record without a lease, as a copy by key and value leaves it, keeps nobody from leading', async () => {
      const { store } = await fresh()
      const copied = put(leaders, 'self', { address: 'http://old:7070', token: 'old' })
      const stood = await write(store, [copied])
      const candidates = [candidate(store, 'a'), candidate(store, 'b'), candidate(store, 'c')]
      const watch = overlaps(candidates)
      await expect.poll(() => candidates.some(c => c.holds()), { timeout: 8000, interval: 5 }).toBe(true)
      const first = candidates.flatMap(c => c.terms)[0]
      expect(compareRevisions(first?.id ?? noRevision, stood)).toBeGreaterThan(0)
      // Put over that of the one who leads: the term is over, and the next one leads under a lease again.
      await write(store, [copied])
      expect((await store.commit({ guards: [first?.guard as Guard], writes: [] })).kind).toBe('stale')
      await expect.poll(() => first?.signal.aborted, { timeout: 5000 }).toBe(true)
      await expect.poll(() => candidates.some(c => c.holds()), { timeout: 8000, interval: 5 }).toBe(true)
      const last = candidates.flatMap(c => c.terms).find(term => term.isHeld())
      expect(compareRevisions(last?.id ?? noRevision, first?.id ?? noRevision)).toBeGreaterThan(0)
      expect((await store.get(leaders, 'self'))?.lease).toBeDefined()
      expect(watch()).toBe(0)
    })

    test('a key that is removed ends the term for ever', async () => {
      const { store } = await fresh()
      const a = candidate(store, 'a')
      await expect.poll(() => a.holds(), { timeout: 5000, interval: 5 }).toBe(true)
      await write(store, [remove(leaders, 'self')])
      await expect.poll(() => a.terms.length, { timeout: 5000 }).toBe(2)
      expect(a.terms[0]?.signal.aborted).toBe(true)
      expect(a.terms[0]?.isHeld()).toBe(false)
    })
  })

  test('a full store says so', async () => {
    const full = kind === 'etcd' ? await etcdBench({ quotaBytes: 16 * 1024 * 1024 }) : await memoryBench()
    try {
      const line = await full.connect('c1')
      const lease = await line.store.grant(60_000)
      await full.fill(line)
      expect(await line.store.commit({ guards: [], writes: [putHost(1)] })).toEqual({ kind: 'full' })
      expect(await line.store.get(presences, host(1))).toBeUndefined()
      expect(await lease.renew(500)).toBe('renewed')
      await expect(line.store.grant(60_000)).rejects.toThrow(StoreFull)
      const status = await line.store.status()
      expect(storeProblems(status)[0]).toMatchObject({ kind: 'full', level: 'fail' })
      expect(status.alarms).toEqual([{ kind: 'NOSPACE', endpoint: status.endpoints[0] }])
      if (kind === 'etcd') {
        expect(status.members[0]).toMatchObject({
          quotaBytes: 16 * 1024 * 1024,
          hasLeader: true,
          learner: false,
        })
        expect(status.members[0]?.dbBytesInUse).toBeGreaterThan(1024)
      }
    } finally {
      await full.stop()
    }
  })

  interface Candidate {
    readonly terms: readonly Term[]
    holds(): boolean
    stop(): void
  }

  /** Stands until the test is over; leads with a loop that makes progress. */
  function candidate(store: Store, address: string, ttlMs = 3000): Candidate {
    const own = new AbortController()
    const signal = AbortSignal.any([own.signal, stop.signal])
    const terms: Term[] = []
    void (async () => {
      for await (const term of campaign({
        store,
        clock: systemClock,
        chance: systemChance,
        address,
        ttlMs,
        signal,
      })) {
        terms.push(term)
        while (!term.signal.aborted) {
          term.progress()
          await systemClock.sleep(100, term.signal)
        }
      }
    })()
    return { terms, holds: () => terms.some(term => term.isHeld()), stop: () => own.abort() }
  }

  /** Counts the moments at which more than one believes; call what it returns for the sum. */
  function overlaps(candidates: readonly Candidate[]): () => number {
    let count = 0
    const timer = setInterval(() => {
      if (candidates.filter(c => c.holds()).length > 1) count += 1
    }, 1)
    stop.signal.addEventListener('abort', () => clearInterval(timer), { once: true })
    return () => count
  }

  interface Collected {
    readonly all: readonly FollowStep[]
    readonly ended: Promise<void>
    until(holds: (steps: readonly FollowStep[]) => boolean): Promise<void>
  }

  function collect(store: Store, scopes: Parameters<Store['follow']>[0], since?: Revision): Collected {
    const all: FollowStep[] = []
    const ended = (async () => {
      const options = { signal: stop.signal, ...(since === undefined ? {} : { since }) }
      for await (const step of store.follow(scopes, options)) all.push(step)
    })()
    return {
      all,
      ended,
      until: holds => expect.poll(() => holds(all), { timeout: 10_000, interval: 5 }).toBe(true),
    }
  }
})

type OneChange = Extract<FollowStep, { kind: 'changes' }>['changes'][number]

const ack = (revision: string) => ({ revision, draining: [] })
const changesOf = (step: FollowStep): readonly OneChange[] =>
  step.kind === 'snapshot' ? step.entries : step.kind === 'changes' ? step.changes : []
const revisionOf = (change: OneChange): Revision =>
  change.kind === 'put' ? change.entry.modified : change.revision
const brief = (change: OneChange): string =>
  change.kind === 'put' ? `put ${String(change.entry.id)}` : `removed ${String(change.id)}`
