/**
 * What state a service is in: one rule for every screen, count and metric. Two questions are answered apart. `available`:
 * whether users are served by all the instances that were asked for, on every host. `status`: whether all else is as it was asked for.
 */
import { plural } from '@boxcar/core/model/plural'
import { type Misplaced, misplacedWords } from '@boxcar/core/placement/misplaced'
import type { Pending } from '@boxcar/core/placement/obstacle'
import { obstacleWords } from '@boxcar/core/placement/words'
import type { RolloutView, ServiceView, UnservedView } from './views.ts'
import { unservedSummary } from './words.ts'

export interface ServiceFacts {
  readonly rollout: Pick<RolloutView, 'phase' | 'words' | 'outcome' | 'asked' | 'live' | 'rejection'>
  /** How many instances there shall be. */
  readonly replicas: number
  /** Ready instances of the generation that answers users. */
  readonly ready: number
  /** Instances that no host takes, and what is in the way of the whole service. */
  readonly pending: Pick<Pending, 'count' | 'obstacles'> | undefined
  /** What hosts miss of its routes for as long as nobody acts. */
  readonly unserved: readonly UnservedView[]
  readonly misplaced: readonly Misplaced[]
}

export type ServiceState = Pick<ServiceView, 'available' | 'status' | 'reason'>

export function serviceState(facts: ServiceFacts): ServiceState {
  const { rollout, replicas, ready, unserved } = facts
  const available = rollout.live !== undefined && ready >= replicas && unserved.length === 0
  return { available, ...statusOf(facts) }
}

function statusOf({
  rollout,
  replicas,
  ready,
  pending,
  unserved,
  misplaced,
}: ServiceFacts): Omit<ServiceState, 'available'> {
  const misplacedSummary = misplacedWords(misplaced)
  const missed = unservedSummary(unserved)
  const count = `${ready} of ${replicas} instances are ready`
  const [obstacle] = pending?.obstacles ?? []
  if (obstacle !== undefined) return { status: 'waiting', reason: obstacleWords(obstacle) }
  if (pending !== undefined && pending.count > 0)
    return {
      status: 'waiting',
      reason: sentence(`${plural(pending.count, 'instance')} cannot be placed on any host`, misplacedSummary),
    }
  if (isMoving(rollout)) return { status: 'rolling-out', reason: rollout.words }
  const wanted = rollout.outcome === 'rejected' ? wantedByPerson(rollout) : 'as-asked'
  if (wanted === undefined)
    return {
      status: 'reverted',
      reason: sentence(
        rollout.rejection?.words ?? `generation ${rollout.asked} was given up`,
        rollout.live === undefined ? 'nothing answers' : `generation ${rollout.live} answers`,
        ready < replicas && rollout.live !== undefined ? count : undefined,
        missed,
        misplacedSummary,
      ),
    }
  const note = wanted === 'as-asked' ? undefined : wanted
  if (ready < replicas || missed !== undefined)
    return { status: 'degraded', reason: sentence(count, note, missed, misplacedSummary) }
  const all = replicas === 0 ? 'scaled to 0' : count
  return {
    status: misplacedSummary === undefined ? 'ready' : 'misplaced',
    reason: sentence(all, note, misplacedSummary),
  }
}

const isMoving = ({ outcome, phase }: ServiceFacts['rollout']): boolean =>
  outcome === 'under-way' || (phase !== 'settled' && phase !== 'reverted')

/**
 * That another generation answers than the spec asks for because somebody wanted it so, in a clause. Going back to a generation
 * that was started again first leaves no rejection.
 */
function wantedByPerson({ rejection, live, asked }: ServiceFacts['rollout']): string | undefined {
  if (live === undefined) return undefined
  const because = rejection?.because ?? 'undone'
  if (because !== 'undone' && because !== 'aborted') return undefined
  const after = because === 'undone' ? 'an undo' : 'an abort'
  return `generation ${live} answers after ${after}, the spec asks for generation ${asked}`
}

const sentence = (...clauses: readonly (string | undefined)[]): string =>
  clauses.filter(clause => clause !== undefined).join('; ')
