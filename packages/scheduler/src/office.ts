/**
 * One leader's term in office: its world, its memory, and one turn of the loop: look at everything, decide purely, act once.
 */
import { attempt } from '@boxcar/core/model/attempt'
import { after, type Clock, elapsed } from '@boxcar/core/model/clock'
import type { ServiceName } from '@boxcar/core/model/ids'
import { World } from '@boxcar/core/model/world'
import type { ServicePlan } from '@boxcar/core/plan/draft'
import { Memory } from '@boxcar/core/plan/memory'
import { type Plan, plan } from '@boxcar/core/plan/plan'
import { commitAll, type Group, type GroupOutcome } from '@boxcar/store/commit'
import type { Term } from '@boxcar/store/election'
import type { EventWriter } from '@boxcar/store/events'
import type { Mirror } from '@boxcar/store/mirror'
import { compareRevisions, type Revision, type Store } from '@boxcar/store/store'
import type { Logger } from 'pino'
import type { Agents } from './agents.ts'
import { errorWrites } from './error-records.ts'
import { Herald } from './herald.ts'
import { Intake } from './intake.ts'
import { type Doing, type Failing, InternalErrors, type Owner } from './internal-errors.ts'
import { Questions } from './questions.ts'
import { Retries } from './retries.ts'
import { groupsOf, type Planned } from './transactions.ts'
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
  readonly #errors: InternalErrors
  readonly #intake: Intake
  /** Errors are not written down before. */
  #writeErrorsAt: number = Number.NEGATIVE_INFINITY
  /** What was written must be seen before more is planned, or it would be done twice; 'unknown': first put a fence. */
  #mustSee: Revision | 'unknown' | undefined
  #troubles: number

  constructor(term: Term, deps: SchedulerDeps) {
    this.#term = term
    this.#deps = deps
    this.#troubles = deps.mirror.troubles
    this.#retries = new Retries(deps.clock)
    this.#errors = new InternalErrors(deps.clock, deps.log, (host, failure) =>
      this.#world.setFailure(host, failure),
    )
    this.#intake = new Intake({
      ...deps,
      world: this.#world,
      errors: this.#errors,
      changed: () => this.wake.ring(),
    })
    this.#herald = new Herald(deps, term, this.#errors)
    this.#watchman = new Watchman(deps.clock, deps.agents, this.#errors)
    this.#questions = new Questions({
      ...deps,
      memory: this.#memory,
      answered: service => {
        this.#world.dirty.add(service)
        this.wake.ring()
      },
    })
  }

  /** Fills the world from the mirror and keeps it fed; call what it returns to stop. */
  takeWorld(): () => void {
    return this.#intake.open()
  }

  async turn(): Promise<void> {
    const { clock } = this.#deps
    const watching = this.#watchman.look(this.#world)
    this.#remark(() => this.#herald.tellOfHosts(watching))
    void this.#herald.write()
    if (await this.#seesOwnWrites()) {
      const { due, heldBack } = this.#retries.take()
      for (const service of due) this.#world.dirty.add(service)
      const since = this.#world.revision
      const unread = this.#intake.unread()
      this.#remark(() => this.#herald.tellUnread(unread))
      const unreadable = this.#intake.unreadServices()
      const policy = { term: this.#term.id, wall: clock.wall(), unreadable, heldBack }
      const planned = plan(this.#world, this.#memory, policy, clock.now())
      for (const question of planned.questions) this.#questions.ask(question, this.#world)
      for (const { service, error } of planned.broken) {
        this.#errors.note(ofService(service), planning, error)
        this.#failed(service, slowRetryMs)
      }
      for (const { host, error } of planned.brokenHosts) this.#intake.noteAck(host, error)
      const busy = new Set([...planned.services, ...planned.broken].map(it => it.service))
      for (const service of due) if (!busy.has(service)) this.#succeeded(service)
      if (planned.unfinished) this.wake.ring()
      await this.#commit(planned, since)
      await this.#writeErrors()
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
    const groups = planned.services
      .flatMap(service => this.#groupsOf(service, { events, term: this.#term.id, since }))
      .sort((a, b) => Number(a.alone === true) - Number(b.alone === true))
    const refused = new Map<ServiceName, Refused>()
    const unsent = new Set<ServiceName>()
    for (let from = 0; from < groups.length; from += groupsAtOnce) {
      const some = groups.slice(from, from + groupsAtOnce)
      for (const { tag, outcome, sent } of await commitAll(store, some, {
        always: [this.#term.guard],
        inFlight: 16,
      })) {
        this.#noteWritten(outcome)
        if (outcome.kind === 'unknown' && !sent) unsent.add(tag)
        else if (outcome.kind !== 'committed' && (outcome.kind !== 'stale' || !refused.has(tag)))
          refused.set(tag, outcome)
      }
      this.#term.progress()
    }
    for (const service of new Set(groups.map(({ tag }) => tag)))
      if (unsent.has(service) && !refused.has(service)) this.#postponed(service)
      else this.#note(service, refused.get(service))
    if (groups.length > 0)
      log.debug({ since, groups: groups.length, ms: elapsed(began, clock.now()) }, 'planned')
  }

  /** None where they cannot be made. */
  #groupsOf(service: ServicePlan, planned: Planned): readonly Group<ServiceName>[] {
    const isSuspect = this.#retries.isSuspect(service.service)
    const groups = this.#errors.contain(ofService(service.service), writing, () =>
      groupsOf(service, planned, isSuspect),
    )
    if (groups === undefined) this.#failed(service.service, slowRetryMs)
    return groups ?? []
  }

  /** Writes down what the leader failed at, where people look for it. */
  async #writeErrors(): Promise<void> {
    const { store, events, clock } = this.#deps
    if (this.#mustSee === 'unknown' || clock.now() < this.#writeErrorsAt) return
    const recorded = { world: this.#world, events, term: this.#term.id, wall: clock.wall() }
    const groups = this.#errors.failing().flatMap((failing): Group<Failing>[] => {
      const made = attempt(() => errorWrites(failing, recorded))
      if ('value' in made && made.value.length > 0) return [{ tag: failing, guards: [], writes: made.value }]
      this.#errors.told(failing) // there is nothing to write, or no way to
      return []
    })
    if (groups.length === 0) return
    for (const { tag, outcome } of await commitAll(store, groups, { always: [this.#term.guard] })) {
      this.#noteWritten(outcome)
      if (outcome.kind === 'committed') this.#errors.told(tag)
      else this.#writeErrorsAt = after(clock.now(), slowRetryMs)
    }
  }

  /** A remark that cannot be made holds up no plan. */
  #remark(make: () => void): void {
    this.#errors.contain({ kind: 'cluster' }, { words: 'telling what it sees of hosts and records' }, make)
  }

  #noteWritten(outcome: GroupOutcome<unknown>['outcome']): void {
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
      this.#herald.fits(service)
      return this.#succeeded(service)
    }
    log.info({ service, outcome: refused }, 'a plan was not committed and is made again')
    if (refused.kind === 'stale') void events.check()
    if (refused.kind === 'too-large') this.#herald.tellTooLarge(service)
    // What was planned from is simply older than what stands: try at once. Anything else needs time to pass.
    const isSuspect = mayHarmOthers(refused, this.#retries.timesFailed(service))
    this.#failed(service, refused.kind === 'stale' ? 0 : slowRetryMs, isSuspect)
    const reason = refusalOf(refused, this.#retries.timesFailed(service))
    if (reason !== undefined) this.#errors.note(ofService(service), committing(refused), reason)
  }

  /** It was planned and all of it is committed. */
  #succeeded(service: ServiceName): void {
    this.#retries.done(service)
    for (const doing of [planning, writing, committing()]) this.#errors.clear(ofService(service), doing)
  }

  /** Its plan was not sent, for what became of another's: it is made again at once. */
  #postponed(service: ServiceName): void {
    this.#world.dirty.add(service)
    this.#retries.postponed(service)
  }

  /** It is planned again when its next try is due, and not before: a time that has come would have it planned at every turn. */
  #failed(service: ServiceName, leastMs: number, isSuspect = false): void {
    this.#memory.wakeAt.delete(service)
    this.#retries.failed(service, leastMs, isSuspect)
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

type Refused = Exclude<GroupOutcome<unknown>['outcome'], { kind: 'committed' }>

/** As often in a row a plan may be refused for what changed meanwhile, or get no answer, before that counts as a failure. */
const timesBeforeTold = 8

/**
 * Whether what shares a transaction with the plan would be refused again with it. A full store refuses whatever it gets, and a plan
 * from before a change is stale once.
 */
function mayHarmOthers({ kind }: Refused, timesBefore: number): boolean {
  switch (kind) {
    case 'unknown':
    case 'invalid':
    case 'too-large':
      return true
    case 'stale':
      return timesBefore > 0
    case 'full':
      return false
  }
}

/** Why a refusal is a failure to be told; nothing where time mends it, or where it is not the service's. */
function refusalOf(refused: Refused, times: number): string | undefined {
  switch (refused.kind) {
    case 'invalid':
      return refused.reason
    case 'too-large':
      return 'it does not fit into one write of the store'
    case 'stale':
      return times < timesBeforeTold
        ? undefined
        : 'the store refuses it: what it was made from has changed each time'
    case 'unknown':
      return times < timesBeforeTold
        ? undefined
        : `the store does not say what became of it: ${refused.reason}`
    case 'full':
      return undefined
  }
}

const ofService = (service: ServiceName): Owner => ({ kind: 'service', service })

const planning: Doing = { words: 'planning it' }
const writing: Doing = { words: 'writing down its plan' }
/** What is too large has an event of its own. */
const committing = (refused?: Refused): Doing => ({
  words: 'committing its plan',
  isTold: refused?.kind === 'too-large',
})
