/**
 * Which running instances stand where their service could not be placed today. A change of `placement` in place, another label
 * of a host or a smaller capacity moves nothing by itself, so it must be said.
 *
 * Three constraints are judged: labels, `maxPerHost` and capacity. Whether a host takes new work (cordoned, suspect, engine
 * down) says nothing about what runs there, a draining host is emptied anyway, and host ports are held by the instance
 * itself.
 */
import { byId, type GenerationNumber, type HostId, type InstanceId } from '../model/ids.ts'
import { plural } from '../model/plural.ts'
import { nearestFix } from './explain.ts'
import type { Obstacle } from './obstacle.ts'
import { type LabelRule, labelObstacles, parseWhere } from './where.ts'
import { obstacleWords } from './words.ts'

/** What a spec says of placing, as far as it is judged here. */
export interface PlacementRules {
  readonly where: readonly string[]
  readonly maxPerHost?: number | undefined
}

/** A running instance of the live or the next generation. */
export interface Standing {
  readonly instance: InstanceId
  readonly generation: GenerationNumber
  readonly slot: number
  readonly host: HostId
}

/** What a host has, and what there is no room for on it. */
export interface HostFacts {
  /** Its own labels and those of operators. */
  readonly labels: Readonly<Record<string, string>>
  /** From `beyondCapacity`. */
  readonly beyond: ReadonlyMap<InstanceId, readonly Obstacle[]>
}

export interface Misplaced {
  readonly instance: InstanceId
  readonly host: HostId
  /** Why it would not be placed there today; at least one. */
  readonly obstacles: readonly Obstacle[]
}

/** In the order given. Nothing is said of a host that is not known: the leader moves what stood there. */
export function misplaced(
  { where, maxPerHost }: PlacementRules,
  running: readonly Standing[],
  hostFacts: ReadonlyMap<HostId, HostFacts>,
): readonly Misplaced[] {
  const rules = where.map(parseWhere)
  const crowded = maxPerHost === undefined ? new Map<InstanceId, Obstacle>() : beyondMax(maxPerHost, running)
  return running.flatMap(({ instance, host }) => {
    const facts = hostFacts.get(host)
    if (facts === undefined) return []
    const tooMany = crowded.get(instance)
    const obstacles = [
      ...labelObstacles(facts.labels, rules),
      ...(tooMany === undefined ? [] : [tooMany]),
      ...(facts.beyond.get(instance) ?? []),
    ]
    return obstacles.length === 0 ? [] : [{ instance, host, obstacles }]
  })
}

/** Of each generation on each host, those beyond the maximum: the highest slots. */
function beyondMax(max: number, running: readonly Standing[]): ReadonlyMap<InstanceId, Obstacle> {
  const together = Map.groupBy(running, ({ host, generation }) => `${host} ${generation}`)
  const beyond = new Map<InstanceId, Obstacle>()
  for (const group of together.values())
    for (const { instance } of [...group].sort((a, b) => a.slot - b.slot).slice(max))
      beyond.set(instance, { kind: 'max-per-host', max, have: group.length })
  return beyond
}

/** Which they are, in a clause; one of them is named. */
export function misplacedWords(found: readonly Misplaced[]): string | undefined {
  const [first] = found
  if (first === undefined) return undefined
  const stand = found.length === 1 ? 'stands where it' : 'stand where they'
  const which = `${first.instance} on ${first.host} ${first.obstacles.map(obstacleWords).join(' and ')}`
  const more = found.length === 1 ? '' : ` (and ${found.length - 1} more)`
  return `${plural(found.length, 'instance')} ${stand} could not be placed now: ${which}${more}`
}

/** What an instance counts against its host. */
export interface Reserved {
  readonly instance: InstanceId
  readonly cpuMilli: number
  readonly memoryMiB: number
}

/**
 * Which instances a host has no room for, since it shrank or reserves more for itself. `running` is in the order in which they
 * were placed: those placed last are beyond.
 */
export function beyondCapacity(
  capacity: { readonly cpuMilli: number; readonly memoryMiB: number },
  running: readonly Reserved[],
): ReadonlyMap<InstanceId, readonly Obstacle[]> {
  const free = { ...capacity }
  const missing: Reserved[] = []
  for (const each of running) {
    const fits = each.cpuMilli <= free.cpuMilli && each.memoryMiB <= free.memoryMiB
    if (fits) {
      free.cpuMilli -= each.cpuMilli
      free.memoryMiB -= each.memoryMiB
    } else missing.push(each)
  }
  const total = (of: (each: Reserved) => number) => running.reduce((sum, each) => sum + of(each), 0)
  const freeMilli = capacity.cpuMilli - total(each => each.cpuMilli)
  const freeMiB = capacity.memoryMiB - total(each => each.memoryMiB)
  return new Map(
    missing.map(({ instance, cpuMilli, memoryMiB }): [InstanceId, readonly Obstacle[]] => {
      const cpus = { kind: 'cpus', needMilli: cpuMilli, freeMilli, totalMilli: capacity.cpuMilli } as const
      const memory = { kind: 'memory', needMiB: memoryMiB, freeMiB, totalMiB: capacity.memoryMiB } as const
      return [instance, [...(freeMilli < 0 ? [cpus] : []), ...(freeMiB < 0 ? [memory] : [])]]
    }),
  )
}

/**
 * What to do about it, in one sentence: the labels, where no host has them; else what replaces the instances. `hosts` are all
 * that are known. Undefined where nothing is misplaced.
 */
export function nextStep(
  found: readonly Misplaced[],
  { where }: PlacementRules,
  hosts: readonly { readonly host: HostId; readonly labels: HostFacts['labels'] }[],
): string | undefined {
  const host = mostMisplaced(found)
  if (host === undefined) return undefined
  const rules: readonly LabelRule[] = where.map(parseWhere)
  const lacking = hosts.map(each => ({ host: each.host, obstacles: labelObstacles(each.labels, rules) }))
  const nowhere = lacking.every(({ obstacles }) => obstacles.length > 0)
  const fix = nowhere ? nearestFix(lacking) : undefined
  return (
    fix ??
    `they stay until they are replaced: deploy a change that makes a new generation, or boxcar host drain ${host} moves everything on ${host} to hosts that can take it`
  )
}

/** The host with most of them; the lowest id where several have as many. */
function mostMisplaced(found: readonly Misplaced[]): HostId | undefined {
  const byHost = Map.groupBy(found, ({ host }) => host)
  const [most] = [...byHost].sort(([a, here], [b, there]) => there.length - here.length || byId(a, b))
  return most?.[0]
}
