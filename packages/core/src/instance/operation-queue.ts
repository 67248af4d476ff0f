/**
 * Which container operations a host's engine performs next. An engine gets slower with more operations at once, so they wait
 * in a queue of their host's until there is room; what is dropped before its turn costs nothing.
 *
 * Each kind of operation has a limit of its own: a stop or a removal never waits for a start. Within a kind services take
 * turns, so one with hundreds of waiting starts delays the single start of another by one operation, not by hundreds.
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

/** How many operations of each kind may occupy the engine at once. */
export type OperationLimits = Readonly<Record<OperationKind, number>>

export interface Next {
  readonly begun: readonly Operation[]
  /** With `begun` running. */
  readonly queue: OperationQueue
  /** When time alone makes room for what still waits. */
  readonly lookAgainAt: Instant | undefined
}

/**
 * How long a stop occupies the engine: the signal is sent and, mostly, the process ends. A longer one waits out the grace of
 * its process, and a hundred such processes must not wait for each other.
 */
export const stopOccupiesMs = 500

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
    const occupying: Pick<RunningOperation, 'kind' | 'since'>[] = queue.running.filter(
      each => each.kind === kind && occupies(each, now),
    )
    const lines = linesOf(queue, kind)
    while (occupying.length < limits[kind] && lines.size > 0) {
      const line = firstInTurn(lines, lastTurn)
      const operation = line.shift()
      if (operation === undefined) break
      turns += 1
      lastTurn.set(lineKey(operation), turns)
      if (line.length === 0) lines.delete(lineKey(operation))
      begun.push(operation)
      occupying.push({ kind, since: now })
    }
    if (lines.size > 0) lookAgainAt = earlier(lookAgainAt, roomAt(occupying))
  }
  return { begun, queue: afterTurns(queue, begun, { turns, lastTurn }, now), lookAgainAt }
}

function occupies({ kind, since }: RunningOperation, now: Instant): boolean {
  return kind !== 'stop' || now < after(since, stopOccupiesMs)
}

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

/** The service that has waited longest since its last turn; a new one queues behind those that were here before it. */
function firstInTurn(
  lines: ReadonlyMap<string, WaitingOperation[]>,
  lastTurn: ReadonlyMap<string, number>,
): WaitingOperation[] {
  let best: { readonly line: WaitingOperation[]; readonly rank: number } | undefined
  for (const [key, line] of lines) {
    const rank = rankOf(line[0]?.queuedAt ?? 0, lastTurn.get(key))
    if (best === undefined || rank < best.rank) best = { line, rank }
  }
  return best?.line ?? []
}

/** Whoever had a turn goes behind those that were queued until then. */
function rankOf(queuedAt: number, lastTurn: number | undefined): number {
  return lastTurn === undefined || lastTurn < queuedAt ? queuedAt : lastTurn + 0.5
}

function roomAt(occupying: readonly Pick<RunningOperation, 'kind' | 'since'>[]): Instant | undefined {
  let at: Instant | undefined
  for (const { kind, since } of occupying) if (kind === 'stop') at = earlier(at, after(since, stopOccupiesMs))
  return at
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

const lineKey = ({ kind, service }: Operation): string => `${kind} ${service}`

const earlier = (a: Instant | undefined, b: Instant | undefined): Instant | undefined =>
  a === undefined || (b !== undefined && b < a) ? b : a
