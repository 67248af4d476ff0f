/**
 * Routes to the proxy, and its word for it back. The acknowledged revision is that of the newest change of a route which the
 * proxy serves: nothing is acknowledged before it is true, and nothing twice. What it cannot serve of it is named beside the
 * revision, for as long as that lasts; so is a service whose newest route cannot be read, or had by HAProxy: the one
 * before is served, and the revision does not count for it. A table that is refused leaves the acknowledgement at what is served still. While the store is away, and until a snapshot of the
 * right store is there, the proxy goes on with what it has.
 */
import { after, type Clock, type Instant } from '@boxcar/core/model/clock'
import { byId, type InstanceId, type ServiceName } from '@boxcar/core/model/ids'
import { mostOutdated, type Route, type RouteAck, routeOf } from '@boxcar/core/model/route'
import { Bell } from '@boxcar/store/bell'
import { routes } from '@boxcar/store/keys'
import type { Log } from '@boxcar/store/log'
import { type Entry, type FollowStep, noRevision, type Revision } from '@boxcar/store/store'
import { type InternalErrors, internalError } from './internal-errors.ts'
import type { ProxyFault } from './proxy/picture.ts'
import type { ApplyOutcome, Proxy as EdgeProxy, ProxyHealth, RouteTable } from './proxy/proxy.ts'
import { faultWords, unservedList } from './proxy/unserved.ts'
import type { Tell } from './tell.ts'

export type ProxyState =
  /** With what is not as it should be although all is served, where there is such a thing. */
  { readonly state: 'up'; readonly reason?: string } | { readonly state: 'failing'; readonly reason: string }

export interface RoutingOptions {
  readonly proxy: EdgeProxy
  readonly clock: Clock
  readonly log: Log
  readonly errors: InternalErrors
  readonly tell: Tell
  readonly onAck: (ack: RouteAck | undefined) => void
  readonly onState: (state: ProxyState) => void
}

export class Routing {
  readonly #options: RoutingOptions
  readonly #bell = new Bell()
  #routes = new Map<ServiceName, Route>()
  #revision: Revision = noRevision
  /** The services whose newest route cannot be read; we go on with the one before. */
  readonly #outdated = new Set<ServiceName>()
  /** The services whose route cannot be read, and of which nothing was served here before. */
  readonly #unknown = new Set<ServiceName>()
  /** The revision that the proxy serves, of those asked for by this run, with the services that were outdated then. */
  #served: { readonly revision: string; readonly outdated: readonly ServiceName[] } | undefined
  #state: ProxyState = { state: 'up' }
  /** The table that was refused last, how often, and until when it is not tried again. */
  #refused: { readonly revision: Revision; readonly times: number; readonly until: Instant } | undefined
  #refusalTold: string | undefined
  /** Why new routes wait for a reload, where they do. */
  #postponed: string | undefined
  /** Whether it was told that they wait. */
  #postponementTold = false
  /** The faults of the served routes, each told of once while it lasts. */
  #faultsTold: ReadonlySet<string> = new Set()

  constructor(options: RoutingOptions) {
    this.#options = options
  }

