/** What the mirror holds, in the world's words. */
import { type HostId, parseServiceName, type ServiceName } from '@boxcar/core/model/ids'
import type { Seen, WorldChange } from '@boxcar/core/model/world'
import { type AnyCollection, keyOf, living } from '@boxcar/store/collection'
import * as keys from '@boxcar/store/keys'
import type { Change, Unreadable } from '@boxcar/store/store'
import type { Owner } from './internal-errors.ts'

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

/**
 * Nothing for a collection that the leader does not decide from. What stands and cannot be read counts as it was read last: it is
 * no reason to move or stop anything, nor to give its room away. `unreadable` holds the keys of such records.
 */
export function worldChange(
  change: Change,
  unreadable: { has(key: string): boolean } = nothing,
): WorldChange | undefined {
  const translate = translations.get(change.collection)
  if (change.kind === 'removed')
    return unreadable.has(keyOf(change.collection, change.id))
      ? unreadableChange(change.collection, change.id)
      : translate?.(change.id, undefined)
  const { id, value, modified, created } = change.entry
  if (keys.leased.has(change.collection) && living(change.entry) === undefined)
    return translate?.(id, undefined)
  return translate?.(id, { value, modified, created })
}

/** What could not be read when the world was taken over. */
export function unreadableChanges(unreadable: Iterable<string>): readonly WorldChange[] {
  return [...unreadable].flatMap(key => {
    const collection = followed.find(it => key.startsWith(`${it.name}/`))
    const id = collection?.read(key.slice(collection.name.length + 1))
    const change = collection === undefined || id === undefined ? undefined : unreadableChange(collection, id)
    return change === undefined ? [] : [change]
  })
}

/** What a change comes to that the world could not take in: the record is there and cannot be read. */
export function unreadableInstead(change: Change): WorldChange | undefined {
  return unreadableChange(change.collection, change.kind === 'put' ? change.entry.id : change.id)
}

function unreadableChange(collection: AnyCollection, id: unknown): WorldChange | undefined {
  if (collection === keys.hosts) return { kind: 'host', host: id as HostId, seen: 'unreadable' }
  if (collection === keys.placements)
    return { kind: 'placement', ...(id as keys.HostInstance), seen: 'unreadable' }
  if (collection === keys.routeAcks) return { kind: 'route-ack', host: id as HostId, seen: 'unreadable' }
  return undefined
}

/** Whom a record is of: a placement or a report is of its service and stands on its host. */
export function ownersOf(key: string): readonly Owner[] {
  const [collection = '', ...parts] = key.split('/')
  const isOfHost = ofHosts.has(collection)
  const isOfInstance = collection === keys.placements.name || collection === keys.reports.name
  const host = isOfInstance || isOfHost ? keys.hosts.read(parts[0] ?? '') : undefined
  const name = isOfInstance ? parts.slice(1, 3) : parts.slice(0, 2)
  const service = isOfHost ? undefined : parseServiceName(name.join('/'))
  return [
    ...(service === undefined ? [] : [{ kind: 'service' as const, service }]),
    ...(host === undefined ? [] : [{ kind: 'host' as const, host }]),
  ]
}

const ofHosts: ReadonlySet<string> = new Set(
  [keys.hosts, keys.hostSettingsOf, keys.presences, keys.routeAcks].map(({ name }) => name),
)

/** Records that cannot be read while somebody is left as it is for it. */
export interface Unread {
  /** Why, by key. */
  readonly records: ReadonlyMap<string, string>
  /** Planned by such a record. */
  readonly services: ReadonlySet<ServiceName>
  /** Whose own record it is. */
  readonly hosts: ReadonlySet<HostId>
}

export const nothingUnread: Unread = { records: new Map(), services: new Set(), hosts: new Set() }

/** Of what cannot be read all that somebody is left as it is for; anything else counts as absent. */
export function unreadOf(unreadable: Iterable<Unreadable>): Unread {
  const records = new Map<string, string>()
  const services = new Set<ServiceName>()
  const hosts = new Set<HostId>()
  for (const { key, reason } of unreadable) {
    const collection = key.slice(0, key.indexOf('/'))
    if (!decisive.has(collection)) continue
    records.set(key, reason)
    for (const owner of ownersOf(key)) {
      if (owner.kind === 'service') services.add(owner.service)
      if (owner.kind === 'host' && collection === keys.hosts.name) hosts.add(owner.host)
    }
  }
  return { records, services, hosts }
}

/** Collections by which a service is planned, and those by which a host counts. */
const decisive: ReadonlySet<string> = new Set(
  [
    ...[keys.specs, keys.generations, keys.rollouts, keys.routes, keys.placements],
    ...[keys.hosts, keys.routeAcks],
  ].map(({ name }) => name),
)

const nothing: ReadonlySet<string> = new Set()
