/**
 * Pulls, one at a time for each image. The engine tells of failures inside a successful answer, and some clients miss
 * them; so every line is read, any error fails the pull, and what has arrived is looked at by name afterwards.
 */
import {
  type Digest,
  EngineUnavailable,
  isDigest,
  type PullOptions,
  type PullOutcome,
  type PullProgress,
} from '../engine/engine.ts'
import { digestFrom, parseReference, type Reference } from '../engine/reference.ts'
import * as answers from './answers.ts'
import { chunks, jsonLines } from './body-stream.ts'
import { registryVerdict } from './registry-says.ts'
import type { Transport } from './transport.ts'

export interface PullTimes {
  readonly callMs: number
  /** The longest silence of a pull. */
  readonly pullIdleMs: number
  /** The longest pull. */
  readonly pullMs: number
}

export interface ImageHere {
  readonly id: string
  readonly repoDigests: readonly string[]
}

interface Pull {
  readonly outcome: Promise<PullOutcome>
  readonly listeners: Set<(progress: PullProgress) => void>
  readonly controller: AbortController
  waiting: number
}

export class Pulls {
  readonly #transport: Transport
  readonly #times: PullTimes
  readonly #here: (reference: string) => Promise<ImageHere | undefined>
  readonly #running = new Map<string, Pull>()

  /** `here` looks an image up on the engine. */
  constructor(
    transport: Transport,
    times: PullTimes,
    here: (reference: string) => Promise<ImageHere | undefined>,
  ) {
    this.#transport = transport
    this.#times = times
    this.#here = here
  }

  /** Joins the pull of the same image that is under way, or begins one. */
  async pull(text: string, { onProgress, signal }: PullOptions): Promise<PullOutcome> {
    signal?.throwIfAborted()
    if (isDigest(text)) return await this.#local(text)
    const reference = parseReference(text)
    if (reference === undefined)
      return { kind: 'failed', reason: `'${text}' is not an image reference`, permanent: true }
    const key = `${reference.repository}@${reference.digest ?? reference.tag}`
    const pull = this.#running.get(key) ?? this.#begin(key, reference)
    const listener = onProgress && ((progress: PullProgress) => onProgress(progress))
    if (listener) pull.listeners.add(listener)
    pull.waiting++
    const { promise: aborted, reject } = Promise.withResolvers<never>()
    const leave = () => reject(signal?.reason)
    signal?.addEventListener('abort', leave, { once: true })
    try {
      return await Promise.race([pull.outcome, aborted])
    } finally {
      signal?.removeEventListener('abort', leave)
      if (listener) pull.listeners.delete(listener)
      if (--pull.waiting === 0) {
        if (this.#running.get(key) === pull) this.#running.delete(key)
        pull.controller.abort()
      }
    }
  }

  #begin(key: string, reference: Reference): Pull {
    const controller = new AbortController()
    const listeners = new Set<(progress: PullProgress) => void>()
    const tell = (progress: PullProgress) => {
      for (const listener of listeners) listener(progress)
    }
    const outcome = this.#fetch(reference, tell, controller.signal).finally(() => {
      if (this.#running.get(key) === pull) this.#running.delete(key)
    })
    const pull: Pull = { outcome, listeners, controller, waiting: 0 }
    this.#running.set(key, pull)
    return pull
  }

  async #fetch(
    reference: Reference,
    tell: (progress: PullProgress) => void,
    signal: AbortSignal,
  ): Promise<PullOutcome> {
    const { digest } = reference
    // What a digest means never changes; a tag is asked for anew each time.
    if (digest !== undefined && (await this.#digestHere(reference)) === digest)
      return { kind: 'pulled', digest }
    const tooLong = new AbortController()
    const timer = setTimeout(() => tooLong.abort(), this.#times.pullMs)
    try {
      const problem = await this.#transfer(reference, tell, AbortSignal.any([signal, tooLong.signal]))
      if (problem !== undefined) return failed(problem)
    } catch (error) {
      if (tooLong.signal.aborted) return failed(`the pull was not done within ${this.#times.pullMs / 1000} s`)
      throw error
    } finally {
      clearTimeout(timer)
    }
    const arrived = await this.#digestHere(reference)
    if (arrived !== undefined) return { kind: 'pulled', digest: arrived }
    return failed(`the image ${spelled(reference)} is not there although its pull ended without an error`)
  }

  /** What went wrong, or nothing. */
  async #transfer(
    reference: Reference,
    tell: (progress: PullProgress) => void,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    const { pullIdleMs } = this.#times
    const silent = `the registry or the engine was silent for ${pullIdleMs / 1000} s`
    const tag = reference.digest ?? reference.tag ?? 'latest'
    const query = { fromImage: reference.name, tag }
    const asked = Date.now()
    try {
      // The headers come with the first line, after the registry has answered.
      const opened = await this.#transport.open(
        { method: 'POST', path: '/images/create', query },
        { withinMs: pullIdleMs, signal },
      )
      if (opened.kind === 'refused') return opened.reason
      const lines = jsonLines(chunks(opened.body, pullIdleMs, () => new Silence()))
      for await (const value of lines) {
        const line = answers.read('progress of a pull', answers.pullLine, value)
        const problem = line.errorDetail?.message ?? line.error
        if (problem !== undefined) return problem
        tell({
          status: line.status ?? '',
          layer: line.id,
          current: line.progressDetail?.current,
          total: line.progressDetail?.total,
        })
      }
    } catch (error) {
      if (
        error instanceof Silence ||
        (error instanceof EngineUnavailable && Date.now() - asked >= pullIdleMs)
      )
        return silent
      signal.throwIfAborted()
      throw this.#transport.unavailable(error)
    }
    // A reader closed by the signal ends without an error.
    signal.throwIfAborted()
    return undefined
  }

  async #digestHere(reference: Reference): Promise<Digest | undefined> {
    const image = await this.#here(spelled(reference))
    return image === undefined ? undefined : digestFrom(image.repoDigests, reference)
  }

  async #local(id: Digest): Promise<PullOutcome> {
    if ((await this.#here(id)) !== undefined) return { kind: 'pulled', digest: id }
    return {
      kind: 'failed',
      reason: `${id} is the id of an image on another engine; no registry has it`,
      permanent: true,
    }
  }
}

/** As the engine is asked for it: a digest makes the tag mean nothing. */
export const spelled = ({ name, tag, digest }: Reference): string =>
  digest === undefined ? `${name}:${tag ?? 'latest'}` : `${name}@${digest}`

const failed = (reason: string): PullOutcome => ({
  kind: 'failed',
  reason,
  permanent: registryVerdict(reason) !== 'away',
})

class Silence extends Error {}
