/**
 * What the leader remembers between two plans and never stores: how long it has seen a phase, an instance leaving, a host
 * failing. Everything here is measured by its own monotonic clock and starts afresh with a new leader, so that no clock of
 * another machine decides anything.
 */
import { elapsed, type Instant } from '../model/clock.ts'
import type { GenerationNumber, HostId, ServiceName } from '../model/ids.ts'
import type { Phase } from '../model/rollout.ts'
import type { Resolution } from '../rollout/rollout.ts'

interface PhaseClock {
  readonly print: string
  readonly since: Instant
  readonly progressed: Instant
  readonly ready: number
}

/** A host that kept failing an instance of a service is tried last for so long. */
export const hostMemoryMs = 300_000

export class Memory {
  readonly #phases = new Map<ServiceName, PhaseClock>()
  readonly #leaving = new Map<string, Instant>()
  readonly #avoid = new Map<ServiceName, Map<HostId, Instant>>()
  readonly #engineDown = new Map<HostId, Instant>()
  /** Answers of hosts to the question which digest a tag has; by service and generation. */
  readonly resolutions = new Map<string, Resolution>()
  /** When a service must be looked at again although nothing changed. */
  readonly wakeAt = new Map<ServiceName, Instant>()

  /** The phase that is stored. One that is merely planned has no clock: its commit may be refused, and nothing began. */
  seesPhase(service: ServiceName, uid: string, phase: Phase, now: Instant): void {
    const print = printOf(uid, phase)
    if (this.#phases.get(service)?.print !== print)
      this.#phases.set(service, { print, since: now, progressed: now, ready: 0 })
  }

  /** How long this leader has seen the phase stored, and how long it has not got further. */
  phase(
    service: ServiceName,
    uid: string,
    now: Instant,
    phase: Phase,
    ready: number,
  ): { readonly phaseMs: number; readonly stalledMs: number } {
    const known = this.#phases.get(service)
    if (known?.print !== printOf(uid, phase)) return { phaseMs: 0, stalledMs: 0 }
    const clock = ready > known.ready ? { ...known, progressed: now, ready } : known
    this.#phases.set(service, clock)
    return { phaseMs: elapsed(clock.since, now), stalledMs: elapsed(clock.progressed, now) }
  }

  /** How long an instance has been on its way out. */
  leavingMs(key: string, now: Instant): number {
    const since = this.#leaving.get(key) ?? now
    this.#leaving.set(key, since)
    return elapsed(since, now)
  }

  /** It is gone, or stays after all. */
  left(key: string): void {
    this.#leaving.delete(key)
  }

  avoid(service: ServiceName, host: HostId, now: Instant): void {
    const hosts = this.#avoid.get(service) ?? new Map<HostId, Instant>()
    hosts.set(host, now)
    this.#avoid.set(service, hosts)
  }

  /** Hosts to try last, and for how many milliseconds more: in whole minutes, so that what is told of it stays the same. */
  avoided(service: ServiceName, now: Instant): ReadonlyMap<HostId, number> {
    const hosts = this.#avoid.get(service)
    if (hosts === undefined) return noHosts
    for (const [host, since] of hosts) if (elapsed(since, now) >= hostMemoryMs) hosts.delete(host)
    if (hosts.size === 0) this.#avoid.delete(service)
    return new Map(
      [...hosts].map(([host, since]) => [
        host,
        Math.ceil((hostMemoryMs - elapsed(since, now)) / minuteMs) * minuteMs,
      ]),
    )
  }

  /** How long a host's engine has been down; 0 when it is up. */
  engineDownMs(host: HostId, state: 'up' | 'down', now: Instant): number {
    if (state === 'up') {
      this.#engineDown.delete(host)
      return 0
    }
    const since = this.#engineDown.get(host) ?? now
    this.#engineDown.set(host, since)
    return elapsed(since, now)
  }

  /** Services whose time has come; each is told once, and wakes again only when its next plan says so. */
  takeDue(now: Instant): readonly ServiceName[] {
    const due = [...this.wakeAt].filter(([, at]) => at <= now).map(([name]) => name)
    for (const name of due) this.wakeAt.delete(name)
    return due
  }

  forget(service: ServiceName): void {
    this.#phases.delete(service)
    this.#avoid.delete(service)
    this.wakeAt.delete(service)
    for (const key of this.resolutions.keys()) if (key.startsWith(`${service}/`)) this.resolutions.delete(key)
  }
}

const printOf = (uid: string, phase: Phase): string => JSON.stringify([uid, phase])

const minuteMs = 60_000
const noHosts: ReadonlyMap<HostId, number> = new Map()

export const resolutionKey = (service: ServiceName, uid: string, generation: GenerationNumber): string =>
  `${service}/${uid}/${generation}`
