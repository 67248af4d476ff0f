/** The instances of this host: what the loop looks at, what it has done, and what is reported of it. */

import { delayBefore } from '@boxcar/core/instance/backoff'
import {
  type Action,
  countUnasked,
  isInterruptible,
  type Look,
  type Memory,
  nothingRemembered,
  type SeenContainer,
} from '@boxcar/core/instance/converge'
import { attempt, errorText } from '@boxcar/core/model/attempt'
import { after, type Instant } from '@boxcar/core/model/clock'
import type { InstanceId } from '@boxcar/core/model/ids'
import type { Report } from '@boxcar/core/model/report'
import { type Conditions, firstFew } from './conditions.ts'
import { type ContainerId, EngineFault, EngineUnavailable, isContainerId } from './engine/engine.ts'
import { Instance, type Strikes } from './instance.ts'
import type { Reporter } from './reporter.ts'
import type { Orders, PlacedOrder } from './state/orders.ts'
import { TemplateMissing } from './state/templates.ts'
import * as work from './work.ts'

export interface InstancesOptions extends work.WorkContext {
  readonly orders: Orders
  readonly reporter: Reporter
  readonly conditions: Conditions
}

export class Instances {
  readonly #options: InstancesOptions
  readonly #instances = new Map<InstanceId, Instance>()
  /** Containers of no instance that something is being done to. */
  readonly #held = new Set<string>()
  /** Instances that the agent itself failed at, with when each is tried again. */
  readonly #failing = new Map<InstanceId, Failing>()
  /** Containers of which it was told that they are discarded. */
  readonly #discardTold = new Set<string>()
  /** Ends what waits in the operation queue for containers of no instance. */
  readonly #leaving = new AbortController()
  /** Containers of no instance that were not removed, with how often and why. */
  readonly #undiscarded = new Map<string, { readonly times: number; readonly why: string }>()
  #unaskedSince: ReadonlyMap<string, Instant> = new Map()

  constructor(options: InstancesOptions) {
    this.#options = options
  }

  /** What an earlier run knew of an instance; this one may know it already, or another placement of it. */
  remember(report: Report, strikes?: Strikes): void {
    const { orders, templates, clock } = this.#options
    const order = orders.orders.get(report.instance)
    if (order !== undefined && (order.uid !== report.uid || order.placement !== report.placement)) return
    const instance = this.#of(report.instance)
    if (!instance.isBlank || instance.doing?.kind === 'start') return
    instance.remember(report, strikes)
    // The moment was on the clock of that run; what is left of the wait is not known.
    if (order !== undefined && report.state === 'backoff' && instance.streak > 0)
      instance.notBefore = after(clock.now(), delayBefore(instance.streak, templates.backoffOf(order)))
  }

  /** The container of an instance that runs, or ran last. */
  containerOf(instance: InstanceId): ContainerId | undefined {
    const all = this.#containersOf(instance)
    const id = (all.findLast(container => container.state === 'running') ?? all.at(-1))?.id
    return id !== undefined && isContainerId(id) ? id : undefined
  }

