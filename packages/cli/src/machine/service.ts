import type { OwnedProcess, ProcessEnd, SignalTarget } from './process.ts'
import { lastLinesOf, startProcess } from './process.ts'
import { type ReadyTarget, untilReady } from './ready.ts'

export interface ServiceOptions {
  readonly name: string
  readonly argv: readonly string[]
  readonly env?: NodeJS.ProcessEnv
  readonly logFile: string
  /** What answers when it is ready; left out, it counts as ready once it runs. */
  readonly ready?: ReadyTarget
  /** See `ProcessOptions`. */
  readonly signals?: SignalTarget
  /** How long it may take to stop before it is killed; 5 s unless told. */
  readonly graceMs?: number
}

/** A server program that can be stopped and started again on the same data, killed, and paused. */
export class LocalService {
  readonly name: string
  readonly logFile: string
  readonly #options: ServiceOptions
  #process: OwnedProcess | undefined

  constructor(options: ServiceOptions) {
    this.name = options.name
    this.logFile = options.logFile
    this.#options = options
  }

  /** The running process's id, undefined while it is stopped. */
  get pid(): number | undefined {
    return this.#process?.end === undefined ? this.#process?.pid : undefined
  }

  /** Starts it and waits until it answers; does nothing while it runs. A failed start leaves nothing running. */
  async start(): Promise<void> {
    if (this.pid !== undefined) return
    this.#process = await startProcess(this.#options)
    if (this.#options.ready === undefined) return
    try {
      await untilReady(this.#process, this.#options.ready)
    } catch (error) {
      await this.#process.kill()
      throw error
    }
  }

  /** SIGTERM, and SIGKILL after the grace. */
  async stop(): Promise<void> {
    await this.#process?.stop(this.#options.graceMs)
  }

  async kill(): Promise<ProcessEnd | undefined> {
    return this.#process?.kill()
  }

  /** Stops it in good order and starts it again. */
  async restart(): Promise<void> {
    await this.stop()
    await this.start()
  }

  /** Alive, connected, and silent; settles when it stands still. */
  async pause(): Promise<void> {
    await this.#process?.pause()
  }

  resume(): void {
    this.#process?.resume()
  }

  /** The last lines that it wrote, over all its runs. */
  lastLines(count?: number): string {
    return lastLinesOf(this.logFile, count)
  }
}
