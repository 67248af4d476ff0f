/**
 * A container engine in memory, honest enough to pass the same contract suite as a real one, with faults to order. One
 * `MemoryDocker` is a machine's engine with all its containers, whoever made them; `engine(owner)` is one cluster's and
 * host's view of it. Time comes from the clock that is passed in, ids and digests from what they name: one order of calls
 * gives one course of things.
 */
import type { Clock } from '@boxcar/core/model/clock'
import { Bell } from '@boxcar/store/bell'
import {
  type Container,
  type ContainerDetail,
  type ContainerId,
  type ContainerSpec,
  type CreateOutcome,
  type Digest,
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
} from './engine.ts'
import { MemoryContainer } from './memory-container.ts'
import { digestOf, type MemoryImage, MemoryRegistry } from './memory-image.ts'
import { isOwn, type Owner, ownerLabels } from './owner.ts'
import { parseReference, type Reference } from './reference.ts'
import { orAborted } from './shared-look.ts'

/** The calls of an engine, for latencies and faults. */
export type Call = Exclude<keyof Engine, 'logs' | 'events'> | 'logs' | 'events'

export type Fault =
  /** Not done, and says so. */
  | 'fails'
  /** Done, and the answer never comes. */
  | 'lost-answer'
  /** Not done, and no answer comes. */
  | 'hangs'

export interface MemoryDockerOptions {
  readonly clock: Clock
  readonly registry?: MemoryRegistry
  readonly info?: Partial<EngineInfo>
  /** How long a call takes, with so many of its kind under way; left out: no time. */
  readonly latencyMs?: (call: Call, underWay: number) => number
  /** After how long a caller gives up on a call that hangs; of a stop, over its grace. */
  readonly callMs?: number
}

