/** Who the cluster is: its record is read, or written by whoever starts first. */
import type { Chance } from '@boxcar/core/model/clock'
import { absent, put } from './collection.ts'
import { type ClusterRecord, clusters } from './keys.ts'
import { type Store, StoreUnavailable } from './store.ts'

/** What this version of the program reads and writes. */
export const schemaVersion = 1

export const clusterSelf = 'self'

/** The stored data are of a newer version of the program than this one. */
export class NewerSchema extends Error {
  override readonly name = 'NewerSchema'
}

/**
 * The cluster's record; created where there is none, with a fresh uid and secret. Of several first servers one wins, and all
 * get its record. Throws StoreUnavailable where the store does not answer, NewerSchema where this program is too old, and a
 * plain error where the stored record cannot be read.
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
    if (outcome.kind === 'full') throw new StoreUnavailable('the store is full')
    // 'stale': another one was first. 'unknown': perhaps done. Reading tells both.
  }
  const { unreadable } = await store.list(clusters)
  const bad = unreadable[0]
  throw bad === undefined
    ? new StoreUnavailable('the cluster record could not be written')
    : new Error(`the cluster record cannot be read: ${bad.reason}`)
}

const attempts = 5

function readable(record: ClusterRecord): ClusterRecord {
  if (record.schema > schemaVersion)
    throw new NewerSchema(
      `the store holds data of schema ${record.schema}, and this program knows schemas up to ${schemaVersion}; use a newer program`,
    )
  return record
}
