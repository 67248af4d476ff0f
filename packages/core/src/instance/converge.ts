/**
 * What a host does next, instance by instance: what it was told against what runs there. It decides and never acts; the
 * agent's loop performs the actions and calls again.
 *
 * At most one action an instance, and none for one that still has an action under way, so a slow container holds up nobody
 * but itself. The absence of orders is never an order: what nobody asked for is ended only while the orders are known to be
 * complete and fresh, and only after it went unasked for a while.
 */
import { attempt } from '../model/attempt.ts'
import { after, type Instant } from '../model/clock.ts'
import { byId, type InstanceId } from '../model/ids.ts'

/** What the leader wants of one instance here, as far as deciding needs it. */
export interface Order {
  readonly instance: InstanceId
  readonly uid: string
  readonly desired: 'run' | 'stop'
  /** Which placement this is: its create revision. */
  readonly placement: string
  /** What makes the container besides its generation: image and host ports, as one text. */
  readonly print: string
}

/** One container that carries our labels. */
export interface SeenContainer {
  readonly id: string
  readonly state: 'created' | 'running' | 'ended'
  /** Nothing where the label names no instance. */
  readonly instance: InstanceId | undefined
  readonly uid: string
  readonly print: string
  readonly attempt: number
  /** What its generation gives it to end, milliseconds. */
  readonly graceMs: number
}

/** What the agent remembers of one instance. */
export interface Memory {
  readonly doing: Action['kind'] | undefined
  /** No action before this: the engine or the store failed the last one, of this kind. */
  readonly retryAt: Instant | undefined
  readonly hindered: Action['kind'] | undefined
  /** No start before this: back-off. */
  readonly notBefore: Instant | undefined
  /** Starts so far on this host. */
  readonly attempt: number
  /** The container that is probed. */
  readonly watched: string | undefined
  /** Why the watched container's run is to be ended, where its probes say so. */
  readonly failedProbe: string | undefined
  /** The last container whose end was looked into. */
  readonly examined: string | undefined
  /** The placement whose stop was confirmed. */
  readonly stopped: string | undefined
}

export interface Look {
  readonly orders: ReadonlyMap<InstanceId, Order>
  /** What the leader wants of these stands in words that are not understood: nothing is begun with them, nor ended. */
  readonly unreadable: ReadonlySet<InstanceId>
  /** Instances that the agent itself failed at a moment ago: nothing is begun with them until they are tried again. */
  readonly skipped: ReadonlySet<InstanceId>
  /** Nothing where the engine was not heard yet, or is away. */
  readonly containers: readonly SeenContainer[] | undefined
  readonly memories: ReadonlyMap<InstanceId, Memory>
  /** Containers that something is being done to, besides what the memories say. */
  readonly held: ReadonlySet<string>
  /** Whether the orders are all there are, of the right store, and heard just now. */
  readonly ordersAre: 'fresh' | 'saved'
  /** Since when containers go without an order, as `unasked` counts it. */
  readonly unaskedSince: ReadonlyMap<string, Instant>
}

export type Action =
  /** Watch a container that an earlier run of the agent started. */
  | { readonly kind: 'adopt'; readonly instance: InstanceId; readonly container: string }
  /** Start it, under this attempt's name; the image is pulled where it is missing. */
  | { readonly kind: 'start'; readonly instance: InstanceId; readonly attempt: number }
  /** Read how a run ended, before the next one. */
  | { readonly kind: 'examine'; readonly instance: InstanceId; readonly container: string }
  /** End a run that its probes gave up; what ended is started again. */
  | {
      readonly kind: 'end'
      readonly instance: InstanceId
      readonly container: string
      readonly because: string
    }
  /** As ordered: stop and remove all of its containers. */
  | { readonly kind: 'stop'; readonly instance: InstanceId; readonly containers: readonly string[] }
  /** Give up what is under way, since the instance is not wanted any more. */
  | { readonly kind: 'interrupt'; readonly instance: InstanceId }
  /** Tell that nothing of it is left. */
  | { readonly kind: 'confirm'; readonly instance: InstanceId }
  /** Stop and remove one container that must not be. */
  | {
      readonly kind: 'discard'
      readonly instance: InstanceId | undefined
      readonly container: string
      readonly because: Unwanted
    }
  /** Remove ended containers that nobody needs as evidence any more. */
  | { readonly kind: 'tidy'; readonly instance: InstanceId; readonly containers: readonly string[] }
  /** The leader took the placement away and nothing is left here. */
  | { readonly kind: 'forget'; readonly instance: InstanceId }

export type Unwanted =
  /** No placement asks for it. */
  | 'unasked'
  /** Of another service that had this name. */
  | 'other-service'
  /** Made for an earlier placement with other ports or another image. */
  | 'superseded'
  /** A second one of the same instance. */
  | 'surplus'

