/** One container of the engine in memory: its state, its process's behaviour in time, its logs and health. */
import { type Clock, elapsed, type Instant } from '@boxcar/core/model/clock'
import { Bell } from '@boxcar/store/bell'
import {
  type Container,
  type ContainerDetail,
  type ContainerHealth,
  type ContainerId,
  type ContainerSpec,
  type ExecOutcome,
  type HealthcheckSpec,
  isContainerId,
  type LogLine,
  type StartOutcome,
} from './engine.ts'
import { type Behaviour, digestOf, type MemoryImage } from './memory-image.ts'

const outputBytes = 4096

export class MemoryContainer {
  readonly id: ContainerId
  readonly spec: ContainerSpec
  readonly labels: Readonly<Record<string, string>>
  readonly lines: LogLine[] = []
  /** Rings when a line is written and when a run begins or ends. */
  readonly changed = new Bell()
  readonly #image: MemoryImage
  readonly #clock: Clock
  readonly #tell: (action: string) => void
  readonly #createdAtMs: number
  #run: Run | undefined
  #runs = 0
  #last: { readonly exitCode: number; readonly oomKilled: boolean; readonly finishedAtMs: number } | undefined
  #startedAtMs: number | undefined
  #error: string | undefined
  #health: ContainerHealth | undefined

  constructor(
    id: string,
    spec: ContainerSpec,
    labels: Readonly<Record<string, string>>,
    image: MemoryImage,
    clock: Clock,
    tell: (action: string) => void,
  ) {
    if (!isContainerId(id)) throw new Error(`not a container id: ${id}`)
    this.id = id
    this.spec = spec
    this.labels = labels
    this.#image = image
    this.#clock = clock
    this.#tell = tell
    this.#createdAtMs = clock.wall()
  }

  get state(): 'created' | 'running' | 'exited' {
    return this.#run !== undefined ? 'running' : this.#last !== undefined ? 'exited' : 'created'
  }

