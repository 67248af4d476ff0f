/**
 * Stored records that cannot be read, by the service or the host that they are of. A record that cannot be read stands all the same,
 * and what is shown without it may not be so: each screen says which one is missing, and why.
 */
import { byId, type HostId, type InstanceId, parseInstanceId, type ServiceName } from '@boxcar/core/model/ids'
import { type AnyCollection, type Collection, keyOf } from '@boxcar/store/collection'
import {
  type GenerationId,
  generations,
  type HostInstance,
  hostSettingsOf,
  hosts,
  type IntentId,
  intents,
  pendings,
  placements,
  presences,
  reports,
  rollouts,
  routeAcks,
  routes,
  specs,
} from '@boxcar/store/keys'
import type { Mirror } from '@boxcar/store/mirror'
import type { Refusal } from './refusal.ts'

export type UnreadRecord =
  | {
      readonly of: 'service'
      readonly what: 'spec' | 'rollout' | 'route' | 'pending' | 'intent'
      readonly words: string
    }
  | { readonly of: 'generation'; readonly number: number; readonly words: string }
  | {
      readonly of: 'instance'
      readonly what: 'placement' | 'report'
      readonly host: HostId
      readonly instance: InstanceId
      readonly words: string
    }
  | { readonly of: 'host'; readonly words: string }

/** The worst first: what says less about its service comes later. */
export interface UnreadRecords {
  readonly services: ReadonlyMap<ServiceName, readonly UnreadRecord[]>
  readonly hosts: ReadonlyMap<HostId, readonly UnreadRecord[]>
}

/** All of them, as of now. */
export function unreadRecords({ unreadable }: Pick<Mirror, 'unreadable'>): UnreadRecords {
  if (unreadable.size === 0) return none
  const services = new Map<ServiceName, UnreadRecord[]>()
  const ofHosts = new Map<HostId, UnreadRecord[]>()
  const collections = [...ofServices.keys(), intents, generations, placements, reports, ...ofHost.keys()]
  for (const collection of collections)
    for (const one of [...unreadable.values()].sort((a, b) => byId(a.key, b.key))) {
      if (one.collection !== collection.name) continue
      const id = collection.read(one.key.slice(collection.name.length + 1))
      if (id !== undefined)
        note(collection, id, `cannot be read: ${inOneLine(one.reason)}`, services, ofHosts)
    }
  return { services, hosts: ofHosts }
}

const none: UnreadRecords = { services: new Map(), hosts: new Map() }

const ofServices = new Map<AnyCollection, Extract<UnreadRecord, { of: 'service' }>['what']>([
  [specs, 'spec'],
  [rollouts, 'rollout'],
  [routes, 'route'],
  [pendings, 'pending'],
])
const serviceWords = {
  spec: 'its spec',
  rollout: 'the record of its rollout',
  route: 'the record of its routes',
  pending: 'the record of what it waits for',
  intent: 'what somebody asked of its rollout',
} as const
const ofHost = new Map<AnyCollection, string>([
  [hosts, 'its record'],
  [hostSettingsOf, 'what operators set for it'],
  [presences, 'its presence'],
  [routeAcks, 'its acknowledgement of routes'],
])

function note(
  collection: AnyCollection,
  id: unknown,
  why: string,
  services: Map<ServiceName, UnreadRecord[]>,
  ofHosts: Map<HostId, UnreadRecord[]>,
): void {
  // Each collection read its own id.
  const what = ofServices.get(collection)
  if (what !== undefined)
    return add(services, id as ServiceName, { of: 'service', what, words: `${serviceWords[what]} ${why}` })
  const host = ofHost.get(collection)
  if (host !== undefined) return add(ofHosts, id as HostId, { of: 'host', words: `${host} ${why}` })
  if (collection === intents) {
    const { service } = id as IntentId
    return add(services, service, { of: 'service', what: 'intent', words: `${serviceWords.intent} ${why}` })
  }
  if (collection === generations) {
    const { service, number } = id as GenerationId
    return add(services, service, { of: 'generation', number, words: `generation ${number} ${why}` })
  }
  const place = id as HostInstance
  const service = parseInstanceId(place.instance)?.service
  const kind = collection === placements ? 'placement' : 'report'
  const words = `the ${kind} of ${place.instance} on ${place.host} ${why}`
  if (service !== undefined) add(services, service, { of: 'instance', what: kind, ...place, words })
}

function add<Key>(to: Map<Key, UnreadRecord[]>, key: Key, record: UnreadRecord): void {
  const known = to.get(key)
  if (known === undefined) to.set(key, [record])
  else known.push(record)
}

const inOneLine = (reason: string): string => reason.replaceAll(/\s+/g, ' ').slice(0, 300)

/** Nothing is written over what cannot be read, and it is not called absent either. */
export function refuseUnread<Id>(
  { unreadable }: Pick<Mirror, 'unreadable'>,
  collection: Collection<Id, unknown>,
  id: Id,
  what: string,
): Refusal | undefined {
  const found = unreadable.get(keyOf(collection, id))
  return (
    found && {
      kind: 'wrong-state',
      words: `${what} cannot be read in the store, so nothing is written: ${inOneLine(found.reason)}`,
      next: `use the version of Boxcar that wrote it, or take the key '${found.key}' out of the store`,
    }
  )
}
