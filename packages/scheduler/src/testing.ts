/** Candidates on the store in memory under a virtual clock, with hosts that obey at once: everything is real but etcd and the agents. */
import { after, type Clock } from '@boxcar/core/model/clock'
import type { GenerationNumber, HostId, InstanceId, ServiceName } from '@boxcar/core/model/ids'
import type { Placement } from '@boxcar/core/model/placement'
import { templateText } from '@boxcar/core/model/spec'
import type { Resolution } from '@boxcar/core/rollout/rollout'
import { put } from '@boxcar/store/collection'
import { EventWriter, type EventWriterOptions } from '@boxcar/store/events'
import * as keys from '@boxcar/store/keys'
import { type Happening, MemoryEtcd } from '@boxcar/store/memory/memory-etcd'
import type { MemoryStore } from '@boxcar/store/memory/memory-store'
import { seededChance } from '@boxcar/store/memory/seeded-chance'
import { VirtualClock } from '@boxcar/store/memory/virtual-clock'
import { Mirror } from '@boxcar/store/mirror'
import type { LeaseId, Write } from '@boxcar/store/store'
import { pino } from 'pino'
import type { Agents } from './agents.ts'
import { followed } from './feed.ts'
import { type RunningScheduler, startScheduler } from './main.ts'

export interface TestCandidate {
  readonly scheduler: RunningScheduler
  /** Its own connection: its faults are its own. */
  readonly store: MemoryStore
}

/** What a test changes of a candidate before it starts. */
export interface CandidateChanges {
  readonly store?: (store: MemoryStore) => void
  readonly mirror?: (mirror: Mirror) => void
  readonly events?: (options: EventWriterOptions) => EventWriter
}

export class TestCluster {
  readonly clock = new VirtualClock()
  readonly etcd = new MemoryEtcd(this.clock)
  /** The connection of everybody but the candidates. */
  readonly people = this.etcd.connect({ cluster: 'c' })
  /** By which presence and acknowledgements live. */
  readonly lease = this.etcd.grant(10 * dayMs).id
  /** Hosts whose agents answer questions. */
  readonly answering = new Set(['h1', 'h2', 'h3'])
  /** Hosts that were asked for a digest, in order. */
  readonly questions: string[] = []
  /** What hosts say to that. */
  resolves: (host: string, image: string) => Resolution | Promise<Resolution> = (_, image) => ({
    kind: 'resolved',
    image: `${image}@sha256:d`,
  })
  isAlive: (host: string) => boolean | Promise<boolean> = host => this.answering.has(host)
  readonly #ending: (() => Promise<void>)[] = []

  candidate(seed: number, changes: CandidateChanges = {}): TestCandidate {
    const { clock } = this
    const store = this.etcd.connect({ cluster: 'c' })
    changes.store?.(store)
    const chance = seededChance(seed)
    const stopping = new AbortController()
    const { signal } = stopping
    const mirror = new Mirror({ store, clock, scopes: followed.map(collection => ({ collection })), signal })
    changes.mirror?.(mirror)
    const writer = { store, clock, chance, writer: 'scheduler', signal }
    const events = changes.events?.(writer) ?? new EventWriter(writer)
    const agents: Agents = {
      isAlive: host => this.isAlive(host.id) as Promise<boolean>,
      resolve: (host, image) => {
        this.questions.push(host.id)
        return this.resolves(host.id, image) as Promise<Resolution>
      },
    }
    const log = pino({ level: 'silent' })
    const address = `server-${seed}`
    const scheduler = startScheduler({ store, mirror, events, agents, clock, chance, log, address })
    this.#ending.push(async () => {
      await scheduler.stop()
      stopping.abort()
      await store.close()
    })
    return { scheduler, store }
  }

  async write(...writes: Write[]): Promise<void> {
    const outcome = await this.people.commit({ guards: [], writes })
    if (outcome.kind !== 'committed') throw new Error(`the test's own write failed: ${outcome.kind}`)
  }

  /** What runs of one service, or of all: `slot@host`. */
  async placed(service?: ServiceName): Promise<readonly string[]> {
    const { entries } = await this.people.list(keys.placements)
    return entries
      .filter(({ value }) => value.desired === 'run' && (service === undefined || value.service === service))
      .map(({ value }) => `${value.slot}@${value.host}`)
      .sort()
  }

  hasPlaced(count: number, service?: ServiceName): () => Promise<boolean> {
    return async () => (await this.placed(service)).length === count
  }

  /** Moves time on until something holds; gives how long that took. */
  async until(holds: () => Promise<boolean> | boolean, mostMs: number, what = 'it'): Promise<number> {
    const clock: Clock = this.clock
    const began = clock.now()
    while (!(await holds())) {
      if (clock.now() > after(began, mostMs)) throw new Error(`${what}: not within ${mostMs} ms`)
      await this.clock.advance(20)
    }
    return clock.now() - began
  }

  /** Hosts that start and stop what they are told and whose proxies apply every route, from here on. */
  obey(...hosts: readonly string[]): void {
    const respond = async (happening: Happening): Promise<void> => {
      await this.clock.sleep(10)
      const writes = responsesTo(happening, hosts, this.lease)
      if (writes.length > 0) await this.people.commit({ guards: [], writes })
    }
    const stop = this.etcd.observe(happening => void respond(happening))
    this.#ending.push(async () => stop())
  }

  async stop(): Promise<void> {
    const stopped = Promise.all(this.#ending.splice(0).map(stop => stop()))
    await this.clock.advance(5000)
    await stopped
  }
}

