/**
 * Who leads. One leader key, created only where it is absent, under a lease of the candidate; its create revision is the term,
 * and every write of a leader is guarded by it, so a paused ex-leader cannot write. Belief ends earlier than the lease: by an
 * own deadline counted from when the last good renewal was sent. What a watch says only wakes; the key itself is read.
 *
 * The guard is that the key was not written since: not by another leader, and not by this one, which writes it anew to shut
 * out those transactions of its own of which nobody knows whether they are still under way.
 *
 * A record without a lease is void: it was copied by key and value (`etcdctl make-mirror`, a restore by script), or put by hand,
 * and nobody can renew it. Once it has stood for as long as one whose record it was put over may believe, a candidate removes it,
 * guarded by its having no lease, and then creates its own in a second transaction: a put over it would keep its create
 * revision, and etcd does not take two writes of one key in one transaction.
 *
 * A term whose key is gone is over for ever. A term beyond its deadline pauses, and goes on if the key turns out to stand.
 */
import type { Chance, Clock, Instant } from '@boxcar/core/model/clock'
import { Bell } from './bell.ts'
import { absent, living, put, remove, unchanged, unleased } from './collection.ts'
import { type LeaderRecord, leaders } from './keys.ts'
import { ProgressGate, Renewal } from './lease.ts'
import { type Log, silent } from './log.ts'
import {
  compareRevisions,
  type Entry,
  type Guard,
  type Revision,
  type Store,
  type StoreLease,
  StoreUnavailable,
  type Write,
} from './store.ts'

export interface CampaignOptions {
  readonly store: Store
  readonly clock: Clock
  readonly chance: Chance
  /** Where the leader is reached; others read it from the key. */
  readonly address: string
  /** 3000 unless told; also the time within which a leader's loop must say `progress()`. */
  readonly ttlMs?: number
  readonly signal: AbortSignal
  readonly log?: Log
}

export interface Term {
  /** The leader key's create revision; rises from term to term. */
  readonly id: Revision
  /** Holds as long as the term does and no fence was put since it was read; to be in every transaction of the leader. */
  readonly guard: Guard
  /** Aborted when the term is over for good. */
  readonly signal: AbortSignal
  /** Whether we may act just now: not over, and the deadline has not passed. May become true again after a pause. */
  isHeld(): boolean
  /** Until when we may act if nothing more is heard. */
  heldUntil(): Instant
  /** The leader's main loop got somewhere; without it for one TTL nothing is renewed. Say it at least each second. */
  progress(): void
  /**
   * After an outcome that is unknown, before deciding anew: of all that was sent under this term, what is not done at the
   * revision that this gives is never done. Nothing where the store did not do it: perhaps later. Never throws.
   */
  fence(): Promise<Revision | undefined>
  /** Ends the term and gives the key away at once. */
  resign(): Promise<void>
}

/** Under which the key is or may yet be created, with the token that tells it from any other's. */
interface Stake {
  readonly lease: StoreLease
  /** When the grant was sent. */
  readonly sent: Instant
  readonly token: string
}

/** A candidate looks at the key this often, woken or not. */
const lookMs = 1000
const leaderId = 'self'

/**
 * Stands for election until the signal is aborted; yields each term won, one at a time. Asking for the next term, or leaving
 * the loop, resigns the one in hand. Never throws.
 */
export async function* campaign(options: CampaignOptions): AsyncGenerator<Term, void, void> {
  const { store, signal, clock, log = silent } = options
  const stop = new AbortController()
  const running = AbortSignal.any([signal, stop.signal])
  const bell = new Bell()
  const listening = listen(store, bell, running)
  const candidate = new Candidate(options)
  let term: HeldTerm | undefined
  try {
    while (!signal.aborted) {
      const { rings } = bell
      term = await candidate.tryToWin(bell)
      if (term === undefined) {
        await bell.within(clock, lookMs, running, rings)
        continue
      }
      log.info({ term: term.id }, 'won the election')
      yield term
      await term.resign()
    }
  } finally {
    await term?.resign()
    stop.abort()
    await listening
    await candidate.leave()
  }
}

