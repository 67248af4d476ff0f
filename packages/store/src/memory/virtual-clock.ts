/** Time that moves only when told to: days pass in seconds, in the same order on every machine. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Clock, Instant, WallTime } from '@boxcar/core/model/clock'

interface Sleeper {
  readonly at: number
  readonly order: number
  readonly wake: () => void
  done: boolean
}

/** 2024-01-01, so that times in printed traces look like times. */
const firstWallMs = 1_704_067_200_000

export class VirtualClock implements Clock {
  /** A binary heap, soonest first; ties go to who slept first. */
  readonly #heap: Sleeper[] = []
  #now = 0
  #order = 0
  #wallOffset = firstWallMs

  now(): Instant {
    return this.#now as Instant
  }

  wall(): WallTime {
    return (this.#now + this.#wallOffset) as WallTime
  }

  /** The wall clock jumps; the monotonic one does not notice. */
  jumpWall(ms: number): void {
    this.#wallOffset += ms
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted === true) return Promise.resolve()
    return new Promise(resolve => {
      const finish = (): void => {
        sleeper.done = true
        signal?.removeEventListener('abort', finish)
        resolve()
      }
      const sleeper: Sleeper = {
        at: this.#now + Math.max(0, ms),
        order: this.#order,
        wake: finish,
        done: false,
      }
      this.#order += 1
      signal?.addEventListener('abort', finish, { once: true })
      push(this.#heap, sleeper)
    })
  }

  /** Moves time on, waking sleepers in order; what each of them sets off is done before the next one wakes. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms
    await this.settle()
    for (let next = this.#next(); next !== undefined && next.at <= end; next = this.#next()) {
      pop(this.#heap)
      this.#now = Math.max(this.#now, next.at)
      next.wake()
      await this.settle()
    }
    this.#now = end
  }

  /** Advances in steps until something holds; says whether it did within `ms`. */
  async advanceUntil(holds: () => boolean, ms: number, stepMs = 10): Promise<boolean> {
    await this.settle()
    for (let spent = 0; spent < ms && !holds(); spent += stepMs) await this.advance(stepMs)
    return holds()
  }

  /** Lets everything run that waits for no time: a turn of the event loop comes only after all promises are through. */
  async settle(): Promise<void> {
    await nextTurn()
  }

  #next(): Sleeper | undefined {
    while (this.#heap[0]?.done === true) pop(this.#heap)
    return this.#heap[0]
  }
}

const before = (a: Sleeper, b: Sleeper): boolean => a.at < b.at || (a.at === b.at && a.order < b.order)

function push(heap: Sleeper[], sleeper: Sleeper): void {
  heap.push(sleeper)
  for (let i = heap.length - 1; i > 0; ) {
    const parent = (i - 1) >> 1
    const [own, above] = [heap[i], heap[parent]]
    if (own === undefined || above === undefined || !before(own, above)) return
    heap[i] = above
    heap[parent] = own
    i = parent
  }
}

function pop(heap: Sleeper[]): void {
  const last = heap.pop()
  if (last === undefined || heap.length === 0) return
  heap[0] = last
  for (let i = 0; ; ) {
    let least = i
    for (const child of [2 * i + 1, 2 * i + 2]) {
      const [a, b] = [heap[child], heap[least]]
      if (a !== undefined && b !== undefined && before(a, b)) least = child
    }
    const [own, other] = [heap[i], heap[least]]
    if (least === i || own === undefined || other === undefined) return
    heap[i] = other
    heap[least] = own
    i = least
  }
}
