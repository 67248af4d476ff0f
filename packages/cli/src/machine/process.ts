import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { platform } from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { heldBy } from './held.ts'
import { childrenOf, standsStill } from './procfs.ts'

export interface ProcessOptions {
  /** What people call it, for errors and logs: `etcd`, `the engine of h2`. */
  readonly name: string
  readonly argv: readonly string[]
  readonly env?: NodeJS.ProcessEnv
  readonly cwd?: string
  /** Standard output and standard error are appended here. */
  readonly logFile: string
  /** Where signals go; to the process itself unless told. */
  readonly signals?: SignalTarget
}

/** `nsenter` into other process ids waits in front of the program that is meant, and passes no signal on. */
export type SignalTarget = 'to-itself' | 'to-its-child'

/** How a process ended: one of the two is set. */
export interface ProcessEnd {
  readonly status: number | undefined
  readonly signal: NodeJS.Signals | undefined
}

/**
 * A child process that this program owns. It gets no Ctrl-C from the terminal (its owner decides when it
 * stops), and on Linux the kernel kills it when its owner dies, however hard.
 */
export interface OwnedProcess {
  readonly name: string
  readonly pid: number
  readonly logFile: string
  /** Settles when the process has ended; never rejects. */
  readonly exited: Promise<ProcessEnd>
  /** How it ended, undefined while it runs. */
  readonly end: ProcessEnd | undefined
  /** SIGTERM, then SIGKILL after the grace (5 s unless told); settles when the process is gone, rejects when it stays. */
  stop(graceMs?: number): Promise<ProcessEnd>
  /** SIGKILL; settles when the process is gone, rejects when it stays. */
  kill(): Promise<ProcessEnd>
  /** SIGSTOP: alive, connected, and silent. Settles when it stands still. */
  pause(): Promise<void>
  resume(): void
  signal(signal: NodeJS.Signals): void
  /** The last lines that it wrote, for an error's text. */
  lastLines(count?: number): string
}

/** A program did not come up; the message carries its own last words. The world is at fault, not this program. */
export class StartFailed extends Error {
  override readonly name = 'StartFailed'
}

/** Starts a process that we own. Rejects with `StartFailed` when the program cannot be started at all. */
export function startProcess(options: ProcessOptions): Promise<OwnedProcess> {
  const [program, ...args] = withOwner(options.argv)
  if (program === undefined) throw new TypeError('a process needs at least the program')
  const log = openSync(options.logFile, 'a')
  let child: ChildProcess
  try {
    child = spawn(program, args, {
      env: options.env ?? process.env,
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      detached: true,
      stdio: ['ignore', log, log],
    })
  } finally {
    closeSync(log)
  }
  return new Promise((resolve, reject) => {
    child.once('error', error =>
      reject(new StartFailed(`${options.name} cannot be started: ${error.message}`)),
    )
    child.once('spawn', () => resolve(new Owned(options, child)))
  })
}

/**
 * SIGSTOP to a process, and waits until it stands still: its threads may work on for a while after the signal was sent.
 * Where there is no `/proc` to look at, it does not wait. Throws when it still moves after five seconds.
 */
export async function pauseProcess(pid: number): Promise<void> {
  signalPid(pid, 'SIGSTOP')
  for (const end = performance.now() + 5_000; !standsStill(pid); await sleep(1))
    if (performance.now() > end) throw new Error(`process ${pid} does not stand still after SIGSTOP`)
}

/** The last lines of a file that somebody else writes; empty when there is none. */
export function lastLinesOf(file: string, count = 8): string {
  try {
    return readFileSync(file, 'utf8').trimEnd().split('\n').slice(-count).join('\n')
  } catch {
    return ''
  }
}

/** So long a process may take to end after a SIGKILL. */
const killMs = 10_000

class Owned implements OwnedProcess {
  readonly name: string
  readonly pid: number
  readonly logFile: string
  readonly exited: Promise<ProcessEnd>
  readonly #child: ChildProcess
  readonly #signals: SignalTarget
  #end: ProcessEnd | undefined

  constructor(options: ProcessOptions, child: ChildProcess) {
    if (child.pid === undefined) throw new Error(`${options.name} runs without a pid`)
    this.name = options.name
    this.pid = child.pid
    this.logFile = options.logFile
    this.#child = child
    this.#signals = options.signals ?? 'to-itself'
    this.exited = new Promise(resolve => {
      child.once('exit', (code, signal) => {
        this.#end = { status: code ?? undefined, signal: signal ?? undefined }
        resolve(this.#end)
      })
    })
  }

  get end(): ProcessEnd | undefined {
    return this.#end
  }

  async stop(graceMs = 5_000): Promise<ProcessEnd> {
    this.signal('SIGTERM')
    // A paused process takes the SIGTERM only once it goes on.
    this.signal('SIGCONT')
    const timer = setTimeout(() => this.signal('SIGKILL'), graceMs)
    try {
      return await this.#exitedWithin(graceMs + killMs)
    } finally {
      clearTimeout(timer)
    }
  }

  kill(): Promise<ProcessEnd> {
    this.signal('SIGKILL')
    return this.#exitedWithin(killMs)
  }

  /** Some processes outlast a SIGKILL (held.ts); whoever stops them must not wait for ever. */
  async #exitedWithin(ms: number): Promise<ProcessEnd> {
    const giveUp = new AbortController()
    const late = sleep(ms, undefined, { signal: giveUp.signal }).then(() => {
      const pid = this.#meant() ?? this.pid
      throw new Error(
        `${this.name}, process ${pid}, does not end: ${heldBy(pid)?.why ?? 'it outlasts SIGKILL'}`,
      )
    })
    try {
      return await Promise.race([this.exited, late])
    } finally {
      giveUp.abort()
      late.catch(() => undefined)
    }
  }

  async pause(): Promise<void> {
    if (this.#end === undefined) await pauseProcess(this.#meant() ?? this.pid)
  }

  resume(): void {
    this.signal('SIGCONT')
  }

  signal(signal: NodeJS.Signals): void {
    if (this.#end !== undefined) return
    const child = this.#meant()
    // The handle refuses once the process was waited for, so a reused pid is never hit; a child's id stays taken
    // as long as its parent, which waits for it, is there.
    if (child === undefined) this.#child.kill(signal)
    else signalPid(child, signal)
    // A paused child stops the `nsenter` in front of it as well.
    if (child !== undefined && signal === 'SIGCONT') this.#child.kill(signal)
  }

  lastLines(count?: number): string {
    return lastLinesOf(this.logFile, count)
  }

  /** The child that signals are for, where it is not the process itself. */
  #meant(): number | undefined {
    return this.#signals === 'to-its-child' ? childrenOf(this.pid)[0] : undefined
  }
}

function signalPid(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // It has ended meanwhile; whoever waits for it will see.
  }
}

/** Elsewhere than on Linux nobody tells a child of its parent's death: there the owner's own stop must do. */
function withOwner(argv: readonly string[]): readonly string[] {
  return platform === 'linux' ? ['setpriv', '--pdeathsig', 'KILL', '--', ...argv] : argv
}
