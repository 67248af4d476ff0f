/** A moment on one process's monotonic clock, in milliseconds. It means nothing to another process: never stored. */
export type Instant = number & { readonly __brand: 'Instant' }

/** A moment on the wall, in milliseconds since 1970. For people and certificates; nothing is decided by it. */
export type WallTime = number & { readonly __brand: 'WallTime' }

/** Time as every loop meets it: passed in, so that the whole system can run under a virtual clock. */
export interface Clock {
  /** Monotonic; the only time that decisions are made by. */
  now(): Instant
  /** For timestamps that people read. */
  wall(): WallTime
  /** Resolves after `ms`; resolves at once, never rejects, when the signal is aborted. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
}

/** Chance as every loop meets it: seeded in the simulation, one stream per purpose. */
export interface Chance {
  /** From 0 inclusive to 1 exclusive. */
  next(): number
  /** An identifier that nobody else draws: 20 characters of [0-9a-z]. */
  id(): string
}

export const after = (instant: Instant, ms: number): Instant => (instant + ms) as Instant
export const elapsed = (from: Instant, to: Instant): number => to - from
