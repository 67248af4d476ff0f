/**
 * Performing one decided action for one instance. Each may fail on its own and holds up nobody else. What occupies the engine
 * waits for its turn in the host's operation queue, and is dropped there once the action is given up.
 */
import { type Clock, elapsed } from '@boxcar/core/model/clock'
import { type InstanceId, placeOf, type ServiceName } from '@boxcar/core/model/ids'
import type { Template } from '@boxcar/core/model/spec'
import type { Log } from '@boxcar/store/log'
import { containerSpec, type HostFacts } from './container-spec.ts'
import type { Containers } from './containers.ts'
import type { ContainerDetail, ContainerId, ContainerSpec, CreateOutcome, Engine } from './engine/engine.ts'
import { orAborted } from './engine/shared-look.ts'
import type { Instance } from './instance.ts'
import type { InternalErrors } from './internal-errors.ts'
import type { Operations } from './operations.ts'
import { type Asker, ask } from './probe/ask.ts'
import { needsImage, planProbes } from './probe/plan.ts'
import { Watch } from './probe/watch.ts'
import type { PlacedOrder } from './state/orders.ts'
import type { RoutedPorts } from './state/routed-ports.ts'
import type { Templates } from './state/templates.ts'
import type { Tell } from './tell.ts'

export interface WorkContext {
  readonly host: HostFacts
  readonly engine: Engine
  readonly operations: Operations
  readonly asker: Asker
  readonly clock: Clock
  readonly log: Log
  readonly errors: InternalErrors
  readonly containers: Containers
  readonly templates: Templates
  readonly tell: Tell
  readonly routedPorts: Pick<RoutedPorts, 'of' | 'isKnown'>
  /** Resolves once the stored reports were read, or after a while: what is found running may be known there. */
  readonly storedReports: () => Promise<void>
  /** Something changed: look again. */
  readonly changed: () => void
}

/**
 * Starts the attempt: template, image, container, probes. Failures become back-off. The container is made in the same turn
 * as it is started, so that a start that is given up in the queue leaves nothing behind.
 */
export async function start(
  context: WorkContext,
  instance: Instance,
  order: PlacedOrder,
  attempt: number,
  signal: AbortSignal,
): Promise<void> {
  const { templates, operations } = context
  const hasRun = instance.watch !== undefined || instance.exit !== undefined
  instance.starting = 'starting'
  context.changed()
  const template = await templates.of(order)
  const spec = containerSpec(context.host, order, template, attempt)
  const made = { order, template, spec, attempt }
  const queued = { kind: 'start', service: order.placed.service, signal, isTypical: isStarted } as const
  instance.begins(attempt)
  let begun = await operations.run(queued, () => createAndStart(context, made, signal))
  if (begun.kind === 'image-missing') {
    const problem = await pull(context, instance, order, signal)
    if (problem !== undefined) return giveUp(context, instance, order, problem)
    begun = await operations.run(queued, () => createAndStart(context, made, signal))
  }
  if (begun.kind === 'given-up') return
  if (begun.kind !== 'started') return giveUp(context, instance, order, begun.reason)
  if (hasRun) {
    instance.restarts += 1
    context.tell({
      ...about(order),
      kind: 'instance-restarted',
      message: `${order.instance} was started again (attempt ${attempt})`,
    })
  }
  instance.notBefore = undefined
  instance.reason = undefined
  const healthcheck = await begun.healthcheck
  // It runs and is found again, by this agent or by the next one.
  if (signal.aborted) return
  beginWatch(context, instance, order, template, begun.container, 'new', healthcheck)
}

/** Watches a container that an earlier run of the agent started. */
export async function adopt(
  context: WorkContext,
  instance: Instance,
  order: PlacedOrder,
  container: ContainerId,
  signal: AbortSignal,
): Promise<void> {
  const template = await context.templates.of(order)
  if (instance.isBlank) await orAborted(context.storedReports(), signal)
  if (signal.aborted) return
  const seen = context.containers.get(container)
  instance.attempt = Math.max(instance.attempt, seen?.attempt ?? 0)
  instance.reason = undefined
  const was = instance.wasReady(container) ? 'ready' : 'new'
  const health = await imageHealthcheck(context, order, template, signal)
  if (signal.aborted) return
  beginWatch(context, instance, order, template, container, was, health)
  context.log.info({ instance: order.instance, container }, 'a running container was adopted')
}

