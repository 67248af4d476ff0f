/**
 * Routes to the proxy, and its word for it back. The acknowledged revision is that of the newest change of a route which the
 * proxy serves: nothing is acknowledged before it is true, and nothing twice. While the store is away, and until a snapshot
 * of the right store is there, the proxy goes on with what it has.
 */
import type { Clock } from '@boxcar/core/model/clock'
import type { InstanceId, ServiceName } from '@boxcar/core/model/ids'
import { type Route, type RouteAck, route } from '@boxcar/core/model/route'
import { Bell } from '@boxcar/store/bell'
import { routes } from '@boxcar/store/keys'
import type { Log } from '@boxcar/store/log'
import { type FollowStep, noRevision, type Revision } from '@boxcar/store/store'
import type { Proxy as EdgeProxy } from './proxy/proxy.ts'
import type { Tell } from './tell.ts'

export type ProxyState = { readonly state: 'up' } | { readonly state: 'failing'; readonly reason: string }

export interface RoutingOptions {
  readonly proxy: EdgeProxy
  readonly clock: Clock
  readonly log: Log
  readonly tell: Tell
  readonly onAck: (ack: RouteAck | undefined) => void
  readonly onState: (state: ProxyState) => void
}

export class Routing {
  readonly #options: RoutingOptions
  readonly #bell = new Bell()
  #routes = new Map<ServiceName, Route>()
  #revision: Revision = noRevision
  /** The revision that the proxy serves, of those asked for by this run. */
  #served: string | undefined
  #state: ProxyState = { state: 'up' }
  #told = ''

  constructor(options: RoutingOptions) {
    this.#options = options
  }

  /** A step of a believed store. */
  take(step: FollowStep): void {
    if (step.kind === 'snapshot') {
      this.#routes = new Map()
      for (const entry of step.entries)
        if (entry.kind === 'put' && entry.collection === routes) this.#put(entry.entry.value)
      this.#revision = step.revision
      this.#bell.ring()
    }
    if (step.kind !== 'changes') return
    let touched = false
    const unreadable = new Set(step.unreadable.map(one => one.key))
    for (const change of step.changes) {
      if (change.collection !== routes) continue
      touched = true
      if (change.kind === 'put') this.#put(change.entry.value)
      // What cannot be read is no order to stop serving.
      else if (!unreadable.has(`${routes.name}/${routes.spell(change.id as ServiceName)}`))
        this.#routes.delete(change.id as ServiceName) // the id of `routes`
    }
    if (!touched) return
    this.#revision = step.revision
    this.#bell.ring()
  }

  routedPort(service: ServiceName): string | undefined {
    return this.#routes.get(service)?.listeners[0]?.port
  }

  async run(signal: AbortSignal): Promise<void> {
    const { proxy, clock } = this.#options
    const unhear = proxy.onChange(() => this.#bell.ring())
    try {
      while (!signal.aborted) {
        const rings = this.#bell.rings
        const applied = await this.#apply()
        const waitMs = await this.#acknowledge()
        await this.#bell.within(clock, applied === 'again' ? againMs : waitMs, signal, rings)
      }
    } finally {
      unhear()
    }
  }

  async #apply(): Promise<'done' | 'again'> {
    const { proxy, log, tell } = this.#options
    const revision = this.#revision
    if (revision === noRevision || this.#served === revision) return 'done'
    const outcome = await proxy.apply({ revision, routes: new Map(this.#routes) })
    if (outcome.kind === 'applied') {
      this.#served = outcome.revision
      for (const fault of outcome.faults) this.#warnOnce(`${JSON.stringify(fault)}`)
      return 'done'
    }
    log.error({ revision, outcome: outcome.kind, why: outcome.why }, 'the proxy did not take the routes')
    if (outcome.kind === 'refused' && this.#told !== outcome.why) {
      this.#told = outcome.why
      tell({
        kind: 'routes-refused',
        level: 'error',
        message: `the proxy refused the routes and goes on with the last good ones: ${outcome.why}`,
      })
    }
    return 'again'
  }

  /** What is acknowledged now; gives when to look again, milliseconds. */
  async #acknowledge(): Promise<number> {
    const { proxy, clock, onAck } = this.#options
    const health = proxy.health()
    if (health.kind === 'failing') {
      const goneMs = clock.now() - health.since
      this.#become({ state: 'failing', reason: health.why })
      if (goneMs < patienceMs) return patienceMs - goneMs
      onAck(undefined)
      return idleMs
    }
    this.#become({ state: 'up' })
    if (this.#served === undefined) return idleMs
    const draining: readonly InstanceId[] = await proxy.draining()
    onAck({ revision: this.#served, draining: [...draining].sort() })
    return draining.length > 0 ? drainingMs : idleMs
  }

  #become(next: ProxyState): void {
    const before = this.#state
    this.#state = next
    if (before.state === next.state) return
    this.#options.onState(next)
    if (next.state === 'failing')
      this.#options.tell({
        kind: 'proxy-failing',
        level: 'error',
        message: `the proxy fails: ${next.reason}`,
      })
    else this.#options.tell({ kind: 'proxy-up', message: 'the proxy is well again' })
  }

  #warnOnce(fault: string): void {
    if (this.#told === fault) return
    this.#told = fault
    this.#options.log.warn({ fault }, 'the proxy cannot serve a part of the routes')
    this.#options.tell({
      kind: 'route-fault',
      level: 'warning',
      message: `a part of the routes cannot be served here: ${fault}`,
    })
  }

  #put(value: unknown): void {
    const parsed = route.parse(value)
    this.#routes.set(parsed.service, parsed)
  }
}

/** A proxy that fails for so long is not waited for. */
const patienceMs = 5000
const drainingMs = 250
const againMs = 500
const idleMs = 60_000
