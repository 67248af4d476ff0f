/** Keeps asking one running container what its plan says, until it is stopped or its run is to be ended. */
import {
  beginProbes,
  dueProbes,
  heardProbe,
  nextDue,
  type ProbeAnswer,
  type ProbeKind,
  type ProbeState,
  pokeProbe,
  standingFailure,
} from '@boxcar/core/health/probe-state'
import type { Clock, Instant } from '@boxcar/core/model/clock'
import { Bell } from '@boxcar/store/bell'
import type { ContainerId } from '../engine/engine.ts'
import type { Probing, Question } from './plan.ts'

export interface WatchOptions {
  readonly container: ContainerId
  readonly probing: Probing
  /** What an earlier look at the same run knew. */
  readonly was: 'new' | 'ready'
  readonly clock: Clock
  readonly ask: (question: Question, signal: AbortSignal) => Promise<ProbeAnswer>
  /** Something about it changed that others look at. */
  readonly onChange: () => void
}

export class Watch {
  readonly container: ContainerId
  readonly began: Instant
  readonly #options: WatchOptions
  readonly #stop = new AbortController()
  readonly #bell = new Bell()
  readonly #asking = new Set<ProbeKind>()
  #state: ProbeState

  constructor(options: WatchOptions) {
    this.#options = options
    this.container = options.container
    this.began = options.clock.now()
    this.#state = beginProbes(options.probing.plan, options.was, this.began)
    void this.#run()
  }

  get state(): ProbeState {
    return this.#state
  }

  /** The engine changed its verdict: ask what asks for it. */
  poke(): void {
    for (const kind of ['startup', 'readiness', 'liveness'] as const)
      if (this.#options.probing.questions[kind]?.kind === 'docker')
        this.#state = pokeProbe(this.#state, kind, this.#options.clock.now())
    this.#bell.ring()
  }

  stop(): void {
    this.#stop.abort()
  }

  async #run(): Promise<void> {
    const { clock } = this.#options
    const { signal } = this.#stop
    while (!signal.aborted && this.#state.ended === undefined) {
      const rings = this.#bell.rings
      const now = clock.now()
      // A kind that is being asked is due again only after its answer.
      for (const kind of dueProbes(this.#state, now)) if (!this.#asking.has(kind)) void this.#ask(kind)
      const next = nextDue(this.#state, this.#asking)
      if (next === undefined) await this.#bell.next(signal, rings)
      else await this.#bell.within(clock, Math.max(0, next - now), signal, rings)
    }
  }

  async #ask(kind: ProbeKind): Promise<void> {
    const { ask, probing, clock, onChange } = this.#options
    const question = probing.questions[kind]
    if (question === undefined) return
    this.#asking.add(kind)
    let answer: ProbeAnswer
    try {
      answer = await ask(question, this.#stop.signal)
    } catch {
      // The engine could not be asked: that tells nothing of the container.
      answer = { kind: 'undecided' }
    }
    this.#asking.delete(kind)
    if (this.#stop.signal.aborted) return
    const before = this.#state
    this.#state = heardProbe(before, probing.plan, kind, answer, clock.now())
    if (differs(before, this.#state)) onChange()
    this.#bell.ring()
  }
}

const differs = (a: ProbeState, b: ProbeState): boolean =>
  a.ready !== b.ready ||
  a.started !== b.started ||
  a.ended !== b.ended ||
  standingFailure(a)?.output !== standingFailure(b)?.output
