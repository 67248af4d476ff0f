/** Whether a server can do its work, check by check. */
import { elapsed } from '@boxcar/core/model/clock'
import { leaders } from '@boxcar/store/keys'
import type { ApiDeps } from './deps.ts'
import type { ReadyView } from './views.ts'

/** After so long without a word from the store, a server is not ready, and its answers are marked as stale. */
export const staleMs = 5_000

export function readinessOf({ mirror, clock, events }: ApiDeps): ReadyView {
  const ageMs = elapsed(mirror.lastHeard(), clock.now())
  const heard = mirror.caughtUp && ageMs <= staleMs
  const leader = mirror.get(leaders, 'self')
  const checks = [
    {
      name: 'store',
      ok: heard,
      message: !mirror.caughtUp
        ? `the store was not read yet${mirror.trouble() === undefined ? '' : `: ${mirror.trouble()}`}`
        : heard
          ? `the store was heard ${(ageMs / 1000).toFixed(1)} s ago`
          : `the store was not heard for ${(ageMs / 1000).toFixed(1)} s: ${mirror.trouble() ?? 'no answer'}`,
    },
    {
      name: 'leader',
      ok: leader !== undefined,
      message: leader === undefined ? 'no scheduler leads' : `the scheduler at ${leader.value.address} leads`,
    },
    {
      name: 'writes',
      ok: events.isReady,
      message: events.isReady ? 'changes can be written' : 'the store has granted no lease for events yet',
    },
  ]
  return { ready: checks.every(c => c.ok), checks }
}
