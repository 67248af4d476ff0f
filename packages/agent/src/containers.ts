/**
 * The containers of this host as they are known now: what the engine listed last, and what was done since. Events only bring
 * the next listing forward. A listing is older news than what was done after it began, and newer than what was done before.
 *
 * An engine lists from its own memory, also when what runs the containers below it hangs. So it is asked for its description
 * now and then, for which it has to ask below; without an answer it counts as one that does not list.
 */
import type { SeenContainer } from '@boxcar/core/instance/converge'
import type { Clock, Instant } from '@boxcar/core/model/clock'
import { Bell } from '@boxcar/store/bell'
import type { Log } from '@boxcar/store/log'
import type { Conditions } from './conditions.ts'
import { type Container, type ContainerId, type Engine, EngineUnavailable } from './engine/engine.ts'
import type { InternalErrors } from './internal-errors.ts'
import { seenContainer } from './state/labels.ts'

export type EngineHealth = { readonly state: 'up' } | { readonly state: 'down'; readonly reason: string }

export interface ContainersOptions {
  readonly engine: Engine
  readonly clock: Clock
  readonly log: Log
  readonly errors: InternalErrors
  readonly conditions: Conditions
  /** Something may have changed. */
  readonly onChange: () => void
  /** The engine calls a container's health by another name. */
  readonly onHealth: (id: ContainerId) => void
}

interface Known {
  readonly seen: SeenContainer
  /** The step in which this was learnt. */
  readonly at: number
}

export class Containers {
  readonly #options: ContainersOptions
  readonly #known = new Map<string, Known>()
  /** Removed by us, until a listing that began later misses them. */
  readonly #gone = new Map<string, number>()
  readonly #wanted = new Bell()
  #step = 0
  #listed = false
  #failingSince: Instant | undefined
  /** When it last described itself. */
  #describedAt: Instant | undefined
  /** Since when no stream of events begins; nothing while one goes on. */
  #deafSince: Instant | undefined
  #failure = ''
  #health: EngineHealth = { state: 'up' }

  constructor(options: ContainersOptions) {
    this.#options = options
  }

  /** Nothing before the first listing, and while the engine is away. */
  all(): readonly SeenContainer[] | undefined {
    if (!this.#listed || this.#failingSince !== undefined) return undefined
    return [...this.#known.values()].map(known => known.seen)
  }

  get(id: string): SeenContainer | undefined {
    return this.#known.get(id)?.seen
  }

  /** down once the engine has gone on not answering for five seconds. */
  get health(): EngineHealth {
    return this.#health
  }

  /** The number of this moment, for `started`. */
  moment(): number {
    return ++this.#step
  }

  created(seen: SeenContainer): void {
    this.#known.set(seen.id, { seen, at: ++this.#step })
  }

  /** It was started after `since`; what ended meanwhile stays ended. */
  started(id: string, since: number): void {
    const known = this.#known.get(id)
    if (known === undefined || (known.seen.state === 'ended' && known.at > since)) return
    this.#known.set(id, { seen: { ...known.seen, state: 'running' }, at: ++this.#step })
    // It may have ended before the engine answered, in a listing that is under way.
    this.lookAgain()
  }

  ended(id: string): void {
    const known = this.#known.get(id)
    if (known !== undefined)
      this.#known.set(id, { seen: { ...known.seen, state: 'ended' }, at: ++this.#step })
  }

  removed(id: string): void {
    this.#known.delete(id)
    this.#gone.set(id, ++this.#step)
  }

  /** Brings the next listing forward. */
  lookAgain(): void {
    this.#wanted.ring()
  }

  /** Lists every few seconds and after each event, until the signal is aborted. */
  async watch(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#keepListing(signal), this.#keepListening(signal)])
  }

  /** One listing; throws what the engine throws. */
  async list(signal?: AbortSignal): Promise<void> {
    const began = ++this.#step
    const listing = await this.#options.engine.list(signal)
    const found = new Set<string>()
    for (const container of listing) {
      found.add(container.id)
      if (!this.#gone.has(container.id)) this.#takeListed(container, began)
    }
    for (const [id, known] of this.#known) if (!found.has(id) && known.at < began) this.#known.delete(id)
    for (const [id, at] of this.#gone) if (!found.has(id) && at < began) this.#gone.delete(id)
    this.#listed = true
  }

  /** One that cannot be made sense of stays as it was known before, or is left out. */
  #takeListed(container: Container, began: number): void {
    const about = { what: `container ${container.name}` }
    const seen = this.#options.errors.contain(about, 'reading its labels', () => seenContainer(container))
    const known = this.#known.get(container.id)
    if (seen === undefined) {
      if (known !== undefined) this.#known.set(container.id, { ...known, at: began })
      return
    }
    const isOldNews = known !== undefined && known.at > began && rank[known.seen.state] >= rank[seen.state]
    if (!isOldNews) this.#known.set(seen.id, { seen, at: began })
  }

  async #keepListing(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options
    let retryMs = firstRetryMs
    let heard = this.#wanted.rings
    while (!signal.aborted) {
      const rings = this.#wanted.rings
      try {
        await within(clock, listMs, signal, limit => this.list(limit))
        this.#changed()
        await this.#lookDeep(signal)
        retryMs = firstRetryMs
        this.#answered()
      } catch (error) {
        if (signal.aborted) return
        this.#failed(error)
        await clock.sleep(retryMs, signal)
        retryMs = Math.min(retryMs * 2, longestRetryMs)
        continue
      }
      await clock.sleep(apartMs, signal)
      // An engine tells of a change before its own listings show it: whatever was told is looked at twice.
      const isSettled = heard === rings
      heard = rings
      await this.#wanted.within(clock, isSettled ? everyMs : settleMs, signal, rings)
    }
  }

  /** Once it failed it is asked for again with every listing, so that listings alone do not make it well. */
  async #lookDeep(signal: AbortSignal): Promise<void> {
    const { engine, clock } = this.#options
    const now = clock.now()
    if (this.#describedAt !== undefined && now - this.#describedAt < describeEveryMs) return
    await within(clock, describeMs, signal, limit => engine.info(limit))
    this.#describedAt = now
  }

  async #keepListening(signal: AbortSignal): Promise<void> {
    const { engine, clock, log, errors } = this.#options
    while (!signal.aborted) {
      try {
        for await (const event of engine.events(signal)) {
          // What came before the stream is told by nobody: look once it listens.
          if (event.kind === 'listening') {
            this.#listening()
            this.lookAgain()
          } else if (event.action.startsWith('health_status'))
            errors.contain({ what: `container ${event.id.slice(0, 12)}` }, 'taking its health', () =>
              this.#options.onHealth(event.id),
            )
          else {
            this.lookAgain()
            if (event.action === 'die') void this.#lookAtOne(event.id)
          }
        }
      } catch (error) {
        if (signal.aborted) return
        // Shown: the condition `engine-events-missing`, once it lasts.
        log.warn({ error: sentence(error) }, 'the engine tells no events; listening again')
        this.#deaf(sentence(error))
      }
      await clock.sleep(listenAgainMs, signal)
    }
  }

  #listening(): void {
    this.#deafSince = undefined
    this.#options.conditions.set('engine-events-missing', undefined)
  }

  /** An engine that is down says so itself. */
  #deaf(error: string): void {
    const { clock, conditions } = this.#options
    const now = clock.now()
    this.#deafSince ??= now
    const isCondition = now - this.#deafSince >= downAfterMs && this.#failingSince === undefined
    const reason = `the engine tells no events (${error}): what happens to containers is seen at the next listing, ${everyMs / 1000} s later at most`
    conditions.set('engine-events-missing', isCondition ? reason : undefined)
  }

