/**
 * The files of the proxy: what it is started and reloaded with, what its next agent goes on from, and a folder beside them for
 * trying a configuration out.
 */
import { access, mkdir, rename, writeFile } from 'node:fs/promises'
import type { Picture } from './picture.ts'
import { doorsOf } from './picture.ts'
import type { RouteTable } from './proxy.ts'
import { configurationPath, mapPath, type Rendered, render, renderedMaps } from './render.ts'
import type { Layout } from './slots.ts'
import { statePath, stateText } from './state.ts'

/** All that is served at one moment. */
export interface Served {
  readonly table: RouteTable
  readonly layout: Layout
  readonly picture: Picture
}

export class ProxyFiles {
  readonly #dir: string
  readonly #texts = new Map<string, string>()
  #written: Served | undefined
  #lag: string | undefined

  constructor(dir: string) {
    this.#dir = dir
  }

  /** What they say, as far as known. */
  get written(): Served | undefined {
    return this.#written
  }

  /** Why they say something older than they were told to, where they do. */
  get lag(): string | undefined {
    return this.#lag
  }

  async open(): Promise<void> {
    await mkdir(`${this.#dir}/check`, { recursive: true, mode: 0o700 })
  }

  /** Takes what an earlier agent wrote for what they say. */
  found(served: Served): void {
    this.#written = served
  }

  /** Whether there is a configuration to start with. */
  canStart(): Promise<boolean> {
    return access(configurationPath(this.#dir)).then(
      () => true,
      () => false,
    )
  }

  /** Throws the error of the system where the disk does not take it (see `whyUnwritten`); they say what they said then. */
  async write(served: Served): Promise<void> {
    const { table, layout, picture } = served
    const state = stateText({ ...table, layout, doors: doorsOf(picture) })
    const rendered = render(picture, this.#dir, table.revision)
    await this.#write([[statePath(this.#dir), state], ...filesOf(rendered, this.#dir)])
    this.#written = served
    this.#lag = undefined
  }

  /** The same, where it may wait: `lag` says then that it does. */
  async writeOrLag(served: Served): Promise<void> {
    try {
      await this.write(served)
    } catch (error) {
      this.#lag = whyUnwritten(error)
      if (this.#lag === undefined) throw error
    }
  }

  /** A configuration apart, so that a bad one never is on the disk as the good one; gives its path. */
  async writeTrial(picture: Picture, revision: string): Promise<string> {
    const dir = `${this.#dir}/check`
    await this.#write(filesOf(render(picture, dir, revision), dir))
    return configurationPath(dir)
  }

  /** Only what says something new; a disk that has no room for one of them takes none. */
  async #write(files: readonly File[]): Promise<void> {
    const news = files.filter(([path, text]) => this.#texts.get(path) !== text)
    for (const [path, text] of news) await writeFile(`${path}.new`, text, { mode: 0o600 })
    for (const [path, text] of news) {
      await rename(`${path}.new`, path)
      this.#texts.set(path, text)
    }
  }
}

/** What to say of an error of the disk; nothing for any other. */
export function whyUnwritten(error: unknown): string | undefined {
  const isSystemError = error instanceof Error && 'syscall' in error && 'code' in error
  return isSystemError ? `the proxy's files cannot be written: ${error.code}` : undefined
}

type File = readonly [path: string, text: string]

const filesOf = ({ maps, configuration }: Rendered, dir: string): readonly File[] => [
  ...renderedMaps.map((name): File => [mapPath(dir, name), maps[name]]),
  [configurationPath(dir), configuration],
]