  /** The engine calls this container's health by another name. */
  healthChanged(container: ContainerId): void {
    for (const instance of this.#instances.values())
      if (instance.watch?.container === container) instance.watch.poke()
  }

  /** What the agent did for an instance threw: it is left as it is for a while, and its report says so. */
  failed(id: InstanceId, doing: string, error: unknown): void {
    const { errors, clock } = this.#options
    const reason = errors.note({ instance: id }, doing, error)
    const times = (this.#failing.get(id)?.times ?? 0) + 1
    const pauseMs = Math.min(longestPauseMs, firstPauseMs * 2 ** (times - 1))
    this.#failing.set(id, { reason, times, until: after(clock.now(), pauseMs) })
  }

  look(): Look {
    const { orders, containers, clock } = this.#options
    const now = clock.now()
    const skipped = new Set<InstanceId>()
    for (const [id, { until }] of this.#failing) if (until > now) skipped.add(id)
    const contained = (id: InstanceId, look: () => void) => {
      if (skipped.has(id)) return
      const looked = attempt(look)
      if (!('error' in looked)) return
      this.failed(id, 'looking at it', looked.error)
      skipped.add(id)
    }
    for (const order of orders.orders.values()) contained(order.instance, () => this.#under(order))
    const memories = new Map<InstanceId, Memory>()
    for (const [id, instance] of this.#instances) {
      contained(id, () => memories.set(id, instance.memory))
      // What is under way is still to be interrupted where it is not wanted any more.
      if (skipped.has(id)) memories.set(id, { ...nothingRemembered, doing: instance.doing?.kind })
    }
    const seen = {
      orders: orders.orders,
      unreadable: orders.unreadable,
      skipped,
      containers: containers.all(),
      ordersAre: orders.areFresh(now) ? ('fresh' as const) : ('saved' as const),
    }
    this.#unaskedSince = countUnasked(this.#unaskedSince, seen, now)
    this.#noteUndiscarded()
    return { ...seen, memories, held: this.#held, unaskedSince: this.#unaskedSince }
  }

  /** Begins an action; how it went is seen at the next look. Never throws. */
  perform(action: Action): void {
    const begun = attempt(() => this.#perform(action))
    if (!('error' in begun)) return
    if (action.instance !== undefined) this.failed(action.instance, action.kind, begun.error)
    else this.#options.errors.note({ what: 'a container of no instance' }, action.kind, begun.error)
  }

  #perform(action: Action): void {
    const { orders, reporter } = this.#options
    const order = action.instance === undefined ? undefined : orders.orders.get(action.instance)
    switch (action.kind) {
      case 'interrupt':
        return this.#instances.get(action.instance)?.doing?.abort.abort()
      case 'confirm': {
        const instance = this.#of(action.instance)
        instance.stopped = order?.placement
        return
      }
      case 'forget':
        this.#instances.get(action.instance)?.end()
        this.#instances.delete(action.instance)
        this.#failing.delete(action.instance)
        return reporter.forget(action.instance)
      case 'discard':
        this.#tellDiscard(action)
        if (action.instance === undefined) return this.#discardStranger(action.container)
        return this.#begin(action, (context, _, signal) =>
          work.discard(context, idOf(action.container), signal),
        )
      case 'tidy':
        return this.#begin(action, (context, _, signal) =>
          work.tidy(context, action.containers.map(idOf), signal),
        )
      case 'stop':
        return this.#begin(action, (context, instance, signal) =>
          work.stop(context, instance, action.containers.map(idOf), signal),
        )
      case 'end':
        return this.#begin(action, (context, instance, signal) =>
          work.end(context, instance, idOf(action.container), action.because, signal),
        )
      case 'examine':
        return this.#beginOrdered(action, order, (context, instance, ordered, signal) =>
          work.examine(context, instance, ordered, idOf(action.container), signal),
        )
      case 'adopt':
        return this.#beginOrdered(action, order, (context, instance, ordered, signal) =>
          work.adopt(context, instance, ordered, idOf(action.container), signal),
        )
      case 'start':
        return this.#beginOrdered(action, order, (context, instance, ordered, signal) =>
          work.start(context, instance, ordered, action.attempt, signal),
        )
    }
  }

  /** Says what there is to say of every instance that is ordered. */
  report(): void {
    const { orders, containers } = this.#options
    const known = containers.all() === undefined ? undefined : this.#byInstance()
    for (const order of orders.orders.values()) {
      const reported = attempt(() => this.#report(order, known))
      if (!('error' in reported)) continue
      this.failed(order.instance, 'reporting it', reported.error)
      this.#reportFailing(order)
    }
  }

  #report(order: PlacedOrder, known: ReadonlyMap<InstanceId, readonly SeenContainer[]> | undefined): void {
    const { clock, reporter } = this.#options
    const instance = this.#under(order)
    if (instance === undefined) return
    const failing = this.#failing.get(order.instance)
    const now = clock.now()
    const stands = failing !== undefined && failing.until > now
    instance.internalError = stands ? failing.reason : undefined
    const own = known === undefined ? undefined : (known.get(order.instance) ?? [])
    reporter.want(instance.report(order, own, now, clock.wall()), instance.strikes)
    // This turn dealt with it, from looking to reporting.
    if (!stands) this.#failing.delete(order.instance)
  }

  /** The report of before, or a first one, with why there is no newer one. */
  #reportFailing({ instance, uid, placement }: PlacedOrder): void {
    const { clock, reporter, errors } = this.#options
    const reason = this.#failing.get(instance)?.reason
    if (reason === undefined) return
    const wanted = reporter.wanted(instance)
    const report: Report =
      wanted?.report.uid === uid
        ? { ...wanted.report, reason }
        : {
            instance,
            uid,
            state: 'starting',
            reason,
            attempt: 0,
            restarts: 0,
            since: clock.wall(),
            placement,
          }
    if (wanted?.report.reason === reason && wanted.report.uid === uid) return
    errors.contain({ instance }, 'reporting it', () => reporter.want(report, wanted ?? { streak: 0 }))
  }

  /** Ends the watching and what is under way; containers are left as they are. */
  leave(): void {
    for (const instance of this.#instances.values()) instance.end()
    this.#leaving.abort()
  }

  #begin(
    action: Extract<Action, { instance: InstanceId | undefined }>,
    perform: (context: work.WorkContext, instance: Instance, signal: AbortSignal) => Promise<void>,
  ): void {
    if (action.instance === undefined) return
    const instance = this.#of(action.instance)
    const abort = new AbortController()
    instance.doing = { kind: action.kind, abort }
    instance.retryAt = undefined
    void this.#finish(instance, action, () => perform(this.#options, instance, abort.signal))
  }

  #beginOrdered(
    action: Extract<Action, { instance: InstanceId }>,
    order: PlacedOrder | undefined,
    perform: (
      context: work.WorkContext,
      instance: Instance,
      order: PlacedOrder,
      signal: AbortSignal,
    ) => Promise<void>,
  ): void {
    if (order !== undefined)
      this.#begin(action, (context, instance, signal) => perform(context, instance, order, signal))
  }

  /** One failing action concerns its own instance only, and is tried again. */
  async #finish(instance: Instance, action: Action, perform: () => Promise<void>): Promise<void> {
    const { clock, log, errors, containers, changed } = this.#options
    try {
      await perform()
      instance.unhindered()
    } catch (error) {
      // Given up on purpose: whatever was under way is looked at afresh.
      if (instance.doing?.abort.signal.aborted !== true) {
        const reason = isExpected(error)
          ? error.message
          : errors.note({ instance: instance.id }, action.kind, error)
        // Shown: the report of the instance.
        log.warn({ instance: instance.id, action: action.kind, reason }, 'an action failed')
        instance.hindered(action.kind, reason, clock.now())
      }
      containers.lookAgain()
    }
    instance.doing = undefined
    changed()
  }

  #discardStranger(container: string): void {
    const { log, clock, errors, containers, changed } = this.#options
    this.#held.add(container)
    const discard = async () => {
      try {
        await work.discard(this.#options, idOf(container), this.#leaving.signal)
        this.#discardTold.delete(container)
        this.#undiscarded.delete(container)
      } catch (error) {
        if (this.#leaving.signal.aborted) return
        const times = (this.#undiscarded.get(container)?.times ?? 0) + 1
        this.#undiscarded.set(container, { times, why: errorText(error) })
        if (!isExpected(error))
          errors.note({ what: `container ${container.slice(0, 12)} of no instance` }, 'discard', error)
        // Shown: the condition `containers-not-removed`, once it lasts.
        log.warn({ container, error: String(error) }, 'a container was not discarded; trying again')
        await clock.sleep(discardAgainMs)
        containers.lookAgain()
      }
      this.#held.delete(container)
      changed()
    }
    void discard()
  }

  /** One that failed once or twice is only late; one that is gone is of no interest. */
  #noteUndiscarded(): void {
    const { containers, conditions } = this.#options
    if (containers.all() === undefined) return
    for (const id of this.#undiscarded.keys())
      if (containers.get(id) === undefined) this.#undiscarded.delete(id)
    const lasting = [...this.#undiscarded].filter(([, { times }]) => times >= lastingTimes)
    const list = lasting.map(([id, { why }]) => `${id.slice(0, 12)} (${why})`)
    const reason = `the engine does not remove containers that nobody asked for: ${firstFew(list)}`
    conditions.set('containers-not-removed', list.length === 0 ? undefined : reason)
  }

  /** Once for each container, however often it is tried. */
  #tellDiscard(action: Extract<Action, { kind: 'discard' }>): void {
    const { tell, log } = this.#options
    if (this.#discardTold.has(action.container)) return
    this.#discardTold.add(action.container)
    const what = action.instance ?? `the container ${action.container.slice(0, 12)}`
    // Shown: the event below.
    log.warn(
      { container: action.container, instance: action.instance, because: action.because },
      'discarding',
    )
    tell({
      kind: 'container-discarded',
      message: `a container of ${what} is stopped and removed: ${discardWords[action.because]}`,
      ...(action.instance !== undefined && { instance: action.instance }),
    })
  }

  /** The instance as this placement has it; nothing while something is done for an earlier one. */
  #under(order: PlacedOrder): Instance | undefined {
    const known = this.#of(order.instance)
    known.of ??= { uid: order.uid, placement: order.placement }
    const { uid, placement } = known.of
    if (uid === order.uid && placement === order.placement) return known
    if (known.doing !== undefined) {
      if (isInterruptible(known.doing.kind)) known.doing.abort.abort()
      return undefined
    }
    const ours = this.#containersOf(order.instance).filter(
      container => container.uid === order.uid && container.print === order.print,
    )
    const instance = known.under(order, {
      goesOn: ours.findLast(container => container.state === 'running')?.id,
      ended: ours.findLast(container => container.state === 'ended')?.id,
    })
    this.#instances.set(order.instance, instance)
    return instance
  }

  #of(id: InstanceId): Instance {
    const known = this.#instances.get(id)
    if (known !== undefined) return known
    const instance = new Instance(id)
    this.#instances.set(id, instance)
    return instance
  }

  #containersOf(instance: InstanceId): readonly SeenContainer[] {
    return (this.#options.containers.all() ?? [])
      .filter(container => container.instance === instance)
      .sort((a, b) => a.attempt - b.attempt)
  }

  #byInstance(): ReadonlyMap<InstanceId, readonly SeenContainer[]> {
    const found = new Map<InstanceId, SeenContainer[]>()
    for (const container of this.#options.containers.all() ?? []) {
      if (container.instance === undefined) continue
      const list = found.get(container.instance)
      if (list === undefined) found.set(container.instance, [container])
      else list.push(container)
    }
    return found
  }
}

interface Failing {
  readonly reason: string
  readonly times: number
  readonly until: Instant
}

/** As for an action that the engine or the store failed (instance.ts). */
const firstPauseMs = 1000
const longestPauseMs = 15_000
const discardAgainMs = 1000
const lastingTimes = 3

/** What an action may meet without a bug of ours: the engine or the store does not do as it is asked. */
const isExpected = (error: unknown): error is EngineUnavailable | EngineFault | TemplateMissing =>
  error instanceof EngineUnavailable || error instanceof EngineFault || error instanceof TemplateMissing

const discardWords = {
  unasked: 'no placement asks for it',
  'other-service': 'it is of an earlier service of this name',
  superseded: 'it was made for an earlier placement',
  surplus: 'it is a second one of the same instance',
} as const

/** Ids that came from the engine went through the decision as plain text. */
function idOf(text: string): ContainerId {
  if (!isContainerId(text)) throw new Error(`not a container id: ${text}`)
  return text
}