export class MemoryDocker {
  readonly registry: MemoryRegistry
  /** TCP ports of the machine that something else than a container holds. */
  readonly foreignPorts = new Set<number>()
  readonly #clock: Clock
  readonly #info: EngineInfo
  readonly #latencyMs: (call: Call, underWay: number) => number
  readonly #underWay = new Map<Call, number>()
  readonly #callMs: number
  readonly #containers = new Map<ContainerId, MemoryContainer>()
  readonly #images: {
    readonly reference: Reference
    readonly origin: 'pulled' | 'made-here'
    readonly image: MemoryImage
  }[] = []
  readonly #faults: { readonly call: Call; readonly fault: Fault }[] = []
  readonly #subscribers = new Set<Subscriber>()
  #state: 'up' | 'away' | 'silent' = 'up'
  #created = 0

  constructor({ clock, registry, info, latencyMs, callMs }: MemoryDockerOptions) {
    this.registry = registry ?? new MemoryRegistry()
    this.#clock = clock
    this.#latencyMs = latencyMs ?? (() => 0)
    this.#callMs = callMs ?? 15_000
    this.#info = {
      id: 'memory',
      version: '20.10.24',
      cpuMilli: 2000,
      memoryMiB: 4096,
      rootDir: '/var/lib/docker',
      os: 'linux',
      arch: 'amd64',
      ...info,
    }
  }

  /** One owner's view. `callMs`: after how long it gives up on a call; left out: as the machine says. */
  engine(owner: Owner, { callMs = this.#callMs }: { readonly callMs?: number } = {}): Engine {
    return new MemoryEngine(this, owner, callMs)
  }

  // Faults, and what happens without anybody asking

  /** The next call of this kind meets this. Several queue up. */
  failNext(call: Call, fault: Fault): void {
    this.#faults.push({ call, fault })
  }

  /** away: nothing listens. silent: it accepts and never answers. Containers run on; event streams break or fall silent. */
  become(state: 'up' | 'away' | 'silent'): void {
    this.#state = state
    if (state === 'away') this.breakEvents()
  }

  /** As an engine without live-restore: all containers end, and it is up again. */
  restart(): void {
    this.become('away')
    for (const container of this.#containers.values()) container.signal('SIGKILL')
    this.become('up')
  }

  /** Ends all event streams, as a restart or a broken connection does. */
  breakEvents(): void {
    for (const subscriber of this.#subscribers) subscriber.end()
  }

  /** Ends a container's process by itself. */
  crash(id: ContainerId, exitCode: number, cause?: 'out-of-memory'): void {
    this.#containers.get(id)?.crash(exitCode, cause)
  }

  /** An image of this machine only, as after a build. */
  import(reference: string, image: MemoryImage): void {
    this.#keep(reference, 'made-here', image)
  }

  /** A container that another program made; it may carry any labels. */
  runStranger(spec: ContainerSpec): ContainerId {
    const image = this.imageHere(spec.image)
    if (image === undefined) throw new Error(`no image ${spec.image}`)
    const container = this.#add(spec, spec.labels, image)
    container.start()
    return container.id
  }

  /** Everything on this machine, by name; for checks in tests. */
  all(): readonly Container[] {
    return this.#sorted([...this.#containers.values()])
  }

  // What the views are made of

  /** A call as it happens to its caller: latency, faults, the state of the engine. */
  async call<T>(
    call: Call,
    callMs: number,
    signal: AbortSignal | undefined,
    work: () => T | Promise<T>,
  ): Promise<T> {
    signal?.throwIfAborted()
    const latency = this.#latencyMs(call, (this.#underWay.get(call) ?? 0) + 1)
    if (latency > 0) await this.#delay(call, latency, signal)
    signal?.throwIfAborted()
    if (this.#state === 'away') throw new EngineUnavailable('the engine in memory is away')
    const fault = this.#takeFault(call)
    if (this.#state === 'silent' || fault === 'hangs') return await this.#hang(call, callMs, signal)
    if (fault === 'fails') throw new EngineFault(`the engine in memory cannot ${call}: so ordered`)
    const result = await orAborted(Promise.resolve(work()), signal)
    if (fault === 'lost-answer') return await this.#hang(call, callMs, signal)
    return result
  }

  get info(): EngineInfo {
    return this.#info
  }

  list(owner: Owner): readonly Container[] {
    return this.#sorted([...this.#containers.values()].filter(container => isOwn(owner, container.labels)))
  }

  /** Nothing where it is gone; throws where it is somebody else's. */
  own(owner: Owner, id: ContainerId): MemoryContainer | undefined {
    const container = this.#containers.get(id)
    if (container !== undefined && !isOwn(owner, container.labels)) throw new NotOurs(id)
    return container
  }

  create(spec: ContainerSpec, labels: Readonly<Record<string, string>>): MemoryContainer | 'image-missing' {
    const image = this.imageHere(spec.image)
    return image === undefined ? 'image-missing' : this.#add(spec, labels, image)
  }

  named(name: string): MemoryContainer | undefined {
    return [...this.#containers.values()].find(container => container.spec.name === name)
  }

  /** Which port of the container cannot be had. */
  takenPort(container: MemoryContainer): number | undefined {
    const others = [...this.#containers.values()].filter(
      other => other !== container && other.state === 'running',
    )
    const held = others.flatMap(other => other.spec.ports)
    const everywhere = '0.0.0.0'
    return container.spec.ports.find(
      port =>
        this.foreignPorts.has(port.host) ||
        held.some(
          other =>
            other.host === port.host &&
            (other.hostAddress === port.hostAddress ||
              other.hostAddress === everywhere ||
              port.hostAddress === everywhere),
        ),
    )?.host
  }

  remove(id: ContainerId): void {
    const container = this.#containers.get(id)
    if (container === undefined) return
    container.signal('SIGKILL')
    container.discard()
    this.#containers.delete(id)
    this.#tell(container, 'destroy')
  }

  subscribe(owner: Owner): Subscriber {
    const subscriber = new Subscriber(owner, () => this.#subscribers.delete(subscriber))
    this.#subscribers.add(subscriber)
    return subscriber
  }

  imageHere(reference: string): MemoryImage | undefined {
    return this.#kept(reference)?.image
  }

  /** Whether an image that is here came from a registry under this name. */
  cameFromRegistry(reference: string): boolean {
    return this.#kept(reference)?.origin === 'pulled'
  }

  keepPulled(reference: string, image: MemoryImage): void {
    this.#keep(reference, 'pulled', image)
  }

  async #delay(call: Call, ms: number, signal: AbortSignal | undefined): Promise<void> {
    this.#underWay.set(call, (this.#underWay.get(call) ?? 0) + 1)
    await this.#clock.sleep(ms, signal)
    this.#underWay.set(call, (this.#underWay.get(call) ?? 1) - 1)
  }

  #takeFault(call: Call): Fault | undefined {
    const at = this.#faults.findIndex(ordered => ordered.call === call)
    return at === -1 ? undefined : this.#faults.splice(at, 1)[0]?.fault
  }

  async #hang(call: Call, callMs: number, signal: AbortSignal | undefined): Promise<never> {
    await this.#clock.sleep(callMs, signal)
    signal?.throwIfAborted()
    throw new EngineUnavailable(`the engine in memory did not answer ${call} within ${callMs} ms`)
  }

  #add(spec: ContainerSpec, labels: Readonly<Record<string, string>>, image: MemoryImage): MemoryContainer {
    const id = digestOf(`container ${++this.#created} ${spec.name}`).slice('sha256:'.length)
    const container: MemoryContainer = new MemoryContainer(id, spec, labels, image, this.#clock, action =>
      this.#tell(container, action),
    )
    this.#containers.set(container.id, container)
    this.#tell(container, 'create')
    return container
  }

  #tell(container: MemoryContainer, action: string): void {
    // A silent engine tells nothing either.
    if (this.#state !== 'up') return
    for (const subscriber of this.#subscribers)
      if (isOwn(subscriber.owner, container.labels))
        subscriber.push({ kind: 'changed', id: container.id, action })
  }

  #kept(text: string) {
    const reference = parseReference(text)
    return this.#images.findLast(({ reference: known, image }) => {
      if (isDigest(text) || reference === undefined) return digestOf(image.content) === text
      if (known.repository !== reference.repository) return false
      return reference.digest === undefined
        ? known.tag === reference.tag
        : digestOf(image.content) === reference.digest
    })
  }

  #keep(text: string, origin: 'pulled' | 'made-here', image: MemoryImage): void {
    const reference = parseReference(text)
    if (reference === undefined) throw new Error(`not an image reference: ${text}`)
    this.#images.push({ reference, origin, image })
  }

  #sorted(containers: readonly MemoryContainer[]): readonly Container[] {
    return containers
      .map(container => container.brief())
      .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
  }
}

