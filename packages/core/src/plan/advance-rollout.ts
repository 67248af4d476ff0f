import type { GenerationNumber } from '../model/ids.ts'
import { plural } from '../model/plural.ts'
import { compareRevisions, type Revision } from '../model/revision.ts'
import type { Evidence, Rollout } from '../model/rollout.ts'
import { listenersOf } from '../model/route.ts'
import { isSameButForImage } from '../model/spec.ts'
import { evidenceLimit } from '../rollout/evidence.ts'
import {
  advance,
  begin,
  isNewlyAsked,
  patienceMs,
  type RolloutSeen,
  trafficShares,
} from '../rollout/rollout.ts'
import { countedUnserved, type UnservedLookup } from '../rollout/unserved.ts'
import type { ServiceDraft } from './draft.ts'
import { type Memory, resolutionKey } from './memory.ts'
import { unservedOnHosts } from './proxies.ts'
import { isReady, proxiesApply, reportOn } from './readiness.ts'

/** At most so many phases at once: resolving may find the same image and settle in one go, for example. */
const mostSteps = 4
const retryResolveMs = 2000

/** Takes the rollout as far as what is seen allows; the record as it will be. */
export function advanceRollout(service: ServiceDraft): Rollout {
  const { view, draft } = service
  const spec = view.spec?.value
  if (spec === undefined) throw new Error('a service without a spec is retired, not rolled out')
  const stored = view.rollout?.value.uid === spec.uid ? view.rollout.value : undefined
  let rollout = stored ?? begin(view.name, spec.uid, spec.generation, draft.policy.wall)
  if (stored === undefined) {
    forgetPredecessor(service, spec.uid)
    service.tell({
      level: 'info',
      kind: 'rollout-began',
      generation: spec.generation,
      message: `the rollout of generation ${spec.generation} began`,
    })
  } else forgetAnswers(service, stored)

  const policy = {
    progressDeadlineMs: spec.spec.rollout.progressDeadline,
    keepWarmMs: spec.spec.rollout.keepWarm,
  }
  const intents = [...view.intents.values()].map(seen => seen.value).sort((a, b) => a.at - b.at)
  const unserved = unservedBy(service)
  for (let step = 0; step < mostSteps; step++) {
    const seen = seenOf(service, rollout, unserved)
    const [intent] = isNewlyAsked(rollout, seen) ? [] : intents.splice(0, 1)
    if (intent !== undefined) service.add({ kind: 'intent-done', id: intent.id })
    const due = intent?.uid === spec.uid ? intent : undefined
    const next = advance(rollout, { ...seen, intent: due }, policy)
    for (const line of next.story) service.tell({ ...line, generation: liveOrNext(next.rollout) })
    if (next.rollout === rollout && intent === undefined) break
    rollout = next.rollout
  }
  if (rollout !== stored) service.add({ kind: 'rollout', rollout: { ...rollout, term: draft.policy.term } })
  wakeForDeadlines(service, rollout, policy, unserved)
  askForDigest(service, rollout)
  return rollout
}

function seenOf(service: ServiceDraft, rollout: Rollout, unserved: RolloutSeen['unserved']): RolloutSeen {
  const { view, draft } = service
  const spec = view.spec?.value
  const now = rollout.now
  const next = 'next' in now ? now.next : undefined
  return {
    asked: spec?.generation ?? rollout.asked,
    intent: undefined,
    resolution:
      next === undefined
        ? undefined
        : draft.memory.resolutions.get(resolutionKey(view.name, rollout.uid, next)),
    isReady: generation => readyCount(service, generation) >= (spec?.replicas ?? 0),
    applied: proxiesApply(service, rollout.uid, trafficShares(now)),
    unserved,
    routedPorts: routedPorts(service, rollout.uid),
    ...phaseClock(service, rollout),
    evidence: generation => evidenceOf(service, generation),
    exists: generation => view.generations.get(generation)?.value.uid === rollout.uid,
    isSame: (generation, image, other) => {
      const [a, b] = [view.generations.get(generation)?.value, view.generations.get(other)?.value]
      if (a === undefined || b === undefined || rollout.images[other] !== image) return false
      return isSameButForImage(a.template, b.template)
    },
    wall: draft.policy.wall,
  }
}

/** What live hosts cannot serve of the listeners that the spec asks for: not looked up where nothing waits for it. */
function unservedBy({ view, draft }: ServiceDraft): UnservedLookup {
  return ({ isAsked = () => true, most } = {}) => {
    const listeners = listenersOf(view.spec?.value.spec.routes ?? []).filter(({ listen }) => isAsked(listen))
    return unservedOnHosts(draft.proxies, view.name, listeners, most).map(one => ({
      ...one,
      isNewHost: cameAfter(draft.world.hosts.get(one.host)?.presence?.modified, view.rollout?.modified),
    }))
  }
}

/** The phase that is stored is older than the host's presence. */
const cameAfter = (presence: Revision | undefined, phase: Revision | undefined): boolean =>
  presence !== undefined && phase !== undefined && compareRevisions(presence, phase) > 0

