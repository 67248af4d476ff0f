import { Bell } from '../bell.ts'
import type { Collection } from '../collection.ts'
import { keyOf } from '../collection.ts'
import { Decoder, distinctScopes, type RawEvent, readEntry, scopePrefix } from '../decode.ts'
import {
  type Change,
  type CommitOutcome,
  type Entry,
  type FollowStep,
  type Listing,
  type Revision,
  type Scope,
  type Store,
  StoreFull,
  type StoreLease,
  type StoreMember,
  type StoreStatus,
  StoreUnavailable,
  type Transaction,
  type Unreadable,
} from '../store.ts'
import type { MemoryEtcd } from './memory-etcd.ts'

const usualMember: StoreMember = {
  endpoint: 'memory',
  version: '3.5.13',
  reachable: true,
  leader: true,
  dbBytes: 0,
}

/** As long as a call to a real store waits for its answer. */
const callMs = 1500
const quietMs = 1000

/** What can go wrong between one process and the store, to order. */
export class MemoryFaults {
  readonly changed = new Bell()
  #away = false
  #held = false
  #lostAnswers = 0
  #lostRequests = 0
  #slowRequests = 0
  #underWay: (() => CommitOutcome)[] = []
  #cuts = 0

  /** Nothing gets through, either way, until `comeBack`. Calls fail after their time, as those of a real store do. */
  goAway(): void {
    this.#away = true
    this.changed.ring()
  }

  comeBack(): void {
    this.#away = false
    this.changed.ring()
  }

  get isAway(): boolean {
    return this.#away
  }

  /** The next commits are done, and their answers are lost. */
  loseAnswers(count: number): void {
    this.#lostAnswers += count
  }

  /** The next commits are lost on their way. */
  loseRequests(count: number): void {
    this.#lostRequests += count
  }

  /** The next commits stay under way, unanswered, until `deliverRequests`. */
  delayRequests(count: number): void {
    this.#slowRequests += count
  }

  /** What is under way arrives; says what becomes of it. */
  deliverRequests(): readonly CommitOutcome[] {
    return this.#underWay.splice(0).map(arrive => arrive())
  }

  /** What is followed breaks off once and goes on from where it was. */
  cutWatches(): void {
    this.#cuts += 1
    this.changed.ring()
  }

  get cuts(): number {
    return this.#cuts
  }

  /** What is followed comes late: only when it is let go. Calls go through. */
  holdWatches(): void {
    this.#held = true
  }

  releaseWatches(): void {
    this.#held = false
    this.changed.ring()
  }

  get isHeld(): boolean {
    return this.#held
  }

