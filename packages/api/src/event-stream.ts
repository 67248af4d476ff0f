/**
 * Events as a stream that can be taken up again. An event's id is the revision that wrote it and its place among the events
 * of that revision, so two servers give one event one id, and `Last-Event-ID` says exactly what a reader has.
 */
import { attempt } from '@boxcar/core/model/attempt'
import type { ClusterEvent } from '@boxcar/core/model/event'
import {
  byId,
  parseInstanceId,
  parseServiceName,
  type ServiceName,
  serviceParts,
} from '@boxcar/core/model/ids'
import { type EventId, events } from '@boxcar/store/keys'
import { compareRevisions, type Entry, type Revision } from '@boxcar/store/store'
import type { ApiDeps } from './deps.ts'
import { internalProblem } from './unknown.ts'
import type { EventView } from './views.ts'

export interface EventAsk {
  readonly after: EventPlace | undefined
  /** How many recent ones come first; without it, none. */
  readonly tail: number
  readonly follow: boolean
  readonly wanted: (event: EventView) => boolean
  readonly signal: AbortSignal
}

export interface EventPlace {
  readonly revision: Revision
  readonly index: number
}

export type StreamStep =
  | { readonly kind: 'event'; readonly event: EventView }
  | { readonly kind: 'reset' }
  /** Nothing to tell for a while; keeps the connection awake. */
  | { readonly kind: 'beat' }

export const beatMs = 10_000

const placeText = /^([1-9]\d{0,19})\.(\d{1,5})$/

/** The place that an id spells, or nothing where it spells none. */
export function parsePlace(text: string): EventPlace | undefined {
  const match = placeText.exec(text)
  return match?.[1] === undefined ? undefined : { revision: match[1] as Revision, index: Number(match[2]) }
}

type EventEntry = Entry<EventId, ClusterEvent>

/** Throws StoreUnavailable where it cannot begin. */
export async function* eventSteps(deps: ApiDeps, ask: EventAsk): AsyncGenerator<StreamStep> {
  const since = beginning(deps, ask)
  let wanted = ask
  if (since !== undefined) {
    const end = yield* followed(deps, ask, since)
    if (end !== 'compacted') return
    yield { kind: 'reset' }
    // What the reader has means nothing any more.
    wanted = { ...ask, after: undefined, tail: Number.POSITIVE_INFINITY }
  }
  if (ask.follow) yield* followed(deps, wanted, undefined)
  else yield* told(recent((await deps.store.list(events)).entries, wanted), wanted)
}

/** The revision after which everything is told, or none where it begins with some of what is kept. */
function beginning({ mirror }: ApiDeps, { after, follow, tail }: EventAsk): Revision | undefined {
  // The reader's own revision once more, for the rest of it.
  if (after !== undefined) return before(after.revision)
  return follow && tail === 0 ? mirror.revision : undefined
}

/** The last ones that are wanted, oldest first. */
const recent = (entries: readonly EventEntry[], { wanted, tail }: EventAsk): readonly EventView[] =>
  tail === 0 ? [] : placed(entries).filter(wanted).slice(-tail)

function* told(list: readonly EventView[], ask: EventAsk): Generator<StreamStep> {
  for (const event of list) if (ask.wanted(event)) yield { kind: 'event', event }
}

/** Watches begin after a revision, and a reader may have a part of one. Revisions are counted by the store, one by one. */
const before = (revision: Revision) => String(BigInt(revision) - 1n) as Revision

/** Whether an event comes after the last one that a reader has. */
const isNews = (last: EventPlace | undefined) => (event: EventView) => {
  if (last === undefined) return true
  const place = parsePlace(event.id)
  if (place === undefined) return true
  const order = compareRevisions(place.revision, last.revision)
  return order > 0 || (order === 0 && place.index > last.index)
}

