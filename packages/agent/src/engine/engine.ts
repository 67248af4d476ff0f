/**
 * A host's container engine in our words. `docker/` implements it over a real engine, `memory.ts` in memory; one contract
 * suite (test/contract/engine.test.ts) holds both to what is written here.
 *
 * An engine knows only the containers of one cluster on one host: it lists them by label, and refuses to touch any other.
 * What can be expected to happen (a taken port, a missing image) is an outcome; what throws is a bug of the caller
 * (`NotOurs`), an engine that is away (`EngineUnavailable`), or one that answers what nobody expects (`EngineFault`).
 */

/** The labels that every container of ours carries; `cluster` and `host` are what it is recognised by. */
export const labels = {
  cluster: 'boxcar.cluster',
  host: 'boxcar.host',
  instance: 'boxcar.instance',
  placement: 'boxcar.placement',
} as const

export interface Engine {
  /** The machine and the engine's version. */
  info(signal?: AbortSignal): Promise<EngineInfo>
  /** All our containers in whatever state, by name. Calls that come while one is under way share the next one. */
  list(signal?: AbortSignal): Promise<readonly Container[]>
  /** What `list` leaves out; nothing where the container is gone. Waits for a start of the same container to end. */
  inspect(id: ContainerId, signal?: AbortSignal): Promise<ContainerDetail | undefined>
  /** Creates without starting. Asked twice with the same name and labels, it finds the one made before. */
  create(spec: ContainerSpec, signal?: AbortSignal): Promise<CreateOutcome>
  /** Starts a container, or finds it running. */
  start(id: ContainerId, signal?: AbortSignal): Promise<StartOutcome>
  /**
   * Ends a container: `signal`, or the container's own stop signal, and SIGKILL once `graceMs` are over. Resolves when
   * its process has ended, also where it had ended before or is gone.
   */
  stop(id: ContainerId, how: StopOptions): Promise<void>
  /** Sends a signal without waiting for what it does; nothing happens where no process runs. */
  kill(id: ContainerId, signalName: string): Promise<void>
  /** Removes a container, running or not, with its anonymous volumes. Done as well where it was gone. */
  remove(id: ContainerId): Promise<void>
  /** Brings an image here. Callers that want the same one at the same time share one pull. */
  pull(reference: string, options?: PullOptions): Promise<PullOutcome>
  /** Pins a reference to a digest, by asking its registry; nothing is downloaded. */
  resolve(reference: string, signal?: AbortSignal): Promise<ResolveOutcome>
  /** What an image that is here says of health and ports; nothing where it is not here. */
  imageHealthcheck(reference: string, signal?: AbortSignal): Promise<ImageHealth | undefined>
  /** Lines that a container wrote. Read at the consumer's pace; ends quietly when the signal is aborted. */
  logs(id: ContainerId, options?: LogOptions): AsyncIterable<LogLine>
  /** Runs a command inside a running container. */
  exec(id: ContainerId, argv: readonly string[], options: ExecOptions): Promise<ExecOutcome>
  /**
   * Wake-ups, never the news itself: whoever hears one looks again. `listening` comes first and after it no change goes
   * untold until the iteration ends, so: subscribe, look at `listening`, and after any end wait, subscribe, look again.
   * A stream that breaks off ends the iteration; it throws only where it cannot begin.
   */
  events(signal?: AbortSignal): AsyncIterable<EngineEvent>
}

export type ContainerId = string & { readonly __brand: 'ContainerId' }
/** `sha256:…` */
export type Digest = `sha256:${string}`

export interface EngineInfo {
  /** The engine's own id: the same over its restarts, another one for another engine. */
  readonly id: string
  readonly version: string
  readonly cpuMilli: number
  readonly memoryMiB: number
  /** Where it keeps images and containers. */
  readonly rootDir: string
  /** As in image platforms: `linux`, `amd64`. */
  readonly os: string
  readonly arch: string
}

export type ContainerState = 'created' | 'running' | 'paused' | 'restarting' | 'removing' | 'exited' | 'dead'

export interface Container {
  readonly id: ContainerId
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly state: ContainerState
  /** The reference that it was created from. */
  readonly image: string
  /** The id of the image that this reference meant. */
  readonly imageId: string
  /** By the engine's wall clock, milliseconds since 1970. */
  readonly createdAtMs: number
}

