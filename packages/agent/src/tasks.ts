/**
 * The agent's long-running tasks. One that breaks is a bug that no containment inside it caught: it is told, and the task is
 * started again after a pause that grows. The others go on meanwhile (docs/adr/0018-a-broken-task-is-restarted.md).
 */
import type { Clock, Instant } from '@boxcar/core/model/clock'
import type { InternalErrors } from './internal-errors.ts'

export interface TasksOptions {
  readonly clock: Clock
  readonly errors: InternalErrors
  /** `failing` says something else now. */
  readonly onBreak: () => void
}

interface Task {
  /** When it was started last, or broke last. */
  since: Instant
  state: 'running' | 'broken'
  /** When the first of its failures was, until it ran well again. */
  failingSince: Instant | undefined
  failures: number
  /** How it broke last. */
  reason: string
}

export class Tasks {
  readonly #options: TasksOptions
  readonly #tasks = new Map<string, Task>()

  constructor(options: TasksOptions) {
    this.#options = options
  }

  /** Runs a task, and again each time that it breaks, until the signal is aborted. Never rejects. */
  async keep(name: string, run: (signal: AbortSignal) => Promise<void>, signal: AbortSignal): Promise<void> {
    const { clock, errors, onBreak } = this.#options
    const task: Task = {
      since: clock.now(),
      state: 'running',
      failingSince: undefined,
      failures: 0,
      reason: '',
    }
    this.#tasks.set(name, task)
    while (!signal.aborted) {
      task.since = clock.now()
      task.state = 'running'
      // Of this run alone: what it left under way when it broke ends before the next begins.
      const end = new AbortController()
      try {
        await run(AbortSignal.any([signal, end.signal]))
        if (!signal.aborted) throw new Error('it ended by itself')
      } catch (error) {
        if (!signal.aborted) task.reason = errors.note({ what: `the agent's ${name}` }, 'running it', error)
      } finally {
        end.abort()
      }
      if (signal.aborted) return
      const now = clock.now()
      if (this.#ranWell(task)) task.failures = 0
      if (task.failures === 0) task.failingSince = now
      task.since = now
      task.state = 'broken'
      const pauseMs = Math.min(longestPauseMs, firstPauseMs * 2 ** task.failures)
      task.failures += 1
      onBreak()
      await clock.sleep(pauseMs, signal)
    }
  }

  /**
   * Whether every task runs, or broke only a short while ago. An agent that does only a part of its work for longer than that
   * must not pass for one that does all of it: its host is not renewed then.
   */
  get areWell(): boolean {
    return [...this.#tasks.values()].every(task => this.#isWell(task))
  }

  /** One that broke once and runs since is well; one that broke again must first run for a while. */
  #isWell(task: Task): boolean {
    if (task.failingSince === undefined || this.#ranWell(task)) return true
    if (task.state === 'running' && task.failures === 1) return true
    return this.#options.clock.now() - task.failingSince <= toleratedMs
  }

  /** Which tasks broke and have not run well since, and how, in one sentence. */
  get failing(): string | undefined {
    const failing = [...this.#tasks].filter(
      ([, task]) => task.failingSince !== undefined && !this.#ranWell(task),
    )
    if (failing.length === 0) return undefined
    return failing.map(([name, { reason }]) => `the agent's ${name} breaks: ${reason}`).join('; ')
  }

  #ranWell({ state, since }: Task): boolean {
    return state === 'running' && this.#options.clock.now() - since >= wellMs
  }
}

const firstPauseMs = 250
const longestPauseMs = 30_000
/** A run of so long is a new beginning. */
const wellMs = 60_000
const toleratedMs = 15_000
