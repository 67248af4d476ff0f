/** Sentences for people, from the records of the cluster. Everything shown in words is also there as data. */

import type { Rejection, Rollout } from '@boxcar/core/model/rollout'
import type { Obstacle } from '@boxcar/core/placement/obstacle'

/** Why a host cannot take an instance, in a clause: `needs 512 MiB, 128 MiB of 1024 MiB are free`. */
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
    case 'cpus':
      return `needs ${cores(obstacle.needMilli)} cores, ${cores(obstacle.freeMilli)} of ${cores(obstacle.totalMilli)} are free`
    case 'memory':
      return `needs ${obstacle.needMiB} MiB of memory, ${obstacle.freeMiB} of ${obstacle.totalMiB} MiB are free`
    case 'port':
      return `port ${obstacle.port} is held by ${obstacle.heldBy}`
    case 'no-free-port':
      return `no host port from ${obstacle.from} to ${obstacle.to} is free`
    case 'label':
      return `wants '${obstacle.want}', the host has ${obstacle.have === '' ? 'no such label' : `'${obstacle.have}'`}`
    case 'max-per-host':
      return `runs ${obstacle.have} already, and maxPerHost is ${obstacle.max}`
    case 'still-stopping':
      return `${obstacle.instance} still stops there`
    case 'failed-here':
      return `it kept failing there; tried again in ${Math.ceil(obstacle.forMs / 1000)} s`
  }
}

const cores = (milli: number) => String(milli / 1000)

/** The smallest change that takes an obstacle away, or none that a person can make. */
export function fixFor(host: string, obstacle: Obstacle): string | undefined {
  switch (obstacle.kind) {
    case 'cordoned':
      return `uncordon host ${host}: boxcar host uncordon ${host}`
    case 'draining':
      return `end the drain of host ${host}: boxcar host drain ${host} --cancel`
    case 'engine-down':
      return `start the Docker engine on host ${host}`
    case 'cpus':
      return obstacle.needMilli > obstacle.totalMilli
        ? `lower /resources/reservations/cpus to at most ${cores(obstacle.totalMilli)} (host ${host} has no more)`
        : `free ${cores(obstacle.needMilli - obstacle.freeMilli)} cores on host ${host}, lower /resources/reservations/cpus to ${cores(obstacle.freeMilli)}, or add a host`
    case 'memory':
      return obstacle.needMiB > obstacle.totalMiB
        ? `lower /resources/reservations/memory to at most ${obstacle.totalMiB}MiB (host ${host} has no more)`
        : `free ${obstacle.needMiB - obstacle.freeMiB} MiB on host ${host}, lower /resources/reservations/memory to ${obstacle.freeMiB}MiB, or add a host`
    case 'port':
      return `leave out the fixed hostPort ${obstacle.port}, or add a host where it is free`
    case 'no-free-port':
      return `give host ${host} a wider range of ports`
    case 'label':
      return `label a host so that '${obstacle.want}' holds: boxcar host label ${host} …, or change /placement/where`
    case 'max-per-host':
      return `raise /placement/maxPerHost above ${obstacle.max}, or add a host`
    case 'suspect':
    case 'lost':
      return `bring host ${host} back, or add a host`
    case 'still-stopping':
    case 'failed-here':
      return undefined
  }
}

export function rejectionWords(rejection: Pick<Rejection, 'generation' | 'because'>): string {
  const generation = `generation ${rejection.generation}`
  switch (rejection.because) {
    case 'image-not-found':
      return `the image of ${generation} cannot be had`
    case 'not-ready-by-deadline':
      return `${generation} was not ready by its deadline`
    case 'aborted':
      return `the rollout of ${generation} was aborted`
    case 'undone':
      return `${generation} was undone`
    case 'superseded':
      return `a newer deploy took the place of ${generation}`
  }
}

/** Where a rollout stands. `ready` and `wanted` are those of the generation that is being rolled out. */
export function rolloutWords(
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
      return `generation ${now.next} starts, ${seen.ready} of ${seen.wanted} ready; ${
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

export const plural = (n: number, one: string): string => `${n} ${one}${n === 1 ? '' : 's'}`
