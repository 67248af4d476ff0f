/** Tells living hosts from lost ones for the leader: presence keys, questions to agents, grace and brake. */
import { brake, brakePolicy, type Candidate, pulls } from '@boxcar/core/health/brake'
import {
  type Absence,
  beginAbsence,
  graceMs,
  heard,
  isAnswering,
  isCutOff,
  verdict,
} from '@boxcar/core/health/verdict'
import { type Clock, elapsed, type Instant } from '@boxcar/core/model/clock'
import type { HostRecord } from '@boxcar/core/model/host'
import type { HostId } from '@boxcar/core/model/ids'
import { type HostState, isRegistered, type World } from '@boxcar/core/model/world'
import type { Agents } from './agents.ts'
import type { Doing, InternalErrors } from './internal-errors.ts'

export interface Watching {
  readonly held: { readonly because: string; readonly hosts: readonly HostId[] } | undefined
  /** Hosts that are not lost and have not reached the store for long: nobody waits for them any more. */
  readonly cutOff: readonly HostId[]
  /** When to look again although nothing changed. */
  readonly nextLookMs: number | undefined
}

const askEveryMs = 400

export class Watchman {
  readonly #clock: Clock
  readonly #agents: Agents
  readonly #errors: InternalErrors
  readonly #absences = new Map<HostId, Absence>()
  /** Hosts with work whose key is missing, and when it went. */
  readonly #vanished = new Map<HostId, Instant>()
  #pulledAt: Instant | undefined
  /** Evictions of hosts with work under a pulled brake. */
  #pace: { readonly since: Instant; readonly evicted: number } | undefined
  #storeBack: Instant | undefined

  /** A new leader makes a new one: the grace of every missing host starts afresh. */
  constructor(clock: Clock, agents: Agents, errors: InternalErrors) {
    this.#clock = clock
    this.#agents = agents
    this.#errors = errors
  }

  /** The store is away, or was since this was last asked: what it says of leases is not believed for a while. */
  storeWasAway(): void {
    this.#storeBack = this.#clock.now()
  }

  /** Judges every host; cheap where nobody is missing. */
  look(world: World): Watching {
    const now = this.#clock.now()
    let known = 0
    for (const host of world.hosts.values()) {
      if (!isRegistered(host)) continue
      known++
      this.#judge(host.id, 'note', () => this.#note(world, host))
    }
    for (const id of this.#absences.keys()) if (!isRegistered(world.hosts.get(id))) this.#forget(id)
    if (this.#absences.size === 0) {
      this.#pulledAt = undefined
      return { held: undefined, cutOff: [], nextLookMs: undefined }
    }
    return this.#judgeAbsent(world, known, now)
  }

  #note(world: World, host: HostState): void {
    if (host.absentSince === undefined) {
      this.#forget(host.id)
      if (host.health !== 'alive') world.judge(host.id, 'alive')
    } else if (this.#absences.get(host.id)?.goneSince !== host.absentSince) {
      this.#absences.set(host.id, beginAbsence(host.id, host.absentSince))
      if (hasWork(host)) this.#vanished.set(host.id, host.absentSince)
      world.judge(host.id, 'suspect')
    }
  }

  /** It is back or was removed: what failed while it was missing is over. */
  #forget(id: HostId): void {
    this.#vanished.delete(id)
    if (!this.#absences.delete(id)) return
    for (const doing of [asking, ...stepsOfAbsence.map(judging)])
      this.#errors.clear({ kind: 'host', host: id }, doing)
  }

