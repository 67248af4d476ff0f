/** Questions that only a host can answer, asked with patience: which digest an image has. */
import { errorText } from '@boxcar/core/model/attempt'
import { after, type Clock, type Instant } from '@boxcar/core/model/clock'
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
    void this.#askNext(question, key, before, world).catch(error => {
      // No answer of a host: the planner tells of it, and the question is asked again.
      // Shown: the answer that it counts as: the rollout says why it waits.
      this.#log.error({ err: error, ...question }, 'internal error: asking for an image threw')
      const reason = errorText(error)
      this.#take(question, key, { kind: 'failed', reason, permanent: false, isInternal: true }, before)
    })
  }

  async #askNext(question: Question, key: string, before: Asked | undefined, world: World): Promise<void> {
    const hosts = [...world.hosts.values()].filter(canAnswer).sort((a, b) => byId(a.id, b.id))
    const fresh = hosts.filter(host => before?.refusedBy.has(host.id) !== true)
    const from = fresh.length > 0 ? fresh : hosts
    const tries = before?.tries ?? 0
    const record = from[tries % Math.max(from.length, 1)]?.record
    if (record === undefined) return
    const refusedBy = before?.refusedBy ?? new Set<HostId>()
    this.#note(key, { state: 'asking', nextAt: this.#clock.now(), tries: tries + 1, refusedBy })
    const answer = await this.#agents.resolve(record, question.image)
    if (!isRefusal(answer)) return this.#take(question, key, answer, before)
    const refusals = new Set([...refusedBy, record.id])
    const believed = refusals.size >= Math.min(2, hosts.length)
    this.#take(question, key, { ...answer, permanent: believed }, before, refusals, believed ? undefined : 0)
  }

  /** Keeps an answer, and asks again after a while unless told: a second opinion is asked for at once. */
  #take(
    question: Question,
    key: string,
    answer: Resolution,
    before: Asked | undefined,
    refusedBy: ReadonlySet<HostId> = before?.refusedBy ?? new Set(),
    pauseMs = Math.min(firstPauseMs * 2 ** (before?.tries ?? 0), mostPauseMs),
  ): void {
    this.#memory.resolutions.set(key, answer)
    const nextAt = after(this.#clock.now(), pauseMs)
    this.#note(key, { state: 'answered', nextAt, tries: (before?.tries ?? 0) + 1, refusedBy })
    this.#answered(question.service)
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
