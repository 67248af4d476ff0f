/** Records every change of the leader's collections and of the proxies' acknowledgements, over a connection of its own that no test cuts. */

import { route, routeAck } from '@boxcar/core/model/route'
import { openEtcdStore } from '@boxcar/store/etcd/store'
import { leaders, pendings, placements, rollouts, routeAcks, routes } from '@boxcar/store/keys'
import { type Change, compareRevisions } from '@boxcar/store/store'
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
  const scopes = [leaders, placements, rollouts, routes, pendings, routeAcks].map(collection => ({
    collection,
  }))
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

/** When the last of these hosts' proxies acknowledged the route in which a generation first answered, after a moment. */
export function lastAcknowledged(
  history: History,
  generation: number,
  hosts: readonly string[],
  from: number,
): number {
  const switched = history.changes.find(
    ({ at, change }) =>
      at >= from &&
      change.kind === 'put' &&
      change.collection === routes &&
      answering(change.entry.value) === generation,
  )
  if (switched?.change.kind !== 'put') throw new Error(`generation ${generation} was never switched to`)
  const { modified } = switched.change.entry
  const acknowledged = hosts.map(host => {
    const ack = history.changes.find(
      ({ change }) =>
        change.kind === 'put' &&
        change.collection === routeAcks &&
        change.entry.id === host &&
        compareRevisions(revisionOf(change.entry.value), modified) >= 0,
    )
    if (ack === undefined) throw new Error(`${host} never acknowledged route revision ${modified}`)
    return ack.at
  })
  return Math.max(...acknowledged)
}

/** The routes that were written between two times, a line each, for the text of a failed test. */
export function routesWritten(history: History, from: number, to: number): readonly string[] {
  return history.changes.flatMap(({ at, change }) => {
    if (at < from || at > to || change.collection !== routes) return []
    const written = change.kind === 'put' ? route.safeParse(change.entry.value).data : undefined
    const backings = written?.backings.map(
      ({ generation, share, endpoints }) =>
        `generation ${generation} at ${share / 10} % by ${endpoints.map(it => it.instance).join(' ') || 'nobody'}`,
    )
    return [`  route at ${((at - from) / 1000).toFixed(3)} s: ${backings?.join('; ') ?? 'removed'}`]
  })
}

function answering(value: unknown): number | undefined {
  const parsed = route.safeParse(value)
  return parsed.data?.backings.find(backing => backing.share > 0)?.generation
}

const revisionOf = (value: unknown): string => routeAck.parse(value).revision
