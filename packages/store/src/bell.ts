import type { Clock } from '@boxcar/core/model/clock'

/**
 * Wakes whoever waits. It carries no news: a waiter looks afresh after each ring. Rings are counted, so that one between a
 * look and the wait that follows is not missed.
 */
export class Bell {
  readonly #waiters = new Set<() => void>()
  #rings = 0

  get rings(): number {
    return this.#rings
  }

  ring(): void {
    this.#rings += 1
    const waiters = [...this.#waiters]
    this.#waiters.clear()
    for (const wake of waiters) wake()
  }

  /** Resolves once it has rung more than `since` times, or when the signal is aborted; never rejects. */
  next(signal?: AbortSignal, since = this.#rings): Promise<void> {
    if (signal?.aborted === true || this.#rings !== since) return Promise.resolve()
    return new Promise(resolve => {
      const wake = (): void => {
        signal?.removeEventListener('abort', wake)
        this.#waiters.delete(wake)
        resolve()
      }
      this.#waiters.add(wake)
      signal?.addEventListener('abort', wake, { once: true })
    })
  }

  /** The same, but waits no longer than `ms`. */
  async within(clock: Clock, ms: number, signal: AbortSignal, since = this.#rings): Promise<void> {
    if (signal.aborted || this.#rings !== since) return
    const waking = new AbortController()
    const wake = (): void => waking.abort()
    this.#waiters.add(wake)
    signal.addEventListener('abort', wake, { once: true })
    await clock.sleep(ms, waking.signal)
    signal.removeEventListener('abort', wake)
    this.#waiters.delete(wake)
  }
}
