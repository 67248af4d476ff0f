/** What never became a request, or none that can be answered as others are: answered by hand, since there is no reply. */
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { ApiDeps } from './deps.ts'
import { plain } from './json.ts'
import { type ProblemKind, type ProblemWords, problemOf } from './problem.ts'

type Deps = Pick<ApiDeps, 'chance'>

/** Answers bytes that are not HTTP; where the answer to something else is on its way, there is no place for another one. */
export class Framing {
  readonly #deps: Deps
  /** What each connection is being answered just now. */
  readonly #asked = new WeakMap<
    Duplex,
    Set<{ readonly request: IncomingMessage; readonly reply: ServerResponse }>
  >()

  constructor(deps: Deps) {
    this.#deps = deps
  }

  /** Before the server listens. */
  watch(server: Server): void {
    server.prependListener('request', (request, reply) => {
      const asked = this.#asked.get(request.socket) ?? new Set()
      const one = { request, reply }
      this.#asked.set(request.socket, asked.add(one))
      reply.once('close', () => asked.delete(one))
    })
    server.on('checkExpectation', (request: IncomingMessage, reply: ServerResponse) => {
      const said = plain(request.headers.expect ?? '')
      const { status, headers, body } = this.#written('expectation-failed', {
        detail: `'Expect: ${said}' is not known; only 100-continue is`,
      })
      reply.writeHead(status, headers).end(body)
    })
    server.on('connect', (_: IncomingMessage, socket: Duplex) =>
      this.#end(socket, 'method-not-allowed', { detail: 'CONNECT is not possible: this is no proxy' }),
    )
  }

  readonly answer = (error: Error & { readonly code?: string }, socket: Duplex): void => {
    // The body of a request that still arrives may be answered with its fault; what follows a whole one may not.
    const isBusy = [...(this.#asked.get(socket) ?? [])].some(
      ({ request, reply }) => request.complete || reply.headersSent,
    )
    if (!socket.writable || isBusy) return void socket.destroy()
    switch (error.code) {
      case 'HPE_HEADER_OVERFLOW':
        return this.#end(socket, 'headers-too-large', { detail: 'the headers are above 16 KiB' })
      case 'ERR_HTTP_REQUEST_TIMEOUT':
        return this.#end(socket, 'request-timeout', { detail: 'the request did not arrive in time' })
      default:
        return this.#end(socket, 'unreadable-request', {
          detail: 'the request is not HTTP as RFC 9112 has it',
        })
    }
  }

  #end(socket: Duplex, kind: ProblemKind, words: ProblemWords): void {
    const { status, title, headers, body } = this.#written(kind, words)
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
    socket.end(`HTTP/1.1 ${status} ${title}\r\n${lines.join('')}\r\n${body}`)
  }

  #written(kind: ProblemKind, words: ProblemWords) {
    const problem = problemOf(kind, this.#deps.chance.id(), words)
    const body = JSON.stringify(problem)
    return {
      status: problem.status,
      title: problem.title,
      body,
      headers: {
        'Boxcar-Request-Id': problem.requestId,
        'Content-Type': 'application/problem+json',
        'Content-Length': String(Buffer.byteLength(body)),
        Connection: 'close',
      },
    }
  }
}
