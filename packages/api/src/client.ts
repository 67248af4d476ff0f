/**
 * The typed client of the API: fetch and the schemas of views.ts, nothing else. The CLI, the dashboard and the tests use it.
 * A refusal is thrown as `ApiProblem`, a server that cannot be reached or understood as `ApiUnreachable`.
 */
import { attempt } from '@boxcar/core/model/attempt'
import { z } from 'zod'
import {
  type ActedView,
  actedView,
  type ClusterView,
  clusterView,
  type DeletedView,
  type DrainView,
  deletedView,
  drainView,
  type EventView,
  eventView,
  type GenerationView,
  generationView,
  type HostView,
  hostView,
  type InstanceView,
  instanceView,
  type LogLine,
  logLine,
  type PlanView,
  type ProblemView,
  type ProjectView,
  planView,
  problemView,
  projectView,
  type ReadyView,
  type RolloutView,
  type RouteView,
  readyView,
  rolloutView,
  routeView,
  type SavedView,
  type ServiceView,
  savedView,
  serviceView,
  type VersionView,
  versionView,
  type WhyView,
  whyView,
} from './views.ts'

/** The server understood and refused. */
export class ApiProblem extends Error {
  override readonly name = 'ApiProblem'
  readonly problem: ProblemView
  /** Seconds to wait before trying again, where the server says so. */
  readonly retryAfter: number | undefined
  constructor(problem: ProblemView, retryAfter?: number) {
    super(problem.detail)
    this.problem = problem
    this.retryAfter = retryAfter
  }
}

/** No server, no answer in time, or an answer that is not Boxcar's. */
export class ApiUnreachable extends Error {
  override readonly name = 'ApiUnreachable'
  readonly server: string
  constructor(server: string, why: string, cause?: unknown) {
    super(`no answer from the Boxcar server at ${server}: ${why}`, { cause })
    this.server = server
  }
}

export interface ClientOptions {
  /** Such as `http://127.0.0.1:7070`. */
  readonly server: string
  readonly token?: string
  /** For one request and its answer; streams have no limit. Left out: 15 s. */
  readonly timeoutMs?: number
  readonly fetch?: typeof fetch
}

export interface ServiceRef {
  readonly project: string
  readonly name: string
}
export interface InstanceRef extends ServiceRef {
  readonly generation: number
  readonly slot: number
}

export interface WriteOptions {
  /** The revision that the object must still have. */
  readonly ifMatch?: string
  /** `*`: there must be no such object yet. */
  readonly ifNoneMatch?: '*'
  readonly idempotencyKey?: string
  /** Who asks, for the events; left out: the server says `api`. */
  readonly actor?: string
}

export interface LogOptions {
  readonly follow?: boolean
  /** The last so many lines of each instance. */
  readonly tail?: number
  /** Milliseconds since 1970. */
  readonly since?: number
  readonly signal?: AbortSignal
}

export interface EventOptions {
  /** Goes on after this event, without gap or reorder. */
  readonly after?: string
  /** So many recent ones first; not with `after`. */
  readonly tail?: number
  readonly project?: string
  readonly service?: string
  /** `follow`: never ends by itself. `recent`: ends after what there is. */
  readonly mode?: 'follow' | 'recent'
  readonly signal?: AbortSignal
  /** Told when the stream was cut and is taken up again. */
  readonly onTrouble?: (why: string) => void
}

export type EventStep =
  | { readonly kind: 'event'; readonly event: EventView }
  /** History was lost: what follows begins with all recent events again. */
  | { readonly kind: 'reset' }

export interface Api {
  readonly server: string

  projects(): Promise<readonly ProjectView[]>
  /** Without a project: those of all. */
  services(project?: string): Promise<readonly ServiceView[]>
  service(ref: ServiceRef): Promise<ServiceView>
  put(ref: ServiceRef, spec: unknown, options?: WriteOptions): Promise<SavedView>
  /** A JSON merge patch; `{ replicas: 3 }` scales. */
  patch(ref: ServiceRef, change: unknown, options?: WriteOptions): Promise<SavedView>
  remove(ref: ServiceRef, options?: WriteOptions): Promise<DeletedView>
  generations(ref: ServiceRef): Promise<readonly GenerationView[]>
  generation(ref: ServiceRef, number: number): Promise<GenerationView>
  why(ref: ServiceRef): Promise<WhyView>
  plan(project: string, specs: readonly unknown[]): Promise<PlanView>

