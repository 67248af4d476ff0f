/** What people read of an obstacle, wherever it is shown: what is in the way, and the change that takes it away. */
import { plural } from '../model/plural.ts'
import type { Obstacle } from './obstacle.ts'
import { parseWhere } from './where.ts'

/** Why a host cannot take an instance, in a clause after the host's name: `needs 512 MiB of memory, 128 of 1024 MiB are free`. */
export function obstacleWords(obstacle: Obstacle): string {
  switch (obstacle.kind) {
    case 'suspect':
      return 'does not report just now; the leader asks it'
    case 'lost':
      return 'is lost'
    case 'cordoned':
      return obstacle.why === '' ? 'is cordoned' : `is cordoned: ${obstacle.why}`
    case 'draining':
      return 'is being drained'
    case 'engine-down':
      return `its Docker engine does not answer: ${obstacle.reason}`
    case 'orders-refused':
      return `refuses orders: ${obstacle.reason}`
    case 'cpus': {
      const { needMilli, freeMilli, totalMilli } = obstacle
      const free = `${cores(freeMilli)} of ${cores(totalMilli)} are free`
      const over = `${cores(-freeMilli)} more than its ${cores(totalMilli)} are taken`
      return `needs ${plural(needMilli / 1000, 'core')}, ${freeMilli < 0 ? over : free}`
    }
    case 'memory': {
      const { needMiB, freeMiB, totalMiB } = obstacle
      const free = `${freeMiB} of ${totalMiB} MiB are free`
      const over = `${-freeMiB} MiB more than its ${totalMiB} MiB are taken`
      return `needs ${needMiB} MiB of memory, ${freeMiB < 0 ? over : free}`
    }
    case 'port':
      return `port ${obstacle.port} is held by ${obstacle.heldBy}`
    case 'no-free-port':
      return obstacle.to < obstacle.from
        ? 'has no ports to hand out'
        : `no host port from ${obstacle.from} to ${obstacle.to} is free; one that was released rests for ten minutes`
    case 'label':
      return `wants '${obstacle.want}', has ${obstacle.have}`
    case 'max-per-host':
      return `runs ${obstacle.have} already, and maxPerHost is ${obstacle.max}`
    case 'failed-here':
      return `it kept failing there; tried again in ${seconds(obstacle.forMs)}`
    case 'internal-error':
      return `internal error: the leader fails at ${obstacle.doing} and tries again: ${obstacle.error}`
  }
}

export interface Fix {
  readonly words: string
  /** The lower the easier; below 1 it only takes patience, from 10 on it takes another host or another spec. */
  readonly effort: number
}

/** The smallest change that takes an obstacle on a host away. */
export function fixOf(host: string, obstacle: Obstacle): Fix {
  switch (obstacle.kind) {
    case 'suspect':
      return { words: `wait until host ${host} answers, or add a host`, effort: 0.2 }
    case 'failed-here':
      return { words: `wait ${seconds(obstacle.forMs)} until host ${host} is tried again`, effort: 0.3 }
    case 'cordoned':
      return { words: `uncordon host ${host}: boxcar host uncordon ${host}`, effort: 1 }
    case 'max-per-host':
      return { words: `raise /placement/maxPerHost above ${obstacle.max}, or add a host`, effort: 2 }
    case 'draining':
      return { words: `end the drain of host ${host}: boxcar host drain ${host} --cancel`, effort: 3 }
    case 'label':
      return { words: labelFix(host, obstacle.want), effort: 4 }
    case 'cpus': {
      const { needMilli, freeMilli, totalMilli } = obstacle
      const field = '/resources/reservations/cpus'
      if (needMilli > totalMilli)
        return { words: tooSmall(host, field, cores(totalMilli)), effort: 10 + needMilli / (totalMilli + 1) }
      const lower = freeMilli > 0 ? `lower ${field} to ${cores(freeMilli)}, ` : ''
      const missing = needMilli - freeMilli
      return {
        words: `free ${plural(missing / 1000, 'core')} on host ${host}, ${lower}or add a host`,
        effort: 5 + missing / totalMilli,
      }
    }
    case 'memory': {
      const { needMiB, freeMiB, totalMiB } = obstacle
      const field = '/resources/reservations/memory'
      if (needMiB > totalMiB)
        return { words: tooSmall(host, field, `${totalMiB}MiB`), effort: 10 + needMiB / (totalMiB + 1) }
      const lower = freeMiB > 0 ? `lower ${field} to ${freeMiB}MiB, ` : ''
      const missing = needMiB - freeMiB
      return {
        words: `free ${missing} MiB on host ${host}, ${lower}or add a host`,
        effort: 5 + missing / totalMiB,
      }
    }
    case 'port':
      return {
        words: `leave out the fixed hostPort ${obstacle.port}, or add a host where it is free`,
        effort: 6,
      }
    case 'no-free-port':
      return { words: `give host ${host} a wider range of ports`, effort: 7 }
    case 'internal-error':
      return { words: `add a host; host ${host} is left out until the leader can handle it`, effort: 9 }
    case 'engine-down':
      return { words: `start the Docker engine on host ${host}`, effort: 8 }
    case 'orders-refused':
      return {
        words: `mend the store, or raise its epoch (docs/three-machines.md): host ${host} refuses its orders`,
        effort: 8,
      }
    case 'lost':
      return { words: `bring host ${host} back, or add a host`, effort: 9 }
  }
}

const tooSmall = (host: string, field: string, total: string): string =>
  `lower ${field} to at most ${total} (host ${host} has no more), or add a larger host`

function labelFix(host: string, want: string): string {
  const rule = parseWhere(want)
  const label = rule.kind === 'in' ? `${rule.key}=${rule.values[0]}` : '…'
  return `label a host so that '${want}' holds: boxcar host label ${host} ${label}, or change /placement/where`
}

const cores = (milli: number): string => String(milli / 1000)
const seconds = (ms: number): string => `${Math.ceil(ms / 1000)} s`
