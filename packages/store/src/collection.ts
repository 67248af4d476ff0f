import type { z } from 'zod'
import type { Guard, Key, LeaseId, Revision, Write } from './store.ts'

/** A kind of entry: how its ids are spelt as keys, and how its values are checked on the way in. */
export interface Collection<Id, Value> {
  readonly name: string
  /** The part of a key after the collection's name. */
  readonly spell: (id: Id) => string
  /** The id that a key spells, or nothing where it spells none. */
  readonly read: (text: string) => Id | undefined
  /** Reads a stored value; a problem is a sentence. */
  readonly parse: (json: unknown) => { readonly value: Value } | { readonly problem: string }
}

// biome-ignore lint/suspicious/noExplicitAny: a collection of any id and value, where only its name and parser matter
export type AnyCollection = Collection<any, any>

export function collection<Id, Schema extends z.ZodType>(
  name: string,
  id: { readonly spell: (id: Id) => string; readonly read: (text: string) => Id | undefined },
  schema: Schema,
): Collection<Id, z.output<Schema>> {
  return {
    name,
    ...id,
    parse: json => {
      const parsed = schema.safeParse(json)
      return parsed.success
        ? { value: parsed.data }
        : {
            problem: parsed.error.issues
              .map(issue => `/${issue.path.join('/')}: ${issue.message}`)
              .join('; '),
          }
    },
  }
}

/** `<collection>/<id>`; the store puts the cluster's prefix before it. */
export const keyOf = <Id>(of: Collection<Id, unknown>, id: Id): Key => `${of.name}/${of.spell(id)}` as Key

/** The writes and guards of a transaction, in the words of their collections. */
export function put<Id, Value>(
  into: Collection<Id, Value>,
  id: Id,
  value: Stored<Value>,
  lease?: LeaseId,
): Write {
  return { kind: 'put', key: keyOf(into, id), json: JSON.stringify(value), lease }
}
export const remove = <Id>(from: Collection<Id, unknown>, id: Id): Write => ({
  kind: 'remove',
  key: keyOf(from, id),
})
export const absent = <Id>(from: Collection<Id, unknown>, id: Id): Guard => ({
  kind: 'absent',
  key: keyOf(from, id),
})
export const unleased = <Id>(from: Collection<Id, unknown>, id: Id): Guard => ({
  kind: 'unleased',
  key: keyOf(from, id),
})
export const created = <Id>(of: Collection<Id, unknown>, id: Id, at: Revision): Guard => ({
  kind: 'created',
  key: keyOf(of, id),
  at,
})
export const unchanged = <Id>(of: Collection<Id, unknown>, id: Id, since: Revision): Guard => ({
  kind: 'unchanged',
  key: keyOf(of, id),
  since,
})

/**
 * An entry of a collection whose entries live by a lease. One without a lease was copied by key and value, or put by hand:
 * nothing would ever take it away and nobody renews it, so it is void and counts as absent.
 */
export const living = <E extends { readonly lease: LeaseId | undefined }>(
  entry: E | undefined,
): E | undefined => (entry?.lease === undefined ? undefined : entry)

/** What is stored of a value: without the fields that parsing adds (a spec with its defaults, a template). */
export type Stored<Value> = Omit<Value, 'spec' | 'template'>
