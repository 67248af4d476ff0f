/** Says host by host why instances wait; written only when it reads differently from what stands. */
import { type GenerationNumber, instanceId } from '../model/ids.ts'
import type { Ask } from '../placement/choose.ts'
import { type Explained, explain, nearest } from '../placement/explain.ts'
import type { Obstacle, Pending } from '../placement/obstacle.ts'
import type { ServiceDraft } from './draft.ts'

/** Instances of a generation that no host took; `slot` is the first of them. */
export interface Waiting {
  readonly generation: GenerationNumber
  readonly slot: number
  readonly count: number
  readonly ask: Ask
}

/** Hosts told of in a stored record, those nearest to taking it: a value must stay well under 64 KiB. */
const mostExplained = 50

export function tellWaiting(service: ServiceDraft, waiting: readonly Waiting[]): void {
  const { view, draft } = service
  const { world, policy } = draft
  const [first] = waiting
  if (first === undefined) {
    if (view.pending !== undefined) service.add({ kind: 'no-longer-pending' })
    return
  }
  world.waiting.add(view.name)
  const explained = explain(world.columns, first.ask)
  askForRoom(service, explained)
  const instance = instanceId({ service: view.name, generation: first.generation, slot: first.slot })
  const hosts = nearest(explained, mostExplained).map(({ host, obstacles }) => ({
    host,
    obstacles: [...obstacles],
  }))
  const count = waiting.reduce((sum, w) => sum + w.count, 0)
  const pending: Pending = {
    service: view.name,
    uid: view.spec?.value.uid ?? '',
    term: policy.term,
    waiting: [{ instance, hosts }],
    count,
    at: policy.wall,
  }
  const stored = view.pending?.value
  if (stored !== undefined && print(stored) === print(pending)) return
  service.add({ kind: 'pending', pending })
  if (stored !== undefined) return
  service.tell({
    level: 'warning',
    kind: 'waiting',
    generation: first.generation,
    message: `${count} instances wait: no host can take them`,
  })
}

/** Which host lacks what for whom; how much is free changes with everything and does not count. */
const print = ({ uid, count, waiting }: Pending): string =>
  JSON.stringify([
    uid,
    count,
    waiting.map(w => [w.instance, w.hosts.map(h => [h.host, h.obstacles.map(o => o.kind)]).sort()]),
  ])

/** Where room is all that is missing, warm generations make way. */
function askForRoom({ view, draft }: ServiceDraft, explained: readonly Explained[]): void {
  if (!explained.some(({ obstacles }) => obstacles.every(isLackOfRoom))) return
  draft.world.shortOfRoom.add(view.name)
  for (const name of draft.world.warm) draft.world.dirty.add(name)
}

const isLackOfRoom = ({ kind }: Obstacle): boolean =>
  kind === 'cpus' || kind === 'memory' || kind === 'no-free-port'
