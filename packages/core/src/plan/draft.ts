/** The plan as it grows: the world as it will be after the actions so far. */
import { after, type Instant } from '../model/clock.ts'
import type { GenerationNumber, HostId, InstanceId, ServiceName } from '../model/ids.ts'
import type { Placement } from '../model/placement.ts'
import type { Revision } from '../model/revision.ts'
import type { Rollout } from '../model/rollout.ts'
import type { Route } from '../model/route.ts'
import type { ServiceView, World } from '../model/world.ts'
import type { Pending } from '../placement/obstacle.ts'
import type { Memory } from './memory.ts'
import { lookAtProxies, type Proxies } from './proxies.ts'

/** One write that the leader shall make. */
export type Action =
  | { readonly kind: 'place'; readonly placement: Placement }
  | { readonly kind: 'release'; readonly placement: Placement }
  | { readonly kind: 'forget'; readonly host: HostId; readonly instance: InstanceId }
  | { readonly kind: 'rollout'; readonly rollout: Rollout }
  | { readonly kind: 'route'; readonly route: Route }
  | { readonly kind: 'pending'; readonly pending: Pending }
  | { readonly kind: 'no-longer-pending' }
  | { readonly kind: 'intent-done'; readonly id: string }
  /** The last of a service: its records. */
  | { readonly kind: 'cleanup'; readonly generations: readonly GenerationNumber[] }
  /** Generations that a predecessor of the same name left. */
  | { readonly kind: 'forget-generations'; readonly generations: readonly GenerationNumber[] }

/**
 * The records of its service that an action writes or removes. A plan names each at most once: its writes become transactions, and
 * a transaction cannot write a key twice.
 */
export function recordsOf(action: Action): readonly string[] {
  switch (action.kind) {
    case 'place':
    case 'release':
      return [placementRecord(action.placement)]
    case 'forget':
      return [placementRecord(action), `report ${action.host} ${action.instance}`]
    case 'rollout':
    case 'route':
    case 'pending':
      return [action.kind]
    case 'no-longer-pending':
      return ['pending']
    case 'intent-done':
      return [`intent ${action.id}`]
    case 'forget-generations':
      return action.generations.map(generationRecord)
    case 'cleanup':
      return ['rollout', 'route', 'pending', ...action.generations.map(generationRecord)]
  }
}

const placementRecord = ({ host, instance }: { readonly host: HostId; readonly instance: InstanceId }) =>
  `placement ${host} ${instance}`
const generationRecord = (number: GenerationNumber) => `generation ${number}`

/** What a change is told as; the writer adds the time and who it is. */
export interface Story {
  readonly level: 'info' | 'warning' | 'error'
  readonly kind: string
  readonly message: string
  readonly generation?: GenerationNumber
  readonly host?: HostId
}

/** Everything that one service needs now; committed as a whole where it fits into one transaction. */
export interface ServicePlan {
  readonly service: ServiceName
  /** The spec it was planned from, unchanged or the plan is void; undefined: there was none. */
  readonly specRevision: Revision | undefined
  readonly actions: readonly Action[]
  readonly stories: readonly Story[]
}

/** Something that only a host can answer: which digest an image has. */
export interface Question {
  readonly service: ServiceName
  readonly uid: string
  readonly generation: GenerationNumber
  readonly image: string
}

export interface PlanPolicy {
  readonly term: string
  /** By the wall, for what people read. */
  readonly wall: number
  /** Services with a record that cannot be read: what is not understood is no reason to stop anything, so they are let be. */
  readonly unreadable?: ReadonlySet<ServiceName>
  /** Services whose last plan was not committed: they are planned again in their time, and not for anything that touches them. */
  readonly heldBack?: ReadonlySet<ServiceName>
}

/** One service's part of the plan, with what every pass needs at hand. */
export class ServiceDraft {
  readonly actions: Action[] = []
  readonly stories: Story[] = []
  readonly view: ServiceView
  readonly draft: Draft
  readonly #written = new Set<string>()
  #wakeAt: Instant | undefined

  constructor(draft: Draft, view: ServiceView) {
    this.draft = draft
    this.view = view
  }

  /** Throws where the plan would write a record twice, or an instance of another service: the service cannot be planned then. */
  add(action: Action): void {
    const instance = action.kind === 'forget' ? action.instance : placedBy(action)
    if (instance !== undefined && !instance.startsWith(`${this.view.name}/`))
      throw new Error(`a plan of ${this.view.name} cannot write instance ${instance}`)
    for (const record of recordsOf(action)) {
      if (this.#written.has(record)) throw new Error(`a plan cannot write one record twice: ${record}`)
      this.#written.add(record)
    }
    this.actions.push(action)
  }

  tell(story: Story): void {
    this.stories.push(story)
  }

  /** Looks at the service again after so many milliseconds, also when nothing changed. */
  wakeIn(ms: number): void {
    const at = after(this.draft.now, ms)
    if (this.#wakeAt === undefined || at < this.#wakeAt) this.#wakeAt = at
  }

  get wakeAt(): Instant | undefined {
    return this.#wakeAt
  }
}

const placedBy = (action: Action): InstanceId | undefined =>
  action.kind === 'place' || action.kind === 'release' ? action.placement.instance : undefined

export class Draft {
  readonly world: World
  readonly memory: Memory
  readonly policy: PlanPolicy
  readonly now: Instant
  readonly services: ServicePlan[] = []
  readonly questions: Question[] = []
  #proxies: Proxies | undefined
  #taken: { readonly host: HostId; readonly instance: InstanceId }[] = []

  constructor(world: World, memory: Memory, policy: PlanPolicy, now: Instant) {
    this.world = world
    this.memory = memory
    this.policy = policy
    this.now = now
    world.columns.advance(now) // ports that rested long enough are free again
  }

  /** How far the live proxies are: looked at once a plan, whoever asks. */
  get proxies(): Proxies {
    this.#proxies ??= lookAtProxies(this.world)
    return this.#proxies
  }

  /** Hosts whose acknowledgement could not be read, as far as anybody looked. */
  get brokenHosts(): Proxies['broken'] {
    return this.#proxies?.broken ?? []
  }

  /** Counts a placement for the services planned after this one. */
  take(placement: Placement): void {
    this.world.columns.take(placement.host, placement)
    this.#taken.push({ host: placement.host, instance: placement.instance })
  }

  /**
   * Takes the counts back: the world learns of a placement when it is committed, and not before. Of one service, where it could not be
   * planned.
   */
  undo(service?: ServiceName): void {
    const isUndone = ({ instance }: { readonly instance: InstanceId }) =>
      service === undefined || instance.startsWith(`${service}/`)
    for (const { host, instance } of this.#taken.filter(isUndone)) this.world.columns.untake(host, instance)
    this.#taken = this.#taken.filter(it => !isUndone(it))
  }
}