  brief(): Container {
    return {
      id: this.id,
      name: this.spec.name,
      labels: this.labels,
      state: this.state,
      image: this.spec.image,
      imageId: digestOf(this.#image.content),
      createdAtMs: this.#createdAtMs,
    }
  }

  detail(): ContainerDetail {
    const hasEnded = this.#run === undefined
    return {
      ...this.brief(),
      exitCode: hasEnded
        ? (this.#last?.exitCode ?? (this.#error === undefined ? undefined : 127))
        : undefined,
      oomKilled: hasEnded && this.#last?.oomKilled === true,
      startedAtMs: this.#startedAtMs,
      finishedAtMs: this.#last?.finishedAtMs,
      error: this.#error,
      health: this.#health,
    }
  }

  start(): StartOutcome {
    if (this.#run !== undefined) return { kind: 'started' }
    const behaviour = this.#image.behaves(this.spec, ++this.#runs)
    if (behaviour.cannotStart !== undefined)
      return { kind: 'failed', because: 'command', reason: this.failToStart(behaviour.cannotStart) }
    const run = { behaviour, began: this.#clock.now(), over: new AbortController() }
    this.#run = run
    this.#error = undefined
    this.#startedAtMs = this.#clock.wall()
    this.#changes('start')
    void this.#write(run)
    void this.#endByItself(run)
    void this.#checkHealth(run)
    return { kind: 'started' }
  }

  /** Remembers and returns why a start did not come to be. */
  failToStart(reason: string): string {
    this.#error = reason
    return reason
  }

  /** What a signal does; nothing where no process runs. */
  signal(name: string): void {
    const run = this.#run
    if (run === undefined) return
    this.#tell('kill')
    const signalName = name.startsWith('SIG') ? name : `SIG${name}`
    const usual = { inMs: 0, exitCode: 128 + (signalNumbers[signalName] ?? 1) }
    const effect = signalName === 'SIGKILL' ? usual : (run.behaviour.onSignal?.(signalName) ?? usual)
    if (effect === 'ignored') return
    if (effect.inMs === 0) this.#end(run, effect.exitCode)
    else void this.#clock.sleep(effect.inMs, run.over.signal).then(() => this.#end(run, effect.exitCode))
  }

  crash(exitCode: number, cause?: 'out-of-memory'): void {
    if (this.#run !== undefined) this.#end(this.#run, exitCode, cause)
  }

  /** Resolves when it no longer runs, or after so long. */
  async ended(withinMs: number): Promise<void> {
    if (this.#run !== undefined) await this.#clock.sleep(withinMs, this.#run.over.signal)
  }

  /** Its followers see the end. */
  discard(): void {
    this.changed.ring()
  }

  async exec(argv: readonly string[], timeoutMs: number): Promise<ExecOutcome> {
    const run = this.#run
    if (run === undefined) return { kind: 'not-running', reason: `Container ${this.id} is not running` }
    const {
      exitCode,
      output,
      tookMs = 0,
    } = run.behaviour.exec?.(argv, this.#age(run)) ?? { exitCode: 0, output: '' }
    const isLate = tookMs > timeoutMs
    if (tookMs > 0) await this.#clock.sleep(Math.min(tookMs, timeoutMs), run.over.signal)
    // The container's end is its commands' end.
    if (run.over.signal.aborted) return { kind: 'exited', exitCode: 137, output: '' }
    const kept = Buffer.from(output).subarray(-outputBytes).toString('utf8')
    return isLate ? { kind: 'timed-out', output: kept } : { kind: 'exited', exitCode, output: kept }
  }

  #age(run: Run): number {
    return elapsed(run.began, this.#clock.now())
  }

  async #write(run: Run): Promise<void> {
    for (const { afterMs, stream, line } of run.behaviour.writes ?? []) {
      const wait = afterMs - this.#age(run)
      if (wait > 0) await this.#clock.sleep(wait, run.over.signal)
      if (run.over.signal.aborted) return
      this.lines.push({ stream, at: this.#clock.wall(), line })
      this.changed.ring()
    }
  }

  async #endByItself(run: Run): Promise<void> {
    const { ends } = run.behaviour
    if (ends === undefined) return
    await this.#clock.sleep(ends.afterMs, run.over.signal)
    this.#end(run, ends.exitCode, ends.cause)
  }

  async #checkHealth(run: Run): Promise<void> {
    const check = this.spec.healthcheck ?? this.#image.health?.healthcheck
    if (check === undefined || check === 'none') {
      this.#health = undefined
      return
    }
    const { intervalMs = 30_000, timeoutMs = 30_000, startPeriodMs = 0, retries = 3 } = check
    this.#health = { status: 'starting', failingStreak: 0, last: undefined }
    for (;;) {
      await this.#clock.sleep(intervalMs, run.over.signal)
      if (run.over.signal.aborted) return
      const outcome = await this.exec(commandOf(check), timeoutMs)
      if (run.over.signal.aborted || outcome.kind === 'not-running') return
      const last =
        outcome.kind === 'exited' ? outcome : { exitCode: -1, output: 'Health check exceeded timeout' }
      this.#judge(last, this.#age(run) < startPeriodMs ? 'forgiving' : 'counting', retries)
    }
  }

  #judge(
    last: { readonly exitCode: number; readonly output: string },
    mood: 'forgiving' | 'counting',
    retries: number,
  ): void {
    const before = this.#health?.status ?? 'starting'
    const isFine = last.exitCode === 0
    const isForgiven = mood === 'forgiving' && before === 'starting'
    const failingStreak = isFine || isForgiven ? 0 : (this.#health?.failingStreak ?? 0) + 1
    const status = isFine ? 'healthy' : failingStreak >= retries ? 'unhealthy' : before
    this.#health = { status, failingStreak, last: { exitCode: last.exitCode, output: last.output } }
    if (status !== before) this.#tell(`health_status: ${status}`)
  }

  #end(run: Run, exitCode: number, cause?: 'out-of-memory'): void {
    if (this.#run !== run) return
    this.#run = undefined
    this.#last = { exitCode, oomKilled: cause === 'out-of-memory', finishedAtMs: this.#clock.wall() }
    run.over.abort()
    if (cause === 'out-of-memory') this.#tell('oom')
    this.#changes('die')
  }

  #changes(action: string): void {
    this.#tell(action)
    this.changed.ring()
  }
}

interface Run {
  readonly behaviour: Behaviour
  readonly began: Instant
  /** Aborted when the process ends. */
  readonly over: AbortController
}

const signalNumbers: Readonly<Record<string, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGKILL: 9,
  SIGUSR1: 10,
  SIGUSR2: 12,
  SIGTERM: 15,
}

const commandOf = (check: HealthcheckSpec): readonly string[] =>
  check.test[0] === 'CMD-SHELL' ? ['sh', '-c', ...check.test.slice(1)] : check.test.slice(1)
