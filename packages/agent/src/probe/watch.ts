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
import { type ContainerId, EngineFault, EngineUnavailable } from '../engine/engine.ts'
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
  /** A throw that is a bug of the agent: tells of it, and gives the reason to show. */
  readonly onInternalError: (doing: string, error: unknown) => string
}

export class Watch {
  readonly container: ContainerId
  readonly began: Instant
  readonly #options: WatchOptions
  readonly #stop = new AbortController()
  readonly #bell = new Bell()
  readonly #asking = new Set<ProbeKind>()
  #state: ProbeState
  #internalError: string | undefined

  constructor(options: WatchOptions) {
    this.#options = options
    this.container = options.container
    this.began = options.clock.now()
    this.#state = beginProbes(options.probing.plan, options.was, this.began)
    void this.#keepRunning()
  }

  /** What the agent itself fails at in probing it, until an answer is had again. That says nothing of the container. */
  get internalError(): string | undefined {
    return this.#internalError
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

  /** One container whose probes throw is probed again after a while; nothing else ends by it. */
  async #keepRunning(): Promise<void> {
    const { clock } = this.#options
    const { signal } = this.#stop
    for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(longestPauseMs, pauseMs * 2)) {
      try {
        return await this.#run()
      } catch (error) {
        this.#failed('probing', error)
        await clock.sleep(pauseMs, signal)
      }
    }
  }

  #failed(doing: string, error: unknown): void {
    const before = this.#internalError
    this.#internalError = this.#options.onInternalError(doing, error)
    if (before !== this.#internalError) this.#options.onChange()
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
    const { signal } = this.#stop
    this.#asking.add(kind)
    const answer = await this.#answer(kind)
    if (!signal.aborted && !this.#take(kind, answer))
      // Its next probe would be due at once, again and again.
      await this.#options.clock.sleep(longestPauseMs, signal)
    this.#asking.delete(kind)
    this.#bell.ring()
  }

  async #answer(kind: ProbeKind): Promise<ProbeAnswer> {
    const { ask, probing } = this.#options
    try {
      const question = probing.questions[kind]
      return question === undefined ? undecided : await ask(question, this.#stop.signal)
    } catch (error) {
      // The engine could not be asked, or the agent fails: that tells nothing of the container.
      if (!this.#stop.signal.aborted && !isNoAnswer(error)) this.#failed(`its ${kind} probe`, error)
      return undecided
    }
  }

  /** Whether the answer could be made something of. */
  #take(kind: ProbeKind, answer: ProbeAnswer): boolean {
    const { probing, clock, onChange } = this.#options
    try {
      const [before, failed] = [this.#state, this.#internalError]
      this.#state = heardProbe(before, probing.plan, kind, answer, clock.now())
      if (answer.kind !== 'undecided') this.#internalError = undefined
      if (differs(before, this.#state) || failed !== this.#internalError) onChange()
      return true
    } catch (error) {
      this.#failed(`the answer of its ${kind} probe`, error)
      return false
    }
  }
}

const undecided: ProbeAnswer = { kind: 'undecided' }

const isNoAnswer = (error: unknown): boolean =>
  error instanceof EngineUnavailable || error instanceof EngineFault

const firstPauseMs = 1000
const longestPauseMs = 15_000

const differs = (a: ProbeState, b: ProbeState): boolean =>
  a.ready !== b.ready ||
  a.started !== b.started ||
  a.ended !== b.ended ||
  standingFailure(a)?.output !== standingFailure(b)?.output