  rollout(ref: ServiceRef): Promise<RolloutView>
  rollouts(): Promise<readonly RolloutView[]>
  undo(ref: ServiceRef, options?: WriteOptions & { readonly to?: number }): Promise<ActedView>
  abort(ref: ServiceRef, options?: WriteOptions): Promise<ActedView>

  instances(of: ServiceRef | { readonly project: string }): Promise<readonly InstanceView[]>
  instance(ref: InstanceRef): Promise<InstanceView>
  /** Of a service or of one instance. */
  logs(ref: ServiceRef | InstanceRef, options?: LogOptions): AsyncIterable<LogLine>

  hosts(): Promise<readonly HostView[]>
  host(id: string): Promise<HostView>
  cordon(id: string, options?: WriteOptions & { readonly why?: string }): Promise<HostView>
  uncordon(id: string, options?: WriteOptions): Promise<HostView>
  drain(id: string, options?: WriteOptions & { readonly why?: string }): Promise<DrainView>
  cancelDrain(id: string, options?: WriteOptions): Promise<HostView>
  /** `null` takes a label away. */
  labelHost(
    id: string,
    labels: Readonly<Record<string, string | null>>,
    options?: WriteOptions,
  ): Promise<HostView>
  removeHost(id: string, options?: WriteOptions): Promise<void>

  routes(): Promise<readonly RouteView[]>
  cluster(): Promise<ClusterView>
  /** Reconnects by itself and goes on after the last event, until the signal is aborted. */
  events(options?: EventOptions): AsyncIterable<EventStep>
  version(): Promise<VersionView>
  ready(): Promise<ReadyView>
}

/** A client of one server. It keeps no state and opens nothing until it is asked. */
export function createClient(options: ClientOptions): Api {
  const caller = callerOf(options)
  const { read, write } = caller
  return {
    server: caller.server,

    projects: () => read('/v1/projects', z.array(projectView)),
    services: project =>
      read(
        project === undefined ? '/v1/services' : `/v1/projects/${part(project)}/services`,
        z.array(serviceView),
      ),
    service: ref => read(pathOf(ref), serviceView),
    put: (ref, spec, how) => write('PUT', pathOf(ref), savedView, { body: spec, ...how }),
    patch: (ref, change, how) => write('PATCH', pathOf(ref), savedView, { body: change, ...how }),
    remove: (ref, how) => write('DELETE', pathOf(ref), deletedView, { ...how }),
    generations: ref => read(`${pathOf(ref)}/generations`, z.array(generationView)),
    generation: (ref, number) => read(`${pathOf(ref)}/generations/${number}`, generationView),
    why: ref => read(`${pathOf(ref)}/why`, whyView),
    plan: (project, specs) => write('POST', '/v1/plans', planView, { body: { project, services: specs } }),

    rollout: ref => read(`${pathOf(ref)}/rollout`, rolloutView),
    rollouts: () => read('/v1/rollouts', z.array(rolloutView)),
    undo: (ref, { to, ...how } = {}) =>
      write('POST', `${pathOf(ref)}/undo`, actedView, { body: to === undefined ? {} : { to }, ...how }),
    abort: (ref, how) => write('POST', `${pathOf(ref)}/rollout/abort`, actedView, { ...how }),

    instances: of =>
      read(
        'name' in of ? `${pathOf(of)}/instances` : `/v1/projects/${part(of.project)}/instances`,
        z.array(instanceView),
      ),
    instance: ref => read(instancePath(ref), instanceView),
    logs: (ref, how = {}) => caller.logs(ref, how),

    hosts: () => read('/v1/hosts', z.array(hostView)),
    host: id => read(`/v1/hosts/${part(id)}`, hostView),
    cordon: (id, { why, ...how } = {}) =>
      write('POST', `/v1/hosts/${part(id)}/cordon`, hostView, { body: because(why), ...how }),
    uncordon: (id, how) => write('POST', `/v1/hosts/${part(id)}/uncordon`, hostView, { ...how }),
    drain: (id, { why, ...how } = {}) =>
      write('POST', `/v1/hosts/${part(id)}/drain`, drainView, { body: because(why), ...how }),
    cancelDrain: (id, how) => write('DELETE', `/v1/hosts/${part(id)}/drain`, hostView, { ...how }),
    labelHost: (id, labels, how) =>
      write('PATCH', `/v1/hosts/${part(id)}`, hostView, { body: { labels }, ...how }),
    removeHost: (id, how) => write('DELETE', `/v1/hosts/${part(id)}`, nothing, { ...how }),

    routes: () => read('/v1/routes', z.array(routeView)),
    cluster: () => read('/v1/cluster', clusterView),
    events: (how = {}) => caller.events(how),
    version: () => read('/version', versionView),
    ready: () => caller.ready(),
  }
}

