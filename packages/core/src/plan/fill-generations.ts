/**
 * Which instances shall run. Every generation that the phase names in full gets its number of instances; what runs beyond
 * that, on draining hosts, or of generations that nobody names, leaves: traffic first, then the process.
 */
import { byId, type GenerationNumber, type HostId, instanceId } from '../model/ids.ts'
import type { Placement } from '../model/placement.ts'
import type { Report } from '../model/report.ts'
import type { Rollout } from '../model/rollout.ts'
import { reservationOf, type Template } from '../model/spec.ts'
import { type Ask, choose } from '../placement/choose.ts'
import type { Obstacle } from '../placement/obstacle.ts'
import { portSeed } from '../placement/ports.ts'
import { parseWhere } from '../placement/where.ts'
import { wantedGenerations } from '../rollout/rollout.ts'
import type { ServiceDraft } from './draft.ts'
import { resolutionKey } from './memory.ts'
import { isOnLostHost, isReady, reportOn } from './readiness.ts'
import { tellWaiting, type Waiting } from './tell-waiting.ts'

export interface Leaver {
  readonly placement: Placement
  readonly because: Placement['because']
}
/** By the key of the world's placements. */
export type Leaving = ReadonlyMap<string, Leaver>

/** An engine that is down for so long gives its instances away. */
const engineDownMs = 15_000
/** Attempts on one host before another is tried, where the generation is fine elsewhere; a start that failed is one, too. */
const attemptsBeforeMove = 5

export function fillGenerations(service: ServiceDraft, rollout: Rollout): { readonly leaving: Leaving } {
  const { view, draft } = service
  const leaving = new Map<string, Leaver>()
  const wanted = wantedGenerations(rollout.now)
  const named = new Set(wanted.map(w => w.generation))
  const running = new Map<GenerationNumber, Running[]>()
  for (const [key, seen] of view.placements) {
    const placement = seen.value
    if (placement.desired === 'stop' || isOnLostHost(draft.world, placement)) continue
    if (placement.uid !== rollout.uid) leaving.set(key, { placement, because: 'deleted' })
    else if (!named.has(placement.generation))
      leaving.set(key, { placement, because: whyUnwanted(rollout, placement.generation) })
    else
      push(running, placement.generation, {
        key,
        placement,
        ready: isReady(draft.world, seen),
        report: reportOn(draft.world, seen),
      })
  }

  const waiting: Waiting[] = []
  for (const { generation, fill } of wanted) {
    if (fill === 'keep') continue
    const short = fillOne(service, rollout, generation, running.get(generation) ?? [], leaving)
    if (short !== undefined) waiting.push(short)
  }
  tellWaiting(service, waiting, failureOfQuestion(service, rollout))
  for (const { generation, fill } of wanted)
    if (fill === 'keep') letGo(service, rollout, running.get(generation) ?? [], leaving)
  return { leaving }
}

/** Asking for the digest of the image threw: the leader's own failure, and no answer of a host. */
function failureOfQuestion({ view, draft }: ServiceDraft, { now, uid }: Rollout): readonly Obstacle[] {
  if (now.phase !== 'resolving') return []
  const answer = draft.memory.resolutions.get(resolutionKey(view.name, uid, now.next))
  return answer?.kind === 'failed' && answer.isInternal === true
    ? [{ kind: 'internal-error', doing: 'resolving its image', error: answer.reason }]
    : []
}

/** What is only kept is not placed anew: it goes with its host, and, once it is merely warm, where others need the room. */
function letGo(
  service: ServiceDraft,
  rollout: Rollout,
  running: readonly Running[],
  leaving: Map<string, Leaver>,
): void {
  const makesWay = rollout.now.phase === 'settled' && service.draft.world.shortOfRoom.size > 0
  const fine = hostsOfReady(running)
  for (const each of running) {
    const because = whyMove(service, each, fine) ?? (makesWay ? 'unwanted' : undefined)
    if (because !== undefined) leaving.set(each.key, { placement: each.placement, because })
  }
}

interface Running {
  readonly key: string
  readonly placement: Placement
  readonly ready: boolean
  readonly report: Report | undefined
}

function fillOne(
  service: ServiceDraft,
  rollout: Rollout,
  generation: GenerationNumber,
  running: readonly Running[],
  leaving: Map<string, Leaver>,
): Waiting | undefined {
  const count = service.view.spec?.value.replicas ?? 0
  const fine = hostsOfReady(running)
  const movers: (Running & { readonly because: Placement['because'] })[] = []
  const stay: Running[] = []
  for (const each of running) {
    const because = whyMove(service, each, fine)
    if (because === undefined) stay.push(each)
    else movers.push({ ...each, because })
  }
  stay.sort(readyThenLowSlotFirst)
  for (const { key, placement } of stay.slice(count)) leaving.set(key, { placement, because: 'unwanted' })

  const kept = stay.slice(0, count)
  const readyKept = kept.filter(r => r.ready).length
  // A mover that answers goes only when enough others do; one that does not is no loss.
  let spare = readyKept + movers.filter(r => r.ready).length - count
  for (const mover of movers) {
    if (mover.ready && spare-- <= 0) continue
    leaving.set(mover.key, { placement: mover.placement, because: mover.because })
  }
  return kept.length < count
    ? placeMissing(service, rollout, generation, count - kept.length, running)
    : undefined
}

