/**
 * The key space: who writes each collection, and how long an entry lives. Keys stand under `/boxcar/<cluster>/v1/`.
 * One writer each: what was asked, decided and seen never share a record.
 */
import { clusterEvent } from '@boxcar/core/model/event'
import { hostRecord, hostSettings, presence as presenceValue } from '@boxcar/core/model/host'
import {
  type GenerationNumber,
  type HostId,
  hostId,
  type InstanceId,
  parseInstanceId,
  parseServiceName,
  type ServiceName,
} from '@boxcar/core/model/ids'
import { placement } from '@boxcar/core/model/placement'
import { report } from '@boxcar/core/model/report'
import { rollout } from '@boxcar/core/model/rollout'
import { route, routeAck } from '@boxcar/core/model/route'
import { generationRecord, intent, specRecord } from '@boxcar/core/model/service'
import { pending as pendingValue } from '@boxcar/core/placement/obstacle'
import { z } from 'zod'
import { type AnyCollection, collection } from './collection.ts'

export interface GenerationId {
  readonly service: ServiceName
  readonly number: GenerationNumber
}
export interface HostInstance {
  readonly host: HostId
  readonly instance: InstanceId
}
export interface IntentId {
  readonly service: ServiceName
  readonly id: string
}
export interface EventId {
  readonly writer: string
  /** Time-ordered. */
  readonly id: string
}
/** One address that users call; two services never hold the same. */
export interface ClaimId {
  readonly listen: number
  /** `*` where the route names none, `:tcp` where it has the whole port. */
  readonly hostname: string
  readonly path: string
}

const byText = { spell: (text: string) => text, read: (text: string) => text }
const byService = { spell: (name: ServiceName): string => name, read: parseServiceName }
const byHost = { spell: (id: HostId): string => id, read: (text: string) => hostId.safeParse(text).data }
const byHostInstance = {
  spell: ({ host, instance }: HostInstance) => `${host}/${instance}`,
  read: (text: string): HostInstance | undefined => {
    const cut = text.indexOf('/')
    const [host, instance] = [byHost.read(text.slice(0, cut)), text.slice(cut + 1)]
    return cut < 0 || host === undefined || parseInstanceId(instance) === undefined
      ? undefined
      : { host, instance: instance as InstanceId }
  },
}
const lastCut = (text: string): readonly [string, string] => {
  const cut = text.lastIndexOf('/')
  return [text.slice(0, Math.max(cut, 0)), text.slice(cut + 1)]
}
const byGeneration = {
  spell: ({ service, number }: GenerationId) => `${service}/${number}`,
  read: (text: string): GenerationId | undefined => {
    const [name, number] = lastCut(text)
    const service = parseServiceName(name)
    return service === undefined || !/^[1-9]\d{0,8}$/.test(number)
      ? undefined
      : { service, number: Number(number) as GenerationNumber }
  },
}
const byIntent = {
  spell: ({ service, id }: IntentId) => `${service}/${id}`,
  read: (text: string): IntentId | undefined => {
    const [name, id] = lastCut(text)
    const service = parseServiceName(name)
    return service === undefined ? undefined : { service, id }
  },
}
const byEvent = {
  spell: ({ writer, id }: EventId) => `${writer}/${id}`,
  read: (text: string): EventId | undefined => {
    const [writer, id] = lastCut(text)
    return writer === '' ? undefined : { writer, id }
  },
}
const byClaim = {
  spell: ({ listen, hostname, path }: ClaimId) => `${listen}/${hostname}${path}`,
  read: (text: string): ClaimId | undefined => {
    const match = /^(\d+)\/([^/]+)(\/.*)$/.exec(text)
    return match === null
      ? undefined
      : { listen: Number(match[1]), hostname: match[2] ?? '', path: match[3] ?? '/' }
  },
}

/** Who the cluster is. The secret lets servers and agents know each other on the agents' ports. */
export const clusterRecord = z.looseObject({
  uid: z.string(),
  /** Raised by a restore, so that orders from before it are told apart. */
  epoch: z.int(),
  schema: z.int(),
  secret: z.string(),
})
export type ClusterRecord = z.infer<typeof clusterRecord>

export const leaderRecord = z.looseObject({ address: z.string(), token: z.string() })
export type LeaderRecord = z.infer<typeof leaderRecord>

/** Whose an address is. */
export const claimRecord = z.looseObject({ service: z.string(), uid: z.string() })
const idempotencyRecord = z.looseObject({
  print: z.string(),
  status: z.int(),
  body: z.unknown(),
  revision: z.string().optional(),
})

export const clusters = collection('cluster', byText, clusterRecord) //              first server; for ever; one entry, 'self'
export const leaders = collection('leader', byText, leaderRecord) //                 scheduler candidates; their lease; one entry, 'self'
export const specs = collection('specs', byService, specRecord) //                   API; until deleted
export const generations = collection('generations', byGeneration, generationRecord) // API, with the spec; 20 kept
export const intents = collection('intents', byIntent, intent) //                    API; removed by the leader in the transaction that acts
export const hostSettingsOf = collection('host-settings', byHost, hostSettings) //   API; until removed
export const hosts = collection('hosts', byHost, hostRecord) //                      that agent; until removed
export const presences = collection('presence', byHost, presenceValue) //            that agent; its lease
export const reports = collection('reports', byHostInstance, report) //              that agent; until the placement is gone
export const routeAcks = collection('route-acks', byHost, routeAck) //               that agent; its lease
export const placements = collection('placements', byHostInstance, placement) //     leader; until the host confirms the stop
export const rollouts = collection('rollouts', byService, rollout) //                leader; with the service
export const routes = collection('routes', byService, route) //                      leader; with the service
export const pendings = collection('pending', byService, pendingValue) //            leader; while it matters
export const events = collection('events', byEvent, clusterEvent) //                 anyone, with the change it tells of; lease of 7 days
export const claims = collection('route-claims', byClaim, claimRecord) //            API, with the spec
export const idempotency = collection('idempotency', byText, idempotencyRecord) //   API; lease of 24 h

/** Whose entries say that their writer is there: one without a lease is void (`living`). */
export const leased: ReadonlySet<AnyCollection> = new Set<AnyCollection>([leaders, presences, routeAcks])
