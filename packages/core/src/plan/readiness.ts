import type { Placement } from '../model/placement.ts'
import type { Report } from '../model/report.ts'
import { isRegistered, type Seen, type World } from '../model/world.ts'
import type { Share } from '../rollout/rollout.ts'
import type { ServiceDraft } from './draft.ts'
import { haveApplied } from './proxies.ts'

/** What its host says of this very placement; a report of an earlier one of the same name tells nothing. */
export function reportOn(world: World, { value, created }: Seen<Placement>): Report | undefined {
  const report = world.hosts.get(value.host)?.reports.get(value.instance)?.value
  if (report?.uid !== value.uid) return undefined
  const earlier = report.placement !== undefined && created !== undefined && report.placement !== created
  return earlier ? undefined : report
}

/** Its host says so, and is not lost. */
export function isReady(world: World, placement: Seen<Placement>): boolean {
  return (
    world.hosts.get(placement.value.host)?.health !== 'lost' && reportOn(world, placement)?.state === 'ready'
  )
}

/** It runs, and all that is known against it is that its probes got no answer in time. */
export function isSilent(world: World, placement: Seen<Placement>): boolean {
  const report = reportOn(world, placement)
  return report?.state === 'unready' && report.probe?.silent === true
}

/** Nothing is expected of it there any more: its host is lost or was removed. */
export function isOnLostHost(world: World, placement: Placement): boolean {
  const host = world.hosts.get(placement.host)
  return !isRegistered(host) || host.health === 'lost'
}

/**
 * Where an instance is reached; that of a host whose record this leader never could read is as the route has it. One of the same
 * name on a host that is known has its own address there.
 */
export function addressOf(
  { view, draft }: ServiceDraft,
  { host, instance, ports }: Placement,
): string | undefined {
  const known = draft.world.hosts.get(host)
  if (known?.record !== undefined || known?.unreadable !== true) return known?.record?.address
  const print = JSON.stringify(ports)
  const others = new Set(
    [...view.placements.values()]
      .filter(({ value }) => value.instance === instance)
      .map(({ value }) => draft.world.hosts.get(value.host)?.record?.address),
  )
  return view.route?.value.backings
    .flatMap(backing => backing.endpoints)
    .find(it => it.instance === instance && JSON.stringify(it.ports) === print && !others.has(it.address))
    ?.address
}

/** The stored route has these shares, and every live proxy applies it. */
export function proxiesApply(service: ServiceDraft, uid: string, shares: readonly Share[]): boolean {
  const { view, draft } = service
  const route = view.route?.value.uid === uid ? view.route : undefined
  if (route === undefined) return view.spec?.value.spec.routes.length === 0
  const stored = route.value.backings
  const stands = shares.every(
    ({ generation, share }) =>
      share === 0 || stored.some(b => b.generation === generation && b.share === share),
  )
  return stands && haveApplied(draft.proxies, view.name, route.modified)
}
