/** Sentences for people, from the records of the cluster. Everything shown in words is also there as data. */

import { plural } from '@boxcar/core/model/plural'
import type { Rejection, Rollout } from '@boxcar/core/model/rollout'
import { holdsUpRollout } from '@boxcar/core/rollout/unserved'
import type { UnservedView } from './views.ts'

export function rejectionWords(rejection: Pick<Rejection, 'generation' | 'because'>): string {
  const generation = `generation ${rejection.generation}`
  switch (rejection.because) {
    case 'image-not-found':
      return `the image of ${generation} cannot be had`
    case 'not-ready-by-deadline':
      return `${generation} was not ready by its deadline`
    case 'not-served-by-deadline':
      return `${generation} was not served on every host by its deadline`
    case 'aborted':
      return `the rollout of ${generation} was aborted`
    case 'undone':
      return `${generation} was undone`
    case 'superseded':
      return `a newer deploy took the place of ${generation}`
  }
}

/**
 * Where a rollout stands. `ready` and `wanted` are those of the generation that is being rolled out; `unserved` is what live hosts
 * cannot serve of the service's routes.
 */
export function rolloutWords(
  rollout: Rollout | undefined,
  asked: number,
  seen: { readonly ready: number; readonly wanted: number },
  unserved: readonly UnservedView[] = [],
): string {
  const words = phaseWords(rollout, asked, seen)
  const missed = unservedSummary(unserved)
  if (rollout === undefined || missed === undefined) return words
  const { now } = rollout
  if (now.phase === 'reverted') return words
  const isUndo = 'undo' in now && now.undo === true
  if (now.phase === 'settled' || isUndo) return `${words}, but not everywhere: ${missed}`
  if (now.phase === 'resolving') return `${words}; ${missed}`
  const awaited = unservedSummary(unserved.filter(one => isAwaited(rollout, one)))
  return awaited === undefined ? `${words}; ${missed}` : `${words}; it waits for ${awaited}`
}

/** A proxy that fails names no port: it is not waited for where others answer. */
const isAwaited = (rollout: Rollout, { host, listen }: UnservedView): boolean =>
  listen !== undefined && holdsUpRollout(rollout, { host, port: listen, isNewHost: false })

function phaseWords(
  rollout: Rollout | undefined,
  asked: number,
  seen: { readonly ready: number; readonly wanted: number },
): string {
  if (rollout === undefined) return `generation ${asked} is accepted; the leader takes it up next`
  const { now } = rollout
  if (rollout.asked !== asked && now.phase !== 'draining')
    return `generation ${asked} is accepted; the leader takes it up next`
  switch (now.phase) {
    case 'resolving':
      return `a host looks up the image of generation ${now.next}`
    case 'warming':
      return `generation ${now.next} starts${now.undo === true ? ' again for an undo' : ''}, ${seen.ready} of ${seen.wanted} ready; ${
        now.stable === undefined ? 'nothing answers yet' : `generation ${now.stable} answers`
      }`
    case 'draining':
      return now.old === undefined
        ? `generation ${now.live} is ready; the proxies take it up`
        : `generation ${now.live} answers; generation ${now.old} finishes its last requests`
    case 'settled':
      return now.warm === undefined
        ? `generation ${now.live} answers`
        : `generation ${now.live} answers; generation ${now.warm} is kept warm for an undo`
    case 'reverted':
      return now.stable === undefined
        ? `generation ${now.rejected} was given up; nothing answers`
        : `generation ${now.rejected} was given up; generation ${now.stable} answers`
  }
}

/** `h1: port 7071 at 0.0.0.0 is held by process 812 (sshd); 2 more hosts too`. */
export function unservedSummary(unserved: readonly UnservedView[]): string | undefined {
  const [first] = unserved
  if (first === undefined) return undefined
  const others = new Set(unserved.map(one => one.host)).size - 1
  const more = others === 0 ? '' : `; ${plural(others, 'more host')} too`
  return `${first.host}: ${first.words}${more}`
}
