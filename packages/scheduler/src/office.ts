/**
 * One leader's term in office: its world, its memory, and one turn of the loop: look at everything, decide purely, act once.
 */
import { type Clock, elapsed } from '@boxcar/core/model/clock'
import type { ServiceName } from '@boxcar/core/model/ids'
import { World } from '@boxcar/core/model/world'
import { Memory } from '@boxcar/core/plan/memory'
import { type Plan, plan } from '@boxcar/core/plan/plan'
import { commitAll } from '@boxcar/store/commit'
import type { Term } from '@boxcar/store/election'
import type { EventWriter } from '@boxcar/store/events'
import type { Mirror } from '@boxcar/store/mirror'
import { type CommitOutcome, compareRevisions, type Revision, type Store } from '@boxcar/store/store'
import type { Logger } from 'pino'
import type { Agents } from './agents.ts'
import { followed, unreadableChanges, unreadOf, worldChange } from './feed.ts'
import { Herald } from './herald.ts'
import { Questions } from './questions.ts'
import { Retries } from './retries.ts'
import { groupsOf } from './transactions.ts'
import { Wake } from './wake.ts'
import { type Watching, Watchman } from './watchman.ts'

export interface SchedulerDeps {
  readonly store: Store
  readonly mirror: Mirror
  readonly events: EventWriter
  readonly agents: Agents
  readonly clock: Clock
  readonly log: Logger
}

/** A large plan is committed in parts of so many services' writes, with a sign of life between. */
const groupsAtOnce = 500
/** A store that is full or away, and a plan that fails, are tried again after so long at least. */
const slowRetryMs = 1000
const askAgainMs = 200

/** One leader's term in office: its world, its memory, and one turn of the loop. */
export class Office {
  readonly wake = new Wake()
  readonly #term: Term
  readonly #deps: SchedulerDeps
  readonly #world = new World()
  readonly #memory = new Memory()
  readonly #watchman: Watchman
  readonly #questions: Questions
  readonly #herald: Herald
  readonly #retries: Retries
  /** What was written must be seen before more is planned, or it would be done twice; 'unknown': first put a fence. */
  #mustSee: Revision | 'unknown' | undefined
  #troubles: number

