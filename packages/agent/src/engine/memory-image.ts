/** Images and registries of the engine in memory: what would be files is a function that says how a container behaves. */
import { createHash } from 'node:crypto'
import { type ContainerSpec, type Digest, type ImageHealth, isDigest } from './engine.ts'
import { parseReference } from './reference.ts'

export interface MemoryImage {
  /** Names the content: two images of one content are one image. */
  readonly content: string
  readonly health?: ImageHealth
  /** Asked at each start; `run` counts the starts of this container from 1. */
  readonly behaves: (spec: ContainerSpec, run: number) => Behaviour
}

/** A process, as far as anybody outside can see. Times count from its start, in milliseconds. */
export interface Behaviour {
  /** Why it cannot be executed at all. */
  readonly cannotStart?: string
  /** What it writes, in the order of time. */
  readonly writes?: Iterable<{
    readonly afterMs: number
    readonly stream: 'stdout' | 'stderr'
    readonly line: string
  }>
  /** When and how it ends by itself; left out: never. */
  readonly ends?: { readonly afterMs: number; readonly exitCode: number; readonly cause?: 'out-of-memory' }
  /** What it does with a signal; left out: it ends at once, as most programs. Nothing survives SIGKILL. */
  readonly onSignal?: (signalName: string) => { readonly inMs: number; readonly exitCode: number } | 'ignored'
  /** Commands run inside it, also by health checks; left out: all exit with 0. */
  readonly exec?: (
    argv: readonly string[],
    afterMs: number,
  ) => { readonly exitCode: number; readonly output: string; readonly tookMs?: number }
}

/** Digests by content, the same in every run. */
export const digestOf = (content: string): Digest => {
  const digest = `sha256:${createHash('sha256').update(content).digest('hex')}`
  if (!isDigest(digest)) throw new Error('a hash of another form')
  return digest
}

/** A registry that the engines of several hosts pull from. */
export class MemoryRegistry {
  /** away: nobody answers. denies: it wants another login. */
  state: 'up' | 'away' | 'denies' = 'up'
  readonly #images = new Map<string, MemoryImage>()

  /** Publishes an image under `name:tag` and under its digest. */
  push(reference: string, image: MemoryImage): Digest {
    const parsed = parseReference(reference)
    if (parsed === undefined || parsed.tag === undefined)
      throw new Error(`not a name and a tag: ${reference}`)
    const digest = digestOf(image.content)
    this.#images.set(`${parsed.repository}:${parsed.tag}`, image)
    this.#images.set(`${parsed.repository}@${digest}`, image)
    return digest
  }

  find(reference: string): MemoryImage | undefined {
    const parsed = parseReference(reference)
    if (parsed === undefined) return undefined
    return this.#images.get(
      parsed.digest === undefined
        ? `${parsed.repository}:${parsed.tag}`
        : `${parsed.repository}@${parsed.digest}`,
    )
  }
}
