/** What the API is given; it takes nothing else from the process that it runs in. */
import type { Chance, Clock } from '@boxcar/core/model/clock'
import type { EventWriter } from '@boxcar/store/events'
import {
  type ClusterRecord,
  clusters,
  generations,
  hostSettingsOf,
  hosts,
  intents,
  leaders,
  pendings,
  placements,
  presences,
  reports,
  rollouts,
  routeAcks,
  routes,
  specs,
} from '@boxcar/store/keys'
import type { Log } from '@boxcar/store/log'
import type { Mirror } from '@boxcar/store/mirror'
import type { Scope, Store } from '@boxcar/store/store'
import type { Agents } from './agents.ts'
import type { ListenAddress } from './listen.ts'

export interface ApiDeps {
  readonly store: Store
  /** Follows at least `apiScopes`. */
  readonly mirror: Mirror
  readonly clock: Clock
  readonly chance: Chance
  /** Of the writer `api`. */
  readonly events: EventWriter
  readonly agents: Agents
  readonly clusterName: string
  readonly cluster: ClusterRecord
  /** Left out: nobody is asked for one. */
  readonly token?: string
  /** Where this server listens, where it does. */
  readonly listen?: ListenAddress
  /** Of the store, as this server was told: its ports are not for services. */
  readonly storeEndpoints?: readonly string[]
  readonly log: Log
  /** Of the program. */
  readonly version: string
  /** Ends event streams, log streams and waiting; the server's own end. */
  readonly signal: AbortSignal
}

/** What the mirror of a server must follow for the API. */
export const apiScopes: readonly Scope[] = [
  clusters,
  leaders,
  specs,
  generations,
  intents,
  hosts,
  hostSettingsOf,
  presences,
  reports,
  routeAcks,
  placements,
  rollouts,
  routes,
  pendings,
].map(collection => ({ collection }))
