import type { Api } from '@boxcar/api/client'
import type { MisplacedView, ServiceView } from '@boxcar/api/views'
import { awayReason } from './client.ts'
import { exitStatus, Trouble } from './exit.ts'
import { misplacedLines } from './render/evidence.ts'

/**
 * Ends a deploy whose services are ready, but not where their specs allow: nothing moves them yet, so it is not done. While
 * another generation is on its way, the instances of the old one are no matter.
 */
export async function refuseMisplaced(api: Api, services: readonly ServiceView[]): Promise<void> {
  const affected = services.filter(
    ({ misplaced, rollout }) => misplaced > 0 && rollout.outcome === 'live' && rollout.phase === 'settled',
  )
  if (affected.length === 0) return
  const found = await Promise.all(affected.map(it => misplacedAtBest(api, it)))
  throw new Trouble({
    status: exitStatus.notPlaced,
    what: `${affected.map(it => it.service).join(', ')}: accepted, but not all instances stand where they could be placed now`,
    why: found
      .flatMap((each, i) => (each === undefined ? [affected[i]?.reason ?? ''] : misplacedLines(each)))
      .join('\n'),
    next: [...new Set(affected.flatMap(({ next }) => next ?? []))].join('\n'),
  })
}

/** Undefined where the server cannot tell just now: the service's reason names one of them. */
async function misplacedAtBest(
  api: Api,
  service: ServiceView,
): Promise<readonly MisplacedView[] | undefined> {
  try {
    return (await api.why({ project: service.project, name: service.name })).misplaced
  } catch (error) {
    if (awayReason(error) === undefined) throw error
    return undefined
  }
}
