/**
 * What people ask for. The same object in files, in the API and in the store; parsing it fills in the defaults and turns
 * sizes and times into numbers. A field that Boxcar knows but does not do yet is refused, never ignored.
 */
import { z } from 'zod'
import { serviceShortName } from './ids.ts'
import { cpus, duration, memory } from './units.ts'

/** A field that has a meaning and no implementation yet. */
const notYet = z.never({ error: 'is not supported yet; leave it out' }).optional()

/** Text in a given form. What is longer than `max` characters is refused before the pattern reads it. */
const form = (max: number, pattern: RegExp, error?: string) =>
  z.string().max(max, { abort: true }).regex(pattern, { error })

/** A map of at most `max` entries. */
const mapOf = <Key extends z.core.$ZodRecordKey, Value extends z.ZodType>(
  key: Key,
  value: Value,
  max: number,
) =>
  z
    .record(key, value)
    .refine(map => Object.keys(map).length <= max, {
      error: `must have at most ${max} keys`,
      params: { code: 'too_many' },
    })
    .meta({ maxProperties: max })
    .readonly()

const portName = z.string().regex(/^[a-z](?:[-a-z0-9]{0,13}[a-z0-9])?$/, {
  error: 'a port name has lower-case letters, digits and hyphens, at most 15 characters',
})
const portNumber = z
  .int({ error: 'must be a whole number from 1 to 65535' })
  .min(1, { error: 'must be from 1 to 65535' })
  .max(65535, { error: 'must be from 1 to 65535' })
const text = (max: number) =>
  z
    .string()
    .max(max)
    .refine(s => !s.includes('\0'), { error: 'must not contain a NUL character' })
const wordList = z.array(text(32_768)).max(256)
const words = wordList.readonly()

/** registry/path:tag or …@sha256:digest, as Docker's reference grammar has it. */
const image = form(
  512,
  /^(?:(?:[a-zA-Z0-9](?:[-a-zA-Z0-9.]*[a-zA-Z0-9])?)(?::\d{1,5})?\/)?[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*)*(?::[\w][\w.-]{0,127})?(?:@sha256:[a-f0-9]{64})?$/,
  "must be an image reference such as 'registry.example/shop:1.4.2' or 'shop@sha256:…'",
)

const envName = z
  .string()
  .regex(/^[A-Za-z_][A-Za-z0-9_.-]{0,255}$/, { error: 'a variable name has letters, digits, _ . and -' })
const labelKey = z
  .string()
  .regex(/^[a-zA-Z0-9](?:[-._/a-zA-Z0-9]{0,126}[a-zA-Z0-9])?$/, {
    error: 'a label key has letters, digits and . _ / -',
  })
  .refine(key => !key.startsWith('boxcar.'), { error: "labels that start with 'boxcar.' belong to Boxcar" })

const httpPath = form(
  1024,
  /^\/[\x21\x24-\x7e]*$/,
  'must be a path that starts with / and has no spaces, quotes or control characters',
).refine(path => !path.startsWith('//'), { error: 'must not start with //' })

const probeFields = {
  http: httpPath.optional(),
  headers: mapOf(z.string().regex(/^[A-Za-z0-9-]{1,64}$/), form(1024, /^[\t\x20-\x7e]*$/), 32).optional(),
  /** Statuses that count as healthy; left out: 200 to 399. */
  status: z.array(z.int().min(100).max(599)).max(16).readonly().optional(),
  tcp: z.literal(true).optional(),
  exec: wordList.min(1, { error: 'needs at least one word, the program to run' }).readonly().optional(),
  docker: z.literal(true).optional(),
  /** Which port is asked; left out: the first one. */
  port: portName.optional(),
  timeout: duration('100ms', '5m').prefault('1s'),
}

const oneKind = (probe: { http?: unknown; tcp?: unknown; exec?: unknown; docker?: unknown }) =>
  [probe.http, probe.tcp, probe.exec, probe.docker].filter(kind => kind !== undefined).length === 1
