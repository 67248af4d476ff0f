/** Tells living hosts from lost ones for the leader: presence keys, questions to agents, grace and brake. */
import { brake, brakePolicy, pulls } from '@boxcar/core/health/brake'
import { type Absence, graceMs, verdict } from '@boxcar/core/health/verdict'
import { type Clock, elapsed, type Instant } from '@boxcar/core/model/clock'
import type { HostId } from '@boxcar/core/model/ids'
import type { HostState, World } from '@boxcar/core/model/world'
import type { Agents } from './agents.ts'

export interface Watching {
  readonly held: { readonly because: string; readonly hosts: readonly HostId[] } | undefined
  /** When to look again although nothing changed. */
  readonly nextLookMs: number | undefined
}

const askEveryMs = 400

export class Watchman {
  readonly #clock: Clock
  readonly #agents: Agents
  readonly #wake: () => void
  readonly #absences = new Map<HostId, Absence>()
  readonly #asking = new Map<HostId, Instant>()
  #gone: Instant[] = []
  #pulledAt: Instant | undefined
  #pace: { readonly since: Instant; readonly evicted: number } | undefined
  #storeBack: Instant | undefined

  /** A new leader makes a new one: the grace of every missing host starts afresh. */
  constructor(clock: Clock, agents: Agents, wake: () => void) {
    this.#clock = clock
    this.#agents = agents
    this.#wake = wake
  }

  /** The store answers again after it was away: what it says of leases is not believed for a while. */
  storeIsBack(): void {
    this.#storeBack = this.#clock.now()
  }

  /** Judges every host; cheap where nobody is missing. */
  look(world: World): Watching {
    const now = this.#clock.now()
    let known = 0
    for (const host of world.hosts.values()) {
      if (host.record === undefined) continue
      known++
      this.#note(world, host, now)
    }
    for (const id of this.#absences.keys())
      if (world.hosts.get(id)?.record === undefined) this.#absences.delete(id)
    if (this.#absences.size === 0) {
      this.#pulledAt = undefined
      return { held: undefined, nextLookMs: undefined }
    }
    return this.#judgeAbsent(world, known, now)
  }

  #note(world: World, host: HostState, now: Instant): void {
    if (host.presence !== undefined) {
      if (this.#absences.delete(host.id) || host.health !== 'alive') world.judge(host.id, 'alive')
    } else if (!this.#absences.has(host.id)) {
      this.#absences.set(host.id, { host: host.id, goneSince: now, answered: undefined })
      this.#gone.push(now)
      world.judge(host.id, 'suspect')
    }
  }

  #judgeAbsent(world: World, known: number, now: Instant): Watching {
    this.#gone = this.#gone.filter(at => elapsed(at, now) <= brakePolicy.windowMs)
    if (this.#pulledAt === undefined && pulls(this.#gone, known, now)) this.#pulledAt = now
    const candidates: Absence[] = []
    for (const absence of this.#absences.values()) {
      const host = world.hosts.get(absence.host)
      if (host === undefined || host.health === 'lost') continue
      if (verdict(absence, now) === 'lost') candidates.push(absence)
      else this.#ask(host, now)
    }
    candidates.sort((a, b) => a.goneSince - b.goneSince)
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
    for (const id of decision.evict) world.judge(id, 'lost')
    if (decision.evict.length > 0)
      this.#pace = {
        since: this.#pace?.since ?? now,
        evicted: (this.#pace?.evicted ?? 0) + decision.evict.length,
      }
    const left = candidates.filter(c => !decision.evict.includes(c.host))
    for (const { host } of left) {
      const state = world.hosts.get(host)
      if (state !== undefined) this.#ask(state, now) // it may answer while the brake holds
    }
    const held =
      decision.kind === 'held' && left.length > 0
        ? { because: decision.because, hosts: left.map(c => c.host) }
        : undefined
    const someUndecided = [...this.#absences.keys()].some(id => world.hosts.get(id)?.health === 'suspect')
    // A host that stays dead must not keep the brake pulled, nor keep it from being pulled again.
    if (!someUndecided) this.#pulledAt = undefined
    return { held, nextLookMs: someUndecided ? Math.min(askEveryMs, graceMs / 5) : undefined }
  }

  /** Asks the agent itself, one question at a time, a few a second. */
  #ask(host: HostState, now: Instant): void {
    const asked = this.#asking.get(host.id)
    if (host.record === undefined || (asked !== undefined && elapsed(asked, now) < askEveryMs)) return
    this.#asking.set(host.id, now)
    void this.#agents.isAlive(host.record).then(alive => {
      const absence = this.#absences.get(host.id)
      if (!alive || absence === undefined) return
      this.#absences.set(host.id, { ...absence, answered: this.#clock.now() })
      this.#wake()
    })
  }
}