export interface Decision {
  readonly actions: readonly Action[]
  /** What was thrown for single instances; nothing was decided for these. */
  readonly failures: readonly Failure[]
  /** When time alone will change the decision. */
  readonly lookAgainAt: Instant | undefined
}

export interface Failure {
  readonly instance: InstanceId
  readonly error: unknown
}

/** How long a container goes unasked for before it is ended. */
export const unaskedMs = 10_000

export function converge(look: Look, now: Instant): Decision {
  const draft = new Draft(look, now)
  const failures: Failure[] = []
  for (const instance of draft.instances()) {
    const decided = attempt(() => decideFor(instance, draft))
    if ('error' in decided) failures.push({ instance, error: decided.error })
  }
  endUnasked(draft)
  return { actions: draft.actions, failures, lookAgainAt: draft.lookAgainAt }
}

/** Since when each container has had no order; only counted while orders are fresh, and from the start after every gap. */
export function countUnasked(
  before: ReadonlyMap<string, Instant>,
  look: Pick<Look, 'orders' | 'unreadable' | 'containers' | 'ordersAre'>,
  now: Instant,
): ReadonlyMap<string, Instant> {
  const counted = new Map<string, Instant>()
  if (look.ordersAre !== 'fresh') return counted
  for (const container of look.containers ?? []) {
    if (container.instance !== undefined && isAsked(container.instance, look)) continue
    counted.set(container.id, before.get(container.id) ?? now)
  }
  return counted
}

const isAsked = (instance: InstanceId, look: Pick<Look, 'orders' | 'unreadable'>): boolean =>
  look.orders.has(instance) || look.unreadable.has(instance)

function decideFor(instance: InstanceId, draft: Draft): void {
  const order = draft.look.orders.get(instance)
  const memory = draft.look.memories.get(instance) ?? nothingRemembered
  if (memory.doing !== undefined) {
    // Also where it is skipped: a start that is not wanted any more would still be begun.
    if (isWanted(instance, draft.look) || !isInterruptible(memory.doing)) return
    return draft.act({ kind: 'interrupt', instance })
  }
  if (draft.look.skipped.has(instance)) return
  // A stop waits for nothing but the last try to stop.
  const waits = order?.desired !== 'stop' || memory.hindered === 'stop'
  if (waits && !draft.isDue(memory.retryAt)) return
  if (order === undefined) return forgetIfGone(instance, draft)
  if (draft.look.containers === undefined) return
  if (order.desired === 'stop') return stop(order, memory, draft)
  run(order, memory, draft)
}

/** What is asked for in words that are not understood goes on as it was told before. */
function isWanted(instance: InstanceId, look: Look): boolean {
  const order = look.orders.get(instance)
  return order === undefined ? look.unreadable.has(instance) : order.desired === 'run'
}

/** Whether an action is of no use once the instance is not wanted; what ends a container would only begin anew. */
export const isInterruptible = (doing: Action['kind']): boolean =>
  doing !== 'stop' && doing !== 'end' && doing !== 'discard'

function stop(order: Order, memory: Memory, draft: Draft): void {
  const containers = draft.containersOf(order.instance).map(container => container.id)
  if (containers.length > 0) draft.act({ kind: 'stop', instance: order.instance, containers })
  else if (memory.stopped !== order.placement) draft.act({ kind: 'confirm', instance: order.instance })
}

function run(order: Order, memory: Memory, draft: Draft): void {
  const { instance } = order
  const all = draft.containersOf(instance)
  const [ours, others] = split(
    all,
    container => container.uid === order.uid && container.print === order.print,
  )
  // One place, one container: what stands in it for something else goes first.
  const other = others.find(container => container.state !== 'ended')
  if (other !== undefined) {
    const because = other.uid === order.uid ? 'superseded' : 'other-service'
    return draft.act({ kind: 'discard', instance, container: other.id, because })
  }
  const running = ours.filter(container => container.state === 'running')
  const newest = running.at(-1)
  const surplus = running.find(container => container !== newest)
  if (surplus !== undefined)
    return draft.act({ kind: 'discard', instance, container: surplus.id, because: 'surplus' })
  if (newest !== undefined) return keepRunning(instance, newest, all, memory, draft)
  startAgain(instance, ours, all, memory, draft)
}

function keepRunning(
  instance: InstanceId,
  running: SeenContainer,
  all: readonly SeenContainer[],
  memory: Memory,
  draft: Draft,
): void {
  if (memory.watched !== running.id) return draft.act({ kind: 'adopt', instance, container: running.id })
  if (memory.failedProbe !== undefined)
    return draft.act({ kind: 'end', instance, container: running.id, because: memory.failedProbe })
  tidy(instance, all, memory, draft)
}

