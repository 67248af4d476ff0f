/**
 * HTTP to an engine over dockerode's transport. We use its dial and not its methods: some of them take no abort signal,
 * one puts whole specs into the URL, and none notices an answer that is cut after its headers. Here every answer is a
 * stream with a status, every call ends by an abort signal and by a timer of our own, whichever is first, and whatever
 * goes wrong below HTTP is an `EngineUnavailable`.
 */
import { IncomingMessage } from 'node:http'
import Dockerode from 'dockerode'
import { EngineFault, EngineUnavailable } from '../engine/engine.ts'

export interface Request {
  readonly method: 'GET' | 'POST' | 'DELETE'
  readonly path: string
  readonly query?: Readonly<
    Record<string, string | number | boolean | Readonly<Record<string, readonly string[]>>>
  >
  readonly body?: object
}

export interface Limits {
  /** Until the whole answer is read; of a stream, until its headers are. */
  readonly withinMs: number
  readonly signal?: AbortSignal | undefined
}

export interface Answer {
  readonly status: number
  /** Parsed JSON; nothing for an empty body. */
  readonly value: unknown
}

export type Opened =
  | { readonly kind: 'open'; readonly body: IncomingMessage }
  | { readonly kind: 'refused'; readonly status: number; readonly reason: string }

export class Transport {
  /** For messages: `unix:///var/run/docker.sock`. */
  readonly address: string
  readonly #modem: Modem

  /** `address`: `unix:///path` or `tcp://host:port`. Throws where it is neither. */
  constructor(address: string) {
    this.address = address
    this.#modem = new Dockerode(connection(address)).modem
  }

  /** One call with a JSON answer. Any status is an answer. */
  async ask(request: Request, limits: Limits): Promise<Answer> {
    return await this.#within(limits, request, async signal => {
      const { status, body } = await this.#dial(request, signal)
      const text = await this.#read(body)
      if (text === '') return { status, value: undefined }
      try {
        return { status, value: JSON.parse(text) as unknown }
      } catch {
        // An error page of a proxy is as good as a sentence; a broken success is no answer.
        if (status >= 400) return { status, value: { message: text.slice(0, 400) } }
        throw new EngineUnavailable(
          `the Docker engine at ${this.address} answers ${request.path} with what is not JSON`,
        )
      }
    })
  }

  /** One call whose answer is read as it comes; an error status is read whole. */
  async open(request: Request, limits: Limits): Promise<Opened> {
    return await this.#within(limits, request, async signal => {
      const { status, body } = await this.#dial(request, signal)
      if (status >= 400)
        return { kind: 'refused', status, reason: sentence(parseMessage(await this.#read(body))) }
      // From here on the caller's signal counts and no longer the timer's, which ends with this call.
      closeOnAbort(body, limits.signal)
      return { kind: 'open', body }
    })
  }

  async #read(body: IncomingMessage): Promise<string> {
    const chunks: Buffer[] = []
    try {
      for await (const chunk of body) chunks.push(chunk)
    } catch (error) {
      throw this.unavailable(error)
    }
    return Buffer.concat(chunks).toString('utf8')
  }

  /** Turns what a socket throws into a sentence. */
  unavailable(error: unknown): EngineUnavailable {
    if (error instanceof EngineUnavailable) return error
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error)
    const why = explained[code] ?? `the connection broke (${code})`
    return new EngineUnavailable(`the Docker engine at ${this.address} is away: ${why}`, { cause: error })
  }

  #dial(
    { method, path, query, body }: Request,
    signal: AbortSignal,
  ): Promise<{ status: number; body: IncomingMessage }> {
    return new Promise((resolve, reject) => {
      this.#modem.dial(
        {
          // The modem appends the query where it finds a question mark.
          path: query === undefined ? path : `${path}?`,
          method,
          // A POST without `_body` would send the whole options, query included, as its body.
          options: {
            ...(query && { _query: { ...query } }),
            ...(method === 'POST' && { _body: body ?? {} }),
          },
          isStream: true,
          abortSignal: signal,
          statusCodes: anyStatus,
        },
        (error, response) => {
          if (error !== null || !(response instanceof IncomingMessage)) return reject(this.unavailable(error))
          // Without a listener a connection cut later would end the process.
          response.on('error', () => undefined)
          // The request's own signal no longer counts once headers are there.
          closeOnAbort(response, signal)
          resolve({ status: response.statusCode ?? 0, body: response })
        },
      )
    })
  }

  async #within<T>(limits: Limits, request: Request, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    limits.signal?.throwIfAborted()
    const controller = new AbortController()
    const { promise: givenUp, reject } = Promise.withResolvers<never>()
    const giveUp = (reason: unknown) => {
      reject(reason)
      controller.abort(reason)
    }
    const aborted = () => giveUp(limits.signal?.reason)
    limits.signal?.addEventListener('abort', aborted, { once: true })
    const timer = setTimeout(() => {
      const what = `${request.method} ${request.path}`
      giveUp(
        new EngineUnavailable(
          `the Docker engine at ${this.address} did not answer ${what} within ${limits.withinMs} ms`,
        ),
      )
    }, limits.withinMs)
    try {
      return await Promise.race([work(controller.signal), givenUp])
    } finally {
      clearTimeout(timer)
      limits.signal?.removeEventListener('abort', aborted)
    }
  }
}

/** The engine's own sentence in an error's body. */
export function sentence(value: unknown): string {
  const message =
    typeof value === 'object' && value !== null && 'message' in value ? value.message : undefined
  return typeof message === 'string' ? message.trim() : 'the engine gives no reason'
}

/** An error for an answer that no outcome describes. */
export const fault = (what: string, status: number, reason: string): EngineFault =>
  new EngineFault(`the Docker engine cannot ${what} (status ${status}): ${reason}`)

interface Modem {
  dial(options: object, callback: (error: unknown, response: unknown) => void): void
}

const anyStatus: Readonly<Record<number, true>> = Object.fromEntries(
  Array.from({ length: 500 }, (_, i) => [i + 100, true] as const),
)

const explained: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such socket; is the engine running?',
  ECONNREFUSED: 'nothing listens there; is the engine running?',
  EACCES: 'this user may not use the socket',
  ECONNRESET: 'it closed the connection',
  EPIPE: 'it closed the connection',
}

function closeOnAbort(body: IncomingMessage, signal: AbortSignal | undefined): void {
  if (signal === undefined) return
  const close = () => {
    body.destroy()
  }
  if (signal.aborted) close()
  signal.addEventListener('abort', close, { once: true })
  body.once('close', () => signal.removeEventListener('abort', close))
}

function parseMessage(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return { message: text.slice(0, 400) }
  }
}

/** Everything said outright, for what is left out dockerode takes from DOCKER_HOST. */
function connection(address: string): Dockerode.DockerOptions {
  const nothing = {
    host: undefined,
    port: undefined,
    socketPath: undefined,
    ca: undefined,
    cert: undefined,
    key: undefined,
  }
  if (address.startsWith('unix:///'))
    return { ...nothing, socketPath: address.slice('unix://'.length), protocol: 'http' }
  const url = address.startsWith('tcp://') && URL.canParse(address) ? new URL(address) : undefined
  if (url === undefined)
    throw new Error(`an engine's address is unix:///path or tcp://host:port, not '${address}'`)
  return { ...nothing, host: url.hostname, port: url.port === '' ? 2375 : url.port, protocol: 'http' }
}
