/**
 * One lifecycle of an instance for both sides. The leader moves what is desired (nothing → run → stop → nothing); the agent
 * of the host moves what is observed, and nobody else does. The leader reads a state and never writes one; the agent reads
 * what is desired and never writes it.
 */
import type { Placement } from '../model/placement.ts'
import type { InstanceState } from '../model/report.ts'

export type Mover = 'agent' | 'leader'
export type Desired = Placement['desired']

/** Who moves what; nothing else may. */
export const movers = { observed: 'agent', desired: 'leader' } as const satisfies Record<string, Mover>

/**
 * Where the agent may move an instance from each state, as reports show it: states that lasted too short to be reported are
 * skipped. `new` is one without a report. What is being stopped never answers again before it was started again.
 */
export const observedMoves: Readonly<Record<InstanceState | 'new', readonly InstanceState[]>> = {
  // An agent without a memory finds instances in whatever state they are.
  new: ['pulling', 'starting', 'unready', 'ready', 'backoff', 'stopping', 'stopped'],
  pulling: ['starting', 'unready', 'ready', 'backoff', 'stopping', 'stopped'],
  starting: ['pulling', 'unready', 'ready', 'backoff', 'stopping', 'stopped'],
  unready: ['pulling', 'starting', 'ready', 'backoff', 'stopping', 'stopped'],
  ready: ['pulling', 'starting', 'unready', 'backoff', 'stopping', 'stopped'],
  backoff: ['pulling', 'starting', 'unready', 'ready', 'stopping', 'stopped'],
  // A stop that was taken back ends first and starts again.
  stopping: ['stopped', 'pulling', 'starting', 'backoff'],
  stopped: ['pulling', 'starting', 'backoff', 'stopping'],
}

/** What the leader may do with a placement; `none` is one that is not there. */
export const desiredMoves: Readonly<Record<Desired | 'none', readonly (Desired | 'none')[]>> = {
  none: ['run'],
  // Straight to none only where the host is lost or removed: there is nobody to confirm.
  run: ['stop', 'none'],
  stop: ['run', 'none'],
}

export const mayMove = (from: InstanceState | 'new', to: InstanceState): boolean =>
  from === to || observedMoves[from].includes(to)

export const mayDesire = (from: Desired | 'none', to: Desired | 'none'): boolean =>
  from === to || desiredMoves[from].includes(to)