/** Reads how a run ended, for people and for the back-off. */
export async function examine(
  context: WorkContext,
  instance: Instance,
  order: PlacedOrder,
  container: ContainerId,
  signal: AbortSignal,
): Promise<void> {
  const { engine, clock, templates } = context
  // What the spec says of back-off now matters the next time.
  void templates.refreshBackoff(order)
  const [detail, lines] = await Promise.all([
    engine.inspect(container, signal),
    lastLines(context, container),
  ])
  // The watched run may be another one, before or after.
  const watch = instance.watch?.container === container ? instance.watch : undefined
  instance.examined = container
  if (detail === undefined) {
    context.containers.removed(container)
    const ranMs = watch === undefined ? 0 : elapsed(watch.began, clock.now())
    const backoff = templates.backoffOf(order)
    instance.failed('its container was removed from outside', ranMs, backoff, clock.now())
  } else {
    const code = detail.exitCode ?? -1
    instance.exit = { code, oomKilled: detail.oomKilled, at: detail.finishedAtMs ?? clock.wall() }
    instance.lastLog = lines
    const how = detail.oomKilled ? 'it was killed for want of memory' : `it ended with exit status ${code}`
    const ended = watch?.state.ended
    const reason = ended === undefined ? how : `its ${ended.kind} probe failed: ${ended.output}`
    instance.attempt = Math.max(instance.attempt, context.containers.get(container)?.attempt ?? 0)
    instance.failed(reason, ranMsOf(detail), templates.backoffOf(order), clock.now())
  }
  instance.watch?.stop()
  context.tell({
    ...about(order),
    kind: 'instance-ended',
    level: 'warning',
    message: `${order.instance} does not run any more: ${instance.reason}`,
  })
}

/** As the engine says: this agent may have seen only a part of the run. */
function ranMsOf({ startedAtMs, finishedAtMs }: ContainerDetail): number {
  return startedAtMs === undefined || finishedAtMs === undefined ? 0 : Math.max(0, finishedAtMs - startedAtMs)
}

/** Ends a run that its probes gave up. */
export async function end(
  context: WorkContext,
  instance: Instance,
  container: ContainerId,
  because: string,
  signal: AbortSignal,
): Promise<void> {
  instance.reason = because
  const graceMs = Math.min(context.containers.get(container)?.graceMs ?? hungGraceMs, hungGraceMs)
  await stopContainer(context, container, graceMs, signal)
}

/** As ordered: all of its containers are stopped and removed. */
export async function stop(
  context: WorkContext,
  instance: Instance,
  containers: readonly ContainerId[],
  signal: AbortSignal,
): Promise<void> {
  instance.watch?.stop()
  instance.watch = undefined
  await Promise.all(containers.map(container => discard(context, container, signal)))
}

/** Stops and removes one container, within the time that its generation gives it; what never ran is only removed. */
export async function discard(
  context: WorkContext,
  container: ContainerId,
  signal: AbortSignal,
): Promise<void> {
  const seen = context.containers.get(container)
  if (seen === undefined || seen.state === 'running')
    await stopContainer(context, container, seen?.graceMs ?? hungGraceMs, signal)
  await removeContainer(context, container, signal)
}

export async function tidy(
  context: WorkContext,
  ended: readonly ContainerId[],
  signal: AbortSignal,
): Promise<void> {
  for (const container of ended) await removeContainer(context, container, signal)
}

async function stopContainer(
  { engine, operations, containers }: WorkContext,
  container: ContainerId,
  graceMs: number,
  signal: AbortSignal,
): Promise<void> {
  const service = serviceOf(containers.get(container)?.instance)
  await operations.run({ kind: 'stop', service, signal }, () => engine.stop(container, { graceMs }))
  containers.ended(container)
}

