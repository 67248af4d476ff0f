import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { keyOf, put, remove } from './collection.ts'
import { campaign, type Term } from './election.ts'
import { type LeaderRecord, leaders, presences } from './keys.ts'
import { MemoryEtcd } from './memory/memory-etcd.ts'
import type { MemoryStore } from './memory/memory-store.ts'
import { seededChance } from './memory/seeded-chance.ts'
import { VirtualClock } from './memory/virtual-clock.ts'
import { compareRevisions, noRevision } from './store.ts'

const ttlMs = 3000

/** One who stands for election, with a main loop that can be frozen. */
interface Candidate {
  readonly store: MemoryStore
  readonly terms: Term[]
  frozen: boolean
  readonly stop: AbortController
  readonly ended: Promise<void>
}

describe('the election', () => {
  let clock: VirtualClock
  let world: MemoryEtcd
  let all: Candidate[]

  beforeEach(() => {
    clock = new VirtualClock()
    world = new MemoryEtcd(clock)
    all = []
  })
  afterEach(async () => {
    for (const candidate of all) {
      candidate.store.faults.comeBack()
      candidate.stop.abort()
    }
    await clock.advance(10_000)
    await Promise.all(all.map(({ ended }) => ended))
  })

  function stand(address: string): Candidate {
    const store = world.connect({ cluster: 'c1' })
    const stop = new AbortController()
    const chance = seededChance(all.length + 1)
    const candidate: Candidate = { store, terms: [], frozen: false, stop, ended: run() }
    async function run(): Promise<void> {
      await Promise.resolve()
      for await (const term of campaign({ store, clock, chance, address, ttlMs, signal: stop.signal })) {
        candidate.terms.push(term)
        while (!term.signal.aborted) {
          if (!candidate.frozen) term.progress()
          await clock.sleep(200, term.signal)
        }
      }
    }
    all.push(candidate)
    return candidate
  }
  const holds = ({ terms }: Candidate): boolean => terms.some(term => term.isHeld())
  const holders = (): number => all.filter(holds).length

  test('one wins, the others wait', async () => {
    const [a, b] = [stand('a'), stand('b')]
    await clock.advance(60_000)
    expect(holders()).toBe(1)
    expect(a.terms.length + b.terms.length).toBe(1)
    const [term] = [...a.terms, ...b.terms]
    expect((await a.store.get(leaders, 'self'))?.created).toBe(term?.id)
  })

  test('resigning hands over at once; the old guard refuses, the new one holds', async () => {
    const a = stand('a')
    await clock.advance(100)
    const b = stand('b')
    await clock.advance(5000)
    a.stop.abort()
    expect(holds(a)).toBe(false)
    await clock.advance(50)
    expect(holds(b)).toBe(true)
    const [old, next] = [a.terms[0], b.terms[0]]
    expect(compareRevisions(next?.id ?? noRevision, old?.id ?? noRevision)).toBeGreaterThan(0)
    const writes = [put(presences, 'h1' as never, { since: 1 })]
    if (old === undefined || next === undefined) throw new Error('both had a term')
    expect((await b.store.commit({ guards: [old.guard], writes })).kind).toBe('stale')
    expect((await b.store.commit({ guards: [next.guard], writes })).kind).toBe('committed')
  })

  test('a leader that is heard no more is followed within about its TTL, and never overlaps', async () => {
    const a = stand('a')
    await clock.advance(100)
    const b = stand('b')
    await clock.advance(5000)
    a.store.faults.goAway()
    const since = clock.now()
    let overlaps = 0
    await clock.advanceUntil(() => {
      if (holders() > 1) overlaps += 1
      return holds(b)
    }, 10_000)
    expect(clock.now() - since).toBeLessThan(ttlMs * 1.2)
    expect(overlaps).toBe(0)
    a.store.faults.comeBack()
    await clock.advance(2000)
    expect(a.terms[0]?.signal.aborted).toBe(true)
    expect(holders()).toBe(1)
  })

  test('a leader whose key still stands goes on with the same term', async () => {
    const a = stand('a')
    await clock.advance(1000)
    const [term] = a.terms
    a.store.faults.goAway()
    // Beyond its own deadline, before the store takes the lease away.
    await clock.advanceUntil(() => term?.isHeld() === false, 5000)
    expect(term?.signal.aborted).toBe(false)
    a.store.faults.comeBack()
    await clock.advance(100)
    // The renewal under way still fails by its time; the next one goes through or finds the key gone.
    await clock.advance(1500)
    const key = await a.store.get(leaders, 'self')
    expect(key?.created).toBe(a.terms.at(-1)?.id)
    expect(holders()).toBe(1)
  })

  test('a brain that stands still loses its term, though its process renews', async () => {
    const a = stand('a')
    await clock.advance(100)
    const b = stand('b')
    await clock.advance(5000)
    a.frozen = true
    await clock.advance(2500)
    expect(holds(a)).toBe(true)
    await clock.advance(2 * ttlMs)
    expect(holds(a)).toBe(false)
    expect(holds(b)).toBe(true)
    a.frozen = false
    await clock.advance(2000)
    expect(a.terms[0]?.signal.aborted).toBe(true)
    expect(holders()).toBe(1)
  })

  test.each([
    ['answer', 'loseAnswers'],
    ['request', 'loseRequests'],
  ] as const)('a lost %s of the creation leaves one leader that knows it', async (_, fault) => {
    const a = stand('a')
    a.store.faults[fault](1)
    await clock.advance(6000)
    expect(a.terms).toHaveLength(1)
    expect(holds(a)).toBe(true)
    expect((await a.store.get(leaders, 'self'))?.created).toBe(a.terms[0]?.id)
  })

  test('a key that a person removes, or a lease that the store revokes, ends the term for ever', async () => {
    const a = stand('a')
    await clock.advance(1000)
    await a.store.commit({ guards: [], writes: [remove(leaders, 'self')] })
    await clock.advance(2000)
    expect(a.terms[0]?.signal.aborted).toBe(true)
    expect(a.terms).toHaveLength(2)
    world.revokeAll()
    await clock.advance(2000)
    expect(a.terms[1]?.signal.aborted).toBe(true)
    expect(a.terms[0]?.isHeld()).toBe(false)
    expect(holds(a)).toBe(true)
  })

  describe('a fence', () => {
    const writes = [put(presences, 'h1' as never, { since: 1 })]
    /** A leader with a transaction under way of which it knows nothing. */
    async function doubtful(): Promise<{ readonly leader: Candidate; readonly term: Term }> {
      const leader = stand('a')
      await clock.advance(1000)
      const [term] = leader.terms
      if (term === undefined) throw new Error('it leads')
      leader.store.faults.delayRequests(1)
      const outcome = leader.store.commit({ guards: [term.guard], writes })
      await clock.advance(2000)
      expect((await outcome).kind).toBe('unknown')
      return { leader, term }
    }

    test('shuts out what is under way; the term goes on', async () => {
      const { leader, term } = await doubtful()
      const fenced = await term.fence()
      expect(leader.store.faults.deliverRequests()).toMatchObject([{ kind: 'stale' }])
      expect(fenced).toBe(world.revision)
      expect((await leader.store.commit({ guards: [term.guard], writes })).kind).toBe('committed')
      await clock.advance(10_000)
      expect(leader.terms).toHaveLength(1)
      expect(holds(leader)).toBe(true)
      expect(await leader.store.get(leaders, 'self')).toMatchObject({
        created: term.id,
        value: { address: 'a' },
      })
    })

    test('shows what was done before it', async () => {
      const { leader, term } = await doubtful()
      const [landed] = leader.store.faults.deliverRequests()
      expect(landed?.kind).toBe('committed')
      const fenced = await term.fence()
      if (landed?.kind !== 'committed' || fenced === undefined) throw new Error('both were done')
      expect(compareRevisions(fenced, landed.revision)).toBeGreaterThan(0)
    })

    test.each([
      ['answer', 'loseAnswers'],
      ['request', 'loseRequests'],
      ['arrival in time', 'delayRequests'],
    ] as const)('without its %s says nothing, and is put again', async (_, fault) => {
      const { leader, term } = await doubtful()
      leader.store.faults[fault](1)
      const first = term.fence()
      await clock.advance(2000)
      expect(await first).toBeUndefined()
      expect(await term.fence()).toBe(world.revision)
      expect(leader.store.faults.deliverRequests().every(({ kind }) => kind === 'stale')).toBe(true)
      expect((await leader.store.commit({ guards: [term.guard], writes })).kind).toBe('committed')
    })

    test('goes with the lease, as the key did before', async () => {
      const { leader, term } = await doubtful()
      expect(await term.fence()).toBeDefined()
      leader.store.faults.goAway()
      await clock.advance(2 * ttlMs)
      expect(await world.connect({ cluster: 'c1' }).get(leaders, 'self')).toBeUndefined()
    })

    test('is not put for a term that is over', async () => {
      const { leader, term } = await doubtful()
      await leader.store.commit({ guards: [], writes: [remove(leaders, 'self')] })
      expect(await term.fence()).toBeUndefined()
    })
  })

  test('a key that a person writes anew does not keep its leader from writing', async () => {
    const a = stand('a')
    await clock.advance(1000)
    const before = await a.store.get(leaders, 'self')
    if (before?.lease === undefined) throw new Error('it leads by its lease')
    await a.store.commit({ guards: [], writes: [put(leaders, 'self', before.value, before.lease)] })
    await clock.advance(1500)
    const [term] = a.terms
    if (term === undefined) throw new Error('it leads')
    expect((await a.store.commit({ guards: [term.guard], writes: [] })).kind).toBe('committed')
  })

  describe('a leader record without a lease', () => {
    const leaderKey = keyOf(leaders, 'self')
    const copied = put(leaders, 'self', { address: 'http://old:7070', token: 'old' })
    const unreadable = { kind: 'put', key: leaderKey, json: '{"addr', lease: undefined } as const

    test.each([
      ['copied by key and value', copied],
      ['that cannot be read', unreadable],
    ])('%s is removed, and one candidate leads with a higher term', async (_, record) => {
      const person = world.connect({ cluster: 'c1' })
      const put = await person.commit({ guards: [], writes: [record] })
      if (put.kind !== 'committed') throw new Error('it was written')
      const candidates = [stand('a'), stand('b'), stand('c')]
      // Whoever led until it was put may believe for so long.
      await clock.advance(ttlMs)
      expect(holders()).toBe(0)
      await clock.advance(2100)
      expect(holders()).toBe(1)
      const terms = candidates.flatMap(it => it.terms)
      expect(terms).toHaveLength(1)
      expect(compareRevisions(terms[0]?.id ?? noRevision, put.revision)).toBeGreaterThan(0)
      expect((await person.get(leaders, 'self'))?.lease).toBeDefined()
    })

    test.each([
      ['as it is', (value: LeaderRecord) => put(leaders, 'self', value)],
      ['of another one', () => copied],
      ['that cannot be read', () => unreadable],
    ])('%s, put over that of a living leader, ends its term; the next one is higher', async (_, over) => {
      const [a, b] = [stand('a'), stand('b')]
      await clock.advance(1000)
      const before = await a.store.get(leaders, 'self')
      const [term] = [...a.terms, ...b.terms]
      if (before === undefined || term === undefined) throw new Error('one leads')
      await a.store.commit({ guards: [], writes: [over(before.value)] })
      expect((await a.store.commit({ guards: [term.guard], writes: [] })).kind).toBe('stale')
      for (let step = 0; step < 60; step += 1) {
        await clock.advance(100)
        expect(holders()).toBeLessThanOrEqual(1)
      }
      expect(term.signal.aborted).toBe(true)
      expect(holders()).toBe(1)
      const next = [...a.terms, ...b.terms].find(it => it.isHeld())
      expect(compareRevisions(next?.id ?? noRevision, term.id)).toBeGreaterThan(0)
      // It dies: what it left goes with its lease.
      for (const { store } of [a, b]) store.faults.goAway()
      await clock.advance(2 * ttlMs)
      expect(await world.connect({ cluster: 'c1' }).get(leaders, 'self')).toBeUndefined()
    })

    test('a removal that lands late takes no record that somebody holds', async () => {
      const slow = stand('slow')
      await world.connect({ cluster: 'c1' }).commit({ guards: [], writes: [copied] })
      // Its creation is refused; its removal stays under way.
      const { commit } = slow.store
      slow.store.commit = transaction => {
        if (transaction.guards[0]?.kind === 'unleased') slow.store.faults.delayRequests(1)
        return commit.call(slow.store, transaction)
      }
      await clock.advance(100)
      const other = stand('other')
      await clock.advance(6000)
      expect(holds(other)).toBe(true)
      expect(slow.store.faults.deliverRequests().map(it => it.kind)).toContain('stale')
      await clock.advance(5000)
      expect(holds(other)).toBe(true)
      expect(other.terms).toHaveLength(1)
    })

    test('a record by a lease that nobody renews stands until the lease is over, and no longer', async () => {
      const person = world.connect({ cluster: 'c1' })
      const lease = await person.grant(20_000)
      const value = { address: 'http://old:7070', token: 'old' }
      await person.commit({ guards: [], writes: [put(leaders, 'self', value, lease.id)] })
      stand('a')
      await clock.advance(19_000)
      expect(holders()).toBe(0)
      await clock.advance(2500)
      expect(holders()).toBe(1)
    })
  })

  test('a store that nobody reaches has no leader, and one again soon after', async () => {
    const candidates = [stand('a'), stand('b'), stand('c')]
    await clock.advance(3000)
    for (const { store } of candidates) store.faults.goAway()
    await clock.advance(30_000)
    expect(holders()).toBe(0)
    for (const { store } of candidates) store.faults.comeBack()
    await clock.advance(3000)
    expect(holders()).toBe(1)
  })

  test.each(Array.from({ length: 80 }, (_, seed) => seed))('never two at once (seed %i)', async seed => {
    const candidates = [stand('a'), stand('b'), stand('c')]
    const person = world.connect({ cluster: 'c1' })
    const chance = seededChance(1000 + seed)
    const pick = (n: number): number => Math.floor(chance.next() * n)
    for (let step = 0; step < 400; step += 1) {
      const candidate = candidates[pick(3)]
      if (candidate !== undefined && chance.next() < 0.06)
        switch (pick(8)) {
          case 0:
            candidate.store.faults.goAway()
            break
          case 1:
          case 2:
            candidate.store.faults.comeBack()
            break
          case 3:
            candidate.store.faults.loseAnswers(1)
            break
          case 4:
            candidate.store.faults.loseRequests(1)
            break
          case 5:
            candidate.frozen = !candidate.frozen
            break
          case 6:
            candidate.store.faults.cutWatches()
            break
          case 7:
            // A person, or a script that copies.
            await person.commit({
              guards: [],
              writes: [put(leaders, 'self', { address: 'old', token: 'old' })],
            })
            break
        }
      await clock.advance(pick(150))
      expect(holders()).toBeLessThanOrEqual(1)
    }
    const ids = all.flatMap(({ terms }) => terms.map(({ id }) => id))
    expect(new Set(ids).size).toBe(ids.length)
    for (const candidate of candidates) {
      candidate.store.faults.comeBack()
      candidate.frozen = false
    }
    await clock.advance(10_000)
    expect(holders()).toBe(1)
  })
})
