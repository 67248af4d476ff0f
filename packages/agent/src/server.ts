/**
 * The agent's own port, for what is no decision: whether it lives, the logs of an instance, what an image means to this
 * host's engine. Only who has read the cluster's record may ask.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { type HostId, instanceId, parseInstanceId, serviceName } from '@boxcar/core/model/ids'
import { isAgentToken } from '@boxcar/store/agent-token'
import type { ClusterRecord } from '@boxcar/store/keys'
import type { Log } from '@boxcar/store/log'
import { z } from 'zod'
import { StartError } from './config.ts'
import { type Engine, EngineUnavailable } from './engine/engine.ts'
import type { Instances } from './instances.ts'

export interface ServerOptions {
  readonly host: HostId
  readonly address: string
  readonly port: number
  readonly log: Log
  readonly engine: Engine
  readonly instances: () => Pick<Instances, 'containerOf'>
  /** Nothing until the cluster was heard of for the first time. */
  readonly cluster: () => ClusterRecord | undefined
  /** Drawn at each start of the agent. */
  readonly incarnation: string
  readonly leaseGoodForMs: () => number
}

export interface AgentServer {
  readonly port: number
  close(): Promise<void>
}

/** Listens; that no other agent of this host does is seen by it. Throws StartError where the port cannot be had. */
export async function listen(options: ServerOptions): Promise<AgentServer> {
  // Kept alive: who follows a log that is silent and vanishes without a word is missed all the same.
  const connection = { keepAlive: true, keepAliveInitialDelay: 30_000 }
  const limits = { requestTimeout: 10_000, headersTimeout: 5000 }
  const server = createServer({ ...limits, ...connection }, (request, response) => {
    answer(options, request, response).catch(error => {
      // Not shown: the answer tells whoever asked.
      options.log.error({ error: String(error), url: request.url }, 'a request failed')
      if (!response.headersSent) problem(response, 500, 'internal', 'the agent could not answer')
      else response.destroy()
    })
  })
  await bind(server, options)
  // A connection that could not be accepted is no reason to end.
  // Not shown: whoever asked gets no answer, and says so.
  server.on('error', error => options.log.error({ error: String(error) }, 'the port of the agent failed'))
  const address = server.address()
  return {
    port: typeof address === 'object' && address !== null ? address.port : options.port,
    close: () =>
      new Promise(resolve => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

function bind(server: Server, { address, port }: ServerOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: Error & { readonly code?: string }) => {
      const [why, next] =
        error.code === 'EADDRINUSE'
          ? [
              'another program listens there; perhaps another agent runs',
              'stop it, or give another --agent-port',
            ]
          : error.code === 'EADDRNOTAVAIL'
            ? ['this machine does not have the address', 'give an address of this machine with --advertise']
            : [error.message, 'see that the address and the port can be listened on']
      reject(new StartError(`cannot listen on ${address}:${port}: ${why}`, next, { cause: error }))
    })
    server.listen({ host: address, port }, () => resolve())
  })
}

async function answer(
  options: ServerOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const cluster = options.cluster()
  if (cluster === undefined)
    return problem(response, 503, 'not-ready', 'the agent has not heard of its cluster yet')
  const token = /^Bearer ([\x21-\x7e]{1,512})$/i.exec(request.headers.authorization ?? '')?.[1]
  if (token === undefined || !isAgentToken(token, cluster.secret, options.host)) {
    response.setHeader('www-authenticate', 'Bearer')
    return problem(response, 401, 'not-authorised', 'a bearer token of this host is needed')
  }
  // Only for those who may ask: some targets, such as `//`, are no address.
  const url = URL.parse(request.url ?? '/', 'http://agent')
  if (url === null) return problem(response, 400, 'not-an-address', 'the target of the request is no address')
  const method = request.method ?? 'GET'
  if (url.pathname === '/v1/alive')
    return method === 'GET' ? json(response, 200, alive(options, cluster)) : notAllowed(response, 'GET')
  if (url.pathname === '/v1/images/resolve')
    return method === 'POST' ? resolveImage(options, request, response) : notAllowed(response, 'POST')
  const logs = /^\/v1\/instances\/([^/]+)\/([^/]+)\/([^/]+)\/([^/]+)\/logs$/.exec(url.pathname)
  if (logs !== null)
    return method === 'GET'
      ? sendLogs(options, logs.slice(1), url.searchParams, response)
      : notAllowed(response, 'GET')
  problem(response, 404, 'not-found', `there is nothing at ${url.pathname}`)
}

