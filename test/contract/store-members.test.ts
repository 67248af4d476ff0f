/** An etcd of three members: what the loss of one costs its clients. */
import type { HostId } from '@boxcar/core/model/ids'
import { put } from '@boxcar/store/collection'
import { openEtcdStore } from '@boxcar/store/etcd/store'
import { hostSettingsOf, presences } from '@boxcar/store/keys'
import { keepLease } from '@boxcar/store/lease'
import { Mirror } from '@boxcar/store/mirror'
import { storeProblems } from '@boxcar/store/problems'
import type { Store, StoreStatus } from '@boxcar/store/store'
import { systemClock } from '@boxcar/store/system'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { type EtcdTrio, etcdTrio } from './store-benches.ts'

let trio: EtcdTrio
let clusters = 0
let stop = new AbortController()
let stores: Store[] = []

beforeAll(async () => {
  trio = await etcdTrio()
})
afterAll(async () => {
  await trio?.stop()
})
afterEach(async () => {
  stop.abort()
  stop = new AbortController()
  for (const store of stores) await store.close()
  stores = []
})

const connect = (cluster: string): Store => {
  const store = openEtcdStore({ endpoints: trio.endpoints, cluster, clock: systemClock })
  stores.push(store)
  return store
}
const leader = async (store: Store): Promise<number> =>
  (await store.status()).members.findIndex(member => member.leader)

/** Writes every 20 ms for a time; says what became of each and how long the longest pause in success was. */
async function writeFor(store: Store, ms: number) {
  const committed: string[] = []
  let unknown = 0
  let longestGapMs = 0
  let last = performance.now()
  for (const end = performance.now() + ms; performance.now() < end; ) {
    const id = `h${committed.length + unknown}` as HostId
    const outcome = await store.commit({ guards: [], writes: [put(presences, id, { since: 1 })] })
    if (outcome.kind === 'committed') {
      committed.push(id)
      longestGapMs = Math.max(longestGapMs, performance.now() - last)
      last = performance.now()
    } else unknown += 1
    await systemClock.sleep(20)
  }
  return { committed, unknown, longestGapMs }
}

test.each(['leader', 'follower'] as const)(
  'a %s is killed: leases stand, mirrors miss nothing',
  async victim => {
    clusters += 1
    const [store, writer] = [connect(`t${clusters}`), connect(`t${clusters}`)]
    const scopes = [{ collection: presences }, { collection: hostSettingsOf }]
    const mirror = new Mirror({ store, clock: systemClock, scopes, signal: stop.signal })
    await mirror.untilCaughtUp()
    let lost = 0
    const kept = keepLease({
      store,
      clock: systemClock,
      ttlMs: 4000,
      signal: stop.signal,
      onGranted: async () => {},
      onLost: () => {
        lost += 1
      },
    })
    await expect.poll(() => kept.isGood()).toBe(true)
    const current = await leader(store)
    const index = victim === 'leader' ? current : (current + 1) % 3
    const writing = writeFor(writer, 6000)
    await systemClock.sleep(500)
    await trio.kill(index)
    const { committed, longestGapMs } = await writing
    await trio.start(index)
    expect(committed.length).toBeGreaterThan(50)
    expect(longestGapMs).toBeLessThan(victim === 'leader' ? 5000 : 2000)
    expect(lost).toBe(0)
    expect(kept.isGood()).toBe(true)
    await expect
      .poll(() => committed.filter(id => !mirror.of(presences).has(id)).length, { timeout: 5000 })
      .toBe(0)
  },
)

test('a member that hangs is left for another within its deadline', async () => {
  clusters += 1
  const first = connect(`t${clusters}`)
  await first.get(presences, 'h1' as HostId)
  const follower = ((await leader(first)) + 1) % 3
  // Connected to that one alone it waits in vain; with the others beside it, it does not.
  const others = trio.endpoints.filter((_, i) => i !== follower)
  const store = openEtcdStore({
    endpoints: [trio.endpoints[follower] ?? '', ...others],
    cluster: `t${clusters}`,
    clock: systemClock,
  })
  stores.push(store)
  await trio.pause(follower)
  try {
    const began = performance.now()
    await store.get(presences, 'h1' as HostId)
    expect(performance.now() - began).toBeLessThan(2500)
    const times: number[] = []
    for (let i = 0; i < 20; i += 1) {
      const sent = performance.now()
      await store.get(presences, 'h1' as HostId)
      times.push(performance.now() - sent)
    }
    // It rests; asking again costs one deadline at the very most.
    expect(times.filter(ms => ms > 1000).length).toBeLessThanOrEqual(1)
  } finally {
    trio.resume(follower)
  }
})

test('a member that is away is told with what to do, and no more once it is back', async () => {
  clusters += 1
  const store = connect(`t${clusters}`)
  await expect.poll(async () => kindsOf(await store.status()), { timeout: 10_000 }).toEqual([])
  const follower = ((await leader(store)) + 1) % 3
  await trio.kill(follower)
  try {
    const [problem] = storeProblems(await store.status()).filter(it => it.level !== 'advice')
    expect(problem).toMatchObject({ kind: 'unreachable', level: 'warn', endpoint: trio.endpoints[follower] })
  } finally {
    await trio.start(follower)
  }
  await expect.poll(async () => kindsOf(await store.status()), { timeout: 10_000 }).toEqual([])
})

const kindsOf = (status: StoreStatus) =>
  storeProblems(status)
    .filter(it => it.level !== 'advice')
    .map(it => it.kind)