async function* followed(
  deps: ApiDeps,
  ask: EventAsk,
  since: Revision | undefined,
): AsyncGenerator<StreamStep, 'ended' | 'compacted'> {
  const stop = new AbortController()
  const signal = AbortSignal.any([ask.signal, stop.signal])
  const steps = deps.store
    .follow([{ collection: events }], { signal, ...(since === undefined ? {} : { since }) })
    [Symbol.asyncIterator]()
  let next = steps.next()
  let snapshots = 0
  try {
    while (!signal.aborted) {
      const step = await orBeat(deps, next, signal)
      if (step === 'beat') {
        yield { kind: 'beat' }
        if (!ask.follow) return 'ended'
        continue
      }
      if (step.done === true) return 'ended'
      next = steps.next()
      const { value } = step
      if (value.kind === 'compacted') return 'compacted'
      if (value.kind === 'quiet') {
        // Everything up to now was told.
        if (!ask.follow) return 'ended'
        continue
      }
      const changes = value.kind === 'snapshot' ? value.entries : value.changes
      const entries = changes.flatMap(change => (change.kind === 'put' ? [change.entry as EventEntry] : []))
      if (value.kind === 'snapshot') {
        snapshots += 1
        // Another snapshot means that history was lost on the way.
        if (since !== undefined || snapshots > 1) {
          yield { kind: 'reset' }
          yield* told(placed(entries), ask)
        } else yield* told(recent(entries, ask), ask)
      } else yield* told(placed(entries).filter(isNews(ask.after)), ask)
    }
    return 'ended'
  } finally {
    stop.abort()
    // It ends by the signal; what it was about to say is nobody's any more.
    void next.catch(() => {})
  }
}

async function orBeat<Step>(deps: ApiDeps, next: Promise<Step>, signal: AbortSignal): Promise<Step | 'beat'> {
  const told = new AbortController()
  const beat = deps.clock.sleep(beatMs, AbortSignal.any([signal, told.signal])).then((): 'beat' => 'beat')
  try {
    return await Promise.race([next, beat])
  } finally {
    told.abort()
  }
}

/** In the order of revisions; within one, by key: the same on every server. */
function placed(entries: readonly EventEntry[]): readonly EventView[] {
  const sorted = [...entries].sort(
    (a, b) => compareRevisions(a.modified, b.modified) || byId(events.spell(a.id), events.spell(b.id)),
  )
  let index = -1
  let last: Revision | undefined
  return sorted.map(({ id, modified, value }) => {
    index = modified === last ? index + 1 : 0
    last = modified
    const place = `${modified}.${index}`
    const view = attempt(() => viewOf(value, place))
    return 'value' in view ? view.value : unknownEvent(id, place, view.error)
  })
}

/** In the place of an event that cannot be shown, so that the others keep their ids. */
const unknownEvent = ({ writer }: EventId, id: string, error: unknown): EventView => ({
  id,
  at: 0,
  kind: 'internal-error',
  message: `an event of ${writer} is here: ${internalProblem(error).reason}`,
  level: 'error',
  writer,
})

const optional = ['term', 'actor', 'project', 'service', 'host', 'instance'] as const

/** Writers name a service by its full name, by its short one beside the project, or only by an instance of it. */
function fullService({ project, service, instance }: ClusterEvent): ServiceName | undefined {
  if (service !== undefined)
    return parseServiceName(service.includes('/') ? service : `${project}/${service}`)
  return instance === undefined ? undefined : parseInstanceId(instance)?.service
}

function viewOf(value: ClusterEvent, id: string): EventView {
  const view: EventView = {
    id,
    at: value.at,
    kind: value.kind,
    message: value.message,
    level: value.level,
    writer: value.writer,
  }
  for (const field of optional) if (value[field] !== undefined) view[field] = value[field]
  const service = fullService(value)
  if (service !== undefined) {
    view.service = service
    view.project = serviceParts(service).project
  }
  if (value.generation !== undefined) view.generation = value.generation
  const requestId = value['requestId']
  if (typeof requestId === 'string') view.requestId = requestId
  return view
}
