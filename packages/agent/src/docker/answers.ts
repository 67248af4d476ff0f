/** The engine's answers, as far as we read them. Everything else in them is ignored, whatever its version. */
import { z } from 'zod'
import {
  type Container,
  type ContainerDetail,
  type ContainerHealth,
  type ContainerId,
  type EngineInfo,
  EngineUnavailable,
  type HealthcheckSpec,
  type ImageHealth,
  isContainerId,
} from '../engine/engine.ts'

/** An answer in our form. An answer of another shape is no answer: `EngineUnavailable`. */
export function read<T>(what: string, schema: z.ZodType<T>, value: unknown): T {
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  throw new EngineUnavailable(`the Docker engine's ${what} cannot be read: ${z.prettifyError(parsed.error)}`)
}

const containerId = z.custom<ContainerId>(
  value => typeof value === 'string' && isContainerId(value),
  'no container id',
)
/** In a state of a newer engine a process may run: it is probed, and stopped before it is removed. */
const state = z
  .enum(['created', 'running', 'paused', 'restarting', 'removing', 'exited', 'dead'])
  .catch('running')
const labelMap = z.record(z.string(), z.string()).nullish()

export const info: z.ZodType<EngineInfo> = z
  .object({
    ID: z.string(),
    ServerVersion: z.string(),
    NCPU: z.int().positive(),
    MemTotal: z.int().positive(),
    DockerRootDir: z.string(),
    OSType: z.string(),
    Architecture: z.string(),
  })
  .transform(seen => ({
    id: seen.ID,
    version: seen.ServerVersion,
    cpuMilli: seen.NCPU * 1000,
    memoryMiB: Math.floor(seen.MemTotal / 1024 ** 2),
    rootDir: seen.DockerRootDir,
    os: seen.OSType,
    arch: architectures[seen.Architecture] ?? seen.Architecture,
  }))

/** The kernel's names where images have others. */
const architectures: Readonly<Record<string, string>> = { x86_64: 'amd64', aarch64: 'arm64' }

/**
 * One container with something odd in it does not make the list one that cannot be read: that would be an engine that is down, for
 * all of them. None is left out either, since what is missed counts as gone. Only its id and its labels are needed.
 */
export const listed: z.ZodType<readonly Container[]> = z.array(
  z
    .object({
      Id: containerId,
      Names: z.array(z.string()).nullish().catch(undefined),
      Labels: labelMap,
      State: state,
      Image: z.string().catch(''),
      ImageID: z.string().catch(''),
      Created: z.number().catch(0),
    })
    .transform(seen => ({
      id: seen.Id,
      // Links add names with two slashes.
      name: (seen.Names?.find(name => name.lastIndexOf('/') === 0) ?? '').slice(1),
      labels: seen.Labels ?? {},
      state: seen.State,
      image: seen.Image,
      imageId: seen.ImageID,
      createdAtMs: seen.Created * 1000,
    })),
)

