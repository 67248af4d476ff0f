/** One instance as its host knows it: what was tried, what is under way, what its probes say, and the report of it all. */

import { type ProbeFailure, standingFailure } from '@boxcar/core/health/probe-state'
import { type Backoff, strike } from '@boxcar/core/instance/backoff'
import type { Action, Memory, SeenContainer } from '@boxcar/core/instance/converge'
import { after, type Instant, type WallTime } from '@boxcar/core/model/clock'
import type { InstanceId } from '@boxcar/core/model/ids'
import type { InstanceState, Report } from '@boxcar/core/model/report'
import type { Watch } from './probe/watch.ts'
import type { PlacedOrder } from './state/orders.ts'

/** Which placement of which service a memory is of. */
export type Of = Pick<PlacedOrder, 'uid' | 'placement'>

/** What a next run of the agent has to know besides the report. */
export interface Strikes {
  /** Failures in a row. */
  readonly streak: number
  /** The container whose end was looked into last. */
  readonly examined?: string | undefined
}

/** One action under way. */
export interface Doing {
  readonly kind: Action['kind']
  readonly abort: AbortController
}

export class Instance {
  readonly id: InstanceId
  /** Whose memory this is; nothing before its first order or report. */
  of: Of | undefined
  doing: Doing | undefined
  /** How far a start got. */
  starting: 'pulling' | 'starting' = 'starting'
  watch: Watch | undefined
  /** Containers whose end was looked into last, and the placement whose stop was confirmed. */
  examined: string | undefined
  stopped: string | undefined
  attempt = 0
  restarts = 0
  exit: Report['exit']
  lastLog: readonly string[] | undefined
  /** In one sentence: why it does not run, or why its last run was ended. */
  reason: string | undefined
  /** What the agent itself fails at with it, as its report shows it whatever its state. */
  internalError: string | undefined
  retryAt: Instant | undefined
  notBefore: Instant | undefined
  #streak = 0
  /** Actions in a row that the engine or the store failed. */
  #hindrances = 0
  /** What they were to be, the last of them. */
  #hindered: Action['kind'] | undefined
  /** What an earlier agent reported, until this one knows better. */
  #earlier: Report | undefined
  /** Starts that took up what an earlier start left, beyond the attempts. */
  #resumed = 0
  /** The attempt was one that an earlier agent had queued, and made nothing of as far as is known. */
  #wasQueued = false
  /** The watched run, where it was seen to have ended. */
  #ended: string | undefined
  #reported: Report | undefined

  constructor(id: InstanceId) {
    this.id = id
  }

  /** Whether nothing is known of it yet but that it is ordered. */
  get isBlank(): boolean {
    return this.#earlier === undefined && this.watch === undefined && this.attempt === 0
  }

  /** What an earlier agent knew of it. */
  remember(earlier: Report, { streak, examined }: Strikes = noStrikes): void {
    this.of = { uid: earlier.uid, placement: earlier.placement ?? '' }
    this.#streak = streak
    this.examined = examined
    this.#earlier = earlier
    this.#reported = earlier
    this.attempt = earlier.attempt
    this.#wasQueued = earlier.state === 'starting' && earlier.container === undefined && earlier.attempt > 0
    this.restarts = earlier.restarts
    this.exit = earlier.exit
    this.lastLog = earlier.lastLog
    this.reason = earlier.reason
  }