export interface ContainerDetail extends Container {
  /** Of the last run; nothing while it runs and before its first run. */
  readonly exitCode: number | undefined
  readonly oomKilled: boolean
  /** Of the last run, by the engine's wall clock, milliseconds since 1970. */
  readonly startedAtMs: number | undefined
  /** May lie a moment before `startedAtMs`: the engine notes a start after a process that ends at once has ended. */
  readonly finishedAtMs: number | undefined
  /** The engine's sentence where a start failed. */
  readonly error: string | undefined
  /** The verdict of the image's or the spec's health check, where there is one. */
  readonly health: ContainerHealth | undefined
}

export interface ContainerHealth {
  readonly status: 'starting' | 'healthy' | 'unhealthy'
  readonly failingStreak: number
  /** What the last check printed and its exit status, once there was one. */
  readonly last: { readonly exitCode: number; readonly output: string } | undefined
}

/** What to create. What is left out is as the image has it, or without a limit. The restart policy is always `no`. */
export interface ContainerSpec {
  /** The same for the same thing, so that a lost answer is found again. */
  readonly name: string
  /** By digest, or a local image's id; it is here already. */
  readonly image: string
  /** Beside those of cluster and host, which the engine adds itself. */
  readonly labels: Readonly<Record<string, string>>
  readonly env: Readonly<Record<string, string>>
  readonly command?: readonly string[] | undefined
  readonly entrypoint?: readonly string[] | undefined
  readonly user?: string | undefined
  readonly workdir?: string | undefined
  readonly hostname?: string | undefined
  readonly init?: boolean | undefined
  readonly stopSignal?: string | undefined
  readonly readOnly?: boolean | undefined
  /** Paths. */
  readonly tmpfs?: readonly string[] | undefined
  readonly shmSizeMiB?: number | undefined
  readonly capAdd?: readonly string[] | undefined
  readonly capDrop?: readonly string[] | undefined
  /** Addresses by name. */
  readonly extraHosts?: Readonly<Record<string, string>> | undefined
  readonly ulimits?: Readonly<Record<string, { readonly soft: number; readonly hard: number }>> | undefined
  readonly resources: {
    readonly cpuMilli?: number | undefined
    /** Memory and swap together: what is over it is killed, not swapped. */
    readonly memoryMiB?: number | undefined
    readonly pids?: number | undefined
  }
  readonly ports: readonly PortBinding[]
  /** Left out: the image's own. */
  readonly healthcheck?: 'none' | HealthcheckSpec | undefined
  /** Left out: the `local` driver with five files of 20 MiB. */
  readonly logging?:
    | { readonly driver: string; readonly options: Readonly<Record<string, string>> }
    | undefined
  /** Left out: `no-new-privileges`. */
  readonly securityOpt?: readonly string[] | undefined
}

export interface PortBinding {
  readonly container: number
  readonly host: number
  readonly hostAddress: string
  readonly protocol: 'tcp'
}

export interface HealthcheckSpec {
  /** As the engine has it: `['CMD', …]` or `['CMD-SHELL', line]`. */
  readonly test: readonly string[]
  readonly intervalMs?: number | undefined
  readonly timeoutMs?: number | undefined
  readonly startPeriodMs?: number | undefined
  readonly retries?: number | undefined
}

export interface ImageHealth {
  readonly healthcheck: HealthcheckSpec | undefined
  /** TCP ports that the image declares, ascending. */
  readonly exposedPorts: readonly number[]
}

export type CreateOutcome =
  | { readonly kind: 'created'; readonly id: ContainerId }
  /** One of the same name and labels stands already: an answer was lost, or an earlier run made it. */
  | { readonly kind: 'exists'; readonly id: ContainerId; readonly state: ContainerState }
  /** The name belongs to another container: one of ours for something else, or one that is not ours and stays untouched. */
  | { readonly kind: 'name-taken'; readonly by: 'ours' | 'stranger'; readonly id: ContainerId }
  | { readonly kind: 'image-missing'; readonly reason: string }
  /** `permanent`: the same again would fail the same, as the engine does not accept the spec. Otherwise, say, its disk is full. */
  | { readonly kind: 'refused'; readonly reason: string; readonly permanent: boolean }