export const inspected: z.ZodType<ContainerDetail & { readonly tty: boolean }> = z
  .object({
    Id: containerId,
    Name: z.string(),
    Created: z.string(),
    Image: z.string(),
    Config: z.object({ Image: z.string(), Labels: labelMap, Tty: z.boolean().optional() }),
    State: z.object({
      Status: state,
      ExitCode: z.int(),
      OOMKilled: z.boolean(),
      StartedAt: z.string(),
      FinishedAt: z.string(),
      Error: z.string().optional(),
      Health: z
        .object({
          Status: z.string(),
          FailingStreak: z.int(),
          Log: z.array(z.object({ ExitCode: z.int(), Output: z.string() })).nullish(),
        })
        .nullish(),
    }),
  })
  .transform(({ State: seen, ...container }) => ({
    id: container.Id,
    name: container.Name.replace(/^\//, ''),
    labels: container.Config.Labels ?? {},
    state: seen.Status,
    image: container.Config.Image,
    imageId: container.Image,
    createdAtMs: Date.parse(container.Created),
    exitCode:
      seen.Status === 'exited' || seen.Status === 'dead' || (seen.Error ?? '') !== ''
        ? seen.ExitCode
        : undefined,
    oomKilled: seen.OOMKilled,
    startedAtMs: moment(seen.StartedAt),
    finishedAtMs: moment(seen.FinishedAt),
    error: seen.Error === '' ? undefined : seen.Error,
    health: seen.Health == null ? undefined : health(seen.Health),
    tty: container.Config.Tty ?? false,
  }))

/** The engine says "never" with the year 1. */
function moment(text: string): number | undefined {
  const ms = Date.parse(text)
  return Number.isNaN(ms) || ms <= 0 ? undefined : ms
}

function health(seen: {
  readonly Status: string
  readonly FailingStreak: number
  readonly Log?: readonly { readonly ExitCode: number; readonly Output: string }[] | null | undefined
}): ContainerHealth | undefined {
  const { Status: status } = seen
  if (status !== 'starting' && status !== 'healthy' && status !== 'unhealthy') return undefined
  const last = seen.Log?.at(-1)
  return {
    status,
    failingStreak: seen.FailingStreak,
    last: last === undefined ? undefined : { exitCode: last.ExitCode, output: last.Output },
  }
}

const ns = z
  .number()
  .optional()
  // Zero: the engine's default.
  .transform(value => (value === undefined || value === 0 ? undefined : value / 1e6))

const imageHealth: z.ZodType<ImageHealth> = z
  .object({
    Healthcheck: z
      .object({
        Test: z.array(z.string()).nullish(),
        Interval: ns,
        Timeout: ns,
        StartPeriod: ns,
        Retries: z.int().optional(),
      })
      .nullish(),
    ExposedPorts: z.record(z.string(), z.unknown()).nullish(),
  })
  .transform(seen => ({
    healthcheck: seen.Healthcheck == null ? undefined : healthcheck(seen.Healthcheck),
    exposedPorts: Object.keys(seen.ExposedPorts ?? {})
      .filter(port => !port.includes('/') || port.endsWith('/tcp'))
      .map(port => Number.parseInt(port, 10))
      .sort((a, b) => a - b),
  }))

export const image: z.ZodType<{
  readonly id: string
  readonly repoDigests: readonly string[]
  readonly health: ImageHealth
}> = z
  .object({ Id: z.string(), RepoDigests: z.array(z.string()).nullish(), Config: imageHealth.nullish() })
  .transform(seen => ({
    id: seen.Id,
    repoDigests: seen.RepoDigests ?? [],
    health: seen.Config ?? { healthcheck: undefined, exposedPorts: [] },
  }))

function healthcheck(seen: {
  readonly Test?: readonly string[] | null | undefined
  readonly Interval?: number | undefined
  readonly Timeout?: number | undefined
  readonly StartPeriod?: number | undefined
  readonly Retries?: number | undefined
}): HealthcheckSpec | undefined {
  const test = seen.Test ?? []
  if (test.length === 0 || test[0] === 'NONE') return undefined
  return {
    test,
    intervalMs: seen.Interval,
    timeoutMs: seen.Timeout,
    startPeriodMs: seen.StartPeriod,
    retries: seen.Retries === 0 ? undefined : seen.Retries,
  }
}

export const created = z.object({ Id: containerId })
export const execCreated = z.object({ Id: z.string().regex(/^[0-9a-f]+$/) })
export const execState = z.object({
  Running: z.boolean(),
  ExitCode: z.int().nullable(),
  Pid: z.int().optional(),
})
export const distribution = z.object({ Descriptor: z.object({ digest: z.string() }) })

/** One line of a pull. */
export const pullLine = z.object({
  status: z.string().optional(),
  id: z.string().optional(),
  progressDetail: z.object({ current: z.number().optional(), total: z.number().optional() }).optional(),
  error: z.string().optional(),
  errorDetail: z.object({ message: z.string().optional() }).optional(),
})

/** One event of a container. Newer engines have left out `id` and `status`. */
export const event = z.object({ Action: z.string(), Actor: z.object({ ID: containerId }) })
