/**
 * One service or one host makes the leader fail for ever, at each place where it goes over many. Another service is deployed, scaled,
 * undone and deleted in its usual time all the same, the term does not change, and the reason is stored where people look (invariant
 * L11).
 */
import type { HostId, InstanceId, ServiceName } from '@boxcar/core/model/ids'
import { serviceName } from '@boxcar/core/model/ids'
import type { Placement } from '@boxcar/core/model/placement'
import { obstacleWords } from '@boxcar/core/placement/words'
import { put, remove } from '@boxcar/store/collection'
import { type EventText, EventWriter, type EventWriterOptions, type ToldEvent } from '@boxcar/store/events'
import * as keys from '@boxcar/store/keys'
import type { MemoryStore } from '@boxcar/store/memory/memory-store'
import type { Change, CommitOutcome, Key, Write } from '@boxcar/store/store'
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import {
  type CandidateChanges,
  hostWrites,
  service,
  type TestCandidate,
  TestCluster,
  withRoute,
} from './testing.ts'

const good = serviceName('shop', 'good')
const bad = serviceName('shop', 'bad')

let cluster: TestCluster
beforeEach(() => {
  cluster = new TestCluster()
})
afterEach(() => cluster.stop())

interface Failure {
  readonly place: string
  readonly changes?: CandidateChanges
  /** Makes it fail from now on; the service `bad` runs on all three hosts. */
  readonly begin: () => Promise<void> | void
  /** What the stored reason says, of the service `bad` or of a host. */
  readonly reason?: RegExp
  readonly of?: 'service' | 'host' | 'cluster'
  /** The leader goes on with the service itself. */
  readonly goesOn?: boolean
}

const badAgain = (replicas: number, more: object = {}, generation = 1) =>
  cluster.write(...service(bad, replicas, more, generation))

/** A placement of `bad` that says of itself what another one says. */
const misnamed = (slot: number, changes: Partial<Placement>): Write => {
  const instance = `shop/bad/9/${slot}` as InstanceId
  const placement: Placement = {
    instance,
    service: bad,
    generation: 9 as Placement['generation'],
    slot,
    host: 'h3' as HostId,
    uid: `u-${bad}`,
    term: '1',
    desired: 'run',
    because: 'missing',
    cpuMilli: 0,
    memoryMiB: 0,
    ports: {},
    image: 'app:1',
    ...changes,
  }
  return put(keys.placements, { host: 'h3' as HostId, instance }, placement)
}

/** Whether what a test makes fail does so yet. */
let failing = false

/** A store that does so with whatever writes the rollout of `bad`. */
const refusing =
  (outcome: () => Promise<CommitOutcome>) =>
  (store: MemoryStore): void => {
    const commit = store.commit.bind(store)
    store.commit = transaction =>
      failing && transaction.writes.some(({ key }) => key === `rollouts/${bad}`)
        ? outcome()
        : commit(transaction)
  }

/** What throws whenever it is read. */
const unreadable = <Value extends object>(): Value =>
  new Proxy({} as Value, {
    get(_, name) {
      throw new Error(`poisoned record: ${String(name)}`)
    },
  })

let poisoned: RegExp | undefined
beforeEach(() => {
  poisoned = undefined
  failing = false
})

/** Gives the leader values that throw for the keys that are poisoned. */
const poisoning = (store: MemoryStore): void => {
  const follow = store.follow.bind(store)
  const poison = (change: Change): Change =>
    change.kind === 'put' &&
    poisoned?.test(`${change.collection.name}/${change.collection.spell(change.entry.id)}`)
      ? { ...change, entry: { ...change.entry, value: unreadable() } }
      : change
  store.follow = async function* (...args) {
    for await (const step of follow(...args)) {
      if (step.kind === 'snapshot') yield { ...step, entries: step.entries.map(poison) }
      else if (step.kind === 'changes') yield { ...step, changes: step.changes.map(poison) }
      else yield step
    }
  }
}

/** Writes the records again that match, so that the leader reads them anew. */
async function touch(collection: keyof typeof touchable, which: RegExp): Promise<void> {
  const of = touchable[collection]
  const { entries } = await cluster.people.list(of as typeof keys.specs)
  const raw = entries.filter(entry => which.test(`${of.name}/${of.spell(entry.id as never)}`))
  expect(raw.length).toBeGreaterThan(0)
  for (const entry of raw) {
    const key = `${of.name}/${of.spell(entry.id as never)}` as Key
    const json = cluster.etcd.get('c', key)?.json ?? ''
    await cluster.write({ kind: 'put', key, json, lease: entry.lease })
  }
}
const touchable = {
  specs: keys.specs,
  generations: keys.generations,
  rollouts: keys.rollouts,
  routes: keys.routes,
  placements: keys.placements,
  reports: keys.reports,
  hosts: keys.hosts,
  settings: keys.hostSettingsOf,
  acks: keys.routeAcks,
} as const

