/** Says host by host why instances wait; written only when it reads differently from what stands. */
import { type GenerationNumber, instanceId } from '../model/ids.ts'
import { plural, pluralVerb } from '../model/plural.ts'
import { cutText } from '../model/text.ts'
import type { Ask } from '../placement/choose.ts'
import { type Explained, explain, nearest } from '../placement/explain.ts'
import type { Obstacle, Pending } from '../placement/obstacle.ts'
import { obstacleWords } from '../placement/words.ts'
import type { ServiceDraft } from './draft.ts'

/** Instances of a generation that no host took; `slot` is the first of them. */
export interface Waiting {
  readonly generation: GenerationNumber
  readonly slot: number
  readonly count: number
  readonly ask: Ask
}

/** Hosts told of in a stored record, those nearest to taking it: a value must stay well under 64 KiB, whatever texts it quotes. */
const mostExplained = 50
const mostExplainedBytes = 40 * 1024
const mostTextBytes = 500

/** `obstacles`: what is in the way of the whole service. */
export function tellWaiting(
  service: ServiceDraft,
  waiting: readonly Waiting[],
  obstacles: readonly Obstacle[] = [],
): void {
  const { view, draft } = service
  const [first] = waiting
  if (first === undefined && obstacles.length === 0) {
    if (view.pending !== undefined) service.add({ kind: 'no-longer-pending' })
    return
  }
  const count = waiting.reduce((sum, w) => sum + w.count, 0)
  const pending: Pending = {
    service: view.name,
    uid: view.spec?.value.uid ?? '',
    term: draft.policy.term,
    waiting: first === undefined ? [] : [explainFirst(service, first)],
    ...(obstacles.length === 0 ? {} : { obstacles: obstacles.map(bounded) }),
    count,
    at: draft.policy.wall,
  }
  const stored = view.pending?.value
  if (stored !== undefined && print(stored) === print(pending)) return
  service.add({ kind: 'pending', pending })
  tellObstacles(service, stored, pending)
  if (first === undefined || (stored?.count ?? 0) > 0) return
  service.tell({
    level: 'warning',
    kind: 'waiting',
    generation: first.generation,
    message: `${plural(count, 'instance')} ${pluralVerb(count, 'wait')}: no host can take ${count === 1 ? 'it' : 'them'}`,
  })
}

/** What stands in the way of the whole service is told when it comes up. */
function tellObstacles(
  service: ServiceDraft,
  before: Pending | undefined,
  { obstacles = [] }: Pending,
): void {
  const known = new Set(before?.obstacles?.map(obstacleWords))
  for (const obstacle of obstacles) {
    const message = obstacleWords(obstacle)
    if (!known.has(message)) service.tell({ level: 'error', kind: obstacle.kind, message })
  }
}

function explainFirst(service: ServiceDraft, first: Waiting): Pending['waiting'][number] {
  const { view, draft } = service
  const { world } = draft
  world.waiting.add(view.name)
  const explained = explain(world.columns, first.ask)
  askForRoom(service, first.ask, explained)
  wakeForPorts(service, explained)
  const instance = instanceId({ service: view.name, generation: first.generation, slot: first.slot })
  const hosts: { host: string; obstacles: Obstacle[] }[] = []
  let bytes = 0
  for (const { host, obstacles } of nearest(explained, mostExplained)) {
    const told = { host, obstacles: obstacles.map(bounded) }
    bytes += JSON.stringify(told).length
    if (hosts.length > 0 && bytes > mostExplainedBytes) break
    hosts.push(told)
  }
  return { instance, hosts }
}

/** The same obstacle; what it quotes of hosts and operators is cut. */
const bounded = (obstacle: Obstacle): Obstacle =>
  // The same fields with the same types.
  Object.fromEntries(
    Object.entries(obstacle).map(([name, value]) => [
      name,
      typeof value === 'string' ? cutText(value, mostTextBytes) : value,
    ]),
  ) as Obstacle

/** Which host lacks what for whom; how much is free changes with everything and does not count. */
const print = ({ uid, count, waiting, obstacles = [] }: Pending): string =>
  JSON.stringify([
    uid,
    count,
    obstacles.map(obstacleWords),
    waiting.map(w => [w.instance, w.hosts.map(h => [h.host, h.obstacles.map(o => o.kind)]).sort()]),
  ])

/** Where room is all that is missing on a host that is large enough, warm generations make way. */
function askForRoom({ view, draft }: ServiceDraft, ask: Ask, explained: readonly Explained[]): void {
  if (!explained.some(({ obstacles }) => obstacles.every(it => isLackOfRoom(it, ask)))) return
  draft.world.shortOfRoom.add(view.name)
  for (const name of draft.world.warm) draft.world.dirty.add(name)
}

/** What others could give up: a host that is too small stays so, whoever goes. */
function isLackOfRoom(obstacle: Obstacle, ask: Ask): boolean {
  switch (obstacle.kind) {
    case 'cpus':
      return obstacle.needMilli <= obstacle.totalMilli
    case 'memory':
      return obstacle.needMiB <= obstacle.totalMiB
    case 'no-free-port':
      return ask.dynamicPorts.length <= obstacle.to - obstacle.from + 1
    default:
      return false
  }
}

/** Nothing happens when a port has rested, so the service looks again by itself; not more often than this. */
const leastWaitMs = 1000

function wakeForPorts(service: ServiceDraft, explained: readonly Explained[]): void {
  const { world, now } = service.draft
  let freeAt = Number.POSITIVE_INFINITY
  for (const { host, obstacles } of explained)
    if (obstacles.some(({ kind }) => kind === 'no-free-port'))
      freeAt = Math.min(freeAt, world.columns.portsFreeAt(host))
  if (Number.isFinite(freeAt)) service.wakeIn(Math.max(leastWaitMs, freeAt - now))
}