/** The ports of the stored route, in which this plan may change something yet. */
function routedPorts({ view }: ServiceDraft, uid: string): readonly number[] {
  const route = view.route?.value.uid === uid ? view.route.value : undefined
  return [...new Set(route?.listeners.map(({ listen }) => listen))].sort((a, b) => a - b)
}

/**
 * An answer is for one attempt, and goes once the stored record has left that phase: not when that is merely planned, since
 * the write may be refused. It is of a generation that the record still names in one way or another.
 */
function forgetAnswers({ view, draft }: ServiceDraft, stored: Rollout): void {
  const resolving = stored.now.phase === 'resolving' ? stored.now.next : undefined
  for (const generation of [stored.asked, liveOrNext(stored), stored.rejections.at(-1)?.generation])
    if (generation !== undefined && generation !== resolving)
      draft.memory.resolutions.delete(resolutionKey(view.name, stored.uid, generation))
}

/** How long the phase has lasted and stalled; an instance more that is ready is progress. */
function phaseClock(service: ServiceDraft, { now, uid }: Rollout): ReturnType<Memory['phase']> {
  const { view, draft } = service
  const ready = 'next' in now ? readyCount(service, now.next) : 0
  return draft.memory.phase(view.name, uid, draft.now, now, ready)
}

/** Generations of a deleted service of the same name, which nobody would ever look at again. */
function forgetPredecessor(service: ServiceDraft, uid: string): void {
  const left = [...service.view.generations]
    .filter(([, { value }]) => value.uid !== uid)
    .map(([number]) => number)
  if (left.length > 0) service.add({ kind: 'forget-generations', generations: left })
}

function readyCount(service: ServiceDraft, generation: GenerationNumber): number {
  const uid = service.view.spec?.value.uid
  let count = 0
  for (const seen of service.view.placements.values()) {
    const { value } = seen
    const counts = value.uid === uid && value.generation === generation && value.desired === 'run'
    if (counts && isReady(service.draft.world, seen)) count++
  }
  return count
}

/** What was seen of the instances that did not get ready: the last run's end, the probe's answer, the last lines. */
function evidenceOf(service: ServiceDraft, generation: GenerationNumber): readonly Evidence[] {
  const { view, draft } = service
  const found: Evidence[] = []
  for (const seen of view.placements.values()) {
    const placement = seen.value
    if (placement.generation !== generation || found.length === evidenceLimit) continue
    const report = reportOn(draft.world, seen)
    if (report?.state === 'ready') continue
    found.push({
      instance: placement.instance,
      host: placement.host,
      what:
        report?.reason ??
        (report === undefined ? 'the host has not reported it yet' : `it is ${report.state}`),
      exitCode: report?.exit?.code,
      probe: report?.probe?.output,
      lastLog: report?.lastLog,
    })
  }
  const waiting = view.pending?.value
  if (found.length === 0 && waiting !== undefined)
    found.push({ what: `${plural(waiting.count, 'instance')} found no host` })
  return found
}

function wakeForDeadlines(
  service: ServiceDraft,
  rollout: Rollout,
  policy: { progressDeadlineMs: number; keepWarmMs: number },
  unserved: RolloutSeen['unserved'],
): void {
  const now = rollout.now
  const { phaseMs, stalledMs } = phaseClock(service, rollout)
  if (now.phase === 'resolving' || now.phase === 'warming')
    service.wakeIn(Math.max(policy.progressDeadlineMs - stalledMs, 1))
  // A port that is freed on a host lets the traffic move: its proxy says so.
  if (now.phase === 'warming' && countedUnserved(rollout, unserved).length > 0)
    service.draft.world.awaitingAcks.add(service.view.name)
  if (now.phase === 'settled' && now.warm !== undefined)
    service.wakeIn(Math.max(policy.keepWarmMs - phaseMs, 1))
  if (now.phase === 'draining') {
    service.draft.world.awaitingAcks.add(service.view.name)
    const limitMs = countedUnserved(rollout, unserved).length > 0 ? policy.progressDeadlineMs : patienceMs
    service.wakeIn(Math.max(limitMs - phaseMs, 1))
  }
}

/** In the first phase a host's engine is asked which digest the tag has; asked again after a passing failure. */
function askForDigest(service: ServiceDraft, rollout: Rollout): void {
  if (rollout.now.phase !== 'resolving') return
  const { view, draft } = service
  const generation = rollout.now.next
  const answer = draft.memory.resolutions.get(resolutionKey(view.name, rollout.uid, generation))
  const image = view.generations.get(generation)?.value.template.image
  if (answer?.kind === 'resolved' || image === undefined) return
  draft.questions.push({ service: view.name, uid: rollout.uid, generation, image })
  service.wakeIn(retryResolveMs)
}

function liveOrNext(rollout: Rollout): GenerationNumber {
  const now = rollout.now
  if ('next' in now) return now.next
  if ('live' in now) return now.live
  return now.rejected
}