const poisonedRecord = (
  collection: keyof typeof touchable,
  which: RegExp,
  reason: RegExp,
  of: 'service' | 'host' = 'service',
): Failure => ({
  place: `a record of ${collection} that throws when it is read`,
  changes: { store: poisoning },
  begin: async () => {
    poisoned = which
    await touch(collection, which)
  },
  reason,
  of,
})

/** A stored record that does not parse. */
const garbled = (key: string, reason: RegExp, of: 'service' | 'host' = 'service'): Failure => ({
  place: `a record that does not parse: ${key}`,
  begin: () => cluster.write({ kind: 'put', key: key as Key, json: '{"odd":1}', lease: cluster.lease }),
  reason,
  of,
})

/** Writes no events of some kind. */
class FailingEvents extends EventWriter {
  readonly #fails: (event: EventText) => boolean

  constructor(options: EventWriterOptions, fails: (event: EventText) => boolean) {
    super(options)
    this.#fails = fails
  }

  override told(event: EventText): ToldEvent {
    if (failing && this.#fails(event)) throw new Error('this event cannot be written')
    return super.told(event)
  }
}

const failures: readonly Failure[] = [
  {
    place: 'planning: a record of another service would be written',
    begin: () => cluster.write(misnamed(0, { instance: 'shop/good/1/0' as InstanceId })),
    reason: /fails at planning it .*cannot write instance shop\/good\/1\/0/,
  },
  {
    place: 'planning: two writes of one key',
    begin: () => cluster.write(misnamed(0, {}), misnamed(1, { instance: 'shop/bad/9/0' as InstanceId })),
    reason: /fails at planning it .*cannot write one record twice: placement h3 shop\/bad\/9\/0/,
  },
  {
    place: 'a commit that is refused',
    changes: { store: refusing(async () => ({ kind: 'stale', revision: cluster.etcd.revision })) },
    begin: () => badAgain(3, { image: 'app:2' }, 2),
    reason: /fails at committing its plan .*the store refuses it/,
  },
  {
    place: 'a commit of which nobody says what became of it',
    changes: { store: refusing(async () => ({ kind: 'unknown', reason: 'odd request' })) },
    begin: () => badAgain(3, { image: 'app:2' }, 2),
    reason: /fails at committing its plan .*odd request/,
  },
  {
    place: 'a commit at which the store throws',
    changes: { store: refusing(() => Promise.reject(new Error('cannot be sent'))) },
    begin: () => badAgain(3, { image: 'app:2' }, 2),
    reason: /fails at committing its plan .*cannot be sent/,
  },
  {
    place: 'a question for an image that rejects',
    begin: () => {
      cluster.resolves = (_, image) =>
        image === 'odd:1'
          ? Promise.reject(new Error('odd answer'))
          : { kind: 'resolved', image: `${image}@sha256:d` }
      return badAgain(3, { image: 'odd:1' }, 2)
    },
    reason: /fails at resolving its image .*odd answer/,
  },
  {
    place: 'a question for an image that throws',
    begin: () => {
      cluster.resolves = (_, image) => {
        if (image === 'odd:1') throw new Error('odd image')
        return { kind: 'resolved', image: `${image}@sha256:d` }
      }
      return badAgain(3, { image: 'odd:1' }, 2)
    },
    reason: /fails at resolving its image .*odd image/,
  },
  {
    place: 'an event that cannot be written',
    changes: {
      events: options =>
        new FailingEvents(options, ({ service, kind }) => service === 'bad' && kind !== 'internal-error'),
    },
    begin: () => badAgain(3, { image: 'app:2' }, 2),
    reason: /fails at writing down its plan .*this event cannot be written/,
  },
  {
    place: 'a remark that cannot be written',
    changes: { events: options => new FailingEvents(options, ({ kind }) => kind === 'unreadable') },
    begin: () => cluster.write({ kind: 'put', key: `rollouts/${bad}` as Key, json: '{', lease: undefined }),
    reason: /fails at telling of unreadable .*this event cannot be written/,
    of: 'cluster',
  },
  {
    place: 'an event too large',
    begin: () => {
      cluster.resolves = (_, image) =>
        image === 'odd:1'
          ? { kind: 'failed', reason: 'x'.repeat(2 * 1024 * 1024), permanent: true }
          : { kind: 'resolved', image: `${image}@sha256:d` }
      return badAgain(3, { image: 'odd:1' }, 2)
    },
    goesOn: true,
  },
  {
    place: 'a report too large',
    begin: async () => {
      const instance = 'shop/bad/1/0' as InstanceId
      const [placed] = (await cluster.people.list(keys.placements)).entries.filter(
        ({ value }) => value.instance === instance,
      )
      const lastLog = ['x'.repeat(1.2 * 1024 * 1024)]
      await cluster.write(
        put(
          keys.reports,
          { host: placed?.value.host ?? ('h1' as HostId), instance },
          { instance, uid: `u-${bad}`, state: 'backoff', attempt: 9, restarts: 0, since: 0, lastLog },
        ),
      )
    },
    goesOn: true,
  },
  {
    place: 'asking a host that is missing, where that throws',
    begin: async () => {
      cluster.isAlive = asked => {
        if (asked === 'h3') throw new Error('odd address')
        return true
      }
      await cluster.write(remove(keys.presences, 'h3' as HostId), remove(keys.routeAcks, 'h3' as HostId))
    },
    reason: /host h3: .*fails at asking it whether it is alive .*odd address/,
    of: 'host',
  },
  {
    place: 'asking a host that is missing, where that rejects',
    begin: async () => {
      cluster.isAlive = asked => (asked === 'h3' ? Promise.reject(new Error('odd answer')) : true)
      await cluster.write(remove(keys.presences, 'h3' as HostId), remove(keys.routeAcks, 'h3' as HostId))
    },
    reason: /host h3: .*fails at asking it whether it is alive .*odd answer/,
    of: 'host',
  },
  poisonedRecord('specs', /^specs\/shop\/bad$/, /fails at planning it .*poisoned record/),
  poisonedRecord('generations', /^generations\/shop\/bad\//, /fails at planning it .*poisoned record/),
  poisonedRecord('rollouts', /^rollouts\/shop\/bad$/, /fails at reading its records .*poisoned record/),
  poisonedRecord('routes', /^routes\/shop\/bad$/, /fails at planning it .*poisoned record/),
  poisonedRecord(
    'placements',
    /^placements\/h3\/shop\/bad\//,
    /fails at reading its records .*poisoned record/,
  ),
  poisonedRecord('reports', /^reports\/h3\/shop\/bad\//, /fails at planning it .*poisoned record/),
  poisonedRecord('hosts', /^hosts\/h3$/, /host h3: .*fails at reading its records .*poisoned record/, 'host'),
  poisonedRecord(
    'settings',
    /^host-settings\/h3$/,
    /host h3: .*fails at reading its records .*poisoned/,
    'host',
  ),
  poisonedRecord('acks', /^route-acks\/h3$/, /host h3: .*fails at reading its records .*poisoned/, 'host'),
  garbled('specs/shop/bad', /fails at reading its records/),
  garbled('rollouts/shop/bad', /fails at reading its records/),
  garbled('generations/shop/bad/1', /fails at reading its records/),
  garbled('hosts/h3', /fails at reading its records/, 'host'),
  garbled('route-acks/h3', /fails at reading its records/, 'host'),
]

/** How long each step of a service's life takes. */
interface Life {
  readonly deployed: number
  readonly scaled: number
  readonly replaced: number
  readonly undone: number
  readonly deleted: number
}

async function live(name: ServiceName): Promise<Life> {
  const phase = async () => (await cluster.people.get(keys.rollouts, name))?.value.now
  const settled = (live: number) => async () => {
    const now = await phase()
    return now?.phase === 'settled' && now.live === live
  }
  const routed = { ...withRoute, routes: [{ ...withRoute.routes[0], listen: 81 }] }
  const step = async (what: string, write: readonly Write[], holds: () => Promise<boolean>) => {
    await cluster.write(...write)
    return cluster.until(holds, 60_000, what)
  }
  const deployed = await step('deployed', service(name, 2, routed), settled(1))
  const scaled = await step('scaled', service(name, 1, routed), cluster.hasPlaced(1, name))
  const two = service(name, 1, { ...routed, image: 'app:2' }, 2)
  const replaced = await step('replaced', two, settled(2))
  const intent = { id: 'i1', uid: `u-${name}`, kind: 'undo' as const, by: 'ann', at: 0 }
  const undone = await step('undone', [put(keys.intents, { service: name, id: 'i1' }, intent)], settled(1))
  const deleted = await step(
    'deleted',
    [remove(keys.specs, name)],
    async () => (await phase()) === undefined && (await cluster.people.get(keys.routes, name)) === undefined,
  )
  return { deployed, scaled, replaced, undone, deleted }
}

async function open(changes: CandidateChanges = {}): Promise<TestCandidate> {
  cluster.obey('h1', 'h2', 'h3')
  const candidate = cluster.candidate(1, changes)
  const settings = put(keys.hostSettingsOf, 'h3' as HostId, { labels: {} })
  await cluster.write(...['h1', 'h2', 'h3'].flatMap(id => hostWrites(id, cluster.lease)), settings)
  await cluster.write(...service(bad, 3, withRoute))
  const isSettled = async () => (await cluster.people.get(keys.rollouts, bad))?.value.now.phase === 'settled'
  await cluster.until(isSettled, 10_000, 'the first service settled')
  return candidate
}

let usual: Life
beforeAll(async () => {
  cluster = new TestCluster()
  await open()
  usual = await live(good)
  await cluster.stop()
})

const eventsOf = async (kind: string) =>
  (await cluster.people.list(keys.events)).entries.map(({ value }) => value).filter(it => it.kind === kind)

describe.each(failures)('$place', failure => {
  const { begin, changes, reason, of = 'service', goesOn = false } = failure

  test('harms no other service, and the reason is stored', async () => {
    const { scheduler } = await open(changes)
    const term = scheduler.term()?.id
    failing = true
    await begin()
    await cluster.clock.advance(100)
    const times = await live(good)
    for (const step of Object.keys(usual) as (keyof Life)[])
      expect(times[step], step).toBeLessThanOrEqual(2 * usual[step] + 500)
    await cluster.clock.advance(60_000)
    expect(scheduler.term()?.id).toBe(term)

    const told = await eventsOf('internal-error')
    if (reason === undefined) expect(told).toEqual([])
    else if (of === 'service') {
      const pending = await cluster.people.get(keys.pendings, bad)
      expect(pending?.value.obstacles?.map(obstacleWords).join()).toMatch(reason)
    }
    if (reason !== undefined && !failure.place.startsWith('a record that does not parse')) {
      const fitting = told.filter(
        ({ message, service }) => reason.test(message) && (of !== 'service' || service === 'bad'),
      )
      expect(fitting).toHaveLength(1)
      expect(fitting[0]).toMatchObject(
        of === 'service'
          ? { project: 'shop', service: 'bad', level: 'error' }
          : of === 'host'
            ? { host: 'h3' }
            : {},
      )
    }
    if (goesOn)
      expect(['reverted', 'settled']).toContain(
        (await cluster.people.get(keys.rollouts, bad))?.value.now.phase,
      )
  })
})

test('services committed together with one that gets no answer are committed a moment later, whatever their names', async () => {
  await open({ store: refusing(async () => ({ kind: 'unknown', reason: 'odd request' })) })
  failing = true
  const others = ['aaa', 'good', 'zzz'].map(name => serviceName('shop', name))
  await cluster.write(...service(bad, 3, { image: 'app:2' }, 2), ...others.flatMap(name => service(name, 1)))
  for (const name of others) await cluster.until(cluster.hasPlaced(1, name), 4000, name)
})

test('a host at which the leader fails keeps what runs there, takes nothing new, and a service that waits says why', async () => {
  const { scheduler } = await open({ store: poisoning })
  const term = scheduler.term()?.id
  const before = await cluster.placed(bad)
  poisoned = /^hosts\/h3$/
  await touch('hosts', poisoned)
  await cluster.clock.advance(1000)
  expect(await cluster.placed(bad)).toEqual(before)
  const memory = { resources: { reservations: { memory: '3GiB' } } }
  await cluster.write(...service(good, 3, memory))
  await cluster.until(cluster.hasPlaced(2, good), 3000)
  await cluster.clock.advance(1000)
  expect((await cluster.placed(good)).map(line => line.split('@')[1])).toEqual(['h1', 'h2'])
  const [waiting] = (await cluster.people.get(keys.pendings, good))?.value.waiting ?? []
  const onH3 = waiting?.hosts.find(it => it.host === 'h3')?.obstacles
  expect(onH3?.map(obstacleWords).join()).toMatch(/fails at reading its records .*poisoned record/)

  poisoned = undefined
  await touch('hosts', /^hosts\/h3$/)
  await cluster.until(cluster.hasPlaced(3, good), 3000)
  expect(scheduler.term()?.id).toBe(term)
})

test('what was pending for an error is taken away once the service can be planned', async () => {
  await open()
  await cluster.write(misnamed(0, { instance: 'shop/good/1/0' as InstanceId }))
  const pending = async () => await cluster.people.get(keys.pendings, bad)
  await cluster.until(async () => (await pending()) !== undefined, 3000)
  await cluster.write(
    remove(keys.placements, { host: 'h3' as HostId, instance: 'shop/bad/9/0' as InstanceId }),
  )
  await cluster.until(async () => (await pending()) === undefined, 10_000)
})

test('a new leader that fails at the same tells it no second time', async () => {
  const { scheduler } = await open()
  await cluster.write(misnamed(0, { instance: 'shop/good/1/0' as InstanceId }))
  await cluster.clock.advance(5000)
  cluster.candidate(2)
  await scheduler.stop()
  await cluster.clock.advance(30_000)
  expect(await eventsOf('internal-error')).toHaveLength(1)
  expect((await cluster.people.get(keys.pendings, bad))?.value.obstacles).toHaveLength(1)
})
