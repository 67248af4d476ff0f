import type { Clock } from '@boxcar/core/model/clock'

/** A bell that remembers one ring: who comes late still hears it, who comes twice hears it once. */
export class Wake {
  #rung = false
  #limitMs: number | undefined
  #ring: (() => void) | undefined

  ring(): void {
    this.#rung = true
    this.#ring?.()
  }

  /** The next wait is no longer than this. */
  setLimit(ms: number): void {
    this.#limitMs = ms
  }

  /** Resolves at the next ring, after the limit, or when the signal is aborted. */
  async next(mostMs: number, clock: Clock, signal: AbortSignal): Promise<void> {
    const limitMs = Math.min(this.#limitMs ?? mostMs, mostMs)
    this.#limitMs = undefined
    if (!this.#rung) {
      const enough = new AbortController()
      const stop = (): void => enough.abort()
      this.#ring = stop
      signal.addEventListener('abort', stop, { once: true })
      await clock.sleep(limitMs, enough.signal)
      signal.removeEventListener('abort', stop)
      this.#ring = undefined
    }
    this.#rung = false
  }
}
