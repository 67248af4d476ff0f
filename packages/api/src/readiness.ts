/** Whether a server can do its work, check by check. */
import { elapsed } from '@boxcar/core/model/clock'
import { refusesWrites, type StoreProblem } from '@boxcar/store/problems'
import type { ApiDeps } from './deps.ts'
import type { Leadership } from './leadership.ts'
import { staleMs } from './stale.ts'
import type { ReadyView } from './views.ts'

export function readinessOf(
  deps: Pick<ApiDeps, 'mirror' | 'clock' | 'events'>,
  leadership: Leadership,
  problems: readonly StoreProblem[],
): ReadyView {
  const refused = problems.find(refusesWrites)
  const record = problems.find(it => it.kind === 'cluster-record')
  const others = problems.filter(it => it !== refused && it !== record && it.level !== 'advice')
  const checks = [
    storeCheck(deps),
    {
      name: 'leader',
      ok: leadership.kind === 'led',
      message: leadership.kind === 'led' ? `the scheduler at ${leadership.address} leads` : leadership.reason,
    },
    {
      name: 'writes',
      ok: deps.events.isReady && refused === undefined,
      message:
        refused?.message ??
        (deps.events.isReady ? 'changes can be written' : 'the store has granted no lease for events yet'),
    },
    {
      name: 'cluster-record',
      ok: record === undefined,
      message: record?.message ?? 'the record of the cluster is the one that this server serves',
    },
    {
      // Does not keep this server from its work.
      name: 'store-members',
      ok: true,
      message: others.length === 0 ? 'nothing is the matter' : others.map(it => it.message).join('; '),
    },
  ]
  return { ready: checks.every(c => c.ok), checks }
}

/** Whether the store was heard a moment ago. */
export function storeCheck({
  mirror,
  clock,
}: Pick<ApiDeps, 'mirror' | 'clock'>): ReadyView['checks'][number] {
  const ageMs = elapsed(mirror.lastHeard(), clock.now())
  const heard = mirror.caughtUp && ageMs <= staleMs
  return {
    name: 'store',
    ok: heard,
    message: !mirror.caughtUp
      ? `the store was not read yet${mirror.trouble() === undefined ? '' : `: ${mirror.trouble()}`}`
      : heard
        ? `the store was heard ${(ageMs / 1000).toFixed(1)} s ago`
        : `the store was not heard for ${(ageMs / 1000).toFixed(1)} s: ${mirror.trouble() ?? 'no answer'}`,
  }
}
