/** A plan as guarded writes: one group a service, so that a switch of phase and routes is one revision. */

import { type ServiceName, serviceParts } from '@boxcar/core/model/ids'
import type { Revision } from '@boxcar/core/model/revision'
import type { Action, ServicePlan, Story } from '@boxcar/core/plan/draft'
import { absent, put, remove, unchanged } from '@boxcar/store/collection'
import type { Group } from '@boxcar/store/commit'
import type { EventWriter } from '@boxcar/store/events'
import * as keys from '@boxcar/store/keys'
import type { Guard, Write } from '@boxcar/store/store'

/** Placements beyond so many go into groups of their own; the first group has the phase, the routes and the story. */
const mostWrites = 100

export interface Planned {
  readonly events: EventWriter
  readonly term: string
  /** The revision of the world that was planned from. */
  readonly since: Revision
}

export function groupsOf(plan: ServicePlan, planned: Planned): readonly Group<ServiceName>[] {
  const guards = guardsOf(plan, planned.since)
  const first = plan.actions.filter(action => !isBulk(action))
  const bulk = plan.actions.filter(isBulk)
  const told = plan.stories.map(story => planned.events.write(eventOf(plan.service, story, planned)))
  const actions = [...first, ...bulk]
  const writes = [...told, ...actions.flatMap(action => writesOf(plan.service, action))]
  const groups: Group<ServiceName>[] = []
  for (let from = 0; from < writes.length; from += mostWrites)
    groups.push({ tag: plan.service, guards, writes: writes.slice(from, from + mostWrites) })
  return groups
}

const isBulk = ({ kind }: Action): boolean => kind === 'place' || kind === 'release' || kind === 'forget'

/** The spec still stands as it was read; where something is placed, no operator changed a host meanwhile. */
function guardsOf(plan: ServicePlan, since: Revision): readonly Guard[] {
  const spec =
    plan.specRevision === undefined
      ? absent(keys.specs, plan.service)
      : unchanged(keys.specs, plan.service, plan.specRevision)
  const places = plan.actions.some(action => action.kind === 'place')
  return places ? [spec, { kind: 'collection-unchanged', collection: keys.hostSettingsOf, since }] : [spec]
}

function writesOf(service: ServiceName, action: Action): readonly Write[] {
  switch (action.kind) {
    case 'place':
    case 'release': {
      const { host, instance } = action.placement
      return [put(keys.placements, { host, instance }, action.placement)]
    }
    case 'forget': {
      const id = { host: action.host, instance: action.instance }
      return [remove(keys.placements, id), remove(keys.reports, id)]
    }
    case 'rollout':
      return [put(keys.rollouts, service, action.rollout)]
    case 'route':
      return [put(keys.routes, service, action.route)]
    case 'pending':
      return [put(keys.pendings, service, action.pending)]
    case 'no-longer-pending':
      return [remove(keys.pendings, service)]
    case 'intent-done':
      return [remove(keys.intents, { service, id: action.id })]
    case 'forget-generations':
      return action.generations.map(number => remove(keys.generations, { service, number }))
    case 'cleanup':
      return [
        remove(keys.rollouts, service),
        remove(keys.routes, service),
        remove(keys.pendings, service),
        ...action.generations.map(number => remove(keys.generations, { service, number })),
      ]
  }
}

function eventOf(service: ServiceName, story: Story, { term }: Planned) {
  const { project, short } = serviceParts(service)
  return { ...story, term, project, service: short }
}
