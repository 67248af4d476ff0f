/** Why an instance does not run, host by host, and what would help. */
import { byId, type HostId } from '../model/ids.ts'
import type { Ask } from './choose.ts'
import type { HostColumns } from './columns.ts'
import { constraints } from './constraints.ts'
import type { Obstacle } from './obstacle.ts'
import { parseWhere } from './where.ts'

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
    const obstacles = constraints.flatMap(constraint => constraint.obstacles(columns, slot, ask))
    const forMs = ask.avoid.get(host)
    if (forMs !== undefined) obstacles.push({ kind: 'failed-here', forMs })
    if (obstacles.length === 0) somewhereFits = true
    else seen.push({ host, obstacles })
  }
  const isLastResort = ({ obstacles }: Explained) => obstacles.every(({ kind }) => kind === 'failed-here')
  return somewhereFits ? seen : seen.filter(each => !isLastResort(each))
}

/** An obstacle for people: `memory: needs 512 MiB, 128 of 2048 MiB free`. */
export function sentence(obstacle: Obstacle): string {
  switch (obstacle.kind) {
    case 'suspect':
      return 'suspect: not heard of for a moment, being asked'
    case 'lost':
      return 'lost: the host does not answer'
    case 'cordoned':
      return obstacle.why === '' ? 'cordoned' : `cordoned: ${obstacle.why}`
    case 'draining':
      return 'draining: instances are being moved away'
    case 'engine-down':
      return `engine down: ${obstacle.reason}`
    case 'cpus': {
      const { needMilli, freeMilli, totalMilli } = obstacle
      const rest =
        freeMilli < 0
          ? `${cores(-freeMilli)} over the host's ${cores(totalMilli)}`
          : `${cores(freeMilli)} of ${cores(totalMilli)} free`
      return `cpus: needs ${cores(needMilli)}, ${rest}`
    }
    case 'memory': {
      const { needMiB, freeMiB, totalMiB } = obstacle
      const rest =
        freeMiB < 0 ? `${-freeMiB} MiB over the host's ${totalMiB} MiB` : `${freeMiB} of ${totalMiB} MiB free`
      return `memory: needs ${needMiB} MiB, ${rest}`
    }
    case 'port':
      return `port: ${obstacle.port} is held by ${obstacle.heldBy}`
    case 'no-free-port':
      return obstacle.to < obstacle.from
        ? 'port: the host has no ports to hand out'
        : `port: none of ${obstacle.from} to ${obstacle.to} is free, or released ten minutes ago`
    case 'label':
      return `label: wants ${obstacle.want}, has ${obstacle.have}`
    case 'max-per-host':
      return `max per host: ${obstacle.have} there, at most ${obstacle.max} allowed`
    case 'still-stopping':
      return `still stopping: an earlier ${obstacle.instance} has not ended there yet`
    case 'failed-here':
      return `failed here: kept failing on this host, avoided for ${seconds(obstacle.forMs)} more`
  }
}

/**
 * The smallest change that would let it run: `free 384 MiB on h2`. Judged by how many things must change, then by how
 * much each asks of a person, then by the host's id. Nothing where no host is explained.
 */
export function nearestFix(explained: readonly Explained[]): string | undefined {
  const [best] = nearest(explained, 1)
  return best?.obstacles.map(obstacle => fixOf(best.host, obstacle).words).join(' and ')
}

/** The `most` hosts on which the least would have to change, nearest first: what a record of bounded size can hold. */
export function nearest(explained: readonly Explained[], most: number): readonly Explained[] {
  return explained
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

interface Fix {
  readonly words: string
  /** The lower the easier; below 1 it only takes patience, from 10 on it takes another host or another spec. */
  readonly effort: number
}

function fixOf(host: HostId, obstacle: Obstacle): Fix {
  switch (obstacle.kind) {
    case 'still-stopping':
      return { words: `wait until ${obstacle.instance} has stopped on ${host}`, effort: 0.1 }
    case 'suspect':
      return { words: `wait until ${host} answers`, effort: 0.2 }
    case 'failed-here':
      return { words: `wait ${seconds(obstacle.forMs)} for ${host} to be tried again`, effort: 0.3 }
    case 'cordoned':
      return { words: `uncordon ${host}`, effort: 1 }
    case 'max-per-host':
      return { words: `raise maxPerHost to ${obstacle.have + 1}`, effort: 2 }
    case 'draining':
      return { words: `cancel the drain of ${host}`, effort: 3 }
    case 'label':
      return { words: labelFix(obstacle.want), effort: 4 }
    case 'cpus': {
      const { needMilli, freeMilli, totalMilli } = obstacle
      return needMilli > totalMilli
        ? { words: `add a host with at least ${cpus(needMilli)}`, effort: 10 + needMilli / (totalMilli + 1) }
        : {
            words: `free ${cpus(needMilli - freeMilli)} on ${host}`,
            effort: 5 + (needMilli - freeMilli) / totalMilli,
          }
    }
    case 'memory': {
      const { needMiB, freeMiB, totalMiB } = obstacle
      return needMiB > totalMiB
        ? {
            words: `add a host with at least ${needMiB} MiB of memory`,
            effort: 10 + needMiB / (totalMiB + 1),
          }
        : { words: `free ${needMiB - freeMiB} MiB on ${host}`, effort: 5 + (needMiB - freeMiB) / totalMiB }
    }
    case 'port':
      return { words: `free port ${obstacle.port} on ${host}, held by ${obstacle.heldBy}`, effort: 6 }
    case 'no-free-port':
      return {
        words:
          obstacle.to < obstacle.from
            ? `give ${host} a range of ports to hand out`
            : `give ${host} a wider port range than ${obstacle.from} to ${obstacle.to}`,
        effort: 7,
      }
    case 'engine-down':
      return { words: `bring the engine of ${host} up (${obstacle.reason})`, effort: 8 }
    case 'lost':
      return { words: `bring ${host} back`, effort: 9 }
  }
}

function labelFix(want: string): string {
  const rule = parseWhere(want)
  switch (rule.kind) {
    case 'has':
      return `label a host ${rule.key}`
    case 'lacks':
      return `remove the label ${rule.key} from a host`
    case 'in':
      return `label a host ${rule.key}=${rule.values[0]}`
    case 'not-in':
      return `label a host so that ${want}`
  }
}

const cores = (milli: number): string => String(milli / 1000)
const cpus = (milli: number): string => `${cores(milli)} ${milli === 1000 ? 'cpu' : 'cpus'}`
const seconds = (ms: number): string => `${Math.ceil(ms / 1000)} s`