/** A listener to events, with what it has not yet read. */
class Subscriber {
  readonly owner: Owner
  readonly bell = new Bell()
  readonly #leave: () => void
  readonly #queue: EngineEvent[] = []
  ended = false

  constructor(owner: Owner, leave: () => void) {
    this.owner = owner
    this.#leave = leave
  }

  push(event: EngineEvent): void {
    this.#queue.push(event)
    this.bell.ring()
  }

  take(): EngineEvent | undefined {
    return this.#queue.shift()
  }

  end(): void {
    this.ended = true
    this.#leave()
    this.bell.ring()
  }
}

const nameForm = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/

/** One owner's view. */
class MemoryEngine implements Engine {
  readonly #docker: MemoryDocker
  readonly #owner: Owner
  readonly #callMs: number
  readonly #pulls = new Map<string, Promise<PullOutcome>>()

  constructor(docker: MemoryDocker, owner: Owner, callMs: number) {
    this.#docker = docker
    this.#owner = owner
    this.#callMs = callMs
  }

  info(signal?: AbortSignal): Promise<EngineInfo> {
    return this.#call('info', signal, () => this.#docker.info)
  }

  list(signal?: AbortSignal): Promise<readonly Container[]> {
    return this.#call('list', signal, () => this.#docker.list(this.#owner))
  }

  inspect(id: ContainerId, signal?: AbortSignal): Promise<ContainerDetail | undefined> {
    return this.#call('inspect', signal, () => this.#own(id)?.detail())
  }

