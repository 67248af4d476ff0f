import type { Api, ServiceRef } from '@boxcar/api/client'
import type { ActedView, RolloutView } from '@boxcar/api/views'
import { elapsed } from '@boxcar/core/model/clock'
import { awayReason } from './client.ts'
import { exitStatus, Trouble } from './exit.ts'
import { rejectionLines } from './render/evidence.ts'
import { seconds } from './render/words.ts'
import type { Terminal } from './terminal.ts'

/** What was asked for, and how things were before. */
export interface UndoAsk {
  readonly before: RolloutView
  /** `asked`: what is seen may still be how it was before. */
  readonly acted: ActedView['outcome']
  /** The generation to go back to; left out: the one before. */
  readonly to: number | undefined
}

export interface UndoWatch extends UndoAsk {
  readonly timeoutMs?: number
  readonly again: string
  readonly onChange: (words: string) => void
}

const everyMs = 150

/**
 * Waits until the generation gone back to answers and nothing moves any more. Throws Trouble for any other end, its status
 * included.
 */
export async function watchUndone(
  api: Api,
  ref: ServiceRef,
  terminal: Terminal,
  options: UndoWatch,
): Promise<RolloutView> {
  const started = terminal.clock.now()
  let words = ''
  const tell = (now: string) => {
    if (now !== words) options.onChange(`${seconds(elapsed(started, terminal.clock.now()))} ${now}`)
    words = now
  }
  for (;;) {
    try {
      const rollout = await api.rollout(ref)
      tell(`${rollout.service}: ${rollout.phase}: ${rollout.words}`)
      const stands = undoStanding(rollout, options)
      if (stands === 'undone') return rollout
      if (stands !== 'under-way') throw new Trouble(failedText(rollout, stands))
    } catch (error) {
      const why = awayReason(error)
      if (why === undefined) throw error
      tell(`${why}; trying again`)
    }
    if (options.timeoutMs !== undefined && elapsed(started, terminal.clock.now()) >= options.timeoutMs) {
      throw new Trouble({
        status: exitStatus.timeout,
        what: `not undone after ${seconds(options.timeoutMs)}; work on the cluster goes on`,
        why: words,
        next: options.again,
      })
    }
    await terminal.clock.sleep(everyMs, terminal.interrupted)
    if (terminal.interrupted.aborted) {
      throw new Trouble({
        status: exitStatus.interrupted,
        what: 'watching was interrupted',
        why: 'work on the cluster goes on',
        next: options.again,
      })
    }
  }
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
