/** Why an instance does not run, host by host, and what would help. */
import { byId, type HostId } from '../model/ids.ts'
import type { Ask } from './choose.ts'
import type { HostColumns } from './columns.ts'
import { constraints } from './constraints.ts'
import type { Obstacle } from './obstacle.ts'
import { fixOf } from './words.ts'

export interface Explained {
  readonly host: HostId
  readonly obstacles: readonly Obstacle[]
}

/**
 * Every host's obstacles, all of them, with numbers; hosts in the order of their ids. A host without obstacle, which
 * `choose` would take, is left out. That it kept failing on a host is an obstacle only beside a better one: where
 * nothing else stands against it and no other host fits, the host is taken all the same.
 */
export function explain(columns: HostColumns, ask: Ask): readonly Explained[] {
  const seen: Explained[] = []
  let somewhereFits = false
  for (const slot of columns.inIdOrder()) {
    const host = columns.hostAt(slot)?.id
    if (host === undefined) continue
    const accepts = columns.hostAt(slot)?.accepts
    // What is known of a host at which the leader fails may be wrong: nothing else is said of it.
    const obstacles: Obstacle[] =
      accepts?.kind === 'internal-error'
        ? [accepts]
        : constraints.flatMap(constraint => constraint.obstacles(columns, slot, ask))
    const forMs = ask.avoid.get(host)
    if (forMs !== undefined) obstacles.push({ kind: 'failed-here', forMs })
    if (obstacles.length === 0) somewhereFits = true
    else seen.push({ host, obstacles })
  }
  const isLastResort = ({ obstacles }: Explained) => obstacles.every(({ kind }) => kind === 'failed-here')
  return somewhereFits ? seen : seen.filter(each => !isLastResort(each))
}

/**
 * The smallest change that would let it run, in words. Judged by how many things must change, then by how much each asks of a
 * person, then by the host's id. Nothing where no host is explained.
 */
export function nearestFix(hosts: readonly OnHost[]): string | undefined {
  const [best] = nearest(hosts, 1)
  return best?.obstacles.map(obstacle => fixOf(best.host, obstacle).words).join('; then ')
}

/** The `most` hosts on which the least would have to change, nearest first: what a record of bounded size can hold. */
export function nearest<Each extends OnHost>(hosts: readonly Each[], most: number): readonly Each[] {
  return hosts
    .map(each => ({ each, effort: each.obstacles.reduce((sum, o) => sum + fixOf(each.host, o).effort, 0) }))
    .sort(
      (a, b) =>
        a.each.obstacles.length - b.each.obstacles.length ||
        a.effort - b.effort ||
        byId(a.each.host, b.each.host),
    )
    .slice(0, most)
    .map(({ each }) => each)
}

/** As explained, or as read back from a stored record. */
interface OnHost {
  readonly host: string
  readonly obstacles: readonly Obstacle[]
}