export type StartOutcome =
  | { readonly kind: 'started' }
  | { readonly kind: 'gone' }
  | {
      readonly kind: 'failed'
      /** port-taken: another process or container has it. command: nothing can be executed so. engine: all else. */
      readonly because: 'port-taken' | 'command' | 'engine'
      readonly reason: string
    }

export interface StopOptions {
  readonly signal?: string | undefined
  readonly graceMs: number
}

export interface PullOptions {
  readonly onProgress?: ((progress: PullProgress) => void) | undefined
  /** Gives up waiting; the pull itself ends when nobody waits for it. */
  readonly signal?: AbortSignal | undefined
}

export interface PullProgress {
  /** What is being done, in the engine's words, and to which layer. */
  readonly status: string
  readonly layer: string | undefined
  /** Bytes of this layer, where they are known. */
  readonly current: number | undefined
  readonly total: number | undefined
}

export type PullOutcome =
  | { readonly kind: 'pulled'; readonly digest: Digest }
  /** `permanent`: the same again would fail the same. */
  | { readonly kind: 'failed'; readonly reason: string; readonly permanent: boolean }

export type ResolveOutcome =
  /** `reference` is `name@sha256:…`. */
  | { readonly kind: 'resolved'; readonly reference: string; readonly digest: Digest }
  /** On this engine and in no registry: built here, or imported. No other host can pull it. */
  | { readonly kind: 'local'; readonly imageId: string }
  | { readonly kind: 'not-found'; readonly reason: string }
  | { readonly kind: 'denied'; readonly reason: string }
  /** `here`: what the reference meant when it was last pulled to this engine, if it ever was. */
  | { readonly kind: 'registry-away'; readonly reason: string; readonly here: string | undefined }
  | { readonly kind: 'invalid'; readonly reason: string }

export interface LogOptions {
  /** At most so many of the last lines; left out: all that are kept. */
  readonly tail?: number | undefined
  /** Only what was written at this wall time or later. */
  readonly sinceMs?: number | undefined
  /** `follow`: goes on with what is written from now, until the container ends. */
  readonly follow?: boolean | undefined
  readonly signal?: AbortSignal | undefined
}

export interface LogLine {
  readonly stream: 'stdout' | 'stderr'
  /** By the engine's wall clock, milliseconds since 1970. */
  readonly at: number
  /** Without its line break. A line of more than 64 KiB comes in several. */
  readonly line: string
}

export interface ExecOptions {
  readonly timeoutMs: number
  readonly signal?: AbortSignal | undefined
}

export type ExecOutcome =
  /** `output`: both streams, at most the last 4 KiB. A command that cannot be executed exits with 126 or 127. */
  | { readonly kind: 'exited'; readonly exitCode: number; readonly output: string }
  /** The command was killed, if the engine let us. */
  | { readonly kind: 'timed-out'; readonly output: string }
  | { readonly kind: 'not-running'; readonly reason: string }

export type EngineEvent =
  | { readonly kind: 'listening' }
  /** `action` in the engine's words: create, start, die, oom, destroy, `health_status: healthy`… For logs, not to decide by. */
  | { readonly kind: 'changed'; readonly id: ContainerId; readonly action: string }

/** The engine does not answer, or not in time, or breaks off: try again later. Whatever was asked is perhaps done. */
export class EngineUnavailable extends Error {
  override readonly name = 'EngineUnavailable'
}

/** The engine answers with an error that we know nothing better to say about than its own sentence. */
export class EngineFault extends Error {
  override readonly name = 'EngineFault'
}

/** A container that does not carry this cluster's and this host's labels was to be touched: a bug of the caller. */
export class NotOurs extends Error {
  override readonly name = 'NotOurs'
  constructor(id: string) {
    super(`container ${id} does not carry the labels of this cluster and host`)
  }
}

const idForm = /^[0-9a-f]{64}$/
const digestForm = /^sha256:[0-9a-f]{64}$/

export const isContainerId = (text: string): text is ContainerId => idForm.test(text)
export const isDigest = (text: string): text is Digest => digestForm.test(text)