async function removeContainer(
  { engine, operations, containers }: WorkContext,
  container: ContainerId,
  signal: AbortSignal,
): Promise<void> {
  const service = serviceOf(containers.get(container)?.instance)
  await operations.run({ kind: 'remove', service, signal }, () => engine.remove(container))
  containers.removed(container)
}

const serviceOf = (instance: InstanceId | undefined): ServiceName | undefined =>
  instance && placeOf(instance).service

/** What an event about an instance says of it besides its sentence. */
export function about(order: PlacedOrder): {
  readonly project: string
  readonly service: string
  readonly instance: InstanceId
  readonly generation: number
} {
  const [project = '', service = ''] = order.placed.service.split('/')
  return { project, service, instance: order.instance, generation: order.placed.generation }
}

/** A process that its probes gave up gets no more than this, so that the next one answers soon. */
const hungGraceMs = 3000

/** What a start makes. */
interface Making {
  readonly order: PlacedOrder
  readonly template: Template
  readonly spec: ContainerSpec
  readonly attempt: number
}

type Begun =
  | {
      readonly kind: 'started'
      readonly container: ContainerId
      readonly healthcheck: Promise<'present' | 'absent'>
    }
  /** It is not wanted any more: what was created is left to whoever stops it. */
  | { readonly kind: 'given-up' }
  | { readonly kind: 'image-missing'; readonly reason: string }
  | { readonly kind: 'failed'; readonly reason: string }

const isStarted = ({ kind }: Begun): boolean => kind === 'started'

/** One turn of the operation queue. */
async function createAndStart(
  context: WorkContext,
  { order, template, spec, attempt }: Making,
  signal: AbortSignal,
): Promise<Begun> {
  const { engine, containers } = context
  // Not by the signal: a container whose creation was given up would be made all the same, and be nobody's.
  const created = readCreated(await engine.create(spec))
  if (created.kind !== 'made') return created
  const { id } = created
  containers.created({
    id,
    state: 'created',
    instance: order.instance,
    uid: order.uid,
    print: order.print,
    attempt,
    graceMs: template.stop.grace,
  })
  if (signal.aborted) return { kind: 'given-up' }
  const healthcheck = imageHealthcheck(context, order, template, signal)
  // Where the start fails, nobody asks how this went.
  healthcheck.catch(() => {})
  const since = containers.moment()
  const started = await engine.start(id)
  if (started.kind === 'started') {
    containers.started(id, since)
    return { kind: 'started', container: id, healthcheck }
  }
  await engine.remove(id)
  containers.removed(id)
  const reason = started.kind === 'gone' ? 'its container was removed before it started' : started.reason
  return { kind: 'failed', reason: `it cannot be started: ${reason}` }
}

function readCreated(
  outcome: CreateOutcome,
):
  | { readonly kind: 'made'; readonly id: ContainerId }
  | Extract<Begun, { kind: 'image-missing' | 'failed' }> {
  switch (outcome.kind) {
    case 'created':
    case 'exists':
      return { kind: 'made', id: outcome.id }
    case 'name-taken':
      return { kind: 'failed', reason: 'another container has its name' }
    case 'image-missing':
      return {
        kind: 'image-missing',
        reason: `its image is not here although it was pulled: ${outcome.reason}`,
      }
    case 'refused':
      return { kind: 'failed', reason: `the engine refuses its container: ${outcome.reason}` }
  }
}

/** Why the image cannot be had, or nothing. A pull takes no turn: those of one image are one, and the engine paces its layers. */
async function pull(
  context: WorkContext,
  instance: Instance,
  order: PlacedOrder,
  signal: AbortSignal,
): Promise<string | undefined> {
  instance.starting = 'pulling'
  context.changed()
  const pulled = await context.engine.pull(order.placed.image, { signal })
  instance.starting = 'starting'
  if (pulled.kind === 'pulled') {
    context.changed()
    return undefined
  }
  if (instance.streak === 0)
    context.tell({
      ...about(order),
      kind: 'pull-failed',
      level: 'warning',
      message: `${order.placed.image} cannot be pulled: ${pulled.reason}`,
    })
  return `its image cannot be pulled: ${pulled.reason}`
}

