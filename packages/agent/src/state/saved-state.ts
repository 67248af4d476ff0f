/**
 * The state folder as the agent uses it. A disk that fails keeps nobody from going on: what cannot be read is as good as none, what cannot
 * be saved is tried again, and both are known here, so that they can be shown.
 */
import type { Clock } from '@boxcar/core/model/clock'
import { Bell } from '@boxcar/store/bell'
import type { Log } from '@boxcar/store/log'
import type { Files } from './files.ts'

export interface SavedStateOptions {
  readonly files: Files
  readonly clock: Clock
  readonly log: Log
}

export class SavedState {
  readonly #options: SavedStateOptions
  /** Why files were of no use, in sentences. */
  readonly #unread: string[] = []
  /** Why files were not saved, by name. */
  readonly #unsaved = new Map<string, string>()
  /** What each shall say. */
  readonly #texts = new Map<string, string>()
  readonly #failed = new Bell()
  #onChange: () => void = () => {}

  constructor(options: SavedStateOptions) {
    this.#options = options
  }

  /** Nothing where there is no such file, and where it cannot be read. */
  async read(name: string): Promise<string | undefined> {
    try {
      return await this.#options.files.read(name)
    } catch (error) {
      this.unusable(name, sentence(error))
      return undefined
    }
  }

  /** Whoever read it can make nothing of it, or not of all. */
  unusable(name: string, why: string): void {
    // Shown: an event `state-unread` when the agent has started.
    this.#options.log.warn({ file: name, why }, 'a file of the state folder is of no use')
    this.#unread.push(`${name}: ${why}`)
  }

  /** What was found to be of no use since this was asked for last. */
  takeUnread(): readonly string[] {
    return this.#unread.splice(0)
  }

  /** Never rejects. */
  async save(name: string, text: string): Promise<void> {
    this.#texts.set(name, text)
    const before = this.#unsaved.get(name)
    let why: string | undefined
    try {
      await this.#options.files.write(name, text)
      this.#unsaved.delete(name)
    } catch (error) {
      why = sentence(error)
      if (why !== before)
        // Shown: the condition `state-not-saved`.
        this.#options.log.error({ file: name, why }, 'a file of the state folder was not saved')
      this.#unsaved.set(name, why)
      this.#failed.ring()
    }
    if (why !== before) this.#onChange()
  }

  /** Which files say something older than they should, and why; a sentence. */
  get unsaved(): string | undefined {
    if (this.#unsaved.size === 0) return undefined
    const files = [...this.#unsaved].sort(([a], [b]) => (a < b ? -1 : 1))
    const list = files.map(([name, why]) => `${name} (${why})`).join(', ')
    return `the state folder does not take ${list}: a restart of the agent while the store is away goes on from older ones`
  }

  onChange(listener: () => void): void {
    this.#onChange = listener
  }

  /** Tries what was not saved again, now and then. */
  async keepSaved(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if (this.#unsaved.size === 0) await this.#failed.next(signal)
      await this.#options.clock.sleep(againMs, signal)
      if (signal.aborted) return
      for (const name of [...this.#unsaved.keys()]) await this.save(name, this.#texts.get(name) ?? '')
    }
  }
}

const againMs = 10_000
const sentence = (error: unknown): string => (error instanceof Error ? error.message : String(error))
