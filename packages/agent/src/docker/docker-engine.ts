/**
 * A real Docker engine, 20.10 or newer, over its HTTP API. Paths carry no version, so the engine speaks its newest; only
 * what all versions since 20.10 have alike is used.
 *
 * Any call may be lost on its way back, and is perhaps done then: containers are found again by their names, stopping and
 * removing twice is the same as once, and the caller looks again. How many are asked for at once is the caller's matter
 * (operations.ts).
 */
import {
  type Container,
  type ContainerDetail,
  type ContainerId,
  type ContainerSpec,
  type CreateOutcome,
  type Engine,
  type EngineEvent,
  EngineFault,
  type EngineInfo,
  EngineUnavailable,
  type ExecOptions,
  type ExecOutcome,
  type ImageHealth,
  isDigest,
  type LogLine,
  type LogOptions,
  NotOurs,
  type PullOptions,
  type PullOutcome,
  type ResolveOutcome,
  type StartOutcome,
  type StopOptions,
} from '../engine/engine.ts'
import { isOwn, type Owner, ownLabels } from '../engine/owner.ts'
import { digestFrom, parseReference } from '../engine/reference.ts'
import { orAborted, SharedLook } from '../engine/shared-look.ts'
import * as answers from './answers.ts'
import { chunks, jsonLines } from './body-stream.ts'
import { createBody } from './create-body.ts'
import { framed, unframed } from './frames.ts'
import { logLines } from './log-lines.ts'
import { killOrphan } from './orphan.ts'
import { Pulls, spelled } from './pulls.ts'
import { registryVerdict } from './registry-says.ts'
import { type Answer, fault, type Limits, type Request, sentence, Transport } from './transport.ts'

export interface DockerEngineOptions extends Owner {
  /** `unix:///var/run/docker.sock` or `tcp://host:port`. */
  readonly address: string
  readonly times?: Partial<Times>
}

interface Times {
  /** For a call to be answered. */
  readonly callMs: number
  readonly startMs: number
  /** For the engine to kill and take down a container, over the grace that it was given. */
  readonly stopMs: number
  readonly pullIdleMs: number
  readonly pullMs: number
}

const usualTimes: Times = {
  callMs: 15_000,
  startMs: 30_000,
  stopMs: 10_000,
  pullIdleMs: 30_000,
  pullMs: 600_000,
}

/** Of what a command prints, so much of its end is kept. */
const outputBytes = 4096

/** How often something is looked at that the engine gives no better sign of. */
const pollMs = 50

export class DockerEngine implements Engine {
  readonly #owner: Owner
  readonly #times: Times
  readonly #transport: Transport
  readonly #looks: SharedLook<readonly Container[]>
  readonly #pulls: Pulls
  /** Starts under way: the engine answers no inspection of such a container before it has ended. */
  readonly #starting = new Map<ContainerId, Promise<unknown>>()
  /** Containers seen with our labels, which never change. */
  readonly #own = new Set<ContainerId>()

  constructor({ address, cluster, host, times }: DockerEngineOptions) {
    this.#owner = { cluster, host }
    this.#times = { ...usualTimes, ...times }
    this.#transport = new Transport(address)
    this.#looks = new SharedLook(() => this.#listOwn())
    this.#pulls = new Pulls(this.#transport, this.#times, reference => this.#image(reference))
  }

  async info(signal?: AbortSignal): Promise<EngineInfo> {
    return answers.read(
      'description of itself',
      answers.info,
      await this.#get('describe itself', '/info', { signal }),
    )
  }

