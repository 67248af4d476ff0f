/** Where people find the leader's own failures: an event each, and for a service what is pending. */
import { attempt } from '@boxcar/core/model/attempt'
import { type ServiceName, serviceParts } from '@boxcar/core/model/ids'
import type { ServiceView, World } from '@boxcar/core/model/world'
import type { Pending } from '@boxcar/core/placement/obstacle'
import { obstacleWords } from '@boxcar/core/placement/words'
import { put } from '@boxcar/store/collection'
import type { EventText, EventWriter } from '@boxcar/store/events'
import * as keys from '@boxcar/store/keys'
import type { Write } from '@boxcar/store/store'
import type { Failing, InternalError, Owner } from './internal-errors.ts'

export interface Recorded {
  readonly world: World
  readonly events: EventWriter
  readonly term: string
  /** By the wall, for what people read. */
  readonly wall: number
}

/**
 * The writes that tell of an owner's errors; none where all is said already. The record stays until the planner can plan the service
 * again: it takes away what it does not find itself.
 */
export function errorWrites({ owner, standing, untold }: Failing, recorded: Recorded): readonly Write[] {
  const { world, events, term, wall } = recorded
  const view = owner.kind === 'service' ? world.services.get(owner.service) : undefined
  const before = storedOf(view)
  const known = new Set(before?.obstacles?.map(obstacleWords))
  const fresh = untold.filter(error => !known.has(obstacleWords(error)))
  const told = fresh.map(error => events.write({ ...eventOf(owner, error), term }))
  const isSaid = standing.every(error => known.has(obstacleWords(error))) && known.size === standing.length
  if (view === undefined || standing.length === 0 || isSaid) return told
  const record: Pending = {
    service: view.name,
    uid: uidOf(view),
    term,
    waiting: before?.waiting ?? [],
    obstacles: standing,
    count: before?.count ?? 0,
    at: wall,
  }
  return [...told, put(keys.pendings, view.name, record)]
}

function eventOf(owner: Owner, error: InternalError): EventText {
  const message = obstacleWords(error)
  const event = { kind: 'internal-error', level: 'error' as const, message }
  switch (owner.kind) {
    case 'service':
      return { ...event, ...namesOf(owner.service) }
    case 'host':
      return { ...event, message: `host ${owner.host}: ${message}`, host: owner.host }
    case 'cluster':
      return event
  }
}

const namesOf = (service: ServiceName) => {
  const { project, short } = serviceParts(service)
  return { project, service: short }
}

/** The service's own records may be what throws: then less is said of it. */
const storedOf = (view: ServiceView | undefined): Pending | undefined => {
  const read = attempt(() => view?.pending?.value)
  return 'value' in read ? read.value : undefined
}

/** Empty where no record tells. */
function uidOf({ spec, rollout, placements }: ServiceView): string {
  for (const seen of [spec, rollout, ...placements.values()]) {
    const uid = attempt(() => seen?.value.uid)
    if ('value' in uid && uid.value !== undefined) return uid.value
  }
  return ''
}
