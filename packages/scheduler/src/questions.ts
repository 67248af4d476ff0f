/** Questions that only a host can answer, asked with patience: which digest an image has. */
import { errorText } from '@boxcar/core/model/attempt'
import { after, type Clock, type Instant } from '@boxcar/core/model/clock'
import type { HostRecord } from '@boxcar/core/model/host'
import { byId, type HostId, type ServiceName } from '@boxcar/core/model/ids'
import type { HostState, World } from '@boxcar/core/model/world'
import type { Question } from '@boxcar/core/plan/draft'
import { type Memory, resolutionKey } from '@boxcar/core/plan/memory'
import type { Resolution } from '@boxcar/core/rollout/rollout'
import type { Log } from '@boxcar/store/log'
import type { Agents } from './agents.ts'

interface Asked {
  readonly state: 'asking' | 'answered'
  /** Not before. */
  readonly nextAt: Instant
  readonly tries: number
  /** Hosts that said it cannot be had at all. One may lack a registry's credentials; two are believed. */
  readonly refusedBy: ReadonlySet<HostId>
}

const firstPauseMs = 2000
const mostPauseMs = 30_000
/** A question that nobody came back to is forgotten. */
const mostKept = 1000

export interface QuestionsDeps {
  readonly clock: Clock
  readonly agents: Agents
  /** Where the answers go. */
  readonly memory: Memory
  readonly log: Log
  readonly answered: (service: ServiceName) => void
}

export class Questions {
  readonly #clock: Clock
  readonly #agents: Agents
  readonly #memory: Memory
  readonly #log: Log
  readonly #answered: (service: ServiceName) => void
  readonly #asked = new Map<string, Asked>()

  constructor({ clock, agents, memory, log, answered }: QuestionsDeps) {
    this.#clock = clock
    this.#agents = agents
    this.#memory = memory
    this.#log = log
    this.#answered = answered
  }

  /** Asks one host, unless it was asked just now; hosts take turns. The answer goes into the memory. */
  ask(question: Question, world: World): void {
    const key = resolutionKey(question.service, question.uid, question.generation)
    const before = this.#asked.get(key)
    if (before?.state === 'asking' || (before !== undefined && this.#clock.now() < before.nextAt)) return
    void this.#askInTurn(question, key, before, world)
  }

  async #askInTurn(question: Question, key: string, before: Asked | undefined, world: World): Promise<void> {
    const hosts = [...world.hosts.values()].filter(canAnswer).sort((a, b) => byId(a.id, b.id))
    const fresh = hosts.filter(host => before?.refusedBy.has(host.id) !== true)
    const from = fresh.length > 0 ? fresh : hosts
    const tries = before?.tries ?? 0
    const record = from[tries % Math.max(from.length, 1)]?.record
    if (record === undefined) return
    const refusedBy = before?.refusedBy ?? new Set<HostId>()
    this.#note(key, { state: 'asking', nextAt: this.#clock.now(), tries: tries + 1, refusedBy })
    const answer = await this.#resolve(record, question.image)
    const refusals = isRefusal(answer) ? new Set([...refusedBy, record.id]) : refusedBy
    const believed = refusals.size >= Math.min(2, hosts.length)
    this.#memory.resolutions.set(
      key,
      isRefusal(answer) && !believed ? { ...answer, permanent: false } : answer,
    )
    // A second opinion is asked for at once; a passing failure has time to pass.
    const pauseMs = isRefusal(answer) && !believed ? 0 : Math.min(firstPauseMs * 2 ** tries, mostPauseMs)
    const nextAt = after(this.#clock.now(), pauseMs)
    this.#note(key, { state: 'answered', nextAt, tries: tries + 1, refusedBy: refusals })
    this.#answered(question.service)
  }

  /** What is thrown is no answer of a host: the planner tells of it, and the question is asked again. */
  async #resolve(host: HostRecord, image: string): Promise<Resolution> {
    try {
      return await this.#agents.resolve(host, image)
    } catch (error) {
      this.#log.error({ err: error, host: host.id, image }, 'internal error: asking for an image threw')
      return { kind: 'failed', reason: errorText(error), permanent: false, isInternal: true }
    }
  }

  #note(key: string, asked: Asked): void {
    this.#asked.delete(key)
    this.#asked.set(key, asked)
    const [oldest] = this.#asked.keys()
    if (this.#asked.size > mostKept && oldest !== undefined) this.#asked.delete(oldest)
  }
}

const canAnswer = (host: HostState): boolean =>
  host.health === 'alive' && host.presence !== undefined && host.record?.engine.state === 'up'

const isRefusal = (answer: Resolution): answer is Extract<Resolution, { kind: 'failed' }> =>
  answer.kind === 'failed' && answer.permanent
