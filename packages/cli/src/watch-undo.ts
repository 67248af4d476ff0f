import type { Api, ServiceRef } from '@boxcar/api/client'
import type { RolloutView } from '@boxcar/api/views'
import { elapsed } from '@boxcar/core/model/clock'
import { awayReason } from './client.ts'
import { exitStatus, Trouble } from './exit.ts'
import { seconds } from './render/words.ts'
import type { Terminal } from './terminal.ts'

export interface UndoWatch {
  /** The generation that is left. */
  readonly left: number | undefined
  readonly timeoutMs?: number
  readonly again: string
  readonly onChange: (words: string) => void
}

const everyMs = 150

/** Waits until another generation than the one left answers and nothing moves any more. */
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
      // An undo of a rollout that was under way is an abort: the stable generation, if there is one, never stopped answering.
      if (rollout.phase === 'reverted') return rollout
      if (rollout.phase === 'settled' && rollout.live !== options.left) return rollout
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