const alive = ({ host, incarnation, leaseGoodForMs }: ServerOptions, cluster: ClusterRecord) => ({
  host,
  cluster: cluster.uid,
  incarnation,
  leaseGoodForMs: Math.floor(leaseGoodForMs()),
})

const resolveRequest = z.strictObject({ image: z.string().min(1).max(1024) })

async function resolveImage(
  { engine }: ServerOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const body = await readBody(request)
  if (body === undefined) return problem(response, 413, 'too-large', 'the request is larger than 64 KiB')
  let value: unknown
  try {
    value = JSON.parse(body)
  } catch {
    return problem(response, 400, 'not-json', 'the request is not JSON')
  }
  const parsed = resolveRequest.safeParse(value)
  if (!parsed.success) return problem(response, 422, 'invalid', z.prettifyError(parsed.error))
  try {
    json(response, 200, await engine.resolve(parsed.data.image, gone(response)))
  } catch (error) {
    if (response.destroyed) return
    if (error instanceof EngineUnavailable) return problem(response, 503, 'engine-away', error.message)
    throw error
  }
}

const logQuery = z.object({
  tail: z.coerce.number().int().min(0).max(100_000).optional(),
  follow: z
    .enum(['', 'true', 'false', '1', '0'])
    .transform(text => text !== 'false' && text !== '0')
    .optional(),
  /** Milliseconds since 1970, by the wall clock of the host. */
  since: z.coerce.number().int().min(0).optional(),
})

async function sendLogs(
  { instances, engine }: ServerOptions,
  [project = '', service = '', generation = '', slot = '']: readonly string[],
  query: URLSearchParams,
  response: ServerResponse,
): Promise<void> {
  const place = parseInstanceId(`${serviceName(project, service)}/${generation}/${slot}`)
  if (place === undefined) return problem(response, 404, 'not-found', 'that is no instance')
  const parsed = logQuery.safeParse(Object.fromEntries(query))
  if (!parsed.success) return problem(response, 422, 'invalid', z.prettifyError(parsed.error))
  const container = instances().containerOf(instanceId(place))
  if (container === undefined)
    return problem(response, 404, 'not-found', `${instanceId(place)} has no container on this host`)
  const { tail, follow, since } = parsed.data
  const signal = gone(response)
  response.writeHead(200, { 'content-type': 'application/jsonl; charset=utf-8', 'cache-control': 'no-store' })
  // A follower sees that it is connected before the first line comes.
  response.flushHeaders()
  for await (const line of engine.logs(container, { tail, follow, sinceMs: since, signal })) {
    const text = `${JSON.stringify({ at: line.at, stream: line.stream, line: line.line })}\n`
    // At the reader's pace, whatever the container writes.
    if (!response.write(text)) await drained(response, signal)
    if (signal.aborted) return
  }
  response.end()
}

function drained(response: ServerResponse, signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    const done = () => {
      response.off('drain', done)
      signal.removeEventListener('abort', done)
      resolve()
    }
    response.on('drain', done)
    signal.addEventListener('abort', done, { once: true })
  })
}

/** Aborted when the caller leaves. */
function gone(response: ServerResponse): AbortSignal {
  const left = new AbortController()
  response.on('close', () => left.abort())
  return left.signal
}

const bodyBytes = 64 * 1024

/** Nothing where it is too large. */
async function readBody(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request) {
    const bytes = Buffer.from(chunk)
    size += bytes.length
    if (size > bodyBytes) return undefined
    chunks.push(bytes)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function notAllowed(response: ServerResponse, allowed: string): void {
  response.setHeader('allow', allowed)
  problem(response, 405, 'method-not-allowed', `only ${allowed} is answered here`)
}

function problem(response: ServerResponse, status: number, type: string, detail: string): void {
  send(response, status, 'application/problem+json', { type, status, detail })
}

const json = (response: ServerResponse, status: number, value: unknown): void =>
  send(response, status, 'application/json', value)

function send(response: ServerResponse, status: number, type: string, value: unknown): void {
  response.writeHead(status, { 'content-type': `${type}; charset=utf-8`, 'cache-control': 'no-store' })
  response.end(JSON.stringify(value))
}
