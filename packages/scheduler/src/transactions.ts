/** A plan as guarded writes: one group a service, so that a switch of phase and routes is one revision. */

import { type ServiceName, serviceParts } from '@boxcar/core/model/ids'
import type { Revision } from '@boxcar/core/model/revision'
import type { Action, ServicePlan, Story } from '@boxcar/core/plan/draft'
import { absent, put, remove, unchanged } from '@boxcar/store/collection'
import type { Group } from '@boxcar/store/commit'
import type { EventWriter } from '@boxcar/store/events'
import * as keys from '@boxcar/store/keys'
import { batchBytes, bytesOf } from '@boxcar/store/limits'
import type { Guard, Write } from '@boxcar/store/store'

/** A group holds no more; the first one has the phase, the routes and the story. */
const mostWrites = 100
/** A group must fit into one transaction beside its guards. */
const mostBytes = batchBytes - 64 * 1024

export interface Planned {
  readonly events: EventWriter
  readonly term: string
  /** The revision of the world that was planned from. */
  readonly since: Revision
}

/** The writes of a service's plan in groups that each fit into a transaction. `alone`: it failed before. */
export function groupsOf(plan: ServicePlan, planned: Planned, alone = false): readonly Group<ServiceName>[] {
  const guards = guardsOf(plan, planned.since)
  const isMove = isPartOfMove(plan)
  const move = plan.actions.filter(isMove).flatMap(action => writesOf(plan.service, action))
  const told = plan.stories.map(story => planned.events.write(eventOf(plan.service, story, planned)))
  const rest = [
    ...plan.actions.filter(action => !isMove(action) && !isBulk(action)),
    ...plan.actions.filter(isBulk),
  ].flatMap(action => writesOf(plan.service, action))
  return inGroups(move, [...told, ...rest]).map(writes => ({ tag: plan.service, guards, writes, alone }))
}

/**
 * What must not be torn apart: phase and route change in one revision, an intent is gone when it was acted on, and what was pending
 * when that is done.
 */
function isPartOfMove({ actions }: ServicePlan): (action: Action) => boolean {
  const hasRollout = actions.some(({ kind }) => kind === 'rollout')
  return ({ kind }) => moves.has(kind) || (kind === 'intent-done' && hasRollout)
}

const moves: ReadonlySet<Action['kind']> = new Set(['rollout', 'route', 'pending', 'no-longer-pending'])

const isBulk = ({ kind }: Action): boolean => kind === 'place' || kind === 'release' || kind === 'forget'

/** The first group begins with `together`; the others are filled one write after another. */
function inGroups(together: readonly Write[], rest: readonly Write[]): readonly (readonly Write[])[] {
  const groups: Write[][] = []
  let open = [...together]
  let bytes = open.reduce((sum, write) => sum + bytesOf(write), 0)
  for (const write of rest) {
    const more = bytesOf(write)
    if (open.length > 0 && (open.length >= mostWrites || bytes + more > mostBytes)) {
      groups.push(open)
      open = []
      bytes = 0
    }
    open.push(write)
    bytes += more
  }
  if (open.length > 0) groups.push(open)
  return groups
}

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