  /** A step of a believed store. */
  take(step: FollowStep): void {
    if (step.kind !== 'snapshot' && step.kind !== 'changes') return
    // What cannot be read is no order to stop serving.
    const keys = new Set(step.unreadable.map(one => one.key))
    const isUnreadable = (service: ServiceName) => keys.has(`${routes.name}/${routes.spell(service)}`)
    if (step.kind === 'snapshot') {
      const found = new Map<ServiceName, Route | undefined>()
      for (const entry of step.entries)
        if (entry.kind === 'put' && entry.collection === routes)
          found.set(entry.entry.id as ServiceName, this.#read(entry.entry))
      const cannotRead = (service: ServiceName) =>
        isUnreadable(service) || (found.has(service) && found.get(service) === undefined)
      this.#routes = new Map([...this.#routes].filter(([service]) => cannotRead(service)))
      for (const [service, read] of found) if (read !== undefined) this.#routes.set(service, read)
      for (const services of [this.#outdated, this.#unknown])
        for (const service of services) if (!cannotRead(service)) services.delete(service)
      for (const service of [...unreadableOf(step), ...found.keys()])
        if (cannotRead(service)) this.#outdate(service)
      this.#revision = step.revision
      this.#bell.ring()
      return
    }
    let touched = false
    for (const change of step.changes) {
      if (change.collection !== routes) continue
      touched = true
      if (change.kind === 'put') {
        this.#put(change.entry)
        continue
      }
      const service = change.id as ServiceName // the id of `routes`
      if (isUnreadable(service)) this.#outdate(service)
      else {
        this.#routes.delete(service)
        this.#outdated.delete(service)
        this.#unknown.delete(service)
      }
    }
    if (!touched) return
    this.#revision = step.revision
    this.#bell.ring()
  }

  /** What cannot be read is served as it was before, also by a proxy that an earlier run of the agent left. */
  #outdate(service: ServiceName): void {
    if (this.#outdated.has(service) || this.#unknown.has(service)) return
    const { proxy, tell } = this.#options
    const before = this.#routes.get(service) ?? proxy.servedRoutes().get(service)
    if (before !== undefined) this.#routes.set(service, before)
    const services = before === undefined ? this.#unknown : this.#outdated
    services.add(service)
    const instead =
      before === undefined ? 'and nothing of it is served here' : 'which goes on with the one before'
    const message = `the newest route of ${service} cannot be read by this agent, ${instead}`
    tell({ kind: 'route-unreadable', level: 'error', message })
  }

  async run(signal: AbortSignal): Promise<void> {
    const { proxy, clock } = this.#options
    const unhear = proxy.onChange(() => this.#bell.ring())
    try {
      while (!signal.aborted) {
        const rings = this.#bell.rings
        const applyMs = await this.#apply()
        const ackMs = await this.#acknowledge()
        await this.#bell.within(clock, Math.min(applyMs, ackMs), signal, rings)
      }
    } finally {
      unhear()
    }
  }

  /** Gives the newest routes to the proxy; gives when to look again, milliseconds. */
  async #apply(): Promise<number> {
    const { proxy, clock, log, tell } = this.#options
    const revision = this.#revision
    if (revision === noRevision || this.#served?.revision === revision) return idleMs
    const before = this.#refused?.revision === revision ? this.#refused : undefined
    // A ring of the bell is no reason to try a refused table sooner, unless the proxy is well again.
    if (before !== undefined && clock.now() < before.until && proxy.health().kind !== 'ok') {
      return before.until - clock.now()
    }
    const outdated = [...this.#outdated].sort(byId)
    const outcome = await this.#give({ revision, routes: new Map(this.#routes) })
    if (outcome.kind === 'applied') {
      this.#served = { revision: outcome.revision, outdated }
      this.#refused = undefined
      this.#refusalTold = undefined
      this.#postponed = undefined
      this.#postponementTold = false
      return idleMs
    }
    if (outcome.kind === 'postponed') {
      this.#postponed = outcome.why
      if (!this.#postponementTold && outcome.inMs > patienceMs) {
        this.#postponementTold = true
        const message = `new routes wait ${Math.ceil(outcome.inMs / 1000)} s for a reload of the proxy: ${outcome.why}`
        tell({ kind: 'routes-postponed', level: 'warning', message })
      }
      return outcome.inMs
    }
    // Shown: the proxy in the host's record, which is failing then, or refusing.
    log.error({ revision, outcome: outcome.kind, why: outcome.why }, 'the proxy did not take the routes')
    if (outcome.kind === 'down') return againMs
    const times = (before?.times ?? 0) + 1
    const pauseMs = Math.min(longestAgainMs, againMs * 2 ** (times - 1))
    this.#refused = { revision, times, until: after(clock.now(), pauseMs) }
    if (this.#refusalTold !== outcome.why) {
      this.#refusalTold = outcome.why
      tell({
        kind: 'routes-refused',
        level: 'error',
        message: `the proxy refused the routes and goes on with the last good ones: ${outcome.why}`,
      })
    }
    return pauseMs
  }

  /** A throw is a bug of the proxy's part of the agent; the table counts as refused, and is tried again. */
  async #give(table: RouteTable): Promise<ApplyOutcome> {
    const { proxy, errors } = this.#options
    try {
      return await proxy.apply(table)
    } catch (error) {
      errors.note({ what: 'the proxy' }, 'applying the routes', error)
      return { kind: 'refused', why: internalError(error) }
    }
  }

  /** What is acknowledged now; gives when to look again, milliseconds. */
  async #acknowledge(): Promise<number> {
    const { proxy, clock, onAck } = this.#options
    const health = proxy.health()
    this.#tellFaults(health.faults)
    if (health.kind === 'failing') {
      const goneMs = clock.now() - health.since
      this.#become({ state: 'failing', reason: health.why })
      if (goneMs < patienceMs) return patienceMs - goneMs
      onAck(undefined)
      return idleMs
    }
    // What was served before a refused table is served still, so that is still true.
    this.#become(health.kind === 'refusing' ? { state: 'failing', reason: health.why } : this.#upWith(health))
    if (this.#served === undefined) return idleMs
    const draining: readonly InstanceId[] = await proxy.draining()
    const { revision, outdated: unread } = this.#served
    // What is served may have changed while the proxy was asked.
    const { faults, outdated: refused = [] } = proxy.health()
    const outdated = [...new Set([...unread, ...refused])].sort(byId)
    onAck({
      revision,
      draining: [...draining].sort(),
      ...(outdated.length > 0 && { outdated: outdated.length > mostOutdated ? 'all' : outdated }),
      ...unservedList([...faults, ...this.#unreadable(unread)], this.#routes),
    })
    return draining.length > 0 ? drainingMs : idleMs
  }

  /** The listeners that are served by a route of before. */
  #unreadable(outdated: readonly ServiceName[]): readonly ProxyFault[] {
    const why = 'its newest route cannot be read by this agent, which goes on with the one before'
    return outdated.flatMap(service =>
      (this.#routes.get(service)?.listeners ?? []).map(
        ({ listen }): ProxyFault => ({ kind: 'listener', service, listen, reason: 'unreadable', why }),
      ),
    )
  }

  /** What of the routes waits although the proxy is well, or would be lost if its machine stopped now. */
  #upWith({ faults }: ProxyHealth): ProxyState {
    const [outdated] = [...this.#outdated, ...this.#unknown]
    const reasons = [
      ...faults.flatMap(fault => (fault.kind === 'disk' ? [`its files are behind: ${fault.why}`] : [])),
      ...(outdated === undefined ? [] : [`the newest route of ${outdated} cannot be read by this agent`]),
      ...(this.#postponed === undefined ? [] : [`new routes wait for a reload: ${this.#postponed}`]),
    ]
    return reasons.length === 0 ? { state: 'up' } : { state: 'up', reason: reasons.join('; ') }
  }

  #become(next: ProxyState): void {
    const before = this.#state
    this.#state = next
    if (before.state === next.state && before.reason === next.reason) return
    this.#options.onState(next)
    if (before.state === next.state) return
    if (next.state === 'failing')
      this.#options.tell({
        kind: 'proxy-failing',
        level: 'error',
        message: `the proxy fails: ${next.reason}`,
      })
    else this.#options.tell({ kind: 'proxy-up', message: 'the proxy is well again' })
  }

  #tellFaults(faults: readonly ProxyFault[]): void {
    const now = new Set(faults.map(faultWords))
    for (const fault of now) {
      if (this.#faultsTold.has(fault)) continue
      // Shown: the acknowledgement, or the proxy in the host's record where all is served.
      this.#options.log.warn({ fault }, 'the proxy cannot serve a part of the routes')
      this.#options.tell({ kind: 'route-fault', level: 'warning', message: `the proxy: ${fault}` })
    }
    this.#faultsTold = now
  }

  #put(entry: Entry<unknown, unknown>): void {
    const service = entry.id as ServiceName // the id of `routes`
    const read = this.#read(entry)
    if (read === undefined) return this.#outdate(service)
    this.#routes.set(service, read)
    this.#outdated.delete(service)
    this.#unknown.delete(service)
  }

  /** A route that throws is one that cannot be read. */
  #read({ id, value }: Entry<unknown, unknown>): Route | undefined {
    const service = id as ServiceName // the id of `routes`
    return this.#options.errors.contain({ service }, 'reading its route', () => routeOf(service, value))
  }
}

/** The services whose routes are among what could not be read. */
function unreadableOf({ unreadable }: Extract<FollowStep, { kind: 'snapshot' }>): readonly ServiceName[] {
  const prefix = `${routes.name}/`
  return unreadable.flatMap(({ key }) =>
    key.startsWith(prefix) ? (routes.read(key.slice(prefix.length)) ?? []) : [],
  )
}

/** A proxy that fails for so long is not waited for. */
const patienceMs = 5000
const drainingMs = 250
const againMs = 500
const longestAgainMs = 10_000
const idleMs = 60_000