  /**
   * The same instance under another placement. Attempts, ends and back-off were the earlier one's; all that counts is the run
   * that goes on, if one does, and that an end was not of this placement.
   */
  under(
    order: Of,
    found: { readonly goesOn: string | undefined; readonly ended: string | undefined },
  ): Instance {
    const next = new Instance(this.id)
    next.of = { uid: order.uid, placement: order.placement }
    next.examined = found.ended
    if (found.goesOn !== undefined) {
      if (this.watch?.container === found.goesOn) next.watch = this.watch
      if (this.#earlier?.container === found.goesOn) next.#earlier = this.#earlier
      next.attempt = this.attempt
    }
    if (next.watch === undefined) this.watch?.stop()
    return next
  }

  /** To be kept beside its report. */
  get strikes(): Strikes {
    return { streak: this.#streak, examined: this.examined }
  }

  get memory(): Memory {
    return {
      doing: this.doing?.kind,
      retryAt: this.retryAt,
      hindered: this.#hindered,
      notBefore: this.notBefore,
      attempt: this.#wasQueued ? this.attempt - 1 : this.attempt,
      watched: this.watch?.container,
      failedProbe: this.#failedProbe(),
      examined: this.examined,
      stopped: this.stopped,
    }
  }

  /** Whether an earlier agent last saw this very run ready. */
  wasReady(container: string): boolean {
    return this.#earlier?.container === container && this.#earlier.state === 'ready'
  }

  /** A start is tried; the same number again where the last one was cut short after its container was made. */
  begins(attempt: number): void {
    if (attempt === this.attempt && !this.#wasQueued) this.#resumed += 1
    this.attempt = attempt
    this.#wasQueued = false
  }

  /** A run is watched from now on. */
  watchBy(watch: Watch): void {
    this.watch?.stop()
    this.watch = watch
    this.#earlier = undefined
  }

  /** A run of `ranMs` ended, or could not begin (0): back-off. */
  failed(reason: string, ranMs: number, backoff: Backoff, now: Instant): void {
    const { streak, notBefore } = strike(this.#streak, ranMs, backoff, now)
    this.#streak = streak
    this.notBefore = notBefore
    this.reason = reason
    this.#earlier = undefined
  }

  /** How many failures in a row there were. */
  get streak(): number {
    return this.#streak
  }

  /** Something that is not its own fault is in the way; it is tried again, and not counted. */
  hindered(kind: Action['kind'], reason: string, now: Instant): void {
    this.#hindered = kind
    this.reason = reason
    this.retryAt = after(now, Math.min(longestHinderedMs, hinderedMs * 2 ** this.#hindrances))
    this.#hindrances += 1
  }

  /** An action went through. */
  unhindered(): void {
    this.#hindrances = 0
  }

  /** All that is left to know once it was stopped. */
  end(): void {
    this.watch?.stop()
    this.watch = undefined
    this.doing?.abort.abort()
  }

  /** What the host says of it now; the same object while nothing changed. */
  report(
    order: PlacedOrder,
    containers: readonly SeenContainer[] | undefined,
    now: Instant,
    wall: WallTime,
  ): Report {
    const next = this.#describe(order, containers, now, wall)
    const last = this.#reported
    const isSameState = last?.state === next.state && last.uid === next.uid
    const report = isSameState ? { ...next, since: last.since } : next
    if (last !== undefined && JSON.stringify(last) === JSON.stringify(report)) return last
    this.#reported = report
    return report
  }

  #describe(
    order: PlacedOrder,
    containers: readonly SeenContainer[] | undefined,
    now: Instant,
    wall: WallTime,
  ): Report {
    const running = containers?.findLast(container => container.state === 'running')
    if (containers !== undefined)
      this.#ended = running?.id === this.watch?.container ? undefined : this.watch?.container
    const state = this.#state(order, running, containers, now)
    const probes = this.watch?.state
    const failure = probes && standingFailure(probes)
    const isFailing = state === 'unready' || state === 'starting'
    const why = state === 'ready' ? undefined : (isFailing && failure?.output) || this.reason
    const reason = this.internalError ?? this.watch?.internalError ?? why
    const container = this.watch?.container ?? running?.id ?? this.#earlier?.container
    // In the order of the schema, so that what is read back compares equal to what was written.
    return {
      instance: this.id,
      uid: order.uid,
      state,
      ...(reason !== undefined && reason !== '' && { reason: reason.slice(0, 1024) }),
      attempt: this.attempt + this.#resumed,
      restarts: this.restarts,
      ...(this.exit !== undefined && { exit: this.exit }),
      ...(isFailing && failure !== undefined && { probe: probeOf(failure) }),
      ...(this.lastLog !== undefined && { lastLog: [...this.lastLog] }),
      ...(container !== undefined && { container }),
      since: wall,
      // Tells a report of an earlier placement of the same instance from one of this.
      placement: order.placement,
    }
  }

  #state(
    order: PlacedOrder,
    running: SeenContainer | undefined,
    containers: readonly SeenContainer[] | undefined,
    now: Instant,
  ): InstanceState {
    if (order.desired === 'stop') return this.stopped === order.placement ? 'stopped' : 'stopping'
    if (this.doing?.kind === 'start') return this.starting
    // While the engine is not heard, a run is believed to go on unless it was seen to end.
    const goesOn = containers === undefined ? !this.#sawEnd() : running?.id === this.watch?.container
    if (this.watch !== undefined && goesOn) {
      const { ready, started } = this.watch.state
      return ready ? 'ready' : started ? 'unready' : 'starting'
    }
    if (containers !== undefined && running === undefined && this.#isHindered(now)) return 'backoff'
    // Not watched yet: what an earlier agent knew of this very run still holds.
    const earlier = this.#earlier
    if (earlier !== undefined && (containers === undefined || earlier.container === running?.id))
      return earlier.state
    const waits = this.notBefore !== undefined && this.notBefore > now
    return waits || this.watch !== undefined ? 'backoff' : 'starting'
  }

  #sawEnd(): boolean {
    const watched = this.watch?.container
    return watched !== undefined && (watched === this.#ended || watched === this.examined)
  }

  /** Whether what stands in its way has stood there for some tries, and the next lies ahead. */
  #isHindered(now: Instant): boolean {
    return this.#hindrances >= hindrancesToTell && this.retryAt !== undefined && this.retryAt > now
  }

  #failedProbe(): string | undefined {
    const ended = this.watch?.state.ended
    return ended && `its ${ended.kind} probe failed: ${ended.output}`
  }
}

const noStrikes: Strikes = { streak: 0 }
const probeOf = ({ kind, output, silent }: ProbeFailure): Report['probe'] => ({
  kind,
  output,
  ...(silent && { silent }),
})

/** Fewer are hiccups. */
const hindrancesToTell = 3
const hinderedMs = 1000
const longestHinderedMs = 15_000