const oneKindMessage = { error: 'needs exactly one of http, tcp, exec, docker' }

const startupProbe = z
  .strictObject({
    ...probeFields,
    every: duration('100ms', '1h').prefault('1s'),
    failures: z.int().min(1).max(10_000).default(60),
  })
  .refine(oneKind, oneKindMessage)
const readinessProbe = z
  .strictObject({
    ...probeFields,
    every: duration('100ms', '1h').prefault('2s'),
    failures: z.int().min(1).max(1000).default(2),
  })
  .refine(oneKind, oneKindMessage)
const livenessProbe = z
  .strictObject({
    ...probeFields,
    every: duration('100ms', '1h').prefault('5s'),
    failures: z.int().min(1).max(1000).default(3),
  })
  .refine(oneKind, oneKindMessage)

/** A health probe; `every` and `timeout` in milliseconds. */
export type Probe = z.output<typeof readinessProbe>

const signal = z.enum(['SIGTERM', 'SIGINT', 'SIGQUIT', 'SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGKILL'])

/** What changes the container, and so makes a generation. Everything else takes effect in place. */
const templateFields = {
  image,
  command: words.optional(),
  entrypoint: words.optional(),
  user: form(128, /^[\w.-]+(?::[\w.-]+)?$/, "must be 'user' or 'user:group'").optional(),
  workdir: form(4096, /^\//, 'must be an absolute path').optional(),
  env: mapOf(
    envName,
    z
      .union([text(131_072), z.number(), z.boolean()], { error: 'must be text, a number or a boolean' })
      // 12345678901234567890 was read as …000 already: what is written is gone.
      .refine(value => !Number.isInteger(value) || Number.isSafeInteger(value), {
        error: 'has more digits than a number keeps; quote it',
      })
      .transform(String),
    1000,
  ).default({}),
  labels: mapOf(labelKey, text(4096), 256).default({}),
  stop: z
    .strictObject({ signal: signal.default('SIGTERM'), grace: duration('0s', '1h').prefault('10s') })
    .prefault({}),
  init: z.boolean().default(false),
  readOnly: z.boolean().default(false),
  tmpfs: z
    .array(
      form(4096, /^(?:\/[\w.-]+)+\/?$/, 'must be an absolute path below /').refine(
        path => !hasDotSegment(path) && !/^\/(?:proc|sys)(?:\/|$)/.test(path),
        { error: 'must not contain . or .. segments, and not lie in /proc or /sys' },
      ),
    )
    .max(32)
    .readonly()
    .default([]),
  shmSize: memory('1MiB', '64GiB').optional(),
  extraHosts: mapOf(
    z.string().regex(/^[a-zA-Z0-9][-a-zA-Z0-9.]{0,252}$/),
    z.union([z.ipv4(), z.ipv6()]),
    256,
  ).default({}),
  capabilities: z
    .strictObject({
      drop: z
        .array(z.string().regex(/^(?:ALL|[A-Z_]{2,40})$/))
        .max(64)
        .readonly()
        .default([]),
      add: notYet,
    })
    .prefault({}),
  ulimits: z
    .partialRecord(
      z.enum(['nofile', 'nproc', 'core', 'memlock', 'stack', 'fsize']),
      z.strictObject({ soft: z.int().min(-1), hard: z.int().min(-1) }),
    )
    .readonly()
    .optional(),
  sysctls: notYet,
  devices: notYet,
  logging: notYet,
  volumes: notYet,
  exclusive: notYet,
  resources: z
    .strictObject({
      reservations: z
        .strictObject({
          cpus: cpus.optional(),
          memory: memory('4MiB', '64TiB').optional(),
          gpus: z.literal(0, { error: 'GPUs are not supported yet; leave it out' }).optional(),
        })
        .prefault({}),
      limits: z
        .strictObject({
          cpus: cpus.optional(),
          memory: memory('6MiB', '64TiB').optional(),
          pids: z.int().min(1).max(4_194_304).default(4096),
        })
        .prefault({}),
    })
    .prefault({}),
  ports: z
    .array(z.strictObject({ name: portName, container: portNumber, hostPort: portNumber.optional() }))
    .max(64)
    .readonly()
    .default([]),
  health: z
    .strictObject({
      startup: startupProbe.optional(),
      readiness: readinessProbe.optional(),
      liveness: livenessProbe.optional(),
    })
    .prefault({}),
}

const hasDotSegment = (path: string) => /(?:^|\/)\.{1,2}(?:\/|$)/.test(path)

const hostnamePattern =
  /^(?=.{1,253}$)[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)*$/

const httpRoute = z.strictObject({
  port: portName,
  listen: portNumber,
  protocol: z.literal('http').default('http'),
  hostnames: z
    .array(
      z.string().regex(hostnamePattern, { error: 'must be a lower-case host name such as shop.example' }),
    )
    .max(64)
    .readonly()
    .default([]),
  path: form(
    512,
    // A slash ends each segment, so that there is one way to read a text and a near miss is found out at once.
    /^\/(?:[A-Za-z0-9._~-]+(?:\/[A-Za-z0-9._~-]+)*\/?)?$/,
    'must be a plain path such as / or /shop',
  )
    .refine(path => !hasDotSegment(path), { error: 'must not contain . or .. segments' })
    .default('/'),
  expose: z.enum(['public', 'private']).default('public'),
})
const tcpRoute = z.strictObject({
  port: portName,
  listen: portNumber,
  protocol: z.literal('tcp'),
  expose: z.enum(['public', 'private']).default('private'),
})

/** One label expression: `zone in (a, b)`, `disk = ssd`, `disk != hdd`, `gpu`, `!gpu`. */
const whereExpression = form(
  1024,
  /^\s*(?:(?:!\s*)?[\w./-]+|[\w./-]+\s*(?:=|!=)\s*[\w./-]+|[\w./-]+\s+(?:not\s+)?in\s*\(\s*[\w./-]+(?:\s*,\s*[\w./-]+)*\s*\))\s*$/,
  "must be one of 'key', '!key', 'key = value', 'key != value', 'key in (a, b)', 'key not in (a, b)'",
)

const serviceFields = {
  name: serviceShortName,
  mode: z.literal('replicated', { error: "only 'replicated' is supported yet" }).default('replicated'),
  /** Left out: 1 at first, later what it was scaled to. */
  replicas: z
    .int({ error: 'must be a whole number from 0 to 10000' })
    .min(0, { error: 'must be from 0 to 10000' })
    .max(10_000, { error: 'must be from 0 to 10000' })
    .optional(),
  ...templateFields,
  routes: z
    .array(z.discriminatedUnion('protocol', [httpRoute.extend({ protocol: z.literal('http') }), tcpRoute]))
    .max(64)
    .readonly()
    .default([]),
  placement: z
    .strictObject({
      strategy: z.enum(['spread', 'pack']).default('spread'),
      where: z.array(whereExpression).max(32).readonly().default([]),
      maxPerHost: z.int().min(1).max(10_000).optional(),
      spreadBy: notYet,
      near: notYet,
      apart: notYet,
      tolerate: notYet,
      priority: z.literal(0, { error: 'priorities are not supported yet; leave it out' }).optional(),
    })
    .prefault({}),
  restart: z
    .strictObject({
      policy: z.literal('always', { error: "only 'always' is supported yet" }).default('always'),
      backoff: z
        .strictObject({
          first: duration('0s', '1h').prefault('0s'),
          // biome-ignore lint/suspicious/noThenProperty: the spec's own word; its value is never a function
          then: duration('100ms', '1h').prefault('1s'),
          cap: duration('1s', '24h').prefault('1m'),
          resetAfter: duration('1s', '24h').prefault('5m'),
        })
        .prefault({}),
    })
    .prefault({}),
  rollout: z
    .strictObject({
      strategy: z
        .enum(['auto', 'blue-green'], { error: "only 'auto' and 'blue-green' are supported yet" })
        .default('auto'),
      promote: z.literal('auto', { error: "only 'auto' is supported yet" }).default('auto'),
      progressDeadline: duration('1s', '24h').prefault('5m'),
      drain: duration('0s', '1h').prefault('30s'),
      keepWarm: duration('0s', '24h').prefault('10m'),
      verify: notYet,
      preDeploy: notYet,
      steps: notYet,
      preview: notYet,
      sticky: notYet,
      surge: notYet,
      minAvailable: notYet,
    })
    .prefault({}),
  keepGenerations: z.int().min(1).max(100).default(20),
}

export const template = z.strictObject(templateFields)
/** A generation's content with defaults filled in; sizes in MiB, times in milliseconds, cores in thousandths. */
export type Template = z.output<typeof template>
/** The same as it is written and stored. */
export type TemplateText = z.input<typeof template>

/** `protocol: http` may be left out of a route; the union needs it said. */
const withProtocol = z.preprocess(
  value => {
    if (!isObject(value) || !Array.isArray(value.routes)) return value
    const routes = value.routes.map((r: unknown) =>
      isObject(r) && r.protocol === undefined ? { ...r, protocol: 'http' } : r,
    )
    return { ...value, routes }
  },
  z.strictObject(serviceFields).superRefine(crossChecks, { when: ({ value }) => isObject(value) }),
)

export const serviceSpec = withProtocol
/** A service as a request has it, for descriptions: its address names it, and `protocol: http` may be left out. */
export const serviceSpecAsSent = z.strictObject({
  ...serviceFields,
  name: serviceShortName.optional(),
  routes: z
    .array(z.union([httpRoute, tcpRoute]))
    .max(64)
    .readonly()
    .default([]),
})

/** A service with defaults filled in; sizes in MiB, times in milliseconds, cores in thousandths. */
export type ServiceSpec = z.output<typeof serviceSpec>
/** The same as people write it and as it is stored. */
export type ServiceSpecText = z.input<z.ZodObject<typeof serviceFields>>

/** The part of a spec, as written, that makes a generation. */
export function templateText(spec: Readonly<Record<string, unknown>>): TemplateText {
  const part: Record<string, unknown> = {}
  for (const key of Object.keys(templateFields).sort()) if (spec[key] !== undefined) part[key] = spec[key]
  return part as TemplateText
}

/** Two templates with the same print make the same container; keys are ordered and defaults filled in. */
export function fingerprint(text: TemplateText): string {
  return stable(template.parse(text))
}

/** Whether two templates make the same container, were they given the same image. */
export const isSameButForImage = (a: Template, b: Template): boolean =>
  stable({ ...a, image: '' }) === stable({ ...b, image: '' })

function stable(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(stable).join(',')}]`
  if (!isObject(value)) return JSON.stringify(value) ?? 'null'
  const keys = Object.keys(value)
    .filter(key => value[key] !== undefined)
    .sort()
  return `{${keys.map(key => `${JSON.stringify(key)}:${stable(value[key])}`).join(',')}}`
}

/** What fields say of each other. A field with a fault of its own is left out; the others are still compared. */
function crossChecks(spec: z.output<z.ZodObject<typeof serviceFields>>, ctx: z.RefinementCtx): void {
  const wrong = new Set(ctx.issues.map(issue => issue.path?.[0]))
  const isRead = (...fields: (keyof typeof serviceFields)[]) => fields.every(field => !wrong.has(field))
  const fault = (path: (string | number)[], message: string) =>
    ctx.addIssue({ code: 'custom', path, message, params: { code: 'conflict_in_spec' } })
  if (isRead('ports')) portsAgree(spec, fault)
  if (isRead('ports', 'routes')) routesAgree(spec, fault)
  if (isRead('ports', 'health')) probesAgree(spec, fault)
  if (isRead('resources')) resourcesAgree(spec, fault)
  if (isRead('ulimits')) ulimitsAgree(spec, fault)
  if (isRead('restart')) backoffAgrees(spec, fault)
}

type Parsed = z.output<z.ZodObject<typeof serviceFields>>
type Fault = (path: (string | number)[], message: string) => void

function portsAgree({ ports }: Parsed, fault: Fault): void {
  const names = new Set<string>()
  const numbers = new Set<number>()
  ports.forEach((port, i) => {
    if (names.has(port.name)) fault(['ports', i, 'name'], `port name '${port.name}' is given twice`)
    if (numbers.has(port.container))
      fault(['ports', i, 'container'], `container port ${port.container} is given twice`)
    names.add(port.name)
    numbers.add(port.container)
    const hostTwins = ports.filter(other => other.hostPort === port.hostPort)
    if (port.hostPort !== undefined && hostTwins.length > 1)
      fault(['ports', i, 'hostPort'], `host port ${port.hostPort} is given twice`)
  })
}

const knownPorts = (ports: Parsed['ports']) =>
  ports.length === 0 ? 'the spec has no ports' : `ports are: ${ports.map(port => port.name).join(', ')}`

function routesAgree({ ports, routes }: Parsed, fault: Fault): void {
  routes.forEach((route, i) => {
    if (!ports.some(port => port.name === route.port))
      fault(['routes', i, 'port'], `no port is named '${route.port}'; ${knownPorts(ports)}`)
  })
  ports.forEach(({ hostPort }, i) => {
    const listening = routes.findIndex(route => route.listen === hostPort)
    if (listening >= 0)
      fault(
        ['ports', i, 'hostPort'],
        `must not be ${hostPort}, where /routes/${listening}/listen has the proxy of every host listen`,
      )
  })
}

function probesAgree({ ports, health }: Parsed, fault: Fault): void {
  for (const kind of ['startup', 'readiness', 'liveness'] as const) {
    const probe = health[kind]
    if (probe === undefined) continue
    if (probe.port !== undefined && !ports.some(port => port.name === probe.port))
      fault(['health', kind, 'port'], `no port is named '${probe.port}'; ${knownPorts(ports)}`)
    if ((probe.http !== undefined || probe.tcp !== undefined) && ports.length === 0)
      fault(['health', kind], 'an http or tcp probe needs a port in /ports')
  }
}

function resourcesAgree({ resources: { reservations, limits } }: Parsed, fault: Fault): void {
  if (reservations.memory !== undefined && limits.memory !== undefined && reservations.memory > limits.memory)
    fault(['resources', 'reservations', 'memory'], 'must not be above /resources/limits/memory')
  if (reservations.cpus !== undefined && limits.cpus !== undefined && reservations.cpus > limits.cpus)
    fault(['resources', 'reservations', 'cpus'], 'must not be above /resources/limits/cpus')
}

function ulimitsAgree({ ulimits = {} }: Parsed, fault: Fault): void {
  const height = (limit: number) => (limit === -1 ? Number.POSITIVE_INFINITY : limit)
  for (const [name, { soft, hard }] of Object.entries(ulimits))
    if (height(soft) > height(hard))
      fault(['ulimits', name, 'soft'], `must not be above /ulimits/${name}/hard (-1 is without limit)`)
}

function backoffAgrees({ restart: { backoff } }: Parsed, fault: Fault): void {
  for (const part of ['first', 'then'] as const)
    if (backoff[part] > backoff.cap)
      fault(['restart', 'backoff', part], 'must not be above /restart/backoff/cap')
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** What placing counts where a spec reserves nothing: modest, and the API warns. */
export const defaultReservation = { cpuMilli: 100, memoryMiB: 64 } as const

export function reservationOf(part: Pick<Template, 'resources'>): {
  readonly cpuMilli: number
  readonly memoryMiB: number
} {
  const { cpus: cpuMilli, memory: memoryMiB } = part.resources.reservations
  return {
    cpuMilli: cpuMilli ?? defaultReservation.cpuMilli,
    memoryMiB: memoryMiB ?? defaultReservation.memoryMiB,
  }
}
