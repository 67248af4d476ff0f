/**
 * What to do next to bring the world to what was asked. Decides, never acts. Looks only at services that something touched
 * or whose time has come; the passes below are the whole of it, in order.
 */
import type { Instant } from '../model/clock.ts'
import { byId, type ServiceName } from '../model/ids.ts'
import type { ServiceView, World } from '../model/world.ts'
import { advanceRollout } from './advance-rollout.ts'
import { Draft, type PlanPolicy, type Question, ServiceDraft, type ServicePlan } from './draft.ts'
import { fillGenerations } from './fill-generations.ts'
import { forgetStopped } from './forget-stopped.ts'
import type { Memory } from './memory.ts'
import { releaseFromLostHosts } from './release-from-lost-hosts.ts'
import { releaseLeaving } from './release-leaving.ts'
import { retire } from './retire.ts'
import { routeTraffic } from './route-traffic.ts'

export interface Plan {
  readonly services: readonly ServicePlan[]
  readonly questions: readonly Question[]
}

export function plan(world: World, memory: Memory, policy: PlanPolicy, now: Instant): Plan {
  const draft = new Draft(world, memory, policy, now)
  for (const [name, at] of memory.wakeAt) if (at <= now) world.dirty.add(name)
  const names = [...world.dirty].sort(byId)
  world.dirty.clear()
  for (const name of names) {
    const view = world.services.get(name)
    if (view === undefined) memory.forget(name)
    else planService(draft, view)
  }
  draft.undo()
  return { services: draft.services, questions: draft.questions }
}

function planService(draft: Draft, view: ServiceView): void {
  const service = new ServiceDraft(draft, view)
  draft.world.waiting.delete(view.name)
  draft.world.awaitingAcks.delete(view.name)

  forgetStopped(service)
  releaseFromLostHosts(service)
  if (isGone(view)) retire(service)
  else {
    const rollout = advanceRollout(service)
    const { leaving } = fillGenerations(service, rollout)
    const route = routeTraffic(service, rollout, leaving)
    releaseLeaving(service, route, leaving)
  }

  remember(draft, view.name, service)
}

/** Deleted, or replaced by another service of the same name: that one begins when the last trace of this one is gone. */
function isGone(view: ServiceView): boolean {
  const uid = view.spec?.value.uid
  if (uid === undefined) return true
  for (const { value } of view.placements.values()) if (value.uid !== uid) return true
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