const hostsOfReady = (running: readonly Running[]): ReadonlySet<HostId> =>
  new Set(running.filter(r => r.ready).map(r => r.placement.host))

/** Why an instance shall run on another host, although it is wanted; `fine` are the hosts where its generation does well. */
function whyMove(
  service: ServiceDraft,
  { placement, ready, report }: Running,
  fine: ReadonlySet<HostId>,
): 'drain' | 'failing' | undefined {
  const { world, memory, now } = service.draft
  const host = world.hosts.get(placement.host)
  if (host?.settings?.drain !== undefined) return 'drain'
  const downMs = memory.engineDownMs(placement.host, host?.record?.engine.state ?? 'up', now)
  if (downMs > engineDownMs) return 'failing'
  if (downMs > 0) service.wakeIn(engineDownMs - downMs + 1)
  if (ready || report?.state !== 'backoff' || report.attempt < attemptsBeforeMove) return undefined
  if (fine.size === 0 || (fine.size === 1 && fine.has(placement.host))) return undefined
  memory.avoid(service.view.name, placement.host, now)
  return 'failing'
}

function placeMissing(
  service: ServiceDraft,
  rollout: Rollout,
  generation: GenerationNumber,
  count: number,
  running: readonly Running[],
): Waiting | undefined {
  const { view, draft } = service
  const record = view.generations.get(generation)?.value
  const image = rollout.images[generation]
  if (record === undefined || image === undefined) return undefined
  const ask = askOf(service, record.template, running)
  const slots = freeSlots(service, generation)
  const load = reservationOf(record.template)
  const placed = new Map<HostId, number>()
  const { columns } = draft.world
  const hosts = choose(columns, ask, count)
  let slot = slots.next()
  let done = 0
  for (const host of hosts) {
    const picked = columns.pickPorts(host, ask, draft.now, portSeed(draft.policy.term, host))
    if ('obstacle' in picked) continue
    const placement: Placement = {
      instance: instanceId({ service: view.name, generation, slot }),
      service: view.name,
      generation,
      slot,
      host,
      uid: rollout.uid,
      term: draft.policy.term,
      desired: 'run',
      because: 'missing',
      ...load,
      ports: picked.ports,
      image,
    }
    draft.take(placement)
    service.add({ kind: 'place', placement })
    placed.set(host, (placed.get(host) ?? 0) + 1)
    slot = slots.next()
    done++
  }
  if (done > 0)
    service.tell({
      level: 'info',
      kind: 'placed',
      generation,
      message: `placed ${done} of generation ${generation}: ${spelled(placed)}`,
    })
  if (done === count) return undefined
  // What was placed just now may be what stands in the way of the rest.
  const have = new Map(ask.have)
  for (const [host, more] of placed) have.set(host, (have.get(host) ?? 0) + more)
  return { generation, slot, count: count - done, ask: { ...ask, have } }
}

function askOf(service: ServiceDraft, template: Template, running: readonly Running[]): Ask {
  const { view, draft } = service
  const spec = view.spec?.value.spec
  const have = new Map<HostId, number>()
  for (const { placement } of running) have.set(placement.host, (have.get(placement.host) ?? 0) + 1)
  return {
    ...reservationOf(template),
    dynamicPorts: template.ports.filter(p => p.hostPort === undefined).map(p => p.name),
    fixedPorts: template.ports.flatMap(p =>
      p.hostPort === undefined ? [] : [{ name: p.name, port: p.hostPort }],
    ),
    where: (spec?.placement.where ?? []).map(parseWhere),
    maxPerHost: spec?.placement.maxPerHost,
    strategy: spec?.placement.strategy ?? 'spread',
    have,
    avoid: draft.memory.avoided(view.name, draft.now),
  }
}

/** Slots from 0 that no instance of the generation holds; a copy on a lost host does not count, one that still stops does. */
function freeSlots(service: ServiceDraft, generation: GenerationNumber): { next(): number } {
  const held = new Set<number>()
  for (const { value } of service.view.placements.values())
    if (value.generation === generation && !isOnLostHost(service.draft.world, value)) held.add(value.slot)
  let slot = -1
  return {
    next() {
      do slot++
      while (held.has(slot))
      return slot
    },
  }
}

function whyUnwanted(rollout: Rollout, generation: GenerationNumber): Placement['because'] {
  return rollout.now.phase === 'reverted' && rollout.now.rejected === generation ? 'reverted' : 'unwanted'
}

const readyThenLowSlotFirst = (a: Running, b: Running): number =>
  Number(b.ready) - Number(a.ready) || a.placement.slot - b.placement.slot

const spelled = (placed: ReadonlyMap<HostId, number>): string =>
  [...placed]
    .sort(([a], [b]) => byId(a, b))
    .map(([host, count]) => (count === 1 ? host : `${host} ×${count}`))
    .join(', ')

function push<Key, Value>(map: Map<Key, Value[]>, key: Key, value: Value): void {
  const list = map.get(key)
  if (list === undefined) map.set(key, [value])
  else list.push(value)
}
