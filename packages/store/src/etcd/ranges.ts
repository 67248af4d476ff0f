/** Where our keys stand among etcd's. */
import type { IKeyValue } from 'etcd3'
import type { RawEntry } from '../decode.ts'
import type { LeaseId, Revision } from '../store.ts'

/** All keys that start with a text. */
export interface Range {
  readonly key: Buffer
  readonly range_end: Buffer
}

export function rangeOf(prefix: string): Range {
  const key = Buffer.from(prefix)
  const end = Buffer.from(key)
  // Our prefixes end in a slash, so that the last byte can always be raised.
  end[end.length - 1] = (end.at(-1) ?? 0) + 1
  return { key, range_end: end }
}

/** The rest of a range after a key. */
export const restOf = (range: Range, lastKey: Buffer): Range => ({
  key: Buffer.concat([lastKey, Buffer.from([0])]),
  range_end: range.range_end,
})

export const next = (revision: Revision): string => String(BigInt(revision) + 1n)

/** A key and value as etcd has them, with the cluster's prefix taken off. */
export const rawEntry = (kv: IKeyValue, prefixLength: number): RawEntry => ({
  key: kv.key.toString('utf8').slice(prefixLength),
  json: kv.value.toString('utf8'),
  created: kv.create_revision as Revision,
  modified: kv.mod_revision as Revision,
  lease: kv.lease === '0' ? undefined : (kv.lease as LeaseId),
})
