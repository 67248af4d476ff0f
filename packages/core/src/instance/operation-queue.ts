/**
 * Which container operations a host's engine performs next. An engine gets slower with more operations at once, so they wait
 * in a queue of their host's until there is room; what is dropped before its turn costs nothing.
 *
 * Each kind of operation has a limit of its own: a stop or a removal never waits for a start. Within a kind services take
 * turns, and one place beyond the limit is kept for a service that has nothing under way: hundreds of waiting starts of one
 * service hardly delay the single start of another.
 */
import { after, type Instant } from '../model/clock.ts'

/** In the order in which they are given to the engine: what frees room goes first. */
export const operationKinds = ['stop', 'remove', 'start'] as const
export type OperationKind = (typeof operationKinds)[number]

export interface Operation {
  readonly id: number
  readonly kind: OperationKind
  /** Whose turn it takes. */
  readonly service: string
}

export interface WaitingOperation extends Operation {
  /** The number of the last turn given when it was queued. */
  readonly queuedAt: number
}

export interface RunningOperation extends Operation {
  readonly since: Instant
}

export interface OperationQueue {
  /** In the order in which they were queued. */
  readonly waiting: readonly WaitingOperation[]
  readonly running: readonly RunningOperation[]
  /** How many turns were given so far. */
  readonly turns: number
  /** The last turn of each service with something waiting, by kind and service. */
  readonly lastTurn: ReadonlyMap<string, number>
}

/** How many operations of each kind may occupy the engine at once, besides the one place that is kept. */
export type OperationLimits = Readonly<Record<OperationKind, number>>

export interface Next {
  readonly begun: readonly Operation[]
  /** With `begun` running. */
  readonly queue: OperationQueue
  /** When time alone makes room for what still waits. */
  readonly lookAgainAt: Instant | undefined
}

/**
 * How long an operation occupies the engine at most. A stop that takes longer waits out the grace of its process, and a
 * hundred such processes must not wait for each other; a start or a removal that takes longer hangs, and holds up no other.
 */
export const occupiesMs: Readonly<Record<OperationKind, number>> = { stop: 500, remove: 5000, start: 5000 }

export const emptyQueue: OperationQueue = { waiting: [], running: [], turns: 0, lastTurn: new Map() }

export const enqueue = (queue: OperationQueue, operation: Operation): OperationQueue => ({
  ...queue,
  waiting: [...queue.waiting, { ...operation, queuedAt: queue.turns }],
})

/** Takes out an operation that ended, or that is not wanted any more. */
export const dequeue = (queue: OperationQueue, id: number): OperationQueue => ({
  ...queue,
  waiting: queue.waiting.filter(each => each.id !== id),
  running: queue.running.filter(each => each.id !== id),
})

/** What to begin now. */
export function next(queue: OperationQueue, limits: OperationLimits, now: Instant): Next {
  const lastTurn = new Map(queue.lastTurn)
  const begun: Operation[] = []
  let { turns } = queue
  let lookAgainAt: Instant | undefined
  for (const kind of operationKinds) {
    const occupying: Occupant[] = queue.running.filter(each => each.kind === kind && occupies(each, now))
    const lines = linesOf(queue, kind)
    for (;;) {
      const line = firstInTurn(admitted(lines, occupying, limits[kind]), lastTurn)
      const operation = line?.shift()
      if (line === undefined || operation === undefined) break
      turns += 1
      lastTurn.set(lineKey(operation), turns)
      if (line.length === 0) lines.delete(lineKey(operation))
      begun.push(operation)
      occupying.push({ ...operation, since: now })
    }
    if (lines.size > 0) lookAgainAt = earliest([...occupying.map(freeAt), lookAgainAt])
  }
  return { begun, queue: afterTurns(queue, begun, { turns, lastTurn }, now), lookAgainAt }
}

type Occupant = Pick<RunningOperation, 'kind' | 'service' | 'since'>

const occupies = (occupant: Occupant, now: Instant): boolean => now < freeAt(occupant)

const freeAt = ({ kind, since }: Occupant): Instant => after(since, occupiesMs[kind])

/** What waits, by service. */
function linesOf(queue: OperationQueue, kind: OperationKind): Map<string, WaitingOperation[]> {
  const lines = new Map<string, WaitingOperation[]>()
  for (const operation of queue.waiting) {
    if (operation.kind !== kind) continue
    const line = lines.get(lineKey(operation))
    if (line === undefined) lines.set(lineKey(operation), [operation])
    else line.push(operation)
  }
  return lines
}

/** Those that there is room for: all below the limit, and at it those that have nothing under way. */
function admitted(
  lines: ReadonlyMap<string, WaitingOperation[]>,
  occupying: readonly Occupant[],
  limit: number,
): ReadonlyMap<string, WaitingOperation[]> {
  if (occupying.length < limit) return lines
  if (occupying.length > limit) return new Map()
  const busy = new Set(occupying.map(lineKey))
  return new Map([...lines].filter(([key]) => !busy.has(key)))
}

/** The service that has waited longest since its last turn; a new one queues behind those that were here before it. */
function firstInTurn(
  lines: ReadonlyMap<string, WaitingOperation[]>,
  lastTurn: ReadonlyMap<string, number>,
): WaitingOperation[] | undefined {
  let best: { readonly line: WaitingOperation[]; readonly rank: number } | undefined
  for (const [key, line] of lines) {
    const rank = rankOf(line[0]?.queuedAt ?? 0, lastTurn.get(key))
    if (best === undefined || rank < best.rank) best = { line, rank }
  }
  return best?.line
}

/** Whoever had a turn goes behind those that were queued until then. */
function rankOf(queuedAt: number, lastTurn: number | undefined): number {
  return lastTurn === undefined || lastTurn < queuedAt ? queuedAt : lastTurn + 0.5
}

function afterTurns(
  queue: OperationQueue,
  begun: readonly Operation[],
  { turns, lastTurn }: Pick<OperationQueue, 'turns' | 'lastTurn'>,
  now: Instant,
): OperationQueue {
  if (begun.length === 0) return queue
  const ids = new Set(begun.map(operation => operation.id))
  const waiting = queue.waiting.filter(operation => !ids.has(operation.id))
  const lines = new Set(waiting.map(lineKey))
  return {
    waiting,
    running: [...queue.running, ...begun.map(operation => ({ ...operation, since: now }))],
    turns,
    // A service with nothing waiting starts afresh when it comes back: it is queued later than its last turn anyway.
    lastTurn: new Map([...lastTurn].filter(([key]) => lines.has(key))),
  }
}

const lineKey = ({ kind, service }: Pick<Operation, 'kind' | 'service'>): string => `${kind} ${service}`

function earliest(instants: readonly (Instant | undefined)[]): Instant | undefined {
  let first: Instant | undefined
  for (const instant of instants)
    if (instant !== undefined && (first === undefined || instant < first)) first = instant
  return first
}