function startAgain(
  instance: InstanceId,
  ours: readonly SeenContainer[],
  all: readonly SeenContainer[],
  memory: Memory,
  draft: Draft,
): void {
  const last = ours.at(-1)
  const ended = last?.state === 'ended' ? last.id : last === undefined ? memory.watched : undefined
  // What was watched and is gone without a trace ended too: somebody removed it.
  if (ended !== undefined && ended !== memory.examined)
    return draft.act({ kind: 'examine', instance, container: ended })
  if (!draft.isDue(memory.notBefore)) return tidy(instance, all, memory, draft)
  // A container that was created and never started is one whose start was cut short: it is found again by its name.
  const resumed = last?.state === 'created' && last.attempt >= memory.attempt ? last.attempt : undefined
  const attempt = resumed ?? Math.max(memory.attempt, ...all.map(container => container.attempt), 0) + 1
  draft.act({ kind: 'start', instance, attempt })
}

/** Ended containers but the last one, whose log people may want to read. */
function tidy(instance: InstanceId, all: readonly SeenContainer[], memory: Memory, draft: Draft): void {
  const ended = all.filter(container => container.state !== 'running')
  const kept = ended.findLast(container => container.id === memory.examined)
  const containers = ended.filter(container => container !== kept).map(container => container.id)
  if (containers.length > 0) draft.act({ kind: 'tidy', instance, containers })
}

function forgetIfGone(instance: InstanceId, draft: Draft): void {
  if (draft.look.ordersAre !== 'fresh' || draft.look.containers === undefined) return
  if (draft.look.unreadable.has(instance)) return
  if (draft.containersOf(instance).length === 0) draft.act({ kind: 'forget', instance })
}

function endUnasked(draft: Draft): void {
  const { look, now } = draft
  if (look.ordersAre !== 'fresh') return
  const ending = new Set<InstanceId>()
  for (const container of look.containers ?? []) {
    const since = look.unaskedSince.get(container.id)
    if (since === undefined || look.held.has(container.id)) continue
    const { instance } = container
    if (instance !== undefined) {
      if (look.skipped.has(instance) || ending.has(instance) || isAsked(instance, look)) continue
      const memory = look.memories.get(instance) ?? nothingRemembered
      if (memory.doing !== undefined) continue
      // It waits for nothing but the last try to end a container.
      const isEnding = memory.hindered !== undefined && !isInterruptible(memory.hindered)
      if (isEnding && !draft.isDue(memory.retryAt)) continue
    }
    const at = after(since, unaskedMs)
    if (at > now) {
      draft.lookAt(at)
      continue
    }
    draft.act({ kind: 'discard', instance, container: container.id, because: 'unasked' })
    if (instance !== undefined) ending.add(instance)
  }
}

export const nothingRemembered: Memory = {
  doing: undefined,
  retryAt: undefined,
  hindered: undefined,
  notBefore: undefined,
  attempt: 0,
  watched: undefined,
  failedProbe: undefined,
  examined: undefined,
  stopped: undefined,
}

class Draft {
  readonly actions: Action[] = []
  readonly look: Look
  readonly now: Instant
  lookAgainAt: Instant | undefined
  readonly #byInstance = new Map<InstanceId, SeenContainer[]>()

  constructor(look: Look, now: Instant) {
    this.look = look
    this.now = now
    for (const container of look.containers ?? []) {
      if (container.instance === undefined) continue
      const list = this.#byInstance.get(container.instance)
      if (list === undefined) this.#byInstance.set(container.instance, [container])
      else list.push(container)
    }
    for (const list of this.#byInstance.values())
      list.sort((a, b) => a.attempt - b.attempt || byId(a.id, b.id))
  }

  /** All that are ordered or remembered, in id order. What only runs is looked at by endUnasked. */
  instances(): readonly InstanceId[] {
    return [...new Set([...this.look.orders.keys(), ...this.look.memories.keys()])].sort(byId)
  }

  /** By attempt, the newest last. */
  containersOf(instance: InstanceId): readonly SeenContainer[] {
    return this.#byInstance.get(instance) ?? []
  }

  act(action: Action): void {
    this.actions.push(action)
  }

  /** Whether a time has come; if not, the loop looks again then. */
  isDue(at: Instant | undefined): boolean {
    if (at === undefined || at <= this.now) return true
    this.lookAt(at)
    return false
  }

  lookAt(at: Instant): void {
    if (this.lookAgainAt === undefined || at < this.lookAgainAt) this.lookAgainAt = at
  }
}

function split<T>(all: readonly T[], test: (one: T) => boolean): [T[], T[]] {
  const [yes, no]: [T[], T[]] = [[], []]
  for (const one of all) (test(one) ? yes : no).push(one)
  return [yes, no]
}
