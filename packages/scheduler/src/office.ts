/**
 * One leader's term in office: its world, its memory, and one turn of the loop: look at everything, decide purely, act once.
 */
import { type Clock, elapsed } from '@boxcar/core/model/clock'
import { byId, type HostId, parseServiceName, type ServiceName, serviceParts } from '@boxcar/core/model/ids'
import { World } from '@boxcar/core/model/world'
import { Memory } from '@boxcar/core/plan/memory'
import { type Plan, plan } from '@boxcar/core/plan/plan'
import { commitAll } from '@boxcar/store/commit'
import type { Term } from '@boxcar/store/election'
import type { EventText, EventWriter } from '@boxcar/store/events'
import { hosts } from '@boxcar/store/keys'
import type { Mirror } from '@boxcar/store/mirror'
import { type CommitOutcome, compareRevisions, type Revision, type Store } from '@boxcar/store/store'
import type { Logger } from 'pino'
import type { Agents } from './agents.ts'
import { followed, unreadableChanges, worldChange } from './feed.ts'
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
  readonly #retries: Retries
  /** What was written must be seen before more is planned, or it would be done twice; 'unknown': first put a fence. */
  #mustSee: Revision | 'unknown' | undefined
  #troubles: number
  #toldHeld: string | undefined
  #toldCutOff: ReadonlySet<HostId> = new Set()
  #toldUnreadable = ''
  readonly #toldTooLarge = new Set<ServiceName>()

  constructor(term: Term, deps: SchedulerDeps) {
    this.#term = term
    this.#deps = deps
    this.#troubles = deps.mirror.troubles
    this.#retries = new Retries(deps.clock)
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
    this.#tellHeld(watching)
    this.#tellCutOff(watching)
    if (await this.#seesOwnWrites()) {
      const retried = this.#retries.take(this.#world.dirty)
      const since = this.#world.revision
      const policy = { term: this.#term.id, wall: clock.wall(), unreadable: this.#unreadable() }
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
      }))
        if (outcome.kind === 'committed') this.#mustSeeAlso(outcome.revision)
        else if (outcome.kind !== 'stale' || !refused.has(tag)) refused.set(tag, outcome)
      this.#term.progress()
    }
    for (const { service } of planned.services) this.#note(service, refused.get(service))
    if (groups.length > 0)
      log.debug({ since, groups: groups.length, ms: elapsed(began, clock.now()) }, 'planned')
  }

  #mustSeeAlso(revision: Revision): void {
    const newest = this.#mustSee
    if (newest === undefined || (newest !== 'unknown' && compareRevisions(revision, newest) > 0))
      this.#mustSee = revision
  }

  /** What became of a service's plan; nothing was refused where all of it is committed. */
  #note(service: ServiceName, refused: Refused | undefined): void {
    const { events, log } = this.#deps
    if (refused === undefined) {
      this.#retries.done(service)
      this.#toldTooLarge.delete(service)
      return
    }
    log.info({ service, outcome: refused }, 'a plan was not committed and is made again')
    if (refused.kind === 'unknown') this.#mustSee = 'unknown'
    if (refused.kind === 'stale') void events.check()
    if (refused.kind === 'too-large') this.#tellTooLarge(service)
    // What was planned from is simply older than what stands: try at once. Anything else needs time to pass.
    this.#failed(service, refused.kind === 'stale' ? 0 : slowRetryMs)
  }

  /** It is planned again when its next try is due, and not before: a time that has come would have it planned at every turn. */
  #failed(service: ServiceName, leastMs: number): void {
    this.#memory.wakeAt.delete(service)
    this.#retries.failed(service, leastMs)
  }

  /** Said once, until something of the service is committed again. */
  #tellTooLarge(service: ServiceName): void {
    if (this.#toldTooLarge.has(service)) return
    this.#toldTooLarge.add(service)
    const { project, short } = serviceParts(service)
    const message = `what ${service} needs does not fit into one write of the store, so nothing of it is done: make its spec smaller`
    this.#tell({ kind: 'too-large', level: 'error', message, project, service: short })
  }

  /** Services that a record belongs to which cannot be read; said once, and again when it changes. */
  #unreadable(): ReadonlySet<ServiceName> {
    const { mirror, log } = this.#deps
    const services = new Set<ServiceName>()
    const unreadHosts = new Set<HostId>()
    for (const key of mirror.unreadable.keys()) {
      const [service, host] = [serviceOfKey(key), hostOfKey(key)]
      if (service !== undefined) services.add(service)
      if (host !== undefined) unreadHosts.add(host)
    }
    const message = [
      spelled('these services are left as they are, since a record of theirs cannot be read', services),
      spelled('these hosts take no new work, since their records cannot be read', unreadHosts),
    ]
      .filter(part => part !== '')
      .join('; ')
    if (message !== this.#toldUnreadable && message !== '') {
      log.error({ message }, 'records cannot be read; perhaps a newer version wrote them')
      this.#tell({ kind: 'unreadable', level: 'error', message })
    }
    this.#toldUnreadable = message
    return services
  }

  /** What the store says of leases just after it was away, however shortly, is not believed for a while. */
  noticeTrouble(): void {
    const { mirror } = this.#deps
    if (mirror.trouble() !== undefined || mirror.troubles !== this.#troubles) this.#watchman.storeWasAway()
    this.#troubles = mirror.troubles
  }

  #tellHeld({ held }: Watching): void {
    const print = held === undefined ? undefined : `${held.because}: ${held.hosts.join(', ')}`
    if (print === this.#toldHeld) return
    this.#toldHeld = print
    if (held === undefined) return
    const message = `evictions wait (${heldWords[held.because] ?? held.because}); hosts: ${held.hosts.join(', ')}`
    this.#tell({ kind: 'brake', level: 'warning', message })
  }

  #tellCutOff({ cutOff }: Watching): void {
    const fresh = cutOff.filter(host => !this.#toldCutOff.has(host))
    this.#toldCutOff = new Set(cutOff)
    if (fresh.length === 0) return
    const message = `these hosts have not reached the store for a minute and are not called lost: what runs there stays, and nothing waits for their proxies any more: ${fresh.join(', ')}`
    this.#tell({ kind: 'host-cut-off', level: 'warning', message })
  }

  /** An event of its own, beside no other write. */
  #tell(event: EventText): void {
    const { store, events } = this.#deps
    const written = events.write({ ...event, term: this.#term.id })
    void store.commit({ guards: [this.#term.guard], writes: [written] })
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

const heldWords: Readonly<Record<string, string>> = {
  'many-vanished': 'many hosts vanished together',
  'store-was-away': 'the store was away',
  'all-suspect': 'no host is seen alive',
}

const spelled = (text: string, names: ReadonlySet<string>): string =>
  names.size === 0 ? '' : `${text}: ${[...names].sort(byId).join(', ')}`

/** Collections by which a service is planned; their keys hold its name, after the host where they are a host's. */
const planned = new Set(['specs', 'generations', 'rollouts', 'routes'])

/** The host whose own record this is. */
const hostOfKey = (key: string): HostId | undefined =>
  key.startsWith(`${hosts.name}/`) ? hosts.read(key.slice(hosts.name.length + 1)) : undefined

function serviceOfKey(key: string): ServiceName | undefined {
  const [collection = '', ...parts] = key.split('/')
  if (planned.has(collection)) return parseServiceName(parts.slice(0, 2).join('/'))
  return collection === 'placements' ? parseServiceName(parts.slice(1, 3).join('/')) : undefined
}
