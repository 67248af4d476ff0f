/**
 * What the program prints: written in the order in which the commands print it, also across standard output and standard error
 * (`2>&1` shows whole lines in their order), and no faster than it is read. A pipe takes 64 KiB; the rest waits here. A command
 * that prints without end awaits `drained`, so that a slow reader slows it down instead of filling the memory; the program ends
 * after `written`, so that nothing is cut off.
 */

/** The part of a Node stream that is needed here. */
export interface OutputStream {
  write(text: string, callback: (error?: Error | null) => void): unknown
  on(event: 'error', listener: (error: Error) => void): unknown
}

export type OutputEnd =
  | { readonly kind: 'written' }
  /** The reader closed its end, as `head` does; what is printed after that is dropped. */
  | { readonly kind: 'closed' }
  /** Such as a full disk; what is printed after that is dropped. */
  | { readonly kind: 'failed'; readonly why: string }
  /** The program was interrupted, and its reader does not read. */
  | { readonly kind: 'unread' }

type Loss = Extract<OutputEnd, { readonly kind: 'closed' | 'failed' }>

/** As much as a pipe takes by default. */
const highWaterMark = 65_536

export class Output<Stream extends OutputStream> {
  readonly #onLoss: (loss: Loss) => void
  readonly #queue: { readonly stream: Stream; text: string }[] = []
  readonly #lost = new Map<Stream, Loss>()
  readonly #waiting = new Set<{ readonly below: number; readonly resolve: () => void }>()
  /** Characters that no stream has taken yet, those under way included. */
  #pending = 0
  #isWriting = false

  constructor(onLoss: (loss: Loss) => void) {
    this.#onLoss = onLoss
  }

  /** Takes over the errors of a stream: they would end the process otherwise. */
  watch(stream: Stream): void {
    stream.on('error', error => this.lose(stream, lossOf(error)))
  }

  write(stream: Stream, text: string): void {
    if (text === '' || this.#lost.has(stream)) return
    this.#pending += text.length
    const last = this.#queue.at(-1)
    if (last?.stream === stream) last.text += text
    else this.#queue.push({ stream, text })
    this.#next()
  }

  /** Nothing more is written to a stream; what waits for it is dropped. */
  lose(stream: Stream, loss: Loss): void {
    if (this.#lost.has(stream)) return
    this.#lost.set(stream, loss)
    this.#onLoss(loss)
    this.#next()
  }

  /** Resolves when little enough is waiting that more may be printed, or the signal is aborted. */
  drained(signal: AbortSignal): Promise<void> {
    return this.#below(highWaterMark, signal)
  }

  /** Resolves when all of it is written or dropped. */
  async written(): Promise<OutputEnd> {
    await this.#below(1)
    const losses = [...this.#lost.values()]
    return losses.find(it => it.kind === 'failed') ?? losses[0] ?? { kind: 'written' }
  }

  #next(): void {
    while (!this.#isWriting) {
      const piece = this.#queue.shift()
      if (piece === undefined) break
      if (this.#lost.has(piece.stream)) {
        this.#taken(piece.text)
        continue
      }
      this.#isWriting = true
      piece.stream.write(piece.text, error => {
        this.#isWriting = false
        this.#taken(piece.text)
        if (error) this.lose(piece.stream, lossOf(error))
        this.#next()
      })
    }
  }

  #taken(text: string): void {
    this.#pending -= text.length
    for (const waiting of this.#waiting) if (this.#pending < waiting.below) waiting.resolve()
  }

  #below(below: number, signal?: AbortSignal): Promise<void> {
    if (this.#pending < below || signal?.aborted === true) return Promise.resolve()
    return new Promise(done => {
      const resolve = () => {
        this.#waiting.delete(waiting)
        signal?.removeEventListener('abort', resolve)
        done()
      }
      const waiting = { below, resolve }
      this.#waiting.add(waiting)
      signal?.addEventListener('abort', resolve, { once: true })
    })
  }
}

/** `EPIPE`: a pipe without a reader. `EIO`: a terminal that was closed. */
function lossOf(error: Error): Loss {
  const code = 'code' in error ? error.code : undefined
  return code === 'EPIPE' || code === 'EIO' ? { kind: 'closed' } : { kind: 'failed', why: error.message }
}
