import type { Api, ServiceRef } from '@boxcar/api/client'
import type { ActedView, RolloutView } from '@boxcar/api/views'
import { exitStatus, Trouble } from './exit.ts'
import { rejectionLines } from './render/evidence.ts'
import type { Terminal } from './terminal.ts'
import { type UntilOptions, watchUntil } from './watch-until.ts'

/** What was asked for, and how things were before. */
export interface UndoAsk {
  readonly before: RolloutView
  /** `asked`: what is seen may still be how it was before. */
  readonly acted: ActedView['outcome']
  /** The generation to go back to; left out: the one before. */
  readonly to: number | undefined
}

export type UndoWatch = UndoAsk & Omit<UntilOptions, 'notDone'>

/**
 * Waits until the generation gone back to answers and nothing moves any more. Throws Trouble for any other end, its status
 * included.
 */
export function watchUndone(
  api: Api,
  ref: ServiceRef,
  terminal: Terminal,
  options: UndoWatch,
): Promise<RolloutView> {
  return watchUntil(terminal, { ...options, notDone: 'not undone' }, async () => {
    const rollout = await api.rollout(ref)
    const words = `${rollout.service}: ${rollout.phase}: ${rollout.words}`
    const stands = undoStanding(rollout, options)
    if (stands === 'under-way') return { words }
    if (stands === 'undone') return { words, done: rollout }
    return { words, failed: new Trouble(failedText(rollout, stands)) }
  })
}

/** Where an undo is: `reverted` where its generation did not get ready, `elsewhere` where another one came to answer. */
export function undoStanding(
  rollout: RolloutView,
  { before, acted, to }: UndoAsk,
): 'under-way' | 'undone' | 'reverted' | 'elsewhere' {
  const isAsBefore =
    rollout.phase === before.phase && rollout.since === before.since && rollout.asked === before.asked
  if (acted === 'asked' && isAsBefore) return 'under-way'
  if (rollout.phase === 'reverted') {
    // Of a rollout that is under way an undo is an abort: the stable generation, if there is one, never stopped answering.
    const wasMoving = ['accepted', 'resolving', 'warming'].includes(before.phase)
    return wasMoving && (to === undefined || to === before.live) ? 'undone' : 'reverted'
  }
  if (rollout.phase !== 'settled') return 'under-way'
  const isThere = to === undefined ? rollout.live !== (before.next ?? before.live) : rollout.live === to
  return isThere ? 'undone' : 'elsewhere'
}

function failedText({ service, live, rejection }: RolloutView, how: 'reverted' | 'elsewhere') {
  const answers = live === undefined ? 'no generation answers' : `generation ${live} answers users`
  return how === 'elsewhere'
    ? {
        status: exitStatus.conflict,
        what: `${service} was not undone: ${answers}`,
        why: 'another change came in between, or both generations are the same container',
        next: `boxcar rollout history ${service}`,
      }
    : {
        status: exitStatus.reverted,
        what: `the undo of ${service} was given up; ${answers}`,
        why:
          rejection === undefined ? 'its generation did not get ready' : rejectionLines(rejection).join('\n'),
        next: `boxcar why ${service}, or go back to another generation: boxcar rollout history ${service}`,
      }
}
