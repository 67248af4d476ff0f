/**
 * The store as one process knows it: scopes followed and held in memory, as of one revision. Listeners hear only real
 * differences, in revision order; a new snapshot after a lost history is compared with what is held, so what vanished
 * meanwhile is told as well.
 */
import { attempt } from '@boxcar/core/model/attempt'
import type { Clock, Instant } from '@boxcar/core/model/clock'
import { Bell } from './bell.ts'
import { type AnyCollection, type Collection, keyOf } from './collection.ts'
import { type Log, silent } from './log.ts'
import {
  type Change,
  compareRevisions,
  type Entry,
  type FollowStep,
  noRevision,
  type Revision,
  type Scope,
  type Store,
  type Unreadable,
} from './store.ts'

export interface MirrorOptions {
  readonly store: Store
  readonly clock: Clock
  readonly scopes: readonly Scope[]
  /** Ends the following; what is held stays readable. */
  readonly signal: AbortSignal
  readonly log?: Log
}

/**
 * Called synchronously after the mirror holds the changes. A throw is a bug; it is logged, and the listener may have missed a
 * part: one that reads many records contains each. A value that cannot be read any more is told as removed, and once more when it is really gone; `unreadable` tells the two apart.
 */
export type MirrorListener = (changes: readonly Change[], revision: Revision) => void

type Snapshot = Extract<FollowStep, { kind: 'snapshot' }>
type Held = Map<string, Entry<unknown, unknown>>

/** Follows from the moment it is made. */
export class Mirror {
  /** Resolves when the signal was aborted and the following has ended. */
  readonly ended: Promise<void>
  readonly #clock: Clock
  readonly #log: Log
  readonly #signal: AbortSignal
  readonly #held = new Map<string, Held>()
  readonly #collections = new Map<string, AnyCollection>()
  readonly #unreadable = new Map<string, Unreadable>()
  #unreadableChanges = 0
  readonly #listeners = new Set<MirrorListener>()
  /** Rings at every step, quiet ones too. */
  readonly #steps = new Bell()
  /** Rings when something held has changed. */
  readonly #changes = new Bell()
  #revision: Revision = noRevision
  #caughtUp = false
  #lastHeard: Instant
  #trouble: string | undefined
  #troubles = 0

  constructor({ store, clock, scopes, signal, log = silent }: MirrorOptions) {
    this.#clock = clock
    this.#log = log
    this.#signal = signal
    this.#lastHeard = clock.now()
    for (const { collection } of scopes) {
      this.#collections.set(collection.name, collection)
      this.#held.set(collection.name, new Map())
    }
    this.ended = this.#follow(store, scopes)
  }

  /** Everything held of a collection, by spelt id. A live view: read it, do not keep it across awaits. */
  of<Id, Value>(collection: Collection<Id, Value>): ReadonlyMap<string, Entry<Id, Value>> {
    const held = this.#held.get(collection.name)
    if (held === undefined) throw new Error(`the mirror does not follow ${collection.name}`)
    // Entries of a collection were parsed by that very collection.
    return held as unknown as ReadonlyMap<string, Entry<Id, Value>>
  }

  get<Id, Value>(collection: Collection<Id, Value>, id: Id): Entry<Id, Value> | undefined {
    return this.of(collection).get(collection.spell(id))
  }

  /** Everything up to here is held. */
  get revision(): Revision {
    return this.#revision
  }

  /** Whether the first snapshot is held. */
  get caughtUp(): boolean {
    return this.#caughtUp
  }

  /** When the store last said anything, be it that nothing happened. */
  lastHeard(): Instant {
    return this.#lastHeard
  }

  /** Why nothing comes just now, in a sentence. */
  trouble(): string | undefined {
    return this.#trouble
  }

  /** How often trouble was told so far: one that came and went between two looks shows here. */
  get troubles(): number {
    return this.#troubles
  }

  /** Stored values that do not parse, by key; they are treated as absent. */
  get unreadable(): ReadonlyMap<string, Unreadable> {
    return this.#unreadable
  }