  constructor(term: Term, deps: SchedulerDeps) {
    this.#term = term
    this.#deps = deps
    this.#troubles = deps.mirror.troubles
    this.#retries = new Retries(deps.clock)
    this.#herald = new Herald(deps, term)
    this.#watchman = new Watchman(deps.clock, deps.agents)
    this.#questions = new Questions(deps.clock, deps.agents, this.#memory, service => {
      this.#world.dirty.add(service)
      this.wake.ring()
    })
  }

  /** Fills the world from the mirror and keeps it fed; call what it returns to stop. */
  takeWorld(): () => void {
    const { mirror, clock } = this.#deps
    const now = clock.now()
    for (const collection of followed)
      for (const entry of mirror.of(collection).values()) {
        const change = worldChange({ kind: 'put', collection, entry })
        if (change !== undefined) this.#world.apply(change, now)
      }
    for (const change of unreadableChanges(mirror.unreadable.keys())) this.#world.apply(change, now)
    this.#world.revision = mirror.revision
    this.wake.ring() // a new leader acts at once
    return mirror.onChange((changes, revision) => {
      const at = clock.now()
      for (const change of changes) {
        const translated = worldChange(change, mirror.unreadable)
        if (translated !== undefined) this.#world.apply(translated, at)
      }
      this.#world.revision = revision
      this.wake.ring()
    })
  }

  async turn(): Promise<void> {
    const { clock } = this.#deps
    const watching = this.#watchman.look(this.#world)
    this.#herald.tellOfHosts(watching)
    if (await this.#seesOwnWrites()) {
      const retried = this.#retries.take(this.#world.dirty)
      const since = this.#world.revision
      const unread = unreadOf(this.#deps.mirror.unreadable.keys())
      this.#herald.tellUnread(unread)
      const policy = { term: this.#term.id, wall: clock.wall(), unreadable: unread.services }
      const planned = plan(this.#world, this.#memory, policy, clock.now())
      for (const question of planned.questions) this.#questions.ask(question, this.#world)
      for (const { service, error } of planned.broken) {
        this.#deps.log.error({ err: error, service }, 'a service cannot be planned: this is a bug')
        this.#failed(service, slowRetryMs)
      }
      const busy = new Set([...planned.services, ...planned.broken].map(it => it.service))
      for (const service of retried) if (!busy.has(service)) this.#retries.done(service)
      if (planned.unfinished) this.wake.ring()
      await this.#commit(planned, since)
    }
    this.#wakeInTime(watching)
  }

  /** After a doubtful commit whatever is still under way is shut out, and nothing is planned until the mirror is as far. */
  async #seesOwnWrites(): Promise<boolean> {
    const { mirror } = this.#deps
    if (this.#mustSee === 'unknown') {
      const fenced = await this.#term.fence()
      if (fenced === undefined) return false
      this.#mustSee = fenced
    }
    if (this.#mustSee !== undefined && compareRevisions(mirror.revision, this.#mustSee) < 0) return false
    this.#mustSee = undefined
    return true
  }

  async #commit(planned: Plan, since: Revision): Promise<void> {
    const { store, events, clock, log } = this.#deps
    const began = clock.now()
    const groups = planned.services.flatMap(service =>
      groupsOf(service, { events, term: this.#term.id, since }),
    )
    const refused = new Map<ServiceName, Refused>()
    for (let from = 0; from < groups.length; from += groupsAtOnce) {
      const some = groups.slice(from, from + groupsAtOnce)
      for (const { tag, outcome } of await commitAll(store, some, {
        always: [this.#term.guard],
        inFlight: 16,
      })) {
        this.#noteWritten(outcome)
        if (outcome.kind !== 'committed' && (outcome.kind !== 'stale' || !refused.has(tag)))
          refused.set(tag, outcome)
      }
      this.#term.progress()
    }
    for (const { service } of planned.services) this.#note(service, refused.get(service))
    if (groups.length > 0)
      log.debug({ since, groups: groups.length, ms: elapsed(began, clock.now()) }, 'planned')
  }

  #noteWritten(outcome: CommitOutcome): void {
    const newest = this.#mustSee
    if (outcome.kind === 'unknown') this.#mustSee = 'unknown'
    if (outcome.kind !== 'committed' || newest === 'unknown') return
    if (newest === undefined || compareRevisions(outcome.revision, newest) > 0)
      this.#mustSee = outcome.revision
  }

  /** What became of a service's plan; nothing was refused where all of it is committed. */
  #note(service: ServiceName, refused: Refused | undefined): void {
    const { events, log } = this.#deps
    if (refused === undefined) {
      this.#retries.done(service)
      this.#herald.fits(service)
      return
    }
    log.info({ service, outcome: refused }, 'a plan was not committed and is made again')
    if (refused.kind === 'stale') void events.check()
    if (refused.kind === 'too-large') this.#herald.tellTooLarge(service)
    // What was planned from is simply older than what stands: try at once. Anything else needs time to pass.
    this.#failed(service, refused.kind === 'stale' ? 0 : slowRetryMs)
  }

  /** It is planned again when its next try is due, and not before: a time that has come would have it planned at every turn. */
  #failed(service: ServiceName, leastMs: number): void {
    this.#memory.wakeAt.delete(service)
    this.#retries.failed(service, leastMs)
  }

  /** What the store says of leases just after it was away, however shortly, is not believed for a while. */
  noticeTrouble(): void {
    const { mirror } = this.#deps
    if (mirror.trouble() !== undefined || mirror.troubles !== this.#troubles) this.#watchman.storeWasAway()
    this.#troubles = mirror.troubles
  }

  #wakeInTime({ nextLookMs }: Watching): void {
    const now = this.#deps.clock.now()
    let soonest: number = nextLookMs ?? Number.POSITIVE_INFINITY
    if (this.#mustSee === undefined) {
      for (const at of this.#memory.wakeAt.values()) soonest = Math.min(soonest, at - now)
      soonest = Math.min(soonest, this.#retries.nextAt - now)
    } else soonest = Math.min(soonest, askAgainMs) // until then nothing is planned, whatever is due
    this.wake.setLimit(Math.max(soonest, 1))
  }
}

type Refused = Exclude<CommitOutcome, { kind: 'committed' }>