  /** Asked by itself, a container says at once that it has ended; listings say so only once all was cleared up. */
  async #lookAtOne(id: ContainerId): Promise<void> {
    try {
      const detail = await this.#options.engine.inspect(id)
      if (detail === undefined || seenContainer(detail).state !== 'ended') return
      this.ended(id)
      this.#changed()
    } catch {
      // The next listing tells.
    }
  }

  #answered(): void {
    this.#failingSince = undefined
    if (this.#health.state === 'down') {
      this.#options.log.info({}, 'the engine answers again')
      this.#health = { state: 'up' }
      this.#changed()
    }
  }

  /** Counted from the first failure, not from its question: one late answer, or a pause of our own, is no engine that is down. */
  #failed(error: unknown): void {
    const { clock, log } = this.#options
    const now = clock.now()
    this.#failure = sentence(error)
    if (this.#failingSince === undefined) {
      this.#failingSince = now
      // Shown: the engine in the host's record, once it is down.
      log.warn({ error: this.#failure }, 'the engine does not answer; trying again')
    }
    const isDown = now - this.#failingSince >= downAfterMs
    if (isDown && this.#health.state === 'up') {
      this.#health = { state: 'down', reason: this.#failure }
      // Shown: the engine in the host's record, and an event `engine-down`.
      log.error({ error: this.#failure }, 'the engine is down')
    }
    this.#changed()
  }

  /** What others make of it is no fault of the engine. */
  #changed(): void {
    const { errors, onChange } = this.#options
    errors.contain({ what: 'the engine' }, 'taking up a change', onChange)
  }
}

const rank = { created: 0, running: 1, ended: 2 } as const

const everyMs = 5000
/** An engine that lists for so long hangs, whatever it may still accept. */
const listMs = 8000
/** So that an engine that hangs is called down within 35 s, at the second answer that does not come. */
const describeEveryMs = 20_000
const describeMs = 5000
/** Listings are at least so far apart; a burst of events costs a few of them, not one each. */
const apartMs = 40
/** After which listings show what an event told. */
const settleMs = 200
const firstRetryMs = 250
const longestRetryMs = 2000
const listenAgainMs = 500
const downAfterMs = 5000

/** Ends the wait for an answer, and the call where it listens to its signal, once the time is over. */
async function within<T>(
  clock: Clock,
  ms: number,
  signal: AbortSignal,
  call: (limit: AbortSignal) => Promise<T>,
): Promise<T> {
  const end = new AbortController()
  const limit = AbortSignal.any([signal, end.signal])
  const timeout = clock.sleep(ms, limit).then((): never => {
    throw new EngineUnavailable(`the engine did not answer within ${ms / 1000} s`)
  })
  // Whichever loses the race is heard by nobody.
  timeout.catch(() => {})
  try {
    return await Promise.race([call(limit), timeout])
  } finally {
    end.abort()
  }
}

const sentence = (error: unknown): string => (error instanceof Error ? error.message : String(error))
