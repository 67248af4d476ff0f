/** The operation queue of this host's engine: performs what the queue decides, and learns the limits from how it went. */
import {
  adapt,
  firstLimit,
  type LimitBounds,
  type Sample,
  wholeLimit,
} from '@boxcar/core/instance/concurrency-limit'
import {
  dequeue,
  emptyQueue,
  enqueue,
  next,
  type Operation,
  type OperationKind,
  type OperationLimits,
  type OperationQueue,
} from '@boxcar/core/instance/operation-queue'
import type { Clock, Instant } from '@boxcar/core/model/clock'
import type { ServiceName } from '@boxcar/core/model/ids'
import { EngineUnavailable } from './engine/engine.ts'

export interface OperationOptions<Result> {
  readonly kind: OperationKind
  /** Whose turn it takes; nothing for a container that names no instance. */
  readonly service: ServiceName | undefined
  /** Drops it while it waits for its turn; what has begun goes on. */
  readonly signal: AbortSignal
  /** Whether a result tells how fast the engine is; left out: every one does. A refusal comes sooner than a start. */
  readonly isTypical?: (result: Result) => boolean
}

export class Operations {
  readonly #clock: Clock
  #queue: OperationQueue = emptyQueue
  readonly #learnt = { start: firstLimit(bounds.start), remove: firstLimit(bounds.remove) }
  /** How to begin each waiting operation. */
  readonly #begin = new Map<number, () => void>()
  /** The most of its kind that ran beside each running operation, itself included. */
  readonly #atOnce = new Map<number, number>()
  #count = 0
  #looking = new AbortController()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** How many of each kind may occupy the engine now. */
  get limits(): OperationLimits {
    return {
      start: wholeLimit(this.#learnt.start),
      remove: wholeLimit(this.#learnt.remove),
      stop: stopsAtOnce,
    }
  }

  /** Performs it in its turn; rejects with the signal's reason where it was dropped before. */
  async run<Result>(
    { kind, service, signal, isTypical = () => true }: OperationOptions<Result>,
    perform: () => Promise<Result>,
  ): Promise<Result> {
    const id = ++this.#count
    try {
      await this.#turn({ id, kind, service: service ?? '' }, signal)
      // It may have been dropped since its turn was given.
      signal.throwIfAborted()
      return await this.#measured(id, kind, isTypical, perform)
    } finally {
      this.#begin.delete(id)
      this.#atOnce.delete(id)
      this.#queue = dequeue(this.#queue, id)
      this.#dispatch()
    }
  }

  #turn(operation: Operation, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    return new Promise((resolve, reject) => {
      const drop = () => reject(signal.reason)
      signal.addEventListener('abort', drop, { once: true })
      this.#begin.set(operation.id, () => {
        signal.removeEventListener('abort', drop)
        resolve()
      })
      this.#queue = enqueue(this.#queue, operation)
      this.#dispatch()
    })
  }

  async #measured<Result>(
    id: number,
    kind: OperationKind,
    isTypical: (result: Result) => boolean,
    perform: () => Promise<Result>,
  ): Promise<Result> {
    const began = this.#clock.now()
    const learn = (outcome: Sample['outcome']) => {
      if (kind === 'stop') return
      const sample = { began, ended: this.#clock.now(), atOnce: this.#atOnce.get(id) ?? 1, outcome }
      this.#learnt[kind] = adapt(this.#learnt[kind], sample, bounds[kind])
    }
    try {
      const result = await perform()
      if (isTypical(result)) learn('done')
      return result
    } catch (error) {
      // An answer that is an error may be of this one container; none at all is the engine's.
      if (error instanceof EngineUnavailable) learn('failed')
      throw error
    }
  }

  #dispatch(): void {
    const { begun, queue, lookAgainAt } = next(this.#queue, this.limits, this.#clock.now())
    this.#queue = queue
    this.#noteAtOnce()
    for (const { id } of begun) this.#begin.get(id)?.()
    this.#looking.abort()
    if (lookAgainAt !== undefined) void this.#lookAgain(lookAgainAt)
  }

  #noteAtOnce(): void {
    const counts = { start: 0, stop: 0, remove: 0 }
    const { running } = this.#queue
    for (const { kind } of running) counts[kind] += 1
    for (const { id, kind } of running)
      this.#atOnce.set(id, Math.max(this.#atOnce.get(id) ?? 0, counts[kind]))
  }

  async #lookAgain(at: Instant): Promise<void> {
    this.#looking = new AbortController()
    const { signal } = this.#looking
    await this.#clock.sleep(at - this.#clock.now(), signal)
    if (!signal.aborted) this.#dispatch()
  }
}

/** Two to four starts at once give an engine's full rate. Removals are cheap, and every one frees room. */
const bounds = {
  start: { least: 1, most: 8, first: 2 },
  remove: { least: 4, most: 8, first: 6 },
} as const satisfies Record<string, LimitBounds>

/** However quick the engine is; the one more is the turn that is kept for a service with nothing under way. */
export const mostStartsAtOnce = bounds.start.most + 1

/** Not learnt: how long a stop takes is up to the process. */
const stopsAtOnce = 8
