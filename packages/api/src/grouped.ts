import { attempt, errorText } from '@boxcar/core/model/attempt'
import { byId } from '@boxcar/core/model/ids'
import type { Collection } from '@boxcar/store/collection'
import { type Log, silent } from '@boxcar/store/log'
import type { Mirror } from '@boxcar/store/mirror'
import type { Entry } from '@boxcar/store/store'

/** A collection of the mirror by something that its ids name, kept as it changes: a service's placements without a scan. */
export class Grouped<Id, Value, Group> {
  readonly #groups = new Map<Group, Map<string, Entry<Id, Value>>>()

  constructor(
    mirror: Mirror,
    collection: Collection<Id, Value>,
    groupOf: (id: Id) => Group,
    log: Log = silent,
  ) {
    /** One entry that belongs nowhere keeps none of the others out. */
    const take = (key: string, change: () => void) => {
      const taken = attempt(change)
      if ('error' in taken)
        // Not shown: the reader of the collection lets no such id through, and without one nothing can be named.
        log.error({ key, error: errorText(taken.error) }, 'a record was not taken up: this is a bug')
    }
    for (const [key, entry] of mirror.of(collection))
      take(key, () => this.#put(groupOf(entry.id), key, entry))
    mirror.onChange(changes => {
      for (const change of changes) {
        if (change.collection.name !== collection.name) continue
        // A change of this collection carries this collection's ids and values.
        const id = (change.kind === 'put' ? change.entry.id : change.id) as Id
        const key = collection.spell(id)
        take(key, () => {
          if (change.kind === 'put') this.#put(groupOf(id), key, change.entry as Entry<Id, Value>)
          else this.#remove(groupOf(id), key)
        })
      }
    })
  }

  /** In order of their keys. */
  of(group: Group): readonly Entry<Id, Value>[] {
    const found = this.#groups.get(group)
    return found === undefined ? [] : [...found].sort(([a], [b]) => byId(a, b)).map(([, entry]) => entry)
  }

  count(group: Group): number {
    return this.#groups.get(group)?.size ?? 0
  }

  groups(): IterableIterator<Group> {
    return this.#groups.keys()
  }

  #put(group: Group, key: string, entry: Entry<Id, Value>): void {
    const found = this.#groups.get(group)
    if (found === undefined) this.#groups.set(group, new Map([[key, entry]]))
    else found.set(key, entry)
  }

  #remove(group: Group, key: string): void {
    const found = this.#groups.get(group)
    found?.delete(key)
    if (found?.size === 0) this.#groups.delete(group)
  }
}