const nothing = z.unknown().transform((): void => undefined)
const part = encodeURIComponent
const pathOf = (ref: ServiceRef) => `/v1/projects/${part(ref.project)}/services/${part(ref.name)}`
const instancePath = (ref: InstanceRef) => `${pathOf(ref)}/instances/${ref.generation}/${ref.slot}`
const because = (why: string | undefined) => (why === undefined ? {} : { why })

interface Ask extends WriteOptions {
  readonly body?: unknown
}

function callerOf(options: ClientOptions) {
  const server = options.server.replace(/(?<!\/)\/+$/, '')
  const doFetch = options.fetch ?? fetch
  const timeoutMs = options.timeoutMs ?? 15_000

  async function open(
    method: string,
    path: string,
    ask: Ask & { readonly headers?: Readonly<Record<string, string>>; readonly signal: AbortSignal },
  ): Promise<Response> {
    const headers: Record<string, string> = { accept: 'application/json', ...ask.headers }
    if (options.token !== undefined) headers['authorization'] = `Bearer ${options.token}`
    if (ask.ifMatch !== undefined) headers['if-match'] = `"${ask.ifMatch}"`
    if (ask.ifNoneMatch !== undefined) headers['if-none-match'] = ask.ifNoneMatch
    if (ask.idempotencyKey !== undefined) headers['idempotency-key'] = ask.idempotencyKey
    if (ask.actor !== undefined) headers['boxcar-actor'] = ask.actor
    const init: RequestInit = { method, headers, signal: ask.signal, redirect: 'error' }
    if (ask.body !== undefined) {
      headers['content-type'] = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json'
      init.body = JSON.stringify(ask.body)
    }
    let response: Response
    try {
      response = await doFetch(server + path, init)
    } catch (error) {
      throw new ApiUnreachable(server, reasonOf(error), error)
    }
    return response
  }

  async function call<Schema extends z.ZodType>(
    method: string,
    path: string,
    schema: Schema,
    ask: Ask,
  ): Promise<z.output<Schema>> {
    const response = await open(method, path, { ...ask, signal: AbortSignal.timeout(timeoutMs) })
    if (!response.ok) throw await problemOf(server, response)
    const parsed = schema.safeParse(response.status === 204 ? undefined : await jsonOf(server, response))
    if (parsed.success) return parsed.data
    throw new ApiUnreachable(
      server,
      `its answer to ${method} ${path} is not understood: ${parsed.error.message}`,
    )
  }

  return {
    server,
    read: <Schema extends z.ZodType>(path: string, schema: Schema) => call('GET', path, schema, {}),
    write: call,
    ready,
    logs,
    events,
  }

  /** 503 is an answer here too: it says what is missing. */
  async function ready(): Promise<ReadyView> {
    const response = await open('GET', '/readyz?verbose', { signal: AbortSignal.timeout(timeoutMs) })
    const parsed = readyView.safeParse(await jsonOf(server, response))
    if (parsed.success) return parsed.data
    throw new ApiUnreachable(server, 'its answer to GET /readyz is not understood')
  }

  async function* logs(ref: ServiceRef | InstanceRef, how: LogOptions): AsyncGenerator<LogLine> {
    const query = new URLSearchParams()
    if (how.follow === true) query.set('follow', 'true')
    if (how.tail !== undefined) query.set('tail', String(how.tail))
    if (how.since !== undefined) query.set('since', String(how.since))
    const path = 'slot' in ref ? instancePath(ref) : pathOf(ref)
    const signal = how.signal ?? new AbortController().signal
    let response: Response
    try {
      response = await open('GET', `${path}/logs?${query}`, {
        headers: { accept: 'application/jsonl' },
        signal,
      })
    } catch (error) {
      if (signal.aborted) return
      throw error
    }
    if (!response.ok) throw await problemOf(server, response)
    try {
      for await (const line of linesOf(response)) {
        const parsed = line === '' ? undefined : attempt(() => logLine.parse(JSON.parse(line)))
        if (parsed !== undefined && 'value' in parsed) yield parsed.value
      }
    } catch (error) {
      if (signal.aborted) return
      throw new ApiUnreachable(server, `the log stream broke off: ${reasonOf(error)}`, error)
    }
  }

  async function* events(how: EventOptions): AsyncGenerator<EventStep> {
    const signal = how.signal ?? new AbortController().signal
    let after = how.after
    let waitMs = 250
    while (!signal.aborted) {
      const query = new URLSearchParams()
      if (how.project !== undefined) query.set('project', how.project)
      if (how.service !== undefined) query.set('service', how.service)
      if (after === undefined && how.tail !== undefined) query.set('tail', String(how.tail))
      if (how.mode === 'recent') query.set('follow', 'false')
      const silence = silenceWatch()
      try {
        const response = await open('GET', `/v1/events?${query}`, {
          headers: {
            accept: 'text/event-stream',
            ...(after === undefined ? {} : { 'last-event-id': after }),
          },
          signal: AbortSignal.any([signal, silence.signal]),
        })
        if (!response.ok) throw await problemOf(server, response)
        waitMs = 250
        for await (const message of messagesOf(response, silence.heard)) {
          if (message.id !== undefined) after = message.id
          if (message.event === 'reset') yield { kind: 'reset' }
          const event = message.event === 'event' ? eventView.safeParse(JSON.parse(message.data)) : undefined
          if (event?.success === true) yield { kind: 'event', event: event.data }
        }
        if (how.mode === 'recent') return
        how.onTrouble?.('the server ended the stream')
      } catch (error) {
        if (signal.aborted) return
        // A server that is starting or without its store says 503; anything else is for the caller to read.
        if (error instanceof ApiProblem && error.problem.status !== 503) throw error
        if (how.mode === 'recent') throw error
        how.onTrouble?.(reasonOf(error))
      } finally {
        silence.end()
      }
      await pause(waitMs, signal)
      waitMs = Math.min(waitMs * 2, 5_000)
    }
  }
}

