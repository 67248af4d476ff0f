/** What the mirror holds, in the world's words. */
import type { HostId } from '@boxcar/core/model/ids'
import type { Seen, WorldChange } from '@boxcar/core/model/world'
import type { AnyCollection } from '@boxcar/store/collection'
import * as keys from '@boxcar/store/keys'
import type { Change } from '@boxcar/store/store'

/** Collections that the leader decides from. */
export const followed: readonly AnyCollection[] = [
  keys.specs,
  keys.generations,
  keys.intents,
  keys.hostSettingsOf,
  keys.hosts,
  keys.presences,
  keys.reports,
  keys.routeAcks,
  keys.placements,
  keys.rollouts,
  keys.routes,
  keys.pendings,
]

// biome-ignore lint/suspicious/noExplicitAny: the collection's own parser made the value; the table below says which
type Translate = (id: any, seen: Seen<any> | undefined) => WorldChange

const translations = new Map<AnyCollection, Translate>([
  [keys.specs, (service, seen) => ({ kind: 'spec', service, seen })],
  [
    keys.generations,
    (id: keys.GenerationId, seen) => ({ kind: 'generation', service: id.service, number: id.number, seen }),
  ],
  [keys.intents, (id: keys.IntentId, seen) => ({ kind: 'intent', service: id.service, id: id.id, seen })],
  [keys.rollouts, (service, seen) => ({ kind: 'rollout', service, seen })],
  [keys.routes, (service, seen) => ({ kind: 'route', service, seen })],
  [keys.pendings, (service, seen) => ({ kind: 'pending', service, seen })],
  [keys.placements, (id: keys.HostInstance, seen) => ({ kind: 'placement', ...id, seen })],
  [keys.reports, (id: keys.HostInstance, seen) => ({ kind: 'report', ...id, seen })],
  [keys.hosts, (host: HostId, seen) => ({ kind: 'host', host, seen })],
  [keys.hostSettingsOf, (host: HostId, seen) => ({ kind: 'host-settings', host, seen })],
  [keys.presences, (host: HostId, seen) => ({ kind: 'presence', host, seen })],
  [keys.routeAcks, (host: HostId, seen) => ({ kind: 'route-ack', host, seen })],
])

/** Nothing for a collection that the leader does not decide from. */
export function worldChange(change: Change): WorldChange | undefined {
  const translate = translations.get(change.collection)
  if (change.kind === 'removed') return translate?.(change.id, undefined)
  const { id, value, modified, created } = change.entry
  return translate?.(id, { value, modified, created })
}
