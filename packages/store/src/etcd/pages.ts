import type { IKeyValue } from 'etcd3'
import { type Revision, StoreUnavailable } from '../store.ts'
import { isCompacted, textOf } from './errors.ts'
import { type Members, pageMs, within } from './members.ts'
import { type Range, restOf } from './ranges.ts'

/** Larger pages block the event loop for too long. */
const pageSize = 5000

/** A revision vanished while it was read: read again at a newer one. */
export class CompactedWhileReading extends StoreUnavailable {}

/**
 * Reads a range in pages at one revision, the newest where none is given, and hands over each key. The first page is
 * linearizable and fixes the revision. Throws StoreUnavailable.
 */
export async function readRange(
  members: Members,
  range: Range,
  at: Revision | undefined,
  take: (kv: IKeyValue) => void,
): Promise<{ readonly revision: Revision; readonly count: number }> {
  let rest = range
  let revision = at
  let count = 0
  for (;;) {
    const page = await readPage(members, rest, revision)
    revision ??= page.header.revision as Revision
    for (const kv of page.kvs) take(kv)
    count += page.kvs.length
    const last = page.kvs.at(-1)
    if (!page.more || last === undefined) return { revision, count }
    rest = restOf(range, last.key)
  }
}

async function readPage(members: Members, range: Range, revision: Revision | undefined) {
  try {
    return await members.read(({ calls }) =>
      calls.kv.range(
        { ...range, limit: pageSize, ...(revision === undefined ? {} : { revision }) },
        within(pageMs),
      ),
    )
  } catch (error) {
    if (isCompacted(error)) throw new CompactedWhileReading('the revision read was compacted meanwhile')
    throw error instanceof StoreUnavailable ? error : new StoreUnavailable(textOf(error))
  }
}
