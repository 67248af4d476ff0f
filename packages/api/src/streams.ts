import type { FastifyReply } from 'fastify'

/** Of callers that say nothing any more, this much later at the latest, the connection is asked after. */
const keepAliveMs = 30_000

/** The streams of one kind that a server serves: each holds something open elsewhere, so there is an end to their number. */
export class Streams {
  readonly most: number
  #open = 0

  constructor(most: number) {
    this.most = most
  }

  /** A signal that ends when the caller leaves; none: there are too many already. */
  enter(reply: FastifyReply): AbortSignal | undefined {
    if (this.#open >= this.most) return undefined
    const left = new AbortController()
    this.#open += 1
    reply.raw.once('close', () => {
      this.#open -= 1
      left.abort()
    })
    // It may be silent for hours without being idle; a caller that vanished is found out by the system.
    const { socket } = reply.request.raw
    socket.setTimeout?.(0)
    socket.setKeepAlive?.(true, keepAliveMs)
    return left.signal
  }
}