  takeLostRequest(): boolean {
    if (this.#lostRequests === 0) return false
    this.#lostRequests -= 1
    return true
  }

  takeSlowRequest(arrive: () => CommitOutcome): boolean {
    if (this.#slowRequests === 0) return false
    this.#slowRequests -= 1
    this.#underWay.push(arrive)
    return true
  }

  takeLostAnswer(): boolean {
    if (this.#lostAnswers === 0) return false
    this.#lostAnswers -= 1
    return true
  }
}

/** One process's connection to a shared store in memory. */
export class MemoryStore implements Store {
  readonly faults = new MemoryFaults()
  readonly #world: MemoryEtcd
  readonly #cluster: string
  readonly #closed = new AbortController()

  constructor(world: MemoryEtcd, cluster: string) {
    this.#world = world
    this.#cluster = cluster
  }

  async get<Id, Value>(collection: Collection<Id, Value>, id: Id): Promise<Entry<Id, Value> | undefined> {
    await this.#reach(callMs)
    const raw = this.#world.get(this.#cluster, keyOf(collection, id))
    const read = raw === undefined ? undefined : readEntry(collection, raw)
    // The entry was parsed by this very collection.
    return read !== undefined && 'entry' in read ? (read.entry as Entry<Id, Value>) : undefined
  }

  async list<Id, Value>(collection: Collection<Id, Value>, within?: string): Promise<Listing<Id, Value>> {
    await this.#reach(callMs)
    const { entries, unreadable } = this.#read({ collection, ...(within === undefined ? {} : { within }) })
    // The entries were parsed by this very collection.
    return {
      revision: this.#world.revision,
      entries: entries as readonly Entry<Id, Value>[],
      unreadable,
    }
  }

  async commit(transaction: Transaction): Promise<CommitOutcome> {
    try {
      await this.#reach(callMs)
    } catch (error) {
      return { kind: 'unknown', reason: error instanceof Error ? error.message : String(error) }
    }
    if (this.faults.takeLostRequest()) {
      await this.#world.clock.sleep(callMs)
      return { kind: 'unknown', reason: 'the request was lost' }
    }
    const arrive = (): CommitOutcome => this.#world.commit(this.#cluster, transaction)
    if (this.faults.takeSlowRequest(arrive)) {
      await this.#world.clock.sleep(callMs)
      return { kind: 'unknown', reason: 'the request is under way' }
    }
    const outcome = arrive()
    if (this.faults.takeLostAnswer()) {
      await this.#world.clock.sleep(callMs)
      return { kind: 'unknown', reason: 'the answer was lost' }
    }
    return outcome
  }

  async *follow(
    scopes: readonly Scope[],
    options: {
      readonly since?: Revision
      readonly signal: AbortSignal
      readonly onTrouble?: (reason: string) => void
    },
  ): AsyncGenerator<FollowStep, void, void> {
    const distinct = distinctScopes(scopes)
    const decoder = new Decoder(distinct)
    const ended = AbortSignal.any([options.signal, this.#closed.signal])
    let at = options.since
    let cuts = this.faults.cuts
    while (!ended.aborted) {
      const [changed, written] = [this.faults.changed.rings, this.#world.written.rings]
      if (this.faults.isAway) {
        options.onTrouble?.('the store is away')
        await this.faults.changed.next(ended, changed)
        continue
      }
      if (this.faults.cuts !== cuts) {
        cuts = this.faults.cuts
        options.onTrouble?.('the watch was cut')
        await Promise.resolve()
        continue
      }
      if (this.faults.isHeld) {
        await this.faults.changed.next(ended, changed)
        continue
      }
      if (at === undefined) {
        const step = this.#snapshot(distinct)
        at = step.revision
        yield step
        continue
      }
      const news = this.#world.since(at)
      if ('compacted' in news) {
        if (options.since !== undefined) {
          yield { kind: 'compacted', oldest: news.compacted }
          return
        }
        at = undefined
        continue
      }
      const last = news.happenings.at(-1)
      if (last === undefined) {
        await this.#untilNews(ended, changed, written)
        if (!ended.aborted && !this.faults.isAway && this.#world.written.rings === written)
          yield { kind: 'quiet', revision: at }
        continue
      }
      at = last.revision
      const own = news.happenings.filter(({ cluster }) => cluster === this.#cluster).flatMap(h => h.events)
      const step = decode(decoder, own, at)
      if (step.changes.length > 0 || step.unreadable.length > 0) yield step
      else yield { kind: 'quiet', revision: at }
      if (ended.aborted) return
    }
  }

  async grant(ttlMs: number): Promise<StoreLease> {
    await this.#reach(callMs)
    if (this.#world.full) throw new StoreFull('the store is full')
    const { id, ttlMs: whole } = this.#world.grant(ttlMs)
    return {
      id,
      ttlMs: whole,
      renew: async timeoutMs => {
        await this.#reach(timeoutMs)
        return this.#world.renew(id)
      },
      revoke: async () => {
        if (!this.faults.isAway) this.#world.revoke(id)
      },
    }
  }

  async status(): Promise<StoreStatus> {
    const { alarms, memberSays, revision } = this.#world
    const member: StoreMember = { ...usualMember, ...memberSays }
    return {
      kind: 'memory',
      endpoints: [member.endpoint],
      members: [this.faults.isAway ? { ...member, reachable: false, version: '', leader: false } : member],
      alarms: this.faults.isAway ? [] : alarms.map(kind => ({ kind, endpoint: member.endpoint })),
      ...(this.faults.isAway ? {} : { revision }),
    }
  }

  async close(): Promise<void> {
    this.#closed.abort()
  }

  async #reach(timeoutMs: number): Promise<void> {
    if (this.#closed.signal.aborted) throw new StoreUnavailable('the store was closed')
    if (!this.faults.isAway) return
    await this.#world.clock.sleep(timeoutMs)
    throw new StoreUnavailable(`no answer within ${timeoutMs} ms`)
  }

  async #untilNews(ended: AbortSignal, changed: number, written: number): Promise<void> {
    const waiting = new AbortController()
    const stop = (): void => waiting.abort()
    ended.addEventListener('abort', stop, { once: true })
    const faults = this.faults.changed.next(waiting.signal, changed)
    await Promise.race([
      faults,
      this.#world.written.within(this.#world.clock, quietMs, waiting.signal, written),
    ])
    waiting.abort()
    ended.removeEventListener('abort', stop)
  }

  #snapshot(scopes: readonly Scope[]): Extract<FollowStep, { kind: 'snapshot' }> {
    const entries: Change[] = []
    const unreadable: Unreadable[] = []
    for (const scope of scopes) {
      const read = this.#read(scope)
      for (const entry of read.entries) entries.push({ kind: 'put', collection: scope.collection, entry })
      unreadable.push(...read.unreadable)
    }
    return { kind: 'snapshot', revision: this.#world.revision, entries, unreadable }
  }

  #read(scope: Scope): { entries: readonly Entry<unknown, unknown>[]; unreadable: readonly Unreadable[] } {
    const entries: Entry<unknown, unknown>[] = []
    const unreadable: Unreadable[] = []
    for (const raw of this.#world.list(this.#cluster, scopePrefix(scope))) {
      const read = readEntry(scope.collection, raw)
      if ('entry' in read) entries.push(read.entry)
      else unreadable.push(read.unreadable)
    }
    return { entries, unreadable }
  }
}

function decode(
  decoder: Decoder,
  events: readonly RawEvent[],
  revision: Revision,
): Extract<FollowStep, { kind: 'changes' }> {
  const changes: Change[] = []
  const unreadable: Unreadable[] = []
  for (const event of events) decoder.event(event, changes, unreadable)
  return { kind: 'changes', revision, changes, unreadable }
}
