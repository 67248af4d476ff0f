import type { ServiceDraft } from './draft.ts'

/** A placement stands until its host confirms the stop, so that its room and its ports are not given away too early. */
export function forgetStopped(service: ServiceDraft): void {
  const { world, memory } = service.draft
  for (const [key, { value: placement }] of service.view.placements) {
    if (placement.desired !== 'stop') continue
    const host = world.hosts.get(placement.host)
    const report = host?.reports.get(placement.instance)?.value
    const confirmed = report?.state === 'stopped' && report.uid === placement.uid
    const hostRemoved = host?.record === undefined
    if (!confirmed && !hostRemoved) continue
    service.add({ kind: 'forget', host: placement.host, instance: placement.instance })
    memory.left(key)
  }
}
