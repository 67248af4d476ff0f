/**
 * The shared state, in domain words. Every process reads and writes it through these interfaces; `etcd/` and `memory/`
 * implement them and pass one contract suite (test/contract/store.test.ts). No raw key, buffer or client type leaves them.
 */
import { compareRevisions, noRevision, type Revision } from '@boxcar/core/model/revision'
import type { AnyCollection, Collection } from './collection.ts'

export { compareRevisions, noRevision, type Revision }

export interface Entry<Id, Value> {
  readonly id: Id
  readonly value: Value
  readonly created: Revision
  readonly modified: Revision
  /** The lease that it lives by, if any. */
  readonly lease: LeaseId | undefined
}

/** A stored value that does not parse: told apart, reported once, and treated as absent. */
export interface Unreadable {
  readonly collection: string
  readonly key: string
  readonly reason: string
}

export interface Listing<Id, Value> {
  readonly revision: Revision
  readonly entries: readonly Entry<Id, Value>[]
  readonly unreadable: readonly Unreadable[]
}

export type LeaseId = string & { readonly __brand: 'LeaseId' }

/** A lease of the store, renewed by hand: see lease.ts for the loop that keeps one. */
export interface StoreLease {
  readonly id: LeaseId
  readonly ttlMs: number
  /** 'gone' is final: the store no longer knows the lease. Throws StoreUnavailable where the answer is unknown. */
  renew(timeoutMs: number): Promise<'renewed' | 'gone'>
  /** Takes its entries away at once. Best effort. */
  revoke(): Promise<void>
}

/** What must still hold for a transaction to be done. */
export type Guard =
  | { readonly kind: 'absent'; readonly key: Key }
  /** No entry that lives by a lease stands there: none at all, or one without a lease, readable or not. */
  | { readonly kind: 'unleased'; readonly key: Key }
  | { readonly kind: 'created'; readonly key: Key; readonly at: Revision }
  /** The entry stands, and was not written after `since`: its own revision or any later one that it was read at. */
  | { readonly kind: 'unchanged'; readonly key: Key; readonly since: Revision }
  /** No entry of the whole collection was written after `since`. Deletions are not seen. */
  | { readonly kind: 'collection-unchanged'; readonly collection: AnyCollection; readonly since: Revision }

export type Write =
  | { readonly kind: 'put'; readonly key: Key; readonly json: string; readonly lease: LeaseId | undefined }
  | { readonly kind: 'remove'; readonly key: Key }

/** A key of a collection, made by the collection itself (collection.ts). */
export type Key = string & { readonly __brand: 'Key' }

export interface Transaction {
  readonly guards: readonly Guard[]
  readonly writes: readonly Write[]
}

export type CommitOutcome =
  | { readonly kind: 'committed'; readonly revision: Revision }
  /** A guard no longer holds, or a lease that a put names is gone; nothing was written. */
  | { readonly kind: 'stale'; readonly revision: Revision }
  /** The store is full (etcd: NOSPACE); nothing was written. */
  | { readonly kind: 'full' }
  /** Larger than one transaction may be; nothing was written. */
  | { readonly kind: 'too-large' }
  /** No answer: perhaps done, perhaps not. Read, compare, decide. */
  | { readonly kind: 'unknown'; readonly reason: string }

/** A call could not be made or answered in time. Reads throw it; they may be repeated freely. */
export class StoreUnavailable extends Error {
  override readonly name: string = 'StoreUnavailable'
}

/** The store is full (etcd: NOSPACE), so it grants no lease; those that stand are renewed all the same. */
export class StoreFull extends StoreUnavailable {
  override readonly name = 'StoreFull'
}

export type Change<Id = unknown, Value = unknown> =
  | { readonly kind: 'put'; readonly collection: AnyCollection; readonly entry: Entry<Id, Value> }
  | {
      readonly kind: 'removed'
      readonly collection: AnyCollection
      readonly id: Id
      readonly revision: Revision
    }

