import { type Api, ApiProblem, type ServiceRef } from '@boxcar/api/client'
import type { DeletedView } from '@boxcar/api/views'
import { plural } from '@boxcar/core/model/plural'
import type { Terminal } from './terminal.ts'
import { type UntilOptions, watchUntil } from './watch-until.ts'

export interface Removed {
  readonly ref: ServiceRef
  readonly deleted: DeletedView
}

/** Waits until no instance of the removed services is left. Throws Trouble for any other end, its status included. */
export async function watchGone(
  api: Api,
  removed: readonly Removed[],
  terminal: Terminal,
  options: Omit<UntilOptions, 'notDone'>,
): Promise<void> {
  await watchUntil(terminal, { ...options, notDone: 'not gone' }, async () => {
    const left = await Promise.all(removed.map(it => leftOf(api, it)))
    const words = removed.map(({ deleted }, i) => {
      const now = left[i] ?? 0
      if (now === 'created again') return `${deleted.service}: created again; its old instances stop first`
      return `${deleted.service}: ${now === 0 ? 'gone' : `${plural(now, 'instance')} left`}`
    })
    const isOver = left.every(it => it === 0 || it === 'created again')
    return { words: words.join(', '), ...(isOver ? { done: true } : {}) }
  })
}

/** A service that somebody has created again under the same name has instances of its own. */
async function leftOf(api: Api, { ref, deleted }: Removed): Promise<number | 'created again'> {
  const all = await api.instances({ project: ref.project })
  const left = all.filter(it => it.service === deleted.service).length
  if (left === 0) return 0
  const uid = await uidOf(api, ref)
  return uid === undefined || uid === deleted.uid ? left : 'created again'
}

async function uidOf(api: Api, ref: ServiceRef): Promise<string | undefined> {
  try {
    return (await api.service(ref)).uid
  } catch (error) {
    if (error instanceof ApiProblem && error.problem.status === 404) return undefined
    throw error
  }
}