  #judgeAbsent(world: World, known: number, now: Instant): Watching {
    if (this.#pulledAt === undefined && pulls(this.#vanished.values(), known, now)) this.#pulledAt = now
    const undecided = [...this.#absences.values()].filter(it => world.hosts.get(it.host)?.health !== 'lost')
    const candidates = undecided
      .flatMap(it => this.#judge(it.host, 'candidate', () => candidatesOf(it, world, now)) ?? [])
      .sort((a, b) => a.goneSince - b.goneSince)
    const decision = this.#brake(candidates, known, now)
    const evicted = new Set(decision.evict)
    for (const id of evicted) this.#judge(id, 'evict', () => world.judge(id, 'lost'))

    const left = undecided.filter(it => !evicted.has(it.host))
    // Where nobody is seen, nobody could hear an order either: nothing is gained by not waiting.
    const someAreSeen = this.#absences.size < known
    const cutOff: HostId[] = []
    for (const absence of left) {
      const isCut = someAreSeen && isCutOff(absence, now)
      if (isCut) cutOff.push(absence.host)
      this.#judge(absence.host, 'absent', () => world.judge(absence.host, isCut ? 'cut-off' : 'suspect'))
      this.#ask(absence, world.hosts.get(absence.host), now) // also while the brake holds: it may answer
    }
    // A host that stays dead, and one that answers, must not keep the brake pulled, nor keep it from being pulled again.
    if (left.every(isAnswering)) this.#pulledAt = undefined
    const waiting = candidates.map(it => it.host).filter(id => !evicted.has(id))
    return {
      held:
        decision.kind === 'held' && waiting.length > 0
          ? { because: decision.because, hosts: waiting }
          : undefined,
      cutOff,
      nextLookMs: left.length > 0 ? Math.min(askEveryMs, graceMs / 5) : undefined,
    }
  }

  #brake(candidates: readonly Candidate[], known: number, now: Instant): ReturnType<typeof brake> {
    if (this.#pace !== undefined && elapsed(this.#pace.since, now) >= brakePolicy.paceMs)
      this.#pace = undefined
    const decision = brake(
      {
        hosts: known,
        candidates,
        absent: this.#absences.size,
        storeBack: this.#storeBack,
        pulledAt: this.#pulledAt,
        evictedInPace: this.#pace?.evicted ?? 0,
      },
      now,
    )
    const evicted = new Set(decision.evict)
    const paced = candidates.filter(it => !it.idle && evicted.has(it.host)).length
    if (decision.kind === 'held' && paced > 0)
      this.#pace = { since: this.#pace?.since ?? now, evicted: (this.#pace?.evicted ?? 0) + paced }
    return decision
  }

  /** Asks the agent itself, a few times a second. One that nobody knows how to reach does not answer. */
  #ask(absence: Absence, host: HostState | undefined, now: Instant): void {
    if (absence.asked !== undefined && elapsed(absence.asked, now) < askEveryMs) return
    this.#absences.set(absence.host, { ...absence, asked: now })
    void this.#hear(absence.host, host?.record, now)
  }

  /** One that cannot be asked, since asking throws, does not answer either. */
  async #hear(id: HostId, record: HostRecord | undefined, asked: Instant): Promise<void> {
    const owner = { kind: 'host', host: id } as const
    const didAnswer =
      record !== undefined &&
      (await this.#errors.containLater(owner, asking, () => this.#agents.isAlive(record)))
    const known = this.#absences.get(id)
    if (known !== undefined) this.#absences.set(id, heard(known, asked, didAnswer === true))
    else this.#errors.clear(owner, asking) // it came back meanwhile
  }

  /** One host at a time: what throws at one concerns no other. `step` tells the steps of a look apart. */
  #judge<Value>(host: HostId, step: Step, run: () => Value): Value | undefined {
    return this.#errors.contain({ kind: 'host', host }, judging(step), run)
  }
}

/** Steps that are taken only while a host is missing. */
const stepsOfAbsence = ['candidate', 'evict', 'absent'] as const
type Step = 'note' | (typeof stepsOfAbsence)[number]

const asking: Doing = { words: 'asking it whether it is alive' }
const judging = (step: Step): Doing => ({ words: 'judging its health', key: step })

/** The host as one to call lost, if its time has come. */
function candidatesOf(absence: Absence, world: World, now: Instant): readonly Candidate[] {
  const { host, goneSince } = absence
  return verdict(absence, now) === 'lost' ? [{ host, goneSince, idle: !hasWork(world.hosts.get(host)) }] : []
}

function hasWork(host: HostState | undefined): boolean {
  for (const { value } of host?.placements.values() ?? []) if (value.desired === 'run') return true
  return false
}
