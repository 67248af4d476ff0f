/** One request of a load, as its client saw it. Times are milliseconds of the clock that `now` reads. */
export interface LoadRecord {
  readonly kind: 'quick' | 'slow'
  /** When it was sent, and when its answer was whole or the failure was known. */
  readonly t0: number
  readonly t1: number
  readonly url: string
  /** The HTTP status; undefined when there was no whole answer. */
  readonly status: number | undefined
  /** `ECONNRESET`, `timeout`, `cut`, …; undefined when there was a whole answer. */
  readonly errno: string | undefined
  /** Whether the connection had served a request before. */
  readonly reused: boolean
  /** What the answer said of who gave it. */
  readonly generation: number | undefined
  readonly instance: string | undefined
  readonly version: string | undefined
  readonly host: string | undefined
  /** The sentence of a refusal (`detail` of a problem), which tells the proxy's own from the service's. */
  readonly detail: string | undefined
}

export interface LoadOptions {
  /** Asked in turns; all must be of this computer's own test network. */
  readonly urls: readonly string[]
  /** The `Host` header; the URL's own when left out. */
  readonly hostHeader?: string
  /** Requests a second, sent when they are due, however long the earlier ones take. At most 5,000. */
  readonly rate: number
  /** Ends by itself after so long; 5 minutes unless told, never more than 15. */
  readonly maxMs?: number
  /** A request without a whole answer after so long has failed; 10 s unless told. */
  readonly timeoutMs?: number
  /** Connections kept open to each address; 32 unless told. */
  readonly sockets?: number
  /** Slow requests beside: so many a second, each of which the service takes so long to answer. */
  readonly slow?: { readonly rate: number; readonly ms: number }
}

/** Milliseconds of a clock that only goes forward and is the same in all threads of this program. */
export const now = (): number => Number(process.hrtime.bigint()) / 1e6
