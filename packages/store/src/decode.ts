/** From stored text to typed entries: one place for every store, so that a bad value is treated alike everywhere. */
import type { AnyCollection } from './collection.ts'
import type { Change, Entry, LeaseId, Revision, Scope, Unreadable } from './store.ts'

/** A stored value with its key below the cluster's prefix: `<collection>/<id>`. */
export interface RawEntry {
  readonly key: string
  readonly json: string
  readonly created: Revision
  readonly modified: Revision
  readonly lease: LeaseId | undefined
}

export type RawEvent =
  | { readonly kind: 'put'; readonly entry: RawEntry }
  | { readonly kind: 'removed'; readonly key: string; readonly revision: Revision }

/** The keys of a scope all start with this. `within` names whole parts of an id: `h1` never covers `h10`. */
export function scopePrefix({ collection, within }: Scope): string {
  if (within === undefined || within === '') return `${collection.name}/`
  return `${collection.name}/${within.endsWith('/') ? within : `${within}/`}`
}

/** Scopes without those that another one covers. */
export function distinctScopes(scopes: readonly Scope[]): readonly Scope[] {
  const prefixes = scopes.map(scopePrefix)
  return scopes.filter((_, i) => {
    const own = prefixes[i] ?? ''
    return !prefixes.some((other, j) => own.startsWith(other) && (own !== other || j < i))
  })
}

/** Reads what concerns some scopes; everything else is passed over. */
export class Decoder {
  readonly #scopes = new Map<string, { readonly collection: AnyCollection; readonly prefixes: string[] }>()

  constructor(scopes: readonly Scope[]) {
    for (const scope of scopes) {
      const known = this.#scopes.get(scope.collection.name)
      if (known === undefined)
        this.#scopes.set(scope.collection.name, {
          collection: scope.collection,
          prefixes: [scopePrefix(scope)],
        })
      else known.prefixes.push(scopePrefix(scope))
    }
  }

  /** Appends what an event means to `changes` and `unreadable`; what was unreadable before in the same step and is not any more, is not listed. */
  event(event: RawEvent, changes: Change[], unreadable: Unreadable[]): void {
    const key = event.kind === 'put' ? event.entry.key : event.key
    const collection = this.#collectionOf(key)
    if (collection === undefined) return
    const id = collection.read(key.slice(collection.name.length + 1))
    if (id === undefined) {
      if (event.kind === 'put') unreadable.push(badKey(collection, key))
      return
    }
    const before = unreadable.findIndex(one => one.key === key)
    if (before >= 0) unreadable.splice(before, 1)
    if (event.kind === 'removed') {
      changes.push({ kind: 'removed', collection, id, revision: event.revision })
      return
    }
    const parsed = parse(collection, event.entry)
    if ('problem' in parsed) {
      // Treated as absent: what stood there before is gone for us.
      unreadable.push({ collection: collection.name, key, reason: parsed.problem })
      changes.push({ kind: 'removed', collection, id, revision: event.entry.modified })
      return
    }
    changes.push({ kind: 'put', collection, entry: entryOf(id, parsed.value, event.entry) })
  }

  #collectionOf(key: string): AnyCollection | undefined {
    const cut = key.indexOf('/')
    const scope = this.#scopes.get(cut < 0 ? key : key.slice(0, cut))
    return scope?.prefixes.some(prefix => key.startsWith(prefix)) === true ? scope.collection : undefined
  }
}

/** One entry of a collection, or why it cannot be read. */
export function readEntry(
  collection: AnyCollection,
  raw: RawEntry,
): { readonly entry: Entry<unknown, unknown> } | { readonly unreadable: Unreadable } {
  const id = collection.read(raw.key.slice(collection.name.length + 1))
  if (id === undefined) return { unreadable: badKey(collection, raw.key) }
  const parsed = parse(collection, raw)
  return 'problem' in parsed
    ? { unreadable: { collection: collection.name, key: raw.key, reason: parsed.problem } }
    : { entry: entryOf(id, parsed.value, raw) }
}

const badKey = (collection: AnyCollection, key: string): Unreadable => ({
  collection: collection.name,
  key,
  reason: `the key spells no id of ${collection.name}`,
})

const entryOf = (id: unknown, value: unknown, raw: RawEntry): Entry<unknown, unknown> => ({
  id,
  value,
  created: raw.created,
  modified: raw.modified,
  lease: raw.lease,
})

function parse(
  collection: AnyCollection,
  raw: RawEntry,
): { readonly value: unknown } | { readonly problem: string } {
  try {
    return collection.parse(JSON.parse(raw.json))
  } catch (error) {
    return { problem: `not JSON: ${error instanceof Error ? error.message : String(error)}` }
  }
}