function giveUp(context: WorkContext, instance: Instance, order: PlacedOrder, reason: string): void {
  instance.watch?.stop()
  instance.watch = undefined
  // The spec may have changed: what it says of back-off matters the next time.
  void context.templates.refreshBackoff(order)
  instance.failed(reason, 0, context.templates.backoffOf(order), context.clock.now())
  // Shown: the report of the instance.
  context.log.warn({ instance: order.instance, reason }, 'an instance was not started')
}

/** Whether the image has a health check of its own, where that matters; asked while the container starts. */
async function imageHealthcheck(
  { engine }: WorkContext,
  order: PlacedOrder,
  template: Template,
  signal: AbortSignal,
): Promise<'present' | 'absent'> {
  if (!needsImage(template)) return 'absent'
  const image = await engine.imageHealthcheck(order.placed.image, signal)
  return image?.healthcheck === undefined ? 'absent' : 'present'
}

function beginWatch(
  context: WorkContext,
  instance: Instance,
  order: PlacedOrder,
  template: Template,
  container: ContainerId,
  was: 'new' | 'ready',
  healthcheck: 'present' | 'absent',
): void {
  const { routedPorts } = context
  const target = () => ({
    template,
    hostPorts: order.placed.ports,
    routedPort: routedPorts.of(order.placed.service),
    imageHealthcheck: healthcheck,
  })
  const planned = planProbes(target())
  const probing = {
    plan: planned.plan,
    // Afresh each time: routes come and change while it runs.
    get questions() {
      return { ...planned.questions, ...planProbes(target()).questions }
    },
  }
  const guessesPort = needsImage(template) && healthcheck === 'absent' && template.ports.length > 1
  let everReady = was === 'ready'
  const watch: Watch = new Watch({
    container,
    probing,
    was,
    clock: context.clock,
    ask: (question, signal) =>
      // The wrong port of what is ready would take it out of traffic.
      was === 'ready' && guessesPort && question.kind === 'tcp' && !routedPorts.isKnown
        ? Promise.resolve({ kind: 'undecided' })
        : ask(context.asker, container, question, signal),
    onChange: () => {
      if (!everReady && watch.state.ready) {
        everReady = true
        if (instance.attempt <= 1)
          context.tell({ ...about(order), kind: 'instance-ready', message: `${order.instance} is ready` })
      }
      context.changed()
    },
    onInternalError: (doing, error) => context.errors.note({ instance: order.instance }, doing, error),
  })
  instance.watchBy(watch)
}

/** Best effort: a log that does not come in time is not waited for. */
async function lastLines({ engine, clock }: WorkContext, container: ContainerId): Promise<readonly string[]> {
  const lines: string[] = []
  const end = new AbortController()
  const read = async () => {
    for await (const { line } of engine.logs(container, { tail: logLines, signal: end.signal }))
      lines.push(line.slice(0, logWidth))
  }
  try {
    await Promise.race([read(), clock.sleep(logMs, end.signal)])
  } catch {
    // Evidence is no reason to fail.
  } finally {
    end.abort()
  }
  return lastThatFit(lines.slice(-logLines))
}

/** The last lines, as many as fit; control characters make one longer in the store than it looks. */
function lastThatFit(lines: readonly string[]): readonly string[] {
  let bytes = 0
  let first = lines.length
  for (; first > 0; first -= 1) {
    bytes += Buffer.byteLength(JSON.stringify(lines[first - 1])) + 1
    if (bytes > logBytes) break
  }
  return lines.slice(first)
}

const logLines = 20
const logWidth = 200
/** Of all lines together, as they are stored. */
const logBytes = 4096
const logMs = 300