  create(spec: ContainerSpec, signal?: AbortSignal): Promise<CreateOutcome> {
    return this.#call('create', signal, (): CreateOutcome => {
      if (!nameForm.test(spec.name))
        return { kind: 'refused', reason: `Invalid container name (${spec.name})`, permanent: true }
      const holder = this.#docker.named(spec.name)
      if (holder !== undefined) {
        const { id, state } = holder
        if (!isOwn(this.#owner, holder.labels)) return { kind: 'name-taken', by: 'stranger', id }
        const isSame = Object.entries(spec.labels).every(([key, value]) => holder.labels[key] === value)
        return isSame ? { kind: 'exists', id, state } : { kind: 'name-taken', by: 'ours', id }
      }
      const made = this.#docker.create(spec, { ...spec.labels, ...ownerLabels(this.#owner) })
      if (made === 'image-missing') return { kind: 'image-missing', reason: `No such image: ${spec.image}` }
      return { kind: 'created', id: made.id }
    })
  }

  start(id: ContainerId, signal?: AbortSignal): Promise<StartOutcome> {
    return this.#call('start', signal, (): StartOutcome => {
      const container = this.#own(id)
      if (container === undefined) return { kind: 'gone' }
      if (container.state === 'running') return { kind: 'started' }
      const port = this.#docker.takenPort(container)
      if (port === undefined) return container.start()
      return {
        kind: 'failed',
        because: 'port-taken',
        reason: container.failToStart(`Bind for port ${port} failed: port is already allocated`),
      }
    })
  }

  stop(id: ContainerId, { signal, graceMs }: StopOptions): Promise<void> {
    const end = async () => {
      const container = this.#own(id)
      if (container?.state !== 'running') return
      container.signal(signal ?? container.spec.stopSignal ?? 'SIGTERM')
      await container.ended(graceMs)
      container.signal('SIGKILL')
    }
    return this.#call('stop', undefined, end, graceMs)
  }

  kill(id: ContainerId, signalName: string): Promise<void> {
    return this.#call('kill', undefined, () => this.#own(id)?.signal(signalName))
  }

  remove(id: ContainerId): Promise<void> {
    return this.#call('remove', undefined, () => {
      if (this.#own(id) !== undefined) this.#docker.remove(id)
    })
  }

  async pull(reference: string, { onProgress, signal }: PullOptions = {}): Promise<PullOutcome> {
    let running = this.#pulls.get(reference)
    if (running === undefined) {
      running = this.#call('pull', undefined, () => this.#fetch(reference)).finally(() =>
        this.#pulls.delete(reference),
      )
      this.#pulls.set(reference, running)
    }
    const outcome = await orAborted(running, signal)
    if (outcome.kind === 'pulled')
      onProgress?.({ status: 'Pull complete', layer: undefined, current: undefined, total: undefined })
    return outcome
  }

  resolve(text: string, signal?: AbortSignal): Promise<ResolveOutcome> {
    return this.#call('resolve', signal, () => this.#resolve(text))
  }

  imageHealthcheck(reference: string, signal?: AbortSignal): Promise<ImageHealth | undefined> {
    return this.#call('imageHealthcheck', signal, () => {
      const image = this.#docker.imageHere(reference)
      return image === undefined ? undefined : (image.health ?? { healthcheck: undefined, exposedPorts: [] })
    })
  }

  async *logs(id: ContainerId, { tail, sinceMs, follow, signal }: LogOptions = {}): AsyncGenerator<LogLine> {
    if (signal?.aborted) return
    try {
      const container = await this.#call('logs', signal, () => this.#own(id))
      if (container === undefined) return
      const { lines, changed } = container
      const isNew = (line: LogLine) => sinceMs === undefined || line.at >= sinceMs
      const from = tail === undefined ? 0 : Math.max(0, lines.length - tail)
      for (let at = from; !signal?.aborted; ) {
        const next = changed.next(signal)
        const line = lines[at]
        if (line !== undefined) {
          at++
          if (isNew(line)) yield line
        } else if (follow !== true || container.state !== 'running') return
        else await next
      }
    } catch (error) {
      if (!signal?.aborted) throw error
    }
  }

  exec(id: ContainerId, argv: readonly string[], { timeoutMs, signal }: ExecOptions): Promise<ExecOutcome> {
    return this.#call('exec', signal, (): ExecOutcome | Promise<ExecOutcome> => {
      const container = this.#own(id)
      if (container?.state === 'running') return container.exec(argv, timeoutMs)
      return {
        kind: 'not-running',
        reason: container === undefined ? 'the container is gone' : `Container ${id} is not running`,
      }
    })
  }

  async *events(signal?: AbortSignal): AsyncGenerator<EngineEvent> {
    if (signal?.aborted) return
    let subscriber: Subscriber | undefined
    try {
      subscriber = await this.#call('events', signal, () => this.#docker.subscribe(this.#owner))
      yield { kind: 'listening' }
      while (!signal?.aborted) {
        const next = subscriber.bell.next(signal)
        const event = subscriber.take()
        if (event !== undefined) yield event
        else if (subscriber.ended) return
        else await next
      }
    } catch (error) {
      if (!signal?.aborted) throw error
    } finally {
      subscriber?.end()
    }
  }

  #call<T>(call: Call, signal: AbortSignal | undefined, work: () => T | Promise<T>, graceMs = 0): Promise<T> {
    return this.#docker.call(call, this.#callMs + graceMs, signal, work)
  }

  #own(id: ContainerId): MemoryContainer | undefined {
    return this.#docker.own(this.#owner, id)
  }

  #fetch(text: string): PullOutcome {
    if (isDigest(text)) {
      if (this.#docker.imageHere(text) !== undefined) return { kind: 'pulled', digest: text }
      return {
        kind: 'failed',
        reason: `${text} is the id of an image on another engine; no registry has it`,
        permanent: true,
      }
    }
    const reference = parseReference(text)
    if (reference === undefined)
      return { kind: 'failed', reason: `'${text}' is not an image reference`, permanent: true }
    const { digest } = reference
    if (digest !== undefined && this.#docker.imageHere(text) !== undefined) return { kind: 'pulled', digest }
    const asked = this.#askRegistry(text)
    if (asked.kind !== 'found')
      return { kind: 'failed', reason: asked.reason, permanent: asked.kind !== 'registry-away' }
    this.#docker.keepPulled(text, asked.image)
    return { kind: 'pulled', digest: digestOf(asked.image.content) }
  }

  #resolve(text: string): ResolveOutcome {
    const here = this.#docker.imageHere(text)
    if (isDigest(text))
      return here === undefined
        ? { kind: 'not-found', reason: `no image on this engine has the id ${text}` }
        : { kind: 'local', imageId: text }
    const reference = parseReference(text)
    if (reference === undefined) return { kind: 'invalid', reason: `'${text}' is not an image reference` }
    const pinned = (digest: Digest) => `${reference.name}@${digest}`
    if (reference.digest !== undefined)
      return { kind: 'resolved', reference: pinned(reference.digest), digest: reference.digest }
    if (here !== undefined && !this.#docker.cameFromRegistry(text))
      return { kind: 'local', imageId: digestOf(here.content) }
    const asked = this.#askRegistry(text)
    if (asked.kind === 'registry-away')
      return { kind: 'registry-away', reason: asked.reason, here: here && pinned(digestOf(here.content)) }
    if (asked.kind !== 'found') return { kind: asked.kind, reason: asked.reason }
    const digest = digestOf(asked.image.content)
    return { kind: 'resolved', reference: pinned(digest), digest }
  }

  #askRegistry(
    text: string,
  ):
    | { readonly kind: 'found'; readonly image: MemoryImage }
    | { readonly kind: 'not-found' | 'denied' | 'registry-away'; readonly reason: string } {
    const { registry } = this.#docker
    if (registry.state === 'away')
      return { kind: 'registry-away', reason: 'dial tcp: connect: connection refused' }
    if (registry.state === 'denies') return { kind: 'denied', reason: `pull access denied for ${text}` }
    const image = registry.find(text)
    return image === undefined
      ? { kind: 'not-found', reason: `manifest for ${text} not found: manifest unknown` }
      : { kind: 'found', image }
  }
}
