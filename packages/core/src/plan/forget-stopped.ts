import { isRegistered } from '../model/world.ts'
import type { ServiceDraft } from './draft.ts'
import { reportOn } from './readiness.ts'

/** A placement stands until its host confirms the stop, so that its room and its ports are not given away too early. */
export function forgetStopped(service: ServiceDraft): void {
  const { world, memory } = service.draft
  for (const [key, seen] of service.view.placements) {
    const placement = seen.value
    if (placement.desired !== 'stop') continue
    const confirmed = reportOn(world, seen)?.state === 'stopped'
    const hostRemoved = !isRegistered(world.hosts.get(placement.host))
    if (!confirmed && !hostRemoved) continue
    service.add({ kind: 'forget', host: placement.host, instance: placement.instance })
    memory.left(key)
  }
}
