/**
 * A store in memory that many processes can share, as honest as the real one: revisions, leases on the clock it is given,
 * history that can be compacted, guards, limits, and two clusters that do not see each other. It stands in for etcd in tests and
 * in the simulation, and passes the same contract suite.
 */
import type { Clock, Instant } from '@boxcar/core/model/clock'
import { after } from '@boxcar/core/model/clock'
import { Bell } from '../bell.ts'
import type { RawEntry, RawEvent } from '../decode.ts'
import { assertDistinctKeys, fits } from '../limits.ts'
import {
  type CommitOutcome,
  compareRevisions,
  type Guard,
  type LeaseId,
  type Revision,
  type StoreMember,
  type Transaction,
} from '../store.ts'
import { MemoryStore } from './memory-store.ts'

/** What one revision did. The keys are those below the cluster's prefix. */
export interface Happening {
  readonly revision: Revision
  readonly cluster: string
  readonly events: readonly RawEvent[]
}

interface HeldLease {
  readonly id: LeaseId
  readonly ttlMs: number
  readonly keys: Set<string>
  readonly over: AbortController
  expiresAt: Instant
}

/** etcd deletes 0 to 500 ms after a lease's time is over, never before. */
const expiryLagMs = 250

/** Keeps at least this many revisions without a compaction asked for, so that long simulations do not grow for ever. */
const historyLimit = 200_000

export class MemoryEtcd {
  readonly clock: Clock
  /** Rings whenever something was written. */
  readonly written = new Bell()
  /** As if the database had reached its quota: writes and leases are refused. */
  full = false
  /** What its one member says of itself besides. */
  memberSays: Partial<StoreMember> = {}
  readonly #entries = new Map<string, Map<string, RawEntry>>()
  readonly #leases = new Map<LeaseId, HeldLease>()
  readonly #observers = new Set<(happening: Happening) => void>()
  #history: Happening[] = []
  #revision = 1
  #oldest = 1
  #nextLease = 1

  constructor(clock: Clock) {
    this.clock = clock
  }

  /** A connection of one process, with faults of its own. */
  connect({ cluster }: { readonly cluster: string }): MemoryStore {
    return new MemoryStore(this, cluster)
  }

  get alarms(): readonly string[] {
    return this.full ? ['NOSPACE'] : []
  }

