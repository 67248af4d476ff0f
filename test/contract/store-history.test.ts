/** An etcd that lost its data and began anew: a follower that was away meanwhile must not take it for the old one. */
import type { HostId } from '@boxcar/core/model/ids'
import { openCluster } from '@boxcar/store/cluster'
import { put } from '@boxcar/store/collection'
import { presences } from '@boxcar/store/keys'
import { Mirror } from '@boxcar/store/mirror'
import type { Store } from '@boxcar/store/store'
import { systemChance, systemClock } from '@boxcar/store/system'
import { expect, test } from 'vitest'
import { etcdBench } from './store-benches.ts'

test('a store wiped and filled again beyond where a mirror stands is another one', async () => {
  const bench = await etcdBench()
  const stop = new AbortController()
  try {
    const line = await bench.connect('c1')
    /** A cluster in an empty store: its record has the same revision each time. */
    const begin = async (store: Store, hosts: readonly string[], since: number): Promise<void> => {
      await openCluster(store, systemChance)
      for (const host of hosts)
        expect(
          await store.commit({ guards: [], writes: [put(presences, host as HostId, { since })] }),
        ).toMatchObject({ kind: 'committed' })
    }
    await begin(line.store, ['h1', 'h2'], 1)
    const mirror = new Mirror({
      store: line.store,
      clock: systemClock,
      scopes: [{ collection: presences }],
      signal: stop.signal,
    })
    await mirror.untilCaughtUp()
    line.part()
    await bench.wipe()
    // The first host stands at the same revision as before, with another value.
    await begin((await bench.connect('c1')).store, ['h1', 'h3', 'h4', 'h5'], 2)
    line.heal()
    const held = () => [...mirror.of(presences).values()].map(({ id, value }) => `${id} ${value.since}`)
    await expect.poll(held, { timeout: 10_000 }).toEqual(['h1 2', 'h3 2', 'h4 2', 'h5 2'])
  } finally {
    stop.abort()
    await bench.stop()
  }
})