  /** Rises whenever `unreadable` changes. */
  get unreadableChanges(): number {
    return this.#unreadableChanges
  }

  /** Hears every difference from now on; ends with the function returned. */
  onChange(listener: MirrorListener): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  /** Resolves once everything up to a revision is held: true, or false where the signal was aborted first. */
  async reached(revision: Revision, signal: AbortSignal = this.#signal): Promise<boolean> {
    return this.#until(() => this.#caughtUp && compareRevisions(this.#revision, revision) >= 0, signal)
  }

  /** Resolves once the first snapshot is held: true, or false where the signal was aborted first. */
  async untilCaughtUp(signal: AbortSignal = this.#signal): Promise<boolean> {
    return this.#until(() => this.#caughtUp, signal)
  }

  /** How often something held has changed: take it before looking, and give it to `changedSince`. */
  get changes(): number {
    return this.#changes.rings
  }

  /** Resolves once something has changed since `changes` was read, after `ms`, or when the signal is aborted. */
  changedSince(changes: number, ms: number, signal: AbortSignal = this.#signal): Promise<void> {
    return this.#changes.within(this.#clock, ms, signal, changes)
  }

  async #until(holds: () => boolean, signal: AbortSignal): Promise<boolean> {
    while (!holds()) {
      if (signal.aborted) return false
      await this.#steps.next(signal)
    }
    return true
  }

  async #follow(store: Store, scopes: readonly Scope[]): Promise<void> {
    const following = store.follow(scopes, {
      signal: this.#signal,
      onTrouble: reason => {
        // Shown: `/readyz`, and answers that are marked as stale.
        if (this.#trouble !== reason) this.#log.warn({ reason }, 'the store is not heard')
        this.#trouble = reason
        this.#troubles++
      },
    })
    for await (const step of following) {
      this.#lastHeard = this.#clock.now()
      if (this.#trouble !== undefined) this.#log.info({ was: this.#trouble }, 'the store is heard again')
      this.#trouble = undefined
      this.#take(step)
    }
  }

  #take(step: FollowStep): void {
    const before = step.kind === 'snapshot' ? [...this.#unreadable.values()] : []
    if (step.kind === 'compacted') return // only where a revision was asked for, and none was
    if (step.kind !== 'quiet') this.#noteUnreadable(step.unreadable, step.kind === 'snapshot')
    const differences =
      step.kind === 'snapshot'
        ? this.#replace(step)
        : step.kind === 'changes'
          ? this.#applyAll(step.changes, step.unreadable)
          : []
    // A store that was restored may stand at an earlier revision; a snapshot is always believed.
    if (step.kind === 'snapshot' || compareRevisions(step.revision, this.#revision) > 0)
      this.#revision = step.revision
    if (step.kind === 'snapshot') this.#caughtUp = true
    const told = before.length === 0 ? differences : [...differences, ...this.#gone(before, step.revision)]
    if (told.length > 0) {
      for (const listener of this.#listeners) this.#tell(listener, told)
      this.#changes.ring()
    }
    this.#steps.ring()
  }

  /** A listener that throws keeps no other from hearing, nor the mirror from following. */
  #tell(listener: MirrorListener, changes: readonly Change[]): void {
    const heard = attempt(() => listener(changes, this.#revision))
    if ('error' in heard)
      // Not shown: each listener contains and tells what it does for one record; this keeps the others hearing.
      this.#log.error({ err: heard.error }, 'a listener to the stored records failed: this is a bug')
  }

  #applyAll(changes: readonly Change[], unreadable: readonly Unreadable[]): readonly Change[] {
    if (this.#unreadable.size === 0) return changes.filter(change => this.#apply(change))
    // What is readable again, or really gone, is off the list; a value that just turned unreadable is told as removed too.
    const justNow = new Set(unreadable.map(({ key }) => key))
    return changes.filter(change => {
      const key = keyOf(change.collection, change.kind === 'put' ? change.entry.id : change.id)
      const isOff = !justNow.has(key) && this.#unreadable.delete(key)
      if (isOff) this.#unreadableChanges++
      return this.#apply(change) || isOff
    })
  }

  /** What could not be read and is not there any more. */
  #gone(unreadable: readonly Unreadable[], revision: Revision): readonly Change[] {
    return unreadable.flatMap(({ collection: name, key }) => {
      const [collection, spelt] = [this.#collections.get(name), key.slice(name.length + 1)]
      const stands = this.#unreadable.has(key) || this.#held.get(name)?.has(spelt) === true
      const id = collection?.read(spelt)
      return stands || collection === undefined || id === undefined
        ? []
        : [{ kind: 'removed' as const, collection, id, revision }]
    })
  }

  /** Whether it made a difference. */
  #apply(change: Change): boolean {
    const { collection } = change
    const held = this.#heldOf(collection)
    if (change.kind === 'removed') return held.delete(collection.spell(change.id))
    const key = collection.spell(change.entry.id)
    if (held.get(key)?.modified === change.entry.modified) return false
    held.set(key, change.entry)
    return true
  }

  #replace({ entries, revision, anotherHistory = false }: Snapshot): readonly Change[] {
    // Equal revisions mean nothing in another history, and one that is behind what was held is another one.
    if (anotherHistory || compareRevisions(revision, this.#revision) < 0)
      return this.#startOver(entries, revision)
    const kept = new Map<string, Set<string>>()
    const differences: Change[] = []
    for (const change of entries) {
      if (change.kind !== 'put') continue
      const { collection, entry } = change
      const key = collection.spell(entry.id)
      const seen = kept.get(collection.name)
      if (seen === undefined) kept.set(collection.name, new Set([key]))
      else seen.add(key)
      const held = this.#heldOf(collection)
      const before = held.get(key)
      if (before?.modified === entry.modified && before.created === entry.created) continue
      held.set(key, entry)
      differences.push(change)
    }
    const gone: Change[] = []
    for (const [name, held] of this.#held) {
      const collection = this.#collections.get(name)
      const seen = kept.get(name)
      if (collection === undefined) continue
      for (const [key, entry] of held) {
        if (seen?.has(key) === true) continue
        held.delete(key)
        gone.push({ kind: 'removed', collection, id: entry.id, revision })
      }
    }
    return [...gone, ...differences]
  }

  #startOver(entries: readonly Change[], revision: Revision): readonly Change[] {
    const differences: Change[] = []
    const now = new Set<string>()
    for (const change of entries)
      if (change.kind === 'put')
        now.add(`${change.collection.name}/${change.collection.spell(change.entry.id)}`)
    for (const [name, held] of this.#held) {
      const collection = this.#collections.get(name)
      if (collection === undefined) continue
      for (const [key, entry] of held)
        if (!now.has(`${name}/${key}`))
          differences.push({ kind: 'removed', collection, id: entry.id, revision })
      held.clear()
    }
    for (const change of entries) if (this.#apply(change)) differences.push(change)
    return differences
  }

  #heldOf(collection: AnyCollection): Held {
    const held = this.#held.get(collection.name)
    if (held === undefined) throw new Error(`the store delivered ${collection.name}, which was not asked for`)
    return held
  }

  #noteUnreadable(found: readonly Unreadable[], isAll: boolean): void {
    if (isAll ? this.#unreadable.size + found.length > 0 : found.length > 0) this.#unreadableChanges++
    const before = isAll ? new Map(this.#unreadable) : this.#unreadable
    if (isAll) this.#unreadable.clear()
    for (const one of found) {
      if (before.get(one.key)?.reason !== one.reason)
        // Shown: the `problem` of what it is a record of, and `boxcar_unreadable_entries`.
        this.#log.warn({ key: one.key, reason: one.reason }, 'a stored value cannot be read')
      this.#unreadable.set(one.key, one)
    }
  }
}