  get revision(): Revision {
    return String(this.#revision) as Revision
  }

  /** Hears every revision as it is made, in order: for the checks of a simulation. */
  observe(observer: (happening: Happening) => void): () => void {
    this.#observers.add(observer)
    return () => void this.#observers.delete(observer)
  }

  /** Forgets the history before the newest revision. */
  compact(): void {
    this.#oldest = this.#revision
    this.#history = this.#history.slice(-1)
  }

  /** Takes a lease and its keys away, as an etcd does that believes it has expired. */
  revoke(id: LeaseId): void {
    const lease = this.#leases.get(id)
    if (lease === undefined) return
    this.#leases.delete(id)
    lease.over.abort()
    const byCluster = new Map<string, RawEvent[]>()
    const revision = String(this.#revision + 1) as Revision
    for (const full of lease.keys) {
      const [cluster, key] = apart(full)
      this.#bucket(cluster, key).delete(key)
      const events = byCluster.get(cluster) ?? []
      byCluster.set(cluster, events)
      events.push({ kind: 'removed', key, revision })
    }
    for (const [cluster, events] of byCluster) this.#record(cluster, events)
  }

  /** Takes every lease away at once, as a resumed etcd leader may. */
  revokeAll(): void {
    for (const id of [...this.#leases.keys()]) this.revoke(id)
  }

  /** Ends all leases' clocks; the keys stay. Only for tidy ends of tests on the real clock. */
  close(): void {
    for (const lease of this.#leases.values()) lease.over.abort()
  }

  get(cluster: string, key: string): RawEntry | undefined {
    return this.#bucket(cluster, key).get(key)
  }

  /** Everything of a cluster below a prefix that holds at least a collection's name, by key. */
  list(cluster: string, prefix: string): readonly RawEntry[] {
    const found: RawEntry[] = []
    for (const [key, entry] of this.#bucket(cluster, prefix)) if (key.startsWith(prefix)) found.push(entry)
    return found.sort((a, b) => (a.key < b.key ? -1 : 1))
  }

  /** At most a thousand revisions after one, or nothing where they were compacted or never were. */
  since(
    revision: Revision,
  ): { readonly happenings: readonly Happening[] } | { readonly compacted: Revision } {
    const from = Number(revision) + 1
    if (from < this.#oldest || from > this.#revision + 1)
      return { compacted: String(this.#oldest) as Revision }
    const first = this.#history[0]
    const start = first === undefined ? 0 : Math.max(0, from - Number(first.revision))
    return { happenings: this.#history.slice(start, start + 1000) }
  }

  commit(cluster: string, transaction: Transaction): CommitOutcome {
    assertDistinctKeys(transaction)
    if (!fits(transaction)) return { kind: 'too-large' }
    if (this.full && transaction.writes.some(write => write.kind === 'put')) return { kind: 'full' }
    const stale: CommitOutcome = { kind: 'stale', revision: this.revision }
    if (!transaction.guards.every(guard => this.#holds(cluster, guard))) return stale
    if (transaction.writes.some(w => w.kind === 'put' && w.lease !== undefined && !this.#leases.has(w.lease)))
      return stale
    const revision = String(this.#revision + 1) as Revision
    const events: RawEvent[] = []
    for (const write of transaction.writes) {
      const bucket = this.#bucket(cluster, write.key)
      const before = bucket.get(write.key)
      if (before?.lease !== undefined) this.#leases.get(before.lease)?.keys.delete(`${cluster}\n${write.key}`)
      if (write.kind === 'remove') {
        if (bucket.delete(write.key)) events.push({ kind: 'removed', key: write.key, revision })
        continue
      }
      const entry: RawEntry = {
        key: write.key,
        json: write.json,
        created: before?.created ?? revision,
        modified: revision,
        lease: write.lease,
      }
      bucket.set(write.key, entry)
      if (write.lease !== undefined) this.#leases.get(write.lease)?.keys.add(`${cluster}\n${write.key}`)
      events.push({ kind: 'put', entry })
    }
    this.#record(cluster, events)
    return { kind: 'committed', revision: this.revision }
  }

  grant(ttlMs: number): { readonly id: LeaseId; readonly ttlMs: number } {
    const id = String(7_587_000_000_000_000_000n + BigInt(this.#nextLease)) as LeaseId
    this.#nextLease += 1
    const whole = Math.max(2, Math.ceil(ttlMs / 1000)) * 1000
    const lease: HeldLease = {
      id,
      ttlMs: whole,
      keys: new Set(),
      over: new AbortController(),
      expiresAt: after(this.clock.now(), whole),
    }
    this.#leases.set(id, lease)
    void this.#expire(lease)
    return { id, ttlMs: whole }
  }

  renew(id: LeaseId): 'renewed' | 'gone' {
    const lease = this.#leases.get(id)
    if (lease === undefined) return 'gone'
    lease.expiresAt = after(this.clock.now(), lease.ttlMs)
    return 'renewed'
  }

  async #expire(lease: HeldLease): Promise<void> {
    while (!lease.over.signal.aborted) {
      const left = lease.expiresAt + expiryLagMs - this.clock.now()
      if (left <= 0) return this.revoke(lease.id)
      await this.clock.sleep(left, lease.over.signal)
    }
  }

  #holds(cluster: string, guard: Guard): boolean {
    if (guard.kind === 'collection-unchanged') {
      for (const entry of this.#bucket(cluster, `${guard.collection.name}/`).values())
        if (compareRevisions(entry.modified, guard.since) > 0) return false
      return true
    }
    const entry = this.get(cluster, guard.key)
    switch (guard.kind) {
      case 'absent':
        return entry === undefined
      case 'unleased':
        return entry?.lease === undefined
      case 'created':
        return entry?.created === guard.at
      case 'unchanged':
        return entry !== undefined && compareRevisions(entry.modified, guard.since) <= 0
    }
  }

  #record(cluster: string, events: readonly RawEvent[]): void {
    if (events.length === 0) return
    this.#revision += 1
    const happening: Happening = { revision: this.revision, cluster, events }
    this.#history.push(happening)
    if (this.#history.length > historyLimit * 2) {
      this.#history = this.#history.slice(-historyLimit)
      this.#oldest = Number(this.#history[0]?.revision ?? this.#oldest)
    }
    for (const observer of this.#observers) observer(happening)
    this.written.ring()
  }

  #bucket(cluster: string, key: string): Map<string, RawEntry> {
    const name = `${cluster}\n${key.slice(0, key.indexOf('/'))}`
    const bucket = this.#entries.get(name)
    if (bucket !== undefined) return bucket
    const fresh = new Map<string, RawEntry>()
    this.#entries.set(name, fresh)
    return fresh
  }
}

const apart = (full: string): readonly [string, string] => {
  const cut = full.indexOf('\n')
  return [full.slice(0, cut), full.slice(cut + 1)]
}