async function listen(store: Store, bell: Bell, signal: AbortSignal): Promise<void> {
  for await (const step of store.follow([{ collection: leaders }], { signal }))
    if (step.kind !== 'quiet') bell.ring()
}

class Candidate {
  readonly #options: CampaignOptions
  readonly #ttlMs: number
  #stake: Stake | undefined
  /** Since when we were kept from creating the key by what is no living record. */
  #refusedSince: Instant | undefined

  constructor(options: CampaignOptions) {
    this.#options = options
    this.#ttlMs = options.ttlMs ?? 3000
  }

  /** Looks at the key, and creates it where it is absent. */
  async tryToWin(bell: Bell): Promise<HeldTerm | undefined> {
    const { store, clock, address, chance, signal } = this.#options
    try {
      // An unknown outcome is settled by looking again: the key tells by its token whose it is.
      for (let attempt = 0; attempt < 3 && !signal.aborted; attempt += 1) {
        const entry = living(await store.get(leaders, leaderId))
        if (entry !== undefined) {
          this.#refusedSince = undefined
          return this.#isOurs(entry) ? this.#take(entry.created, bell) : undefined
        }
        const stake = await this.#freshStake(clock, chance)
        const outcome = await store.commit({
          guards: [absent(leaders, leaderId)],
          writes: [leaderKey(address, stake)],
        })
        if (outcome.kind === 'committed') return this.#take(outcome.revision, bell)
        if (outcome.kind === 'stale') {
          if (!(await this.#removeVoid(clock.now()))) return undefined
        } else if (outcome.kind !== 'unknown') return undefined
      }
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) throw error
      this.#refusedSince = undefined // meanwhile another one may have led
    }
    return undefined
  }

  /**
   * What kept us from creating the key may be a record without a lease, also one that cannot be read. However late it lands,
   * the removal never takes a record that somebody holds. Says whether no such record is left.
   */
  async #removeVoid(now: Instant): Promise<boolean> {
    const { store, log = silent } = this.#options
    this.#refusedSince ??= now
    // Who leads looks each second, and believes for less than one TTL without a renewal.
    if (now - this.#refusedSince < this.#ttlMs + lookMs) return false
    const outcome = await store.commit({
      guards: [unleased(leaders, leaderId)],
      writes: [remove(leaders, leaderId)],
    })
    if (outcome.kind !== 'committed') return outcome.kind === 'unknown'
    this.#refusedSince = undefined
    // Not shown: nothing is amiss any more; before, screens say that nobody leads, and why.
    log.warn({}, 'a leader record without a lease, which nobody held, is out of the way')
    return true
  }

  async leave(): Promise<void> {
    await this.#stake?.lease.revoke()
  }

  #isOurs(entry: Entry<string, LeaderRecord>): boolean {
    return this.#stake !== undefined && isUnder(entry, this.#stake)
  }

  /** A lease with at least half its time left. */
  async #freshStake(clock: Clock, chance: Chance): Promise<Stake> {
    if (this.#stake !== undefined && clock.now() - this.#stake.sent < this.#ttlMs / 2) return this.#stake
    const sent = clock.now()
    const lease = await this.#options.store.grant(this.#ttlMs)
    this.#stake = { lease, sent, token: chance.id() }
    return this.#stake
  }

  #take(id: Revision, bell: Bell): HeldTerm {
    const stake = this.#stake
    if (stake === undefined) throw new Error('a term is won under a lease')
    this.#stake = undefined
    this.#refusedSince = undefined
    return new HeldTerm(id, stake, this.#options, this.#ttlMs, bell)
  }
}

const isUnder = (entry: Entry<string, LeaderRecord>, { lease, token }: Stake): boolean =>
  entry.value.token === token && entry.lease === lease.id

const leaderKey = (address: string, { lease, token }: Stake): Write => {
  const value: LeaderRecord = { address, token }
  return put(leaders, leaderId, value, lease.id)
}

