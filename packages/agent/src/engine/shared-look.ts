/**
 * One look at a time, shared. Whoever asks while a look is under way gets the next one: the present one may have read
 * before what the asker has just done.
 */
export class SharedLook<T> {
  readonly #look: () => Promise<T>
  #present: Promise<T> | undefined
  #next: Promise<T> | undefined

  constructor(look: () => Promise<T>) {
    this.#look = look
  }

  /** A look that begins after this call. */
  take(): Promise<T> {
    if (this.#present === undefined) return this.#begin()
    this.#next ??= this.#present.then(
      () => this.#begin(),
      () => this.#begin(),
    )
    return this.#next
  }

  #begin(): Promise<T> {
    this.#next = undefined
    const look = this.#look().finally(() => {
      if (this.#present === look) this.#present = undefined
    })
    this.#present = look
    return look
  }
}

/** The promise, or the reason of the signal if that comes first; the work behind the promise goes on. */
export async function orAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await promise
  // Whoever leaves no longer hears how it ends.
  promise.catch(() => undefined)
  signal.throwIfAborted()
  const { promise: aborted, reject } = Promise.withResolvers<never>()
  const leave = () => reject(signal.reason)
  signal.addEventListener('abort', leave, { once: true })
  try {
    return await Promise.race([promise, aborted])
  } finally {
    signal.removeEventListener('abort', leave)
  }
}