function responsesTo(
  { events, revision }: Happening,
  hosts: readonly string[],
  lease: LeaseId,
): readonly Write[] {
  const keysOf = events.map(event => (event.kind === 'put' ? event.entry.key : event.key))
  const isRouted = keysOf.some(key => key.startsWith(`${keys.routes.name}/`))
  const acks = hosts.map(host => put(keys.routeAcks, host as HostId, { revision, draining: [] }, lease))
  const reports = events.flatMap(event => {
    const [of, ...id] = event.kind === 'put' ? event.entry.key.split('/') : []
    if (event.kind !== 'put' || of !== keys.placements.name || !hosts.includes(id[0] ?? '')) return []
    const { uid, desired }: Placement = JSON.parse(event.entry.json)
    const [host, instance] = [id[0] as HostId, id.slice(1).join('/') as InstanceId]
    const state = desired === 'run' ? ('ready' as const) : ('stopped' as const)
    const { created: placement } = event.entry
    return [
      put(
        keys.reports,
        { host, instance },
        { instance, uid, state, attempt: 1, restarts: 0, since: 0, placement },
      ),
    ]
  })
  return [...(isRouted ? acks : []), ...reports]
}

const dayMs = 86_400_000

/** A host's record and its presence, which lives by a lease. */
export const hostWrites = (id: string, lease: LeaseId): Write[] => [
  put(keys.hosts, id as HostId, {
    id: id as HostId,
    address: `10.0.0.${id.slice(1)}`,
    agentPort: 7071,
    capacity: { cpuMilli: 4000, memoryMiB: 4096 },
    labels: {},
    ports: { from: 20_000, to: 29_999 },
    engine: { version: '20.10', state: 'up' },
    proxy: { version: '2.6', state: 'up' },
    agentVersion: '1',
  }),
  put(keys.presences, id as HostId, { since: 0 }, lease),
]

export const withRoute = {
  ports: [{ name: 'http', container: 80 }],
  routes: [{ port: 'http', listen: 80, protocol: 'http' as const }],
}

/** A spec and its generation, as the API writes them. */
export function service(name: ServiceName, replicas: number, more: object = {}, generation = 1): Write[] {
  const text = { name: name.split('/')[1] ?? '', image: 'app:1', replicas, ...more }
  const by = { uid: `u-${name}`, by: 'ann', at: 0 }
  const number = generation as GenerationNumber
  return [
    put(keys.specs, name, { service: name, text, replicas, generation: number, ...by }),
    put(
      keys.generations,
      { service: name, number },
      { service: name, number, text: templateText(text), ...by },
    ),
  ]
}