class HeldTerm implements Term {
  readonly id: Revision
  readonly signal: AbortSignal
  readonly #over = new AbortController()
  readonly #options: CampaignOptions
  readonly #stake: Stake
  readonly #gate: ProgressGate
  readonly #renewal: Renewal
  readonly #loops: Promise<unknown>
  readonly #log: Log
  /** When the key was last written, as far as we know. */
  #written: Revision
  #resigned: Promise<void> | undefined
  #gone = false

  constructor(id: Revision, stake: Stake, options: CampaignOptions, ttlMs: number, bell: Bell) {
    const { clock, log = silent } = options
    this.id = id
    this.#written = id
    this.signal = this.#over.signal
    this.#options = options
    this.#log = log
    this.#stake = stake
    this.#gate = new ProgressGate(clock, ttlMs)
    this.#renewal = new Renewal({
      lease: stake.lease,
      clock,
      sent: stake.sent,
      gate: this.#gate,
      log,
      confirm: () => this.#look(),
    })
    this.#loops = Promise.all([this.#renew(), this.#watch(bell, clock)])
    // The key itself is given away once the loop that holds the term has put down what it had in hand.
    const stopped = (): void => this.#end('stopped')
    if (options.signal.aborted) stopped()
    else options.signal.addEventListener('abort', stopped, { once: true, signal: this.signal })
  }

  /** It stands, and was not written later: so it is also still the one created with the term. */
  get guard(): Guard {
    return unchanged(leaders, leaderId, this.#written)
  }

  isHeld(): boolean {
    return !this.#over.signal.aborted && this.#options.clock.now() < this.#renewal.goodUntil()
  }

  heldUntil(): Instant {
    return this.#renewal.goodUntil()
  }

  progress(): void {
    this.#gate.progress()
  }

  async fence(): Promise<Revision | undefined> {
    // An earlier fence of unknown outcome may have been put.
    if ((await this.#look()) !== 'ours') return undefined
    const { store, address } = this.#options
    const outcome = await store.commit({ guards: [this.guard], writes: [leaderKey(address, this.#stake)] })
    if (outcome.kind !== 'committed') return undefined
    this.#written = outcome.revision
    return outcome.revision
  }

  resign(): Promise<void> {
    this.#resigned ??= this.#giveAway()
    return this.#resigned
  }

  async #giveAway(): Promise<void> {
    // First stop acting, then let others in.
    this.#end('resigned')
    if (!this.#gone) {
      await this.#options.store.commit({ guards: [this.guard], writes: [remove(leaders, leaderId)] })
    }
    await this.#stake.lease.revoke()
    await this.#loops
  }

  async #renew(): Promise<void> {
    const end = await this.#renewal.run(this.signal)
    if (end === 'gone') this.#lost('the leader key is gone with its lease')
  }

  /** The key may go or change without its lease, by a person or a restore. */
  async #watch(bell: Bell, clock: Clock): Promise<void> {
    while (!this.signal.aborted) {
      await bell.within(clock, lookMs, this.signal)
      if (this.signal.aborted) return
      if ((await this.#look()) === 'gone') this.#lost('the leader key is gone')
    }
  }

  async #look(): Promise<'ours' | 'gone' | 'unknown'> {
    try {
      const entry = await this.#options.store.get(leaders, leaderId)
      // Written over by somebody else it no longer goes with our lease: nobody could follow us.
      if (entry?.created !== this.id || !isUnder(entry, this.#stake)) return 'gone'
      if (compareRevisions(entry.modified, this.#written) > 0) this.#written = entry.modified
      return 'ours'
    } catch {
      return 'unknown'
    }
  }

  #lost(reason: string): void {
    this.#gone = true
    this.#end(reason)
  }

  #end(reason: string): void {
    if (this.signal.aborted) return
    this.#log.info({ term: this.id, reason }, 'the term is over')
    this.#over.abort()
  }
}
