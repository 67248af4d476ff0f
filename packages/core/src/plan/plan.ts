/**
 * What to do next to bring the world to what was asked. Decides, never acts. Looks only at services that something touched
 * or whose time has come; the passes below are the whole of it, in order.
 */
import { attempt } from '../model/attempt.ts'
import type { Instant } from '../model/clock.ts'
import { byId, type HostId, type ServiceName } from '../model/ids.ts'
import type { ServiceView, World } from '../model/world.ts'
import { advanceRollout } from './advance-rollout.ts'
import { Draft, type PlanPolicy, type Question, ServiceDraft, type ServicePlan } from './draft.ts'
import { fillGenerations } from './fill-generations.ts'
import { forgetStopped } from './forget-stopped.ts'
import type { Memory } from './memory.ts'
import { isOnLostHost } from './readiness.ts'
import { releaseFromLostHosts } from './release-from-lost-hosts.ts'
import { releaseLeaving } from './release-leaving.ts'
import { retire } from './retire.ts'
import { routeTraffic } from './route-traffic.ts'

export interface Plan {
  readonly services: readonly ServicePlan[]
  readonly questions: readonly Question[]
  /** Services that could not be planned because of a bug; the others are planned all the same. */
  readonly broken: readonly Broken[]
  /** Hosts whose proxy's acknowledgement could not be read; nobody waits for them. */
  readonly brokenHosts: readonly BrokenHost[]
  /** More is left to look at: plan again soon. */
  readonly unfinished: boolean
}

export interface Broken {
  readonly service: ServiceName
  readonly error: unknown
}

export interface BrokenHost {
  readonly host: HostId
  readonly error: unknown
}

export function plan(world: World, memory: Memory, policy: PlanPolicy, now: Instant): Plan {
  const draft = new Draft(world, memory, policy, now)
  for (const name of memory.takeDue(now)) world.dirty.add(name)
  lookAtSomeWaiting(world)
  const names = [...world.dirty].sort(byId)
  world.dirty.clear()
  const broken: Broken[] = []
  for (const name of names) {
    if (policy.heldBack?.has(name) === true) continue
    const view = world.services.get(name)
    if (view === undefined) memory.forget(name)
    else if (policy.unreadable?.has(name) !== true) {
      const planned = attempt(() => planService(draft, view))
      if ('value' in planned) continue
      broken.push({ service: name, error: planned.error })
      draft.undo(name)
    }
  }
  draft.undo()
  return {
    services: draft.services,
    questions: draft.questions,
    broken,
    brokenHosts: draft.brokenHosts,
    unfinished: world.hopeful.size > 0,
  }
}

/**
 * A change of a host may let any waiting service in. Each is looked at once for it, a few in a plan: with thousands of hosts it
 * takes tens of milliseconds to find that none of them can take one, and why.
 */
const mostWaitingAtOnce = 10

function lookAtSomeWaiting(world: World): void {
  if (world.roomChanged) for (const name of world.waiting) world.hopeful.add(name)
  world.roomChanged = false
  let looked = 0
  for (const name of world.hopeful) {
    if (looked++ === mostWaitingAtOnce) return
    world.hopeful.delete(name)
    world.dirty.add(name)
  }
}

/** Plans one service. Where it throws, nothing of the service is planned. */
function planService(draft: Draft, view: ServiceView): void {
  const service = new ServiceDraft(draft, view)
  const stored = view.rollout?.value
  if (stored !== undefined) draft.memory.seesPhase(view.name, stored.uid, stored.now, draft.now)
  for (const names of [
    draft.world.waiting,
    draft.world.hopeful,
    draft.world.shortOfRoom,
    draft.world.awaitingAcks,
  ])
    names.delete(view.name)
  runPasses(service)
  remember(draft, view.name, service)
}

function runPasses(service: ServiceDraft): void {
  forgetStopped(service)
  releaseFromLostHosts(service)
  if (isGone(service)) retire(service)
  else {
    const rollout = advanceRollout(service)
    const { leaving } = fillGenerations(service, rollout)
    const route = routeTraffic(service, rollout, leaving)
    releaseLeaving(service, route, leaving)
  }
}

/** Deleted, or replaced by another service of the same name: that one begins when the last trace of this one is gone. */
function isGone({ view, draft }: ServiceDraft): boolean {
  const uid = view.spec?.value.uid
  if (uid === undefined) return true
  if (view.rollout?.value.uid === uid) return false // it has begun: what comes back with a lost host just stops
  for (const { value } of view.placements.values())
    if (value.uid !== uid && !isOnLostHost(draft.world, value)) return true
  return false
}

function remember(draft: Draft, name: ServiceName, service: ServiceDraft): void {
  if (service.wakeAt === undefined) draft.memory.wakeAt.delete(name)
  else draft.memory.wakeAt.set(name, service.wakeAt)
  if (service.actions.length > 0)
    draft.services.push({
      service: name,
      specRevision: service.view.spec?.modified,
      actions: service.actions,
      stories: service.stories,
    })
}