export type FollowStep =
  /** Everything there is, at one revision. First, and again where history was lost: what is not in it is gone. */
  | {
      readonly kind: 'snapshot'
      readonly revision: Revision
      /** The store is another one than before, or was restored: equal revisions do not mean equal entries. */
      readonly anotherHistory?: boolean
      readonly entries: readonly Change[]
      readonly unreadable: readonly Unreadable[]
    }
  /** Whole revisions, in order, none left out and none twice. */
  | {
      readonly kind: 'changes'
      readonly revision: Revision
      readonly changes: readonly Change[]
      readonly unreadable: readonly Unreadable[]
    }
  /** Nothing happened up to this revision: tells a quiet store from a stalled one. */
  | { readonly kind: 'quiet'; readonly revision: Revision }
  /** Only with `since`: the store no longer has the history asked for. The stream ends. */
  | { readonly kind: 'compacted'; readonly oldest: Revision }

/**
 * What is followed: whole collections, or the part of one below a prefix of ids (`placements` of one host). `within` names
 * whole parts: `h1` covers `h1/…` and not `h10/…`.
 */
export interface Scope {
  readonly collection: AnyCollection
  readonly within?: string
}

/** One member of the store, as it says of itself. What only a member that answers can say is left out while it does not. */
export interface StoreMember {
  readonly endpoint: string
  readonly version: string
  readonly reachable: boolean
  readonly leader: boolean
  /** What counts against its quota: as large as it ever was since it was defragmented. */
  readonly dbBytes: number
  /** The id of the etcd cluster that it belongs to. All members have the same. */
  readonly cluster?: string
  /** What of `dbBytes` is no free page. */
  readonly dbBytesInUse?: number
  /** Left out where it does not tell. */
  readonly quotaBytes?: number
  /** How far it is in the log of all members, and how much of that it has applied. */
  readonly raftIndex?: number
  readonly raftAppliedIndex?: number
  /** Whether it knows a leader, be it itself. */
  readonly hasLeader?: boolean
  readonly learner?: boolean
}

export interface StoreStatus {
  readonly kind: 'memory' | 'etcd'
  /** Where a person finds it. */
  readonly endpoints: readonly string[]
  readonly members: readonly StoreMember[]
  /** Raised by members, and in force until somebody disarms them: `NOSPACE`, `CORRUPT`. Left out: none. */
  readonly alarms?: readonly StoreAlarm[]
  /** The newest revision that a member told. */
  readonly revision?: Revision
}

interface StoreAlarm {
  readonly kind: string
  /** Of the member that raised it; its id, where that is none of `endpoints`. */
  readonly endpoint: string
}

export interface Store {
  /** Linearizable. Throws StoreUnavailable. */
  get<Id, Value>(collection: Collection<Id, Value>, id: Id): Promise<Entry<Id, Value> | undefined>
  /** All of a collection or of the part below `within`, at one revision, read in pages. Throws StoreUnavailable. */
  list<Id, Value>(collection: Collection<Id, Value>, within?: string): Promise<Listing<Id, Value>>
  /** Never throws: what happened, or that it is not known. */
  commit(transaction: Transaction): Promise<CommitOutcome>
  /**
   * Follows scopes for ever: a snapshot, then every change in revision order. Survives a lost watch, a compaction and a restart
   * of the store: it goes on from the last delivered revision, or with a new snapshot. With `since` it starts after that
   * revision without a snapshot. Ends when the signal is aborted. While the store is away it waits and tells `onTrouble`.
   */
  follow(
    scopes: readonly Scope[],
    options: {
      readonly since?: Revision
      readonly signal: AbortSignal
      readonly onTrouble?: (reason: string) => void
    },
  ): AsyncIterable<FollowStep>
  /** TTL in whole seconds, at least 2. Throws StoreUnavailable, StoreFull. */
  grant(ttlMs: number): Promise<StoreLease>
  status(): Promise<StoreStatus>
  close(): Promise<void>
}