async function jsonOf(server: string, response: Response): Promise<unknown> {
  try {
    return await response.json()
  } catch (error) {
    throw new ApiUnreachable(server, `its answer is not JSON (status ${response.status})`, error)
  }
}

async function problemOf(server: string, response: Response): Promise<ApiProblem | ApiUnreachable> {
  const parsed = problemView.safeParse(await jsonOf(server, response))
  if (!parsed.success) return new ApiUnreachable(server, `it answered with status ${response.status}`)
  const retryAfter = Number(response.headers.get('retry-after') ?? Number.NaN)
  return new ApiProblem(parsed.data, Number.isFinite(retryAfter) ? retryAfter : undefined)
}

/** Why a fetch failed: its cause says it better than "fetch failed" does. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  if (error.name === 'TimeoutError') return 'it did not answer in time'
  return error.cause instanceof Error && error.cause.message !== '' ? error.cause.message : error.message
}

async function* linesOf(response: Response): AsyncGenerator<string> {
  if (response.body === null) return
  let rest = ''
  for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + chunk).split('\n')
    rest = lines.pop() ?? ''
    yield* lines
  }
  if (rest !== '') yield rest
}

interface Message {
  readonly event: string
  readonly data: string
  readonly id: string | undefined
}

/** Server-sent events, as far as our own servers write them. */
async function* messagesOf(response: Response, onLine: () => void): AsyncGenerator<Message> {
  let [event, data, id]: [string, string[], string | undefined] = ['event', [], undefined]
  for await (const line of linesOf(response)) {
    onLine()
    if (line === '') {
      if (data.length > 0) yield { event, data: data.join('\n'), id }
      ;[event, data, id] = ['event', [], undefined]
    } else if (line.startsWith('event: ')) event = line.slice(7)
    else if (line.startsWith('data: ')) data.push(line.slice(6))
    else if (line.startsWith('id: ')) id = line.slice(4)
  }
}

/** Servers say something every 10 s; one that says nothing for so long is gone, though its connection may still stand. */
const silenceMs = 25_000

function silenceWatch(): {
  readonly signal: AbortSignal
  readonly heard: () => void
  readonly end: () => void
} {
  const over = new AbortController()
  const late = () => over.abort(new Error(`nothing was heard for ${silenceMs / 1000} s`))
  let timer = setTimeout(late, silenceMs)
  return {
    signal: over.signal,
    heard: () => {
      clearTimeout(timer)
      timer = setTimeout(late, silenceMs)
    },
    end: () => clearTimeout(timer),
  }
}

/** The client runs in programs for people, never in what is simulated: timers here are real ones. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    const done = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done, { once: true })
  })
}
