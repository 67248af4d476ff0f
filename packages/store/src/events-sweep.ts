/**
 * Events without a lease, as a store copied by key and value has them, would never go by themselves. They stay readable for as
 * long as any event is kept, and then their writer removes them.
 */
import type { WallTime } from '@boxcar/core/model/clock'
import { remove, unleased } from './collection.ts'
import { type EventId, events } from './keys.ts'
import type { Store } from './store.ts'

/** Removes a writer's events without a lease from before a moment; says whether there are any at all. Throws StoreUnavailable. */
export async function sweepEvents(store: Store, writer: string, before: WallTime): Promise<boolean> {
  const { entries } = await store.list(events, writer)
  const copied = entries.filter(({ lease }) => lease === undefined)
  const old = copied.filter(({ value }) => value.at < before)
  for (let from = 0; from < old.length; from += atOnce) {
    const ids = old.slice(from, from + atOnce).map(({ id }): EventId => id)
    await store.commit({
      guards: ids.map(id => unleased(events, id)),
      writes: ids.map(id => remove(events, id)),
    })
  }
  return copied.length > 0
}

const atOnce = 100
