/** The agent's main loop: assigned against running, a pure difference, act, report. */
import { converge } from '@boxcar/core/instance/converge'
import type { Clock } from '@boxcar/core/model/clock'
import type { Bell } from '@boxcar/store/bell'
import type { Instances } from './instances.ts'

export interface LoopOptions {
  readonly instances: Instances
  readonly clock: Clock
  /** Rings when orders, containers or what is known of an instance may have changed. It carries no news. */
  readonly bell: Bell
  /** A turn went through: the host lives by it. Actions go on beside the loop, so no slow container holds it up. */
  readonly onTurn: () => void
}

export async function loop(
  { instances, clock, bell, onTurn }: LoopOptions,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    const rings = bell.rings
    const { actions, failures, lookAgainAt } = converge(instances.look(), clock.now())
    for (const { instance, error } of failures) instances.failed(instance, 'deciding', error)
    for (const action of actions) instances.perform(action)
    instances.report()
    onTurn()
    const waitMs = lookAgainAt === undefined ? idleMs : Math.max(0, lookAgainAt - clock.now())
    await bell.within(clock, Math.min(waitMs, idleMs), signal, rings)
  }
}

/** Time alone changes whether orders are fresh, and a loop that is alive says so. */
export const idleMs = 5000
