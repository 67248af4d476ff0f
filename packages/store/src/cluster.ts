/** Who the cluster is: its record is read, or written by whoever starts first. */
import type { Chance } from '@boxcar/core/model/clock'
import { absent, put } from './collection.ts'
import { type ClusterRecord, clusters } from './keys.ts'
import { etcdctl, type StoreProblem } from './problems.ts'
import { type Store, StoreFull, StoreUnavailable } from './store.ts'

/** What this version of the program reads and writes. */
export const schemaVersion = 1

export const clusterSelf = 'self'

/** The stored data are of a newer version of the program than this one. */
export class NewerSchema extends Error {
  override readonly name = 'NewerSchema'
}

/** The record stands and cannot be read, so that nobody knows whose store it is. */
export class UnreadableRecord extends Error {
  override readonly name = 'UnreadableRecord'
}

/**
 * The cluster's record; created where there is none, with a fresh uid and secret. Of several first servers one wins, and all
 * get its record. Throws StoreUnavailable where the store does not answer, StoreFull where it takes no record, NewerSchema where
 * this program is too old, and UnreadableRecord where the stored record cannot be read.
 */
export async function openCluster(store: Store, chance: Chance): Promise<ClusterRecord> {
  for (let attempt = 0; attempt < attempts; attempt += 1) {
    const entry = await store.get(clusters, clusterSelf)
    if (entry !== undefined) return readable(entry.value)
    const record: ClusterRecord = {
      uid: chance.id(),
      epoch: 1,
      schema: schemaVersion,
      secret: chance.id() + chance.id(),
    }
    const outcome = await store.commit({
      guards: [absent(clusters, clusterSelf)],
      writes: [put(clusters, clusterSelf, record)],
    })
    if (outcome.kind === 'committed') return record
    if (outcome.kind === 'full') throw new StoreFull('the store is full')
    // 'stale': another one was first. 'unknown': perhaps done. Reading tells both.
  }
  const { unreadable } = await store.list(clusters)
  const bad = unreadable[0]
  throw bad === undefined
    ? new StoreUnavailable('the cluster record could not be written')
    : new UnreadableRecord(`the cluster record cannot be read: ${bad.reason}`)
}

const attempts = 5

function readable(record: ClusterRecord): ClusterRecord {
  if (record.schema > schemaVersion)
    throw new NewerSchema(
      `the store holds data of schema ${record.schema}, and this program knows schemas up to ${schemaVersion}; use a newer program`,
    )
  return record
}

/** Whose record it is to be. */
export interface OfCluster {
  readonly name: string
  readonly endpoints: readonly string[]
  /** As this process has opened the cluster; left out by who has not. */
  readonly expected?: ClusterRecord
}

/**
 * What is wrong with the record as it is read now. `cluster-record`: agents take no order from a store whose record they cannot
 * read, and none from another cluster's or an earlier epoch's, so they take no new work.
 */
export function recordProblem(
  seen: { readonly record: ClusterRecord | undefined; readonly unreadable: string | undefined },
  { name, endpoints, expected }: OfCluster,
): StoreProblem | undefined {
  const what = whatIsWrong(seen, expected)
  if (what === undefined) return undefined
  const ctl = etcdctl({ endpoints })
  const key = `/boxcar/${name}/v1/cluster/${clusterSelf}`
  const next =
    what.mend === 'upgrade'
      ? ['use a newer boxcar on this machine']
      : what.mend === 'epoch'
        ? [
            `put a higher epoch: ${ctl} get ${key} --print-value-only, then ${ctl} put ${key} '{… "epoch": N …}'`,
          ]
        : [
            `see what stands there: ${ctl} get ${key}`,
            `put it back as the agents remember it, on any host: ${ctl} put ${key} "$(jq -c .cluster /var/lib/boxcar/orders.json)"`,
          ]
  const kind = what.mend === 'upgrade' ? 'newer-schema' : 'cluster-record'
  return { kind, level: 'fail', message: what.message, next }
}

function whatIsWrong(
  {
    record,
    unreadable,
  }: { readonly record: ClusterRecord | undefined; readonly unreadable: string | undefined },
  expected: ClusterRecord | undefined,
): { readonly message: string; readonly mend: 'put-back' | 'upgrade' | 'epoch' } | undefined {
  const idle = 'agents go on with what runs and take no new work'
  if (unreadable !== undefined)
    return { message: `cluster/self cannot be read (${withoutText(unreadable)}): ${idle}`, mend: 'put-back' }
  if (record === undefined)
    return expected === undefined
      ? undefined
      : { message: `cluster/self is not there any more: ${idle}`, mend: 'put-back' }
  if (record.schema > schemaVersion)
    return {
      message: `cluster/self is of schema ${record.schema}, and this program knows schemas up to ${schemaVersion}`,
      mend: 'upgrade',
    }
  if (expected !== undefined && record.uid !== expected.uid)
    return {
      message: `cluster/self is of another cluster (uid ${record.uid}, this server serves ${expected.uid}): ${idle}`,
      mend: 'put-back',
    }
  if (expected !== undefined && record.epoch < expected.epoch)
    return {
      message: `the epoch of cluster/self went back from ${expected.epoch} to ${record.epoch}: ${idle}`,
      mend: 'epoch',
    }
  return undefined
}

/** What a parser quotes of the text may be a part of the secret. */
const withoutText = (reason: string): string => (reason.startsWith('not JSON') ? 'not JSON' : reason)
