/** Records every change of the leader's collections, over a connection of its own that no test cuts. */

import { openEtcdStore } from '@boxcar/store/etcd/store'
import { leaders, pendings, placements, rollouts, routes } from '@boxcar/store/keys'
import type { Change } from '@boxcar/store/store'
import { systemClock } from '@boxcar/store/system'

export interface RecordedChange {
  /** By `now` of load-record.ts. */
  readonly at: number
  readonly change: Change
}

export interface History {
  readonly changes: readonly RecordedChange[]
  stop(): Promise<void>
}

export async function recordHistory(endpoint: string, cluster: string, now: () => number): Promise<History> {
  const store = openEtcdStore({ endpoints: [endpoint], cluster, clock: systemClock })
  const changes: RecordedChange[] = []
  const ending = new AbortController()
  let begun: () => void = () => undefined
  const ready = new Promise<void>(resolve => {
    begun = resolve
  })
  const scopes = [leaders, placements, rollouts, routes, pendings].map(collection => ({ collection }))
  const following = (async () => {
    for await (const step of store.follow(scopes, { signal: ending.signal })) {
      const at = now()
      if (step.kind === 'snapshot') {
        // Only who leads counts of what stood before: older records bear older terms.
        for (const change of step.entries) if (change.collection === leaders) changes.push({ at, change })
        begun()
      }
      if (step.kind === 'changes') for (const change of step.changes) changes.push({ at, change })
    }
  })()
  await ready
  return {
    changes,
    async stop() {
      ending.abort()
      await following
      await store.close()
    },
  }
}