  list(signal?: AbortSignal): Promise<readonly Container[]> {
    return orAborted(this.#looks.take(), signal)
  }

  async inspect(id: ContainerId, signal?: AbortSignal): Promise<ContainerDetail | undefined> {
    const seen = await this.#inspect(id, signal)
    if (seen === undefined) return undefined
    const { tty: _, ...detail } = seen
    return detail
  }

  async create(spec: ContainerSpec, signal?: AbortSignal): Promise<CreateOutcome> {
    const body = createBody(spec, this.#owner)
    const end = performance.now() + this.#times.callMs
    for (;;) {
      const { status, value } = await this.#ask(
        { method: 'POST', path: '/containers/create', query: { name: spec.name }, body },
        { signal },
      )
      if (status === 201 || status === 200) {
        const { Id: id } = answers.read('new container', answers.created, value)
        this.#own.add(id)
        return { kind: 'created', id }
      }
      const reason = sentence(value)
      if (status === 404) return { kind: 'image-missing', reason }
      if (status !== 409) return { kind: 'refused', reason, permanent: status < 500 }
      const holder = await this.#holderOf(spec, signal)
      if (holder !== undefined) return holder
      // The holder is just going, or just coming: a call whose answer was lost may still be at work.
      if (performance.now() >= end) return { kind: 'refused', reason, permanent: false }
      await new Promise(resolve => setTimeout(resolve, pollMs))
    }
  }

  async start(id: ContainerId, signal?: AbortSignal): Promise<StartOutcome> {
    if ((await this.#mine(id)) === 'gone') return { kind: 'gone' }
    signal?.throwIfAborted()
    const starting = this.#start(id)
    this.#starting.set(id, starting)
    try {
      return await starting
    } finally {
      this.#starting.delete(id)
    }
  }

  async stop(id: ContainerId, { signal, graceMs }: StopOptions): Promise<void> {
    if ((await this.#mine(id)) === 'gone') return
    if (signal === undefined) return await this.#stopByEngine(id, graceMs)
    // Only engines from 23.0 on take a signal with their stop.
    await this.kill(id, signal)
    if (await this.#ended(id, graceMs)) return
    await this.kill(id, 'SIGKILL')
    if (await this.#ended(id, this.#times.stopMs)) return
    throw new EngineUnavailable(
      `the Docker engine at ${this.#transport.address} killed ${id} and it still runs`,
    )
  }

  async kill(id: ContainerId, signalName: string): Promise<void> {
    if ((await this.#mine(id)) === 'gone') return
    const { status, value } = await this.#ask({
      method: 'POST',
      path: `/containers/${id}/kill`,
      query: { signal: signalName },
    })
    // 409: it does not run.
    if (status >= 400 && status !== 404 && status !== 409)
      throw fault(`send ${signalName} to ${id}`, status, sentence(value))
  }

  async remove(id: ContainerId): Promise<void> {
    if ((await this.#mine(id)) === 'gone') return
    const { status, value } = await this.#ask({
      method: 'DELETE',
      path: `/containers/${id}`,
      query: { force: true, v: true },
    })
    // 409: somebody is removing it.
    const isGone = async () => (await this.#lookUp({ id: [id] })).length === 0
    const isRemoved = status < 400 || status === 404
    if (!isRemoved && !(status === 409 && (await this.#until(this.#times.callMs, isGone))))
      throw fault(`remove ${id}`, status, sentence(value))
    this.#own.delete(id)
  }

  pull(reference: string, options: PullOptions = {}): Promise<PullOutcome> {
    return this.#pulls.pull(reference, options)
  }

  async resolve(text: string, signal?: AbortSignal): Promise<ResolveOutcome> {
    if (isDigest(text)) return await this.#resolveId(text, signal)
    const reference = parseReference(text)
    if (reference === undefined) return { kind: 'invalid', reason: `'${text}' is not an image reference` }
    if (reference.digest !== undefined)
      return { kind: 'resolved', reference: spelled(reference), digest: reference.digest }

    const here = await this.#image(spelled(reference), signal)
    const digestHere = here === undefined ? undefined : digestFrom(here.repoDigests, reference)
    // Built or imported here: as with `docker run`, it comes before whatever a registry may call the same.
    if (here !== undefined && digestHere === undefined) return { kind: 'local', imageId: here.id }

    const asked = await this.#askRegistry(spelled(reference), signal)
    if (asked.kind === 'resolved')
      return { kind: 'resolved', reference: `${reference.name}@${asked.digest}`, digest: asked.digest }
    // Newer engines give what was built on them a digest too.
    if (asked.kind === 'not-found' && here !== undefined) return { kind: 'local', imageId: here.id }
    if (asked.kind !== 'away') return { kind: asked.kind, reason: asked.reason }
    const known = digestHere === undefined ? undefined : `${reference.name}@${digestHere}`
    return { kind: 'registry-away', reason: asked.reason, here: known }
  }

  async imageHealthcheck(reference: string, signal?: AbortSignal): Promise<ImageHealth | undefined> {
    return (await this.#image(reference, signal))?.health
  }

  async *logs(id: ContainerId, { tail, sinceMs, follow, signal }: LogOptions = {}): AsyncGenerator<LogLine> {
    if (isAborted(signal)) return
    try {
      const seen = await this.#inspect(id, signal)
      if (seen === undefined) return
      const opened = await this.#transport.open(
        {
          method: 'GET',
          path: `/containers/${id}/logs`,
          query: {
            stdout: true,
            stderr: true,
            timestamps: true,
            follow: follow ?? false,
            tail: tail ?? 'all',
            ...(sinceMs !== undefined && { since: (sinceMs / 1000).toFixed(3) }),
          },
        },
        { withinMs: this.#times.callMs, signal },
      )
      if (opened.kind === 'refused') {
        if (opened.status === 404) return
        throw fault(`give the logs of ${id}`, opened.status, opened.reason)
      }
      // A container may be silent for days; what is written already has no reason to be late.
      const idleMs = follow === true ? undefined : this.#times.callMs
      const bytes = chunks(opened.body, idleMs, () => this.#late(`the logs of ${id}`))
      const form = seen.tty ? 'unframed' : 'framed'
      yield* logLines(form === 'framed' ? framed(bytes) : unframed(bytes), form)
    } catch (error) {
      if (isAborted(signal)) return
      throw isKnown(error) ? error : this.#transport.unavailable(error)
    }
  }

  async exec(
    id: ContainerId,
    argv: readonly string[],
    { timeoutMs, signal }: ExecOptions,
  ): Promise<ExecOutcome> {
    if ((await this.#mine(id)) === 'gone') return { kind: 'not-running', reason: 'the container is gone' }
    const create = { AttachStdout: true, AttachStderr: true, Cmd: argv }
    const made = await this.#ask({ method: 'POST', path: `/containers/${id}/exec`, body: create }, { signal })
    if (made.status === 404 || made.status === 409)
      return { kind: 'not-running', reason: sentence(made.value) }
    if (made.status >= 400) throw fault(`prepare a command in ${id}`, made.status, sentence(made.value))
    const { Id: exec } = answers.read('prepared command', answers.execCreated, made.value)

    const output = new Tail(outputBytes)
    const ended = await this.#runExec(exec, output, timeoutMs, signal)
    if (ended.kind === 'refused') return refusedExec(ended.status, ended.reason)
    const exitCode = ended.kind === 'late' ? undefined : await this.#exitCode(exec)
    if (exitCode !== undefined) return { kind: 'exited', exitCode, output: output.text() }
    await this.#killExec(exec, id)
    signal?.throwIfAborted()
    return { kind: 'timed-out', output: output.text() }
  }

  async *events(signal?: AbortSignal): AsyncGenerator<EngineEvent> {
    if (isAborted(signal)) return
    const body = await this.#subscribe(signal)
    if (body === undefined) return
    yield { kind: 'listening' }
    try {
      for await (const value of jsonLines(chunks(body))) {
        const { Action: action, Actor: actor } = answers.read('event', answers.event, value)
        yield { kind: 'changed', id: actor.ID, action }
      }
    } catch {
      // However it broke off, the reader subscribes again and looks.
    }
  }

  // Calls

  #ask(request: Request, limits: Partial<Limits> = {}): Promise<Answer> {
    return this.#transport.ask(request, { withinMs: this.#times.callMs, ...limits })
  }

  async #get(
    what: string,
    path: string,
    limits: Partial<Limits>,
    query?: Request['query'],
  ): Promise<unknown> {
    const { status, value } = await this.#ask({ method: 'GET', path, ...(query && { query }) }, limits)
    if (status >= 400) throw fault(what, status, sentence(value))
    return value
  }

  #late(what: string): EngineUnavailable {
    return new EngineUnavailable(`the Docker engine at ${this.#transport.address} went silent in ${what}`)
  }

  async #until(withinMs: number, isSo: () => Promise<boolean>): Promise<boolean> {
    const end = performance.now() + withinMs
    for (;;) {
      if (await isSo()) return true
      if (performance.now() >= end) return false
      await new Promise(resolve => setTimeout(resolve, pollMs))
    }
  }

  // Looking

  /** The body of the events; nothing where the signal was aborted meanwhile. */
  async #subscribe(signal: AbortSignal | undefined) {
    const filters = { type: ['container'], event: wakingActions, label: ownLabels(this.#owner) }
    const limits = { withinMs: this.#times.callMs, signal }
    try {
      const opened = await this.#transport.open(
        { method: 'GET', path: '/events', query: { filters } },
        limits,
      )
      if (opened.kind === 'open') return opened.body
      throw fault('tell its events', opened.status, opened.reason)
    } catch (error) {
      if (isAborted(signal)) return undefined
      throw error
    }
  }

  async #listOwn(): Promise<readonly Container[]> {
    const before = [...this.#own]
    const found = await this.#lookUp({ label: ownLabels(this.#owner) })
    const now = new Set(found.map(container => container.id))
    for (const id of before) if (!now.has(id)) this.#own.delete(id)
    for (const id of now) this.#own.add(id)
    return [...found].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
  }

  async #lookUp(
    filters: Readonly<Record<string, readonly string[]>>,
    signal?: AbortSignal,
  ): Promise<readonly Container[]> {
    const value = await this.#get('list containers', '/containers/json', { signal }, { all: true, filters })
    return answers.read('list of containers', answers.listed, value)
  }

  /** Whether the container is there; throws where it is somebody else's. */
  async #mine(id: ContainerId): Promise<'mine' | 'gone'> {
    if (this.#own.has(id)) return 'mine'
    const [seen] = await this.#lookUp({ id: [id] })
    if (seen === undefined) return 'gone'
    if (!isOwn(this.#owner, seen.labels)) throw new NotOurs(id)
    this.#own.add(id)
    return 'mine'
  }

  async #inspect(id: ContainerId, signal: AbortSignal | undefined) {
    await orAborted(Promise.allSettled([this.#starting.get(id)]), signal)
    const { status, value } = await this.#ask({ method: 'GET', path: `/containers/${id}/json` }, { signal })
    if (status === 404) return undefined
    if (status >= 400) throw fault(`inspect ${id}`, status, sentence(value))
    const seen = answers.read('container', answers.inspected, value)
    if (!isOwn(this.#owner, seen.labels)) throw new NotOurs(id)
    return seen
  }

  async #image(reference: string, signal?: AbortSignal) {
    const { status, value } = await this.#ask(
      { method: 'GET', path: `/images/${reference}/json` },
      { signal },
    )
    if (status === 404) return undefined
    if (status >= 400) throw fault(`inspect the image ${reference}`, status, sentence(value))
    return answers.read('image', answers.image, value)
  }

  // Creating and starting

  async #holderOf(spec: ContainerSpec, signal: AbortSignal | undefined): Promise<CreateOutcome | undefined> {
    const found = await this.#lookUp({ name: [`^/${spec.name.replace(/[.]/g, '\\.')}$`] }, signal)
    const holder = found.find(container => container.name === spec.name)
    if (holder === undefined) return undefined
    const { id, state } = holder
    if (!isOwn(this.#owner, holder.labels)) return { kind: 'name-taken', by: 'stranger', id }
    this.#own.add(id)
    const isSame = Object.entries(spec.labels).every(([key, value]) => holder.labels[key] === value)
    return isSame ? { kind: 'exists', id, state } : { kind: 'name-taken', by: 'ours', id }
  }

  async #start(id: ContainerId): Promise<StartOutcome> {
    const { status, value } = await this.#ask(
      { method: 'POST', path: `/containers/${id}/start` },
      { withinMs: this.#times.startMs },
    )
    if (status < 400) return { kind: 'started' }
    const reason = sentence(value)
    if (status === 404 && /no such container/i.test(reason)) return { kind: 'gone' }
    return { kind: 'failed', because: startProblem(reason), reason }
  }

  // Stopping

  async #stopByEngine(id: ContainerId, graceMs: number): Promise<void> {
    // The engine counts in whole seconds.
    const seconds = Math.ceil(graceMs / 1000)
    const { status, value } = await this.#ask(
      { method: 'POST', path: `/containers/${id}/stop`, query: { t: seconds } },
      { withinMs: seconds * 1000 + this.#times.stopMs },
    )
    if (status >= 400 && status !== 404) throw fault(`stop ${id}`, status, sentence(value))
  }

  /** By looking, for the engine's own `wait` hangs when the engine goes. */
  #ended(id: ContainerId, withinMs: number): Promise<boolean> {
    return this.#until(withinMs, async () => {
      const [seen] = await this.#lookUp({ id: [id] })
      return seen === undefined || (seen.state !== 'running' && seen.state !== 'paused')
    })
  }

  // Images

  async #resolveId(id: string, signal: AbortSignal | undefined): Promise<ResolveOutcome> {
    const here = await this.#image(id, signal)
    return here === undefined
      ? { kind: 'not-found', reason: `no image on this engine has the id ${id}` }
      : { kind: 'local', imageId: here.id }
  }

  async #askRegistry(
    reference: string,
    signal: AbortSignal | undefined,
  ): Promise<
    | { readonly kind: 'resolved'; readonly digest: `sha256:${string}` }
    | { readonly kind: 'not-found' | 'denied' | 'invalid' | 'away'; readonly reason: string }
  > {
    let answer: Answer
    try {
      const limits = { withinMs: this.#times.pullIdleMs, signal }
      answer = await this.#ask({ method: 'GET', path: `/distribution/${reference}/json` }, limits)
    } catch (error) {
      signal?.throwIfAborted()
      // The engine waits long for a name server; whether it is itself away shows at once.
      if (!(error instanceof EngineUnavailable)) throw error
      await this.info(signal)
      return { kind: 'away', reason: `the registry of ${reference} does not answer` }
    }
    const { status, value } = answer
    if (status >= 400) {
      const reason = sentence(value)
      return { kind: status === 404 ? 'not-found' : registryVerdict(reason), reason }
    }
    const { digest } = answers.read('answer of the registry', answers.distribution, value).Descriptor
    return isDigest(digest)
      ? { kind: 'resolved', digest }
      : { kind: 'invalid', reason: `the registry names a digest '${digest}' that is no sha256` }
  }

  // Commands in containers

  /** Runs a prepared command and keeps what it prints; how it came to an end. */
  async #runExec(
    exec: string,
    output: Tail,
    timeoutMs: number,
    signal: AbortSignal | undefined,
  ): Promise<
    | { readonly kind: 'ended' | 'late' }
    | { readonly kind: 'refused'; readonly status: number; readonly reason: string }
  > {
    const time = AbortSignal.timeout(timeoutMs)
    const either = signal === undefined ? time : AbortSignal.any([time, signal])
    try {
      const opened = await this.#transport.open(
        { method: 'POST', path: `/exec/${exec}/start`, body: { Detach: false, Tty: false } },
        { withinMs: timeoutMs + this.#times.callMs, signal: either },
      )
      if (opened.kind === 'refused') return opened
      for await (const { data } of framed(chunks(opened.body))) output.add(data)
      return { kind: either.aborted ? 'late' : 'ended' }
    } catch (error) {
      if (either.aborted) return { kind: 'late' }
      throw isKnown(error) ? error : this.#transport.unavailable(error)
    }
  }

  /** Nothing where it does not end: its output may close before its process ends. */
  async #exitCode(exec: string): Promise<number | undefined> {
    let exitCode: number | undefined
    await this.#until(1000, async () => {
      const state = await this.#execState(exec)
      exitCode = state.Running ? undefined : (state.ExitCode ?? undefined)
      return exitCode !== undefined
    })
    return exitCode
  }

  async #killExec(exec: string, id: ContainerId): Promise<void> {
    const state = await this.#execState(exec)
    if (state.Running && state.Pid !== undefined && state.Pid > 0) await killOrphan(state.Pid, id)
  }

  async #execState(exec: string) {
    return answers.read(
      'command',
      answers.execState,
      await this.#get('inspect a command', `/exec/${exec}/json`, {}),
    )
  }
}

/** What changes how a container stands; commands run in it are no news. */
const wakingActions = [
  'create',
  'start',
  'die',
  'oom',
  'kill',
  'stop',
  'pause',
  'unpause',
  'destroy',
  'health_status',
]

function startProblem(reason: string): 'port-taken' | 'command' | 'engine' {
  if (/port is already allocated|address already in use/i.test(reason)) return 'port-taken'
  if (
    /executable file not found|exec: .*(?:no such file|permission denied|is a directory)|exec format error/i.test(
      reason,
    )
  )
    return 'command'
  return 'engine'
}

/** Engines from 25.0 on refuse what cannot be executed; older ones say it in the output, with the same exit status. */
function refusedExec(status: number, reason: string): ExecOutcome {
  if (status === 409 || status === 404 || /is not running/i.test(reason))
    return { kind: 'not-running', reason }
  if (startProblem(reason) === 'command') return { kind: 'exited', exitCode: 127, output: reason }
  throw fault('run a command', status, reason)
}

/** Asked anew each time: awaiting changes it. */
const isAborted = (signal: AbortSignal | undefined): boolean => signal?.aborted === true

const isKnown = (error: unknown): boolean =>
  error instanceof EngineUnavailable || error instanceof NotOurs || error instanceof EngineFault

/** The last bytes of what is added. */
class Tail {
  readonly #most: number
  #bytes: Buffer = Buffer.alloc(0)

  constructor(most: number) {
    this.#most = most
  }

  add(data: Uint8Array): void {
    this.#bytes = Buffer.concat([this.#bytes, data.subarray(-this.#most)]).subarray(-this.#most)
  }

  text(): string {
    return this.#bytes.toString('utf8')
  }
}
