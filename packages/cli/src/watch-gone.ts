import { type Api, ApiProblem, type ServiceRef } from '@boxcar/api/client'
import type { DeletedView, ServiceView, WhyView } from '@boxcar/api/views'
import { plural } from '@boxcar/core/model/plural'
import { exitStatus, Trouble } from './exit.ts'
import { obstacleLines, unservedLine } from './render/evidence.ts'
import type { Terminal } from './terminal.ts'
import { obstaclePatienceMs, Waiting } from './waiting.ts'
import { type Seen, type UntilOptions, watchUntil } from './watch-until.ts'

export interface Removed {
  readonly ref: ServiceRef
  readonly deleted: DeletedView
}

/**
 * Waits until no instance of the removed services is left. Throws Trouble for any other end, its status included: also where the
 * same obstacle is in the way for ten seconds and none stops meanwhile.
 */
export async function watchGone(
  api: Api,
  removed: readonly Removed[],
  terminal: Terminal,
  options: Omit<UntilOptions, 'notDone'>,
): Promise<void> {
  const obstacles = new Obstacles(api)
  const waiting = new Waiting()
  await watchUntil(terminal, { ...options, notDone: 'not gone' }, async (): Promise<Seen<true>> => {
    const remains = await Promise.all(
      (await look(api, removed)).map(async seen =>
        seen.kind === 'left' ? { ...seen, obstacles: await obstacles.of(seen) } : seen,
      ),
    )
    const words = remains.map(wordsOf).join(', ')
    const now = terminal.clock.now()
    const stuck = remains.find(it => {
      if (it.kind === 'left' && it.obstacles.length > 0)
        return (
          waiting.forMs(it.service, JSON.stringify([it.instances, it.obstacles]), now) >= obstaclePatienceMs
        )
      waiting.over(it.service)
      return false
    })
    if (stuck?.kind === 'left') return { words, failed: cannotStop(stuck) }
    return remains.some(it => it.kind === 'left') ? { words } : { words, done: true }
  })
}

/** What remains of a removed service. One that somebody has created again under the same name has instances of its own. */
type Remains = { readonly kind: 'gone' | 'created-again'; readonly service: string } | Left

interface Left {
  readonly kind: 'left'
  readonly service: string
  readonly ref: ServiceRef
  readonly instances: number
  /** What its service says of itself. */
  readonly reason: string
}

/** Each project is asked for once, however many of its services were removed. */
async function look(api: Api, removed: readonly Removed[]): Promise<readonly Remains[]> {
  const projects = [...new Set(removed.map(it => it.ref.project))]
  const instances = (await Promise.all(projects.map(project => api.instances({ project })))).flat()
  const countOf = ({ deleted }: Removed) => instances.filter(it => it.service === deleted.service).length
  const unfinished = new Set(removed.filter(it => countOf(it) > 0).map(it => it.ref.project))
  const services = (await Promise.all([...unfinished].map(project => api.services(project)))).flat()
  return removed.map((it): Remains => {
    const { service, uid } = it.deleted
    const count = countOf(it)
    if (count === 0) return { kind: 'gone', service }
    const now = services.find(one => one.service === service)
    if (isAnother(now, uid)) return { kind: 'created-again', service }
    return { kind: 'left', service, ref: it.ref, instances: count, reason: now?.reason ?? '' }
  })
}

const isAnother = (now: ServiceView | undefined, uid: string): boolean => now !== undefined && now.uid !== uid

/** What is in the way of each service: asked for anew only when the service says something else of itself. */
class Obstacles {
  readonly #api: Api
  readonly #known = new Map<string, { readonly reason: string; readonly why: WhyView }>()

  constructor(api: Api) {
    this.#api = api
  }

  async of({ service, ref, reason }: Left): Promise<readonly string[]> {
    const known = this.#known.get(service)
    const why = known?.reason === reason ? known.why : await whyOf(this.#api, ref)
    if (why === undefined) return []
    this.#known.set(service, { reason, why })
    return [...obstacleLines(why), ...(why.unserved ?? []).map(unservedLine)]
  }
}

/** Nothing where the last of the service went while it was asked for. */
async function whyOf(api: Api, ref: ServiceRef): Promise<WhyView | undefined> {
  try {
    return await api.why(ref)
  } catch (error) {
    if (error instanceof ApiProblem && error.problem.status === 404) return undefined
    throw error
  }
}

function wordsOf(it: Remains & { readonly obstacles?: readonly string[] }): string {
  switch (it.kind) {
    case 'gone':
      return `${it.service}: gone`
    case 'created-again':
      return `${it.service}: created again; its old instances stop first`
    case 'left':
      return [`${it.service}: ${plural(it.instances, 'instance')} left`, ...(it.obstacles ?? [])].join('; ')
  }
}

const cannotStop = ({
  service,
  instances,
  obstacles,
}: Left & { readonly obstacles: readonly string[] }): Trouble =>
  new Trouble({
    status: exitStatus.notPlaced,
    what: `${service} is deleted, but ${plural(instances, 'instance')} of it cannot be stopped`,
    why: obstacles.join('\n'),
    next: `boxcar why ${service}`,
  })
