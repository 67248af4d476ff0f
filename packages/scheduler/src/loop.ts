/**
 * The scheduler's main loop: lead while elected; look at everything, decide purely, act once. A change of the store only
 * wakes the loop and never carries the news, so a missed one costs time, not correctness.
 */
import { type Clock, elapsed, type Instant } from '@boxcar/core/model/clock'
import type { ServiceName } from '@boxcar/core/model/ids'
import { World } from '@boxcar/core/model/world'
import type { Question } from '@boxcar/core/plan/draft'
import { Memory, resolutionKey } from '@boxcar/core/plan/memory'
import { type Plan, plan } from '@boxcar/core/plan/plan'
import { commitAll } from '@boxcar/store/commit'
import type { Term } from '@boxcar/store/election'
import type { EventWriter } from '@boxcar/store/events'
import type { Mirror } from '@boxcar/store/mirror'
import { compareRevisions, type Revision, type Store } from '@boxcar/store/store'
import type { Logger } from 'pino'
import type { Agents } from './agents.ts'
import { followed, worldChange } from './feed.ts'
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

/** Time alone can lose a host or end a phase, so the loop turns over at least this often. */
const idleMs = 1000
/** Changes that come together are planned together. */
const gatherMs = 15
const catchUpMs = 3000

/** Leads for one term; returns when the term is over or the signal is aborted. */
export async function lead(term: Term, deps: SchedulerDeps, signal: AbortSignal): Promise<void> {
  const { mirror, clock, log } = deps
  const office = new Office(term, deps)
  const stopFeeding = office.takeWorld()
  log.info({ term: term.id }, 'leads')
  try {
    const over = AbortSignal.any([term.signal, signal])
    await mirror.reached(term.id, over)
    await deps.events.ready()
    while (!over.aborted) {
      await office.wake.next(idleMs, clock, over)
      await clock.sleep(gatherMs, over)
      if (over.aborted) break
      term.progress()
      if (!term.isHeld()) continue
      await office.turn()
    }
  } finally {
    stopFeeding()
    log.info({ term: term.id }, 'leads no more')
  }
}

/** One leader's term in office: its world, its memory, and one turn of the loop. */
class Office {
  readonly wake = new Wake()
  readonly #term: Term
  readonly #deps: SchedulerDeps
  readonly #world = new World()
  readonly #memory = new Memory()
  readonly #watchman: Watchman
  readonly #asking = new Map<string, Instant>()
  #wasInTrouble = false
  #toldHeld: string | undefined

  constructor(term: Term, deps: SchedulerDeps) {
    this.#term = term
    this.#deps = deps
    this.#watchman = new Watchman(deps.clock, deps.agents, () => this.wake.ring())
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
    this.#world.revision = mirror.revision
    this.wake.ring() // a new leader acts at once
    return mirror.onChange((changes, revision) => {
      const at = clock.now()
      for (const change of changes) {
        const translated = worldChange(change)
        if (translated !== undefined) this.#world.apply(translated, at)
      }
      this.#world.revision = revision
      this.wake.ring()
    })
  }

  async turn(): Promise<void> {
    const { clock } = this.#deps
    this.#noticeTrouble()
    const watching = this.#watchman.look(this.#world)
    this.#tellHeld(watching)
    const since = this.#world.revision
    const planned = plan(this.#world, this.#memory, { term: this.#term.id, wall: clock.wall() }, clock.now())
    for (const question of planned.questions) this.#ask(question)
    await this.#commit(planned, since)
    this.#wakeInTime(watching)
  }

  async #commit(planned: Plan, since: Revision): Promise<void> {
    const { store, mirror, events, clock, log } = this.#deps
    if (planned.services.length === 0) return
    const began = clock.now()
    const context = { events, term: this.#term.id, since }
    const groups = planned.services.flatMap(service => groupsOf(service, context))
    const results = await commitAll(store, groups, { always: [this.#term.guard], inFlight: 16 })
    let newest = since
    const again = new Set<ServiceName>()
    for (const { tag, outcome } of results) {
      if (outcome.kind === 'committed') {
        if (compareRevisions(outcome.revision, newest) > 0) newest = outcome.revision
      } else {
        again.add(tag)
        log.info({ service: tag, outcome }, 'a plan was not committed and is made again')
      }
    }
    log.debug(
      {
        since,
        services: planned.services.length,
        groups: groups.length,
        newest,
        ms: elapsed(began, clock.now()),
      },
      'planned',
    )
    // The next plan must see what this one did, or it would do it twice.
    await mirror.reached(newest, AbortSignal.any([this.#term.signal, timeout(clock, catchUpMs)]))
    for (const service of again) this.#world.dirty.add(service)
    if (again.size === 0) return
    await events.check()
    this.wake.ring()
  }

  /** Asks one host for a digest; the answer wakes the loop. */
  #ask({ service, uid, generation, image }: Question): void {
    const key = resolutionKey(service, uid, generation)
    if (this.#asking.has(key)) return
    const host = [...this.#world.hosts.values()].find(
      h => h.health === 'alive' && h.presence !== undefined && h.record?.engine.state === 'up',
    )
    if (host?.record === undefined) return
    this.#asking.set(key, this.#deps.clock.now())
    void this.#deps.agents.resolve(host.record, image).then(answer => {
      this.#asking.delete(key)
      this.#memory.resolutions.set(key, answer)
      this.#world.dirty.add(service)
      this.wake.ring()
    })
  }

  #noticeTrouble(): void {
    const trouble = this.#deps.mirror.trouble() !== undefined
    if (this.#wasInTrouble && !trouble) this.#watchman.storeIsBack()
    this.#wasInTrouble = trouble
  }

  #tellHeld({ held }: Watching): void {
    const print = held === undefined ? undefined : `${held.because}: ${held.hosts.join(', ')}`
    if (print === this.#toldHeld) return
    this.#toldHeld = print
    if (held === undefined) return
    const { store, events } = this.#deps
    const message = `evictions wait (${heldWords[held.because] ?? held.because}); hosts: ${held.hosts.join(', ')}`
    const event = { kind: 'brake', level: 'warning' as const, message, term: this.#term.id }
    void store.commit({ guards: [this.#term.guard], writes: [events.write(event)] })
  }

  #wakeInTime({ nextLookMs }: Watching): void {
    const now = this.#deps.clock.now()
    let soonest = nextLookMs ?? idleMs
    for (const at of this.#memory.wakeAt.values()) soonest = Math.min(soonest, at - now)
    this.wake.setLimit(Math.max(soonest, 1))
  }
}

const heldWords: Readonly<Record<string, string>> = {
  'many-vanished': 'many hosts vanished together',
  'store-was-away': 'the store was away',
  'all-suspect': 'no host is seen alive',
}

/** Aborted after so many milliseconds of the passed clock. */
function timeout(clock: Clock, ms: number): AbortSignal {
  const controller = new AbortController()
  void clock.sleep(ms, controller.signal).then(() => controller.abort())
  return controller.signal
}
