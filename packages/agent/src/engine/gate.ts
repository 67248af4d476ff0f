/** Lets at most `width` pieces of work run at once; the others wait in line. */
export class Gate {
  readonly #width: number
  #running = 0
  readonly #line: (() => void)[] = []

  constructor(width: number) {
    this.#width = width
  }

  /** Runs the work in its turn. An aborted signal takes it out of the line and throws its reason. */
  async pass<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    signal?.throwIfAborted()
    if (this.#running < this.#width) this.#running++
    else await this.#turn(signal)
    try {
      return await work()
    } finally {
      // The turn is handed over, so the count stays when somebody waits.
      const next = this.#line.shift()
      if (next === undefined) this.#running--
      else next()
    }
  }

  #turn(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const enter = () => {
        signal?.removeEventListener('abort', leave)
        resolve()
      }
      const leave = () => {
        this.#line.splice(this.#line.indexOf(enter), 1)
        reject(signal?.reason)
      }
      this.#line.push(enter)
      signal?.addEventListener('abort', leave, { once: true })
    })
  }
}
