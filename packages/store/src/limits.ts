/** What one transaction may be, as etcd's defaults have it, and how to count against it before sending. */
import type { Guard, Key, Transaction, Write } from './store.ts'

/** etcd's `--max-txn-ops`: it counts the compares and the writes apart, and the larger number must not be above this. */
export const maxOperations = 128
/** etcd's `--max-request-bytes`. */
export const maxTransactionBytes = 1.5 * 1024 * 1024
/** What batches are filled to: leaves room for what is not counted exactly. */
export const batchBytes = 1024 * 1024

/** Per operation: tags, lengths, lease id and the cluster's prefix of the key. */
const overheadBytes = 96

/** `unchanged` costs two compares: still there, and not written since. */
export const comparesOf = (guard: Guard): number => (guard.kind === 'unchanged' ? 2 : 1)

/** An upper estimate that costs nothing: three bytes a UTF-16 unit only where the text is not plain ASCII. */
export const bytesOf = (write: Write): number =>
  overheadBytes + write.key.length + (write.kind === 'put' ? Buffer.byteLength(write.json) : 0)

export const guardBytes = (guard: Guard): number =>
  overheadBytes + (guard.kind === 'collection-unchanged' ? guard.collection.name.length : guard.key.length)

/** Whether the store would take it. */
export function fits(transaction: Transaction): boolean {
  const compares = transaction.guards.reduce((sum, guard) => sum + comparesOf(guard), 0)
  if (compares > maxOperations || transaction.writes.length > maxOperations) return false
  const bytes =
    transaction.guards.reduce((sum, guard) => sum + guardBytes(guard), 0) +
    transaction.writes.reduce((sum, write) => sum + bytesOf(write), 0)
  return bytes <= maxTransactionBytes
}

/** Throws where a key is written twice: the store refuses such a transaction, and it is always a mistake of ours. */
export function assertDistinctKeys({ writes }: Transaction): void {
  const [key] = keysWrittenTwice([{ writes }]).keys()
  if (key !== undefined) throw new Error(`a key must be written once: ${key}`)
}

/** Keys that are written more than once, each with the indexes of the parts that write it. */
export function keysWrittenTwice(
  parts: readonly { readonly writes: readonly Write[] }[],
): ReadonlyMap<Key, readonly number[]> {
  const writers = new Map<Key, number>()
  const twice = new Map<Key, number[]>()
  parts.forEach(({ writes }, part) => {
    for (const { key } of writes) {
      const first = writers.get(key)
      if (first === undefined) writers.set(key, part)
      else twice.set(key, [...(twice.get(key) ?? [first]), part])
    }
  })
  return twice
}
