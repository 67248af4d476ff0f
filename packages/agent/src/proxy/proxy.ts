/**
 * The proxy room of the agent: one HAProxy process a host that serves the routes of the cluster. Each table of routes is
 * arranged into slots, drawn as a picture, compared with the picture of the running process, and the difference is told
 * to it; only what it has no room for costs a reload, which loses nothing. The files on the disk always say what the
 * process should say, so that a reload, a restart of the process or of the agent starts right.
 */

import type { Clock, Instant } from '@boxcar/core/model/clock'
import { byId, type InstanceId, type ServiceName } from '@boxcar/core/model/ids'
import { plural, pluralVerb } from '@boxcar/core/model/plural'
import { compareRevisions } from '@boxcar/core/model/revision'
import type { Route } from '@boxcar/core/model/route'
import type { Logger } from 'pino'
import { internalError } from '../internal-errors.ts'
import { difference, type Join, joinCommands, welcomeCommands } from './difference.ts'
import { ProxyFiles, type Served, whyUnwritten } from './files.ts'
import {
  drainingInstances,
  type Leaving,
  leavingAfter,
  lookAt,
  overdue,
  type Resting,
  restingAfter,
  type WorkerUse,
} from './leaving.ts'
import { observe, toldRevision } from './observe.ts'
import {
  type Addresses,
  asStarted,
  type Closed,
  type Door,
  doorKey,
  doorsOf,
  draw,
  isAddress,
  type Picture,
  type ProxyFault,
  portFault,
  serverName,
  wantedDoors,
} from './picture.ts'
import { closedDoors, doorsHeldBy, Holders, sharedDoors, whyClosed } from './ports.ts'
import { HaproxyProcess } from './process.ts'
import { askDoor, probedDoors, reach } from './reach.ts'
import { mapPath, safeRevision, structureOf } from './render.ts'
import {
  parseServers,
  parseUse,
  RuntimeSilent,
  type SeenServer,
  useCommand,
  type Workers,
} from './runtime.ts'
import { findInvalidServices, isSameRoute, SetAside } from './set-aside.ts'
import { arrange, type Layout, release, type ServiceLayout, sameEndpoint } from './slots.ts'
import { loadState } from './state.ts'

/** Every route of the cluster at one revision. */
export interface RouteTable {
  readonly revision: string
  readonly routes: ReadonlyMap<ServiceName, Route>
}

export type ApplyOutcome =
  /** The process serves this revision; `faults` lists what in it cannot be served here, all else is. */
  | { readonly kind: 'applied'; readonly revision: string; readonly faults: readonly ProxyFault[] }
  /** The configuration did not parse or load; the process serves what it served before. */
  | { readonly kind: 'refused'; readonly why: string }
  /**
   * It needs a reload, and the last ones left so many workers with open connections that the next has to wait. All that needs
   * none is done: the members and shares of the services that are served already.
   */
  | { readonly kind: 'postponed'; readonly inMs: number; readonly why: string }
  /** No process serves; it is being started again and takes this table up by itself. */
  | { readonly kind: 'down'; readonly why: string }

export type ProxyHealth = {
  readonly faults: readonly ProxyFault[]
  /** Services whose newest route cannot be had, and of which the one before is served. */
  readonly outdated?: readonly ServiceName[]
} & (
  | { readonly kind: 'ok' }
  /** The newest table was refused: the process is well and serves the one before. */
  | { readonly kind: 'refusing'; readonly why: string }
  /** Something is wrong with the process; what it serves is not sure. */
  | { readonly kind: 'failing'; readonly since: Instant; readonly why: string }
)

export interface Proxy {
  /**
   * Makes the process serve exactly these routes. Resolves when every worker that still takes requests applies them.
   * Calls are serialised; a table that a newer one overtook gets the newer one's outcome.
   */
  apply(table: RouteTable): Promise<ApplyOutcome>
  /** Instances that left the routes and may still have open sessions on this host. */
  draining(): Promise<readonly InstanceId[]>
  health(): ProxyHealth
  /** The routes that are served, also by a process that was taken over; none where nothing is known of them. */
  servedRoutes(): ReadonlyMap<ServiceName, Route>
  /** Calls the listener when health or draining may have changed; gives the way to stop it. */
  onChange(listener: () => void): () => void
  /** Stops watching and leaves the process serving, for the next agent to take over. */
  leave(): Promise<void>
  /** Ends the process too. */
  stop(): Promise<void>
}

export interface ProxyOptions {
  /** The binary, e.g. `/usr/sbin/haproxy`. */
  readonly haproxy: string
  /** The state folder: an absolute path of plain letters, short enough for a socket in it. */
  readonly dir: string
  readonly bind: {
    /** Where public routes listen; `*`: every address. */
    readonly public: '*' | (string & {})
    /** Where private routes listen: loopback (or the logical host's own) and the bridge of the containers. */
    readonly private: readonly string[]
  }
  readonly clock: Clock
  readonly log: Pick<Logger, 'debug' | 'info' | 'warn' | 'error'>
}

const noneRetried = { names: [], faults: [] }
const pulseEveryMs = 500
const probeEveryMs = 2_000
/** How often a table is tried, each time with more services set aside. */
const mostSettles = 3
const shareLookEveryMs = 10_000
const repairEveryMs = 30_000
const longestSocketPath = 90

/** Opens the proxy room: takes over a process that still runs, or starts one with the last good configuration. */
export async function openProxy(options: ProxyOptions): Promise<Proxy> {
  const { dir, bind } = options
  if (!/^\/[\w./-]+$/.test(dir) || `${dir}/handover.sock`.length > longestSocketPath) {
    throw new Error(`the proxy's folder needs a short absolute path of letters, digits and . _ - /: ${dir}`)
  }
  for (const address of [...bind.private, ...(bind.public === '*' ? [] : [bind.public])]) {
    if (!isAddress(address)) throw new Error(`the proxy listens on IP addresses, not on ${address}`)
  }
  const room = new ProxyRoom(options, await addressesOf(bind))
  await room.open()
  return room
}

async function addressesOf(bind: ProxyOptions['bind']): Promise<Addresses> {
  if (bind.public !== '*') return { public: [bind.public], private: bind.private }
  const hasIpv6 = (await whyClosed({ address: '::1', port: 0 })) === undefined
  return { public: hasIpv6 ? ['0.0.0.0', '::'] : ['0.0.0.0'], private: bind.private }
}

interface Waiter {
  readonly resolve: (outcome: ApplyOutcome) => void
  readonly reject: (error: unknown) => void
}

interface Trouble {
  readonly since: Instant
  readonly why: string
}

class ProxyRoom implements Proxy {
  readonly #options: ProxyOptions
  readonly #addresses: Addresses
  readonly #process: HaproxyProcess
  readonly #files: ProxyFiles
  readonly #stop = new AbortController()
  readonly #listeners = new Set<() => void>()
  #queue: Promise<unknown> = Promise.resolve()
  #wanted: { readonly table: RouteTable; readonly waiters: readonly Waiter[] } | undefined

  /** The newest table that was asked for, as it was asked for. */
  #asked: RouteTable | undefined
  readonly #aside = new SetAside()
  /** The services that are no longer set aside and not yet served, with their faults. */
  #retried: { readonly names: readonly ServiceName[]; readonly faults: readonly ProxyFault[] } = noneRetried
  /** The table that HAProxy refused last. */
  #invalid: RouteTable | undefined
  /** The newest table that was asked for, without what is set aside of it, and what is served. */
  #table: RouteTable | undefined
  #layout: Layout = new Map()
  /** What the newest worker says, as far as known. */
  #running: Picture | undefined
  #good: Served | undefined
  /** When it was last told to reload. */
  #reloaded: Instant | undefined
  /** The doors that the process holds. */
  #held: readonly Door[] = []
  #faults: readonly ProxyFault[] = []
  #blocked: readonly (Door & Closed)[] = []
  /** The doors that the process holds, and another one too. */
  #shared: readonly (Door & { readonly holder: string })[] = []
  readonly #holders = new Holders()
  #leaving: readonly Leaving[] = []
  #resting: readonly Resting[] = []
  #drainMs = new Map<ServiceName, number>()
  /** What is wrong with the process. */
  #trouble: Trouble | undefined
  /** Why the newest table is not served; only a table that is taken ends it. */
  #refusal: string | undefined
  #wakeDrain = new AbortController()
  #loops: Promise<unknown> = Promise.resolve()

  constructor(options: ProxyOptions, addresses: Addresses) {
    this.#options = options
    this.#addresses = addresses
    this.#process = new HaproxyProcess(options)
    this.#files = new ProxyFiles(options.dir)
  }

  async open(): Promise<void> {
    await this.#files.open()
    const state = await loadState(this.#options.dir)
    const found = await this.#process.adopt()
    const hung = found && (await this.#process.pulse()).kind === 'hangs'
    if (hung) await this.#endHung()
    const adopted = found && !hung
    if (state === undefined && adopted) this.#held = await this.#seenDoors()
    if (state !== undefined) {
      this.#layout = state.layout
      for (const [service, route] of state.routes) this.#drainMs.set(service, route.drainMs)
      this.#leaving = leavingAfter([], state.layout, state.routes, this.#now(), this.#drainMs)
      this.#held = state.doors
      const held = new Set(state.doors.map(doorKey))
      this.#blocked = wantedDoors(state.routes, this.#addresses)
        .filter(door => !held.has(doorKey(door)))
        .map(door => ({ ...door, reason: 'held' }))
      const table = { revision: state.revision, routes: state.routes }
      const { picture } = this.#draw(state.routes, state.layout)
      this.#files.found({ table, layout: state.layout, picture })
      if (adopted) this.#running = await this.#observed(picture)
      if (adopted && (await this.#isAheadOf(table))) {
        // Not shown: it serves what is newest, and the files follow with the next table.
        this.#options.log.warn({ pid: this.#process.pid }, 'proxy opened, with newer routes than on the disk')
      } else {
        this.#table = table
        const outcome = await this.#exclusively(() => this.#settle(table))
        this.#options.log.info({ adopted, pid: this.#process.pid, outcome: outcome.kind }, 'proxy opened')
      }
    }
    this.#loops = Promise.all([
      this.#keep('the supervision', () => this.#supervise()),
      this.#keep('the draining', () => this.#drain()),
      this.#keep('the probing', () => this.#probe()),
      this.#keep('the watch of its pulse', () => this.#watchPulse()),
    ])
  }

  #observed(picture: Picture): Promise<Picture | undefined> {
    return observe(this.#process.runtime, picture, this.#options.dir).catch(() => undefined)
  }

  /** Whether the process was told a newer table that the disk did not take; it is let be until there is a table to tell it. */
  async #isAheadOf({ revision }: RouteTable): Promise<boolean> {
    try {
      const told = await toldRevision(this.#process.runtime, this.#options.dir)
      return told !== undefined && compareRevisions(told, revision) > 0
    } catch (error) {
      if (!(error instanceof RuntimeSilent)) throw error
      return false
    }
  }

  apply(table: RouteTable): Promise<ApplyOutcome> {
    return new Promise((resolve, reject) => {
      const waiting = this.#wanted
      this.#wanted = { table, waiters: [...(waiting?.waiters ?? []), { resolve, reject }] }
      if (waiting === undefined) void this.#exclusively(() => this.#takeWanted())
    })
  }

  async #takeWanted(): Promise<void> {
    const wanted = this.#wanted
    this.#wanted = undefined
    if (wanted === undefined) return
    try {
      const outcome = await this.#settleAsked(wanted.table)
      for (const waiter of wanted.waiters) waiter.resolve(outcome)
    } catch (error) {
      for (const waiter of wanted.waiters) waiter.reject(error)
    }
  }

  /** Settles a table; a service whose route cannot be had holds up no other (set-aside.ts). */
  async #settleAsked(asked: RouteTable): Promise<ApplyOutcome> {
    this.#asked = asked
    for (let tries = 1; ; tries++) {
      const table = this.#admit(asked)
      this.#table = table
      // What is served of a service that is set aside may contradict the newest of another: then that one is set aside next.
      const isLast = tries === mostSettles
      try {
        const outcome = await this.#settle(table)
        const isInvalid = outcome.kind === 'refused' && this.#invalid === table
        if (!isInvalid || isLast || !(await this.#setAside(table))) return this.#withFaults(outcome)
      } catch (error) {
        if (isLast || !(await this.#setAside(table))) throw error
      }
    }
  }

  #admit(asked: RouteTable): RouteTable {
    const served = this.#good?.table.routes ?? new Map<ServiceName, Route>()
    const routes = this.#aside.admit(asked.routes, served, this.#now())
    return routes.size === asked.routes.size &&
      [...routes].every(([name, one]) => asked.routes.get(name) === one)
      ? asked
      : { ...asked, routes }
  }

  #withFaults(outcome: ApplyOutcome): ApplyOutcome {
    return outcome.kind === 'applied' ? { ...outcome, faults: this.health().faults } : outcome
  }

  /** Sets aside the services at which a table fails; whether there are any. */
  async #setAside(table: RouteTable): Promise<boolean> {
    const { log } = this.#options
    try {
      // What is served as it is comes first, so that what is new or changed gives way to it.
      const served = this.#good?.table.routes
      const isUnchanged = (service: ServiceName): boolean => {
        const [before, route] = [served?.get(service), table.routes.get(service)]
        return before !== undefined && route !== undefined && isSameRoute(before, route)
      }
      const all = [...table.routes.keys()]
      const names = [...all.filter(isUnchanged), ...all.filter(service => !isUnchanged(service))]
      const invalid = await findInvalidServices(names, some => this.#whyNot(table, some))
      for (const [service, why] of invalid) {
        const route = table.routes.get(service)
        if (route === undefined) continue
        // Shown: the acknowledgement, as unserved.
        log.error({ service, why }, 'a route cannot be served and is set aside')
        this.#aside.add(service, route, why, this.#now())
      }
      return invalid.size > 0
    } catch (error) {
      // A disk that takes no trial tells nothing of the routes.
      // Shown: the table counts as refused, and the host's record says why.
      log.warn({ error: String(error) }, 'it was not found out which route is refused')
      return false
    }
  }

  /** Why a proxy with only these services cannot be had. */
  async #whyNot(
    { revision, routes }: RouteTable,
    names: readonly ServiceName[],
  ): Promise<string | undefined> {
    const [only, before] = [new Map<ServiceName, Route>(), new Map<ServiceName, ServiceLayout>()]
    for (const name of names) {
      const [route, layout] = [routes.get(name), this.#layout.get(name)]
      if (route !== undefined) only.set(name, route)
      if (layout !== undefined) before.set(name, layout)
    }
    try {
      const { picture } = this.#draw(only, arrange(before, only, 'fit'))
      return await this.#check(picture, { revision, routes: only })
    } catch (error) {
      if (whyUnwritten(error) !== undefined) throw error
      return internalError(error)
    }
  }

  /** What was set aside is tried again now and then: it may have been no fault of its own. */
  async #retryAside(): Promise<void> {
    const asked = this.#asked
    if (asked === undefined || this.#stop.signal.aborted) return
    const whyNot = (routes: ReadonlyMap<ServiceName, Route>) =>
      this.#whyNot({ ...asked, routes }, [...routes.keys()])
    const served = this.#table?.routes ?? new Map<ServiceName, Route>()
    const before = { names: this.#aside.names(), faults: this.#aside.faults() }
    if (!(await this.#aside.retry(asked.routes, served, whyNot, this.#now()))) return
    this.#retried = before
    await this.#settleAsked(asked)
  }

  async draining(): Promise<readonly InstanceId[]> {
    return drainingInstances(this.#leaving, this.#table?.routes ?? new Map())
  }

  health(): ProxyHealth {
    const lags = [this.#files.lag, this.#process.pidLag].filter(lag => lag !== undefined)
    const held = new Set(this.#held.map(doorKey))
    const faults: readonly ProxyFault[] = [
      ...this.#faults,
      ...this.#aside.faults(),
      ...this.#retried.faults,
      ...this.#shared
        .filter(door => held.has(doorKey(door)))
        .map(door => portFault({ ...door, reason: 'shared' }, this.#addresses)),
      ...lags.map(why => ({ kind: 'disk', why }) as const),
    ]
    const outdated = [...this.#aside.names(), ...this.#retried.names].filter(name => this.#isOutdated(name))
    const served = { faults, ...(outdated.length > 0 && { outdated: [...new Set(outdated)].sort(byId) }) }
    if (this.#trouble !== undefined) return { kind: 'failing', ...this.#trouble, ...served }
    if (this.#refusal !== undefined) return { kind: 'refusing', why: this.#refusal, ...served }
    return { kind: 'ok', ...served }
  }

  servedRoutes(): ReadonlyMap<ServiceName, Route> {
    return (this.#good?.table ?? this.#table)?.routes ?? new Map()
  }

  /** Whether a route of the service is served that is not the one asked for. */
  #isOutdated(service: ServiceName): boolean {
    const [served, asked] = [this.#good?.table.routes.get(service), this.#asked?.routes.get(service)]
    return served !== undefined && (asked === undefined || !isSameRoute(served, asked))
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  async leave(): Promise<void> {
    this.#stop.abort()
    this.#wakeDrain.abort()
    await this.#queue
    await this.#loops
  }

  async stop(): Promise<void> {
    await this.leave()
    await this.#process.end()
  }

  /** Brings the process to a table, whatever state it is in. */
  async #settle(table: RouteTable): Promise<ApplyOutcome> {
    let outcome: ApplyOutcome = { kind: 'down', why: 'not tried' }
    for (let attempt = 0; attempt < 3; attempt++) {
      try {
        await this.#startGoodBefore(table)
        outcome = await this.#settleOnce(table)
        break
      } catch (error) {
        const unwritten = whyUnwritten(error)
        if (unwritten !== undefined) {
          // The next start is with what is served; where the disk is full this may fail too.
          if (this.#good !== undefined) await this.#files.writeOrLag(this.#good)
          outcome = { kind: 'refused', why: unwritten }
          break
        }
        if (!(error instanceof RuntimeSilent)) throw error
        // It died, or said something that it should not have: look at it anew.
        // Shown: the proxy in the host's record, where it lasts.
        this.#options.log.warn({ why: error.message }, 'proxy did not take its orders')
        this.#running = undefined
        outcome = { kind: 'down', why: error.message }
        if ((await this.#process.pulse()).kind === 'hangs') await this.#endHung()
      }
    }
    if (outcome.kind === 'postponed') {
      this.#options.log.info({ outcome, revision: table.revision }, 'a reload waits')
    } else if (outcome.kind !== 'applied') {
      // Shown: the proxy in the host's record, by way of its health below.
      this.#options.log.error({ outcome, revision: table.revision }, 'routes not applied')
    }
    switch (outcome.kind) {
      case 'postponed':
        break
      case 'applied':
        this.#recover()
        if (table === this.#table) this.#accept()
        break
      case 'refused':
        // One that is served already was only to be arranged anew.
        if (table !== this.#good?.table) this.#refuse(outcome.why)
        await this.#startAsWritten()
        break
      case 'down':
        this.#fail(outcome.why)
    }
    return outcome
  }

  /** Where nothing runs, what was served last comes before a table that may take long or be refused. */
  async #startGoodBefore(table: RouteTable): Promise<void> {
    const good = this.#good?.table
    if (good === undefined || good === table || (await this.#process.alive())) return
    const outcome = await this.#settleOnce(good)
    // Shown: the outcome of the newer routes, which says what keeps them from being served.
    this.#options.log.warn({ outcome, revision: good.revision }, 'proxy started with the routes of before')
    if (outcome.kind === 'applied') this.#recover()
  }

  /** Where still nothing runs, the files on the disk were good once. */
  async #startAsWritten(): Promise<void> {
    if (this.#stop.signal.aborted || (await this.#process.alive())) return
    if (!(await this.#files.canStart())) return
    this.#running = undefined
    const started = await this.#process.start()
    // Shown: the proxy in the host's record, with the refusal that led here.
    this.#options.log.warn({ started }, 'proxy started with the files of before')
    if (started.kind !== 'started') return
    this.#recover()
    const [good, { written }] = [this.#good, this.#files]
    if (good === undefined || written === undefined) return
    // What it was told since the files could not be written any more, it is told again.
    this.#running = asStarted(written.picture)
    this.#held = doorsOf(written.picture)
    try {
      await this.#settleOnce(good.table)
    } catch (error) {
      if (!(error instanceof RuntimeSilent) && whyUnwritten(error) === undefined) throw error
      this.#running = undefined
    }
  }

  /** Ends a process that does not answer; it is started again as one that died is. */
  async #endHung(): Promise<void> {
    // Not shown: its caller starts it again at once; where that fails, the host's record says so.
    this.#options.log.error({ pid: this.#process.pid }, 'the proxy process hangs and is killed')
    this.#running = undefined
    await this.#process.kill()
  }

  async #settleOnce(table: RouteTable): Promise<ApplyOutcome> {
    const { dir } = this.#options
    const alive = await this.#process.alive()
    if (!alive) {
      this.#running = undefined
      // A worker that has not ended yet would make its doors look like somebody else's.
      await this.#process.endStrangers()
    }
    const held = new Set(alive ? this.#held.map(doorKey) : [])
    await this.#findBlocked(table, held)

    const told = await this.#settleByCommands(table)
    if (told !== undefined) return told
    if (alive) {
      const { replaced } = await this.#process.runtime.workers()
      const inMs = reloadPauseMs(replaced.length) - (this.#now() - (this.#reloaded ?? 0))
      if (this.#reloaded !== undefined && inMs > 0) {
        if (this.#good !== undefined) await this.#settleByCommands(meanwhile(this.#good.table, table))
        const workers = plural(replaced.length, 'replaced worker')
        const why = `${workers} ${pluralVerb(replaced.length, 'have', 'has')} open connections`
        return { kind: 'postponed', inMs, why }
      }
    }

    const layout = arrange(this.#layout, table.routes, 'fit')
    const { picture, faults } = this.#draw(table.routes, layout)
    // What was loaded once needs no trial: a process that died is back sooner.
    const known =
      this.#good !== undefined &&
      ((!alive && this.#good.table === table) ||
        structureOf(this.#good.picture, dir) === structureOf(picture, dir))
    const why = known ? undefined : await this.#check(picture, table)
    this.#invalid = why === undefined ? undefined : table
    if (why !== undefined) return { kind: 'refused', why }
    const next: Served = { table, layout, picture }
    await this.#files.write(next)
    if (!alive) {
      const started = await this.#process.start()
      if (started.kind === 'failed') return { kind: 'down', why: started.why }
    } else {
      const failure = await this.#reload(next)
      if (failure !== undefined) return failure
    }
    this.#served(next, asStarted(picture), faults)
    return { kind: 'applied', revision: table.revision, faults }
  }

  /** Tells the process what leads to a table, where it has room for it; nothing where it has not. */
  async #settleByCommands(table: RouteTable): Promise<ApplyOutcome | undefined> {
    if (this.#running === undefined) return undefined
    const layout = arrange(this.#layout, table.routes, 'keep')
    const { picture, faults } = this.#draw(table.routes, layout)
    const change = difference(this.#running, picture, this.#options.dir)
    if (change.kind === 'reload') return undefined
    const worker = await this.#newest()
    const next: Served = { table, layout, picture }
    // A disk without room is no reason to send requests where nobody wants them any more.
    await this.#files.writeOrLag(next)
    await this.#command(worker, change, table.revision)
    this.#served(next, picture, faults)
    return { kind: 'applied', revision: table.revision, faults: this.health().faults }
  }

  /** Reloads with the files on the disk; gives the refusal when the old worker stays. */
  async #reload(next: Served): Promise<ApplyOutcome | undefined> {
    this.#reloaded = this.#now()
    const before = await this.#process.runtime.workers()
    const down = before.newest === undefined ? [] : await this.#downServers(before.newest)
    const reloaded = await this.#process.reload()
    if (reloaded.kind !== 'reloaded') {
      // A worker that comes after all is built otherwise than the one before: it is looked at anew.
      if (reloaded.kind === 'unclear') this.#running = undefined
      if (this.#good !== undefined) await this.#files.write(this.#good)
      return { kind: 'refused', why: reloaded.why }
    }
    await this.#handOver(reloaded.workers)
    await this.#carryDown(reloaded.workers, down, next.picture)
    return undefined
  }

  /** Replaced workers pass on what still arrives on their connections, so that no old table answers any more. */
  async #handOver(workers: Workers): Promise<void> {
    const command = `set map ${mapPath(this.#options.dir, 'meta')} handover on`
    await Promise.all(workers.replaced.map(worker => this.#process.runtime.ask(worker, command)))
  }

  /** A new worker takes every server for up; those that the old one could not reach start down. */
  async #carryDown(workers: Workers, down: readonly SeenServer[], picture: Picture): Promise<void> {
    const commands = down.flatMap(({ backend, server, address, port }) => {
      const now = picture.backends.get(backend)?.servers.find((_, at) => serverName(at) === server)
      const same = now?.state === 'ready' && now.address === address && now.port === port
      return same ? [`set server ${backend}/${server} health down`] : []
    })
    if (commands.length > 0 && workers.newest !== undefined)
      await this.#process.runtime.tell(workers.newest, commands)
  }

  async #downServers(worker: number): Promise<readonly SeenServer[]> {
    const text = await this.#process.runtime.ask(worker, 'show servers state')
    return parseServers(text ?? '').filter(server => server.state === 'ready' && !server.up)
  }

  async #command(
    worker: number,
    { joins, maps, leaves }: { joins: readonly Join[]; maps: readonly string[]; leaves: readonly string[] },
    revision: string,
  ): Promise<void> {
    const { runtime } = this.#process
    if (joins.length > 0) {
      await runtime.tell(worker, joins.flatMap(joinCommands))
      const reached = await Promise.all(joins.map(join => reach(join, this.#options.clock)))
      await this.#tellStrictly(
        worker,
        joins.flatMap((join, at) => welcomeCommands(join, reached[at] ?? 'not-yet')),
      )
    }
    const done = `set map ${mapPath(this.#options.dir, 'meta')} revision ${safeRevision(revision)}`
    await this.#tellStrictly(worker, [...maps, ...leaves, done])
  }

  /** These commands answer nothing when they are done; any word means that the process is not what it should be. */
  async #tellStrictly(worker: number, commands: readonly string[]): Promise<void> {
    const answers = await this.#process.runtime.tell(worker, commands)
    const at = answers.findIndex(answer => answer !== '')
    if (at >= 0) throw new RuntimeSilent(`"${commands[at]}" was answered: ${answers[at]?.slice(0, 200)}`)
  }

  async #newest(): Promise<number> {
    const { newest } = await this.#process.runtime.workers()
    if (newest === undefined) throw new RuntimeSilent('there is no worker')
    return newest
  }

  /** The doors of a process of which nothing else is known: without them its ports would look like somebody else's. */
  async #seenDoors(): Promise<readonly Door[]> {
    try {
      const { newest, replaced } = await this.#process.runtime.workers()
      return await doorsHeldBy([this.#process.pid, newest, ...replaced].filter(pid => pid !== undefined))
    } catch (error) {
      if (!(error instanceof RuntimeSilent)) throw error
      return []
    }
  }

  /** Finds the doors that others hold; those that our process holds need no look. */
  async #findBlocked(table: RouteTable, held: ReadonlySet<string>): Promise<void> {
    const wanted = wantedDoors(table.routes, this.#addresses).filter(door => !held.has(doorKey(door)))
    this.#blocked = await closedDoors(wanted, this.#holders)
  }

  #draw(routes: RouteTable['routes'], layout: Layout) {
    return draw({ routes, layout, addresses: this.#addresses, blocked: this.#blocked })
  }

  /** Has HAProxy read the configuration before it counts. */
  async #check(picture: Picture, table: RouteTable): Promise<string | undefined> {
    return this.#process.check(await this.#files.writeTrial(picture, table.revision))
  }

  /** Writes what is served once the disk takes it again. */
  async #catchUp(): Promise<void> {
    if (this.#files.lag === undefined || this.#good === undefined) return
    await this.#files.writeOrLag(this.#good)
    if (this.#files.lag === undefined) this.#changed()
  }

  #served(served: Served, running: Picture, faults: readonly ProxyFault[]): void {
    const { table, layout } = served
    const now = this.#now()
    const before = this.#good?.table.routes ?? new Map<ServiceName, Route>()
    for (const [service, route] of table.routes) this.#drainMs.set(service, route.drainMs)
    this.#leaving = leavingAfter(this.#leaving, layout, table.routes, now, this.#drainMs)
    this.#resting = restingAfter(this.#resting, before, table.routes, now)
    for (const service of this.#drainMs.keys()) if (!layout.has(service)) this.#drainMs.delete(service)
    this.#good = served
    this.#held = doorsOf(served.picture)
    this.#layout = layout
    this.#running = running
    this.#faults = faults
    if (table === this.#table) this.#retried = noneRetried
    this.#wakeDrain.abort()
    this.#changed()
  }

  /** Brings the process back when it dies, at once at first. */
  async #supervise(): Promise<void> {
    const { clock, log } = this.#options
    let failures = 0
    while (!this.#stop.signal.aborted) {
      if (this.#table === undefined) {
        await clock.sleep(100, this.#stop.signal)
        continue
      }
      await this.#process.gone(this.#stop.signal)
      if (this.#stop.signal.aborted) return
      const outcome = await this.#exclusively(async () => {
        if (this.#stop.signal.aborted || this.#table === undefined || (await this.#process.alive()))
          return undefined
        // Shown: the proxy in the host's record.
        log.error('the proxy process is gone')
        this.#fail('the process died')
        return this.#settle(this.#table)
      })
      const back = outcome === undefined || outcome.kind === 'applied' || (await this.#process.alive())
      failures = back ? 0 : failures + 1
      // The first time at once.
      if (failures > 1) await clock.sleep(Math.min(5_000, 125 * 2 ** failures), this.#stop.signal)
    }
  }

  /** Watches the sessions of those who left, cuts them when their time is over, and gives their slots back. */
  async #drain(): Promise<void> {
    const { clock } = this.#options
    let pauseMs = 50
    while (!this.#stop.signal.aborted) {
      if (this.#leaving.length === 0 && this.#resting.length === 0) {
        pauseMs = 50
        await clock.sleep(60_000, AbortSignal.any([this.#stop.signal, this.#wakeDrain.signal]))
        this.#wakeDrain = new AbortController()
        continue
      }
      await clock.sleep(pauseMs, this.#stop.signal)
      if (this.#stop.signal.aborted) return
      const began = clock.now()
      const found = await this.#exclusively(() => this.#lookForSessions())
      pauseMs = found === 'moving' ? 50 : Math.min(500, Math.max(pauseMs + 25, 10 * (clock.now() - began)))
    }
  }

  async #lookForSessions(): Promise<'moving' | 'waiting'> {
    const table = this.#table
    const running = this.#running
    if (table === undefined || running === undefined) return 'waiting'
    try {
      const workers = await this.#uses()
      const now = this.#now()
      const look = lookAt(this.#leaving, workers, running, now)
      const rest = overdue(this.#resting, workers, this.#layout, now)
      for (const { worker, server } of [...look.cuts, ...rest.cuts]) {
        await this.#process.runtime.cut(worker, server)
      }
      this.#leaving = look.goOn
      this.#resting = rest.goOn
      // A request that was cut may be repeated with the same instance by a replaced worker: cut again, soon.
      if (look.done.length === 0) return look.cuts.length === 0 ? 'waiting' : 'moving'
      this.#changed()
      this.#layout = release(this.#layout, endpoint =>
        look.done.some(one => sameEndpoint(one.endpoint, endpoint)),
      )
      await this.#settle(this.#good?.table ?? table)
      return 'moving'
    } catch (error) {
      if (!(error instanceof RuntimeSilent)) throw error
      return 'waiting'
    }
  }

  async #uses(): Promise<readonly WorkerUse[]> {
    const { runtime } = this.#process
    const { newest, replaced } = await runtime.workers()
    const list = [...(newest === undefined ? [] : [newest]), ...replaced]
    return Promise.all(
      list.map(async (worker): Promise<WorkerUse> => {
        const text = await runtime.ask(worker, useCommand)
        return { worker, role: worker === newest ? 'newest' : 'replaced', uses: parseUse(text ?? '') }
      }),
    )
  }

  /** Kills a process that hangs, beside all else: what goes one at a time may be waiting for its answer. */
  async #watchPulse(): Promise<void> {
    const { clock, log } = this.#options
    while (!this.#stop.signal.aborted) {
      await clock.sleep(pulseEveryMs, this.#stop.signal)
      if (this.#stop.signal.aborted) return
      const pulse = await this.#process.pulse()
      if (pulse.kind === 'beats') continue
      // Shown: the proxy in the host's record.
      log.error({ pid: this.#process.pid, why: pulse.why }, 'the proxy process hangs and is killed')
      this.#fail(`the process does not answer: ${pulse.why}`)
      await this.#process.strike()
    }
  }

  /** Sees to it that our process answers on its ports, alone, and says what it should. */
  async #probe(): Promise<void> {
    const { clock, log } = this.#options
    let shareLook = this.#now()
    let repair = this.#now()
    let bad = 0
    while (!this.#stop.signal.aborted) {
      await clock.sleep(probeEveryMs, this.#stop.signal)
      if (this.#stop.signal.aborted) continue
      if (this.#running === undefined) {
        await this.#exclusively(() => this.#retake())
        continue
      }
      const now = this.#now()
      // Who shares a port gets only some of the probes: the look that is sure comes now and then, and while one does.
      const lookForOthers = this.#shared.length > 0 || now - shareLook >= shareLookEveryMs
      if (lookForOthers) shareLook = now
      const why = await this.#exclusively(() =>
        this.#whyFailing(lookForOthers ? 'with-port-owners' : 'answers-only'),
      )
      bad = why === undefined ? 0 : bad + 1
      if (why === undefined) this.#recover()
      // Once may be a busy moment of the machine.
      else if (bad > 1) this.#fail(why)
      await this.#retryClosed()
      await this.#exclusively(() => this.#catchUp())
      await this.#exclusively(() => this.#retryAside())
      if (now - repair < repairEveryMs) continue
      const tookMs = await this.#exclusively(() => this.#repairDrift())
      repair = (this.#now() + 100 * tookMs) as Instant
      log.debug({ tookMs }, 'proxy compared with what it should be')
    }
  }

  /** A port that another process shares is a fault of that port, and no trouble of the process. */
  async #whyFailing(extent: 'with-port-owners' | 'answers-only'): Promise<string | undefined> {
    const running = this.#running
    if (running === undefined || !(await this.#process.alive())) return undefined
    try {
      const { newest, replaced } = await this.#process.runtime.workers()
      if (newest === undefined) return 'no worker runs'
      const workers = [newest, ...replaced]
      const failing: { readonly port: number; readonly why: string }[] = []
      for (const { port, address } of probedDoors(running)) {
        const answer = await askDoor({ port, address })
        if (answer === 'silent') failing.push({ port, why: `port ${port} does not answer` })
        else if (!workers.includes(answer))
          failing.push({ port, why: `port ${port} is answered by another process (${answer})` })
      }
      if (extent === 'answers-only' && failing.length === 0) return undefined
      const own = this.#process.pid === undefined ? workers : [...workers, this.#process.pid]
      const shared = await sharedDoors(doorsOf(running), own, this.#holders)
      this.#share(shared)
      return failing.find(({ port }) => !shared.some(door => door.port === port))?.why
    } catch (error) {
      if (error instanceof RuntimeSilent) return `the process does not answer: ${error.message}`
      throw error
    }
  }

  #share(shared: readonly (Door & { readonly holder: string })[]): void {
    if (JSON.stringify(shared) === JSON.stringify(this.#shared)) return
    this.#shared = shared
    this.#changed()
  }

  /** A process that runs with something unknown is told what is wanted; a refused table is its caller's to try again. */
  async #retake(): Promise<void> {
    const table = this.#refusal === undefined ? this.#table : this.#good?.table
    if (this.#stop.signal.aborted || table === undefined || this.#running !== undefined) return
    if (await this.#process.alive()) await this.#settle(table)
  }

  /**
   * What is wanted and not held is looked at with each probe, so a port that is freed is served two seconds later, and one that
   * changes hands is told anew. No more seldom with time: a look is one call to the kernel. A table that was refused is its
   * caller's to try again; the one before goes on being served meanwhile.
   */
  async #retryClosed(): Promise<void> {
    const table = this.#refusal === undefined ? this.#table : this.#good?.table
    if (table === undefined) return
    const held = new Set(this.#held.map(doorKey))
    const wanted = wantedDoors(table.routes, this.#addresses).filter(door => !held.has(doorKey(door)))
    if (wanted.length === 0) return
    const closed = await closedDoors(wanted, this.#holders)
    const isNews = JSON.stringify(closed) !== JSON.stringify(this.#blocked)
    if (closed.length === wanted.length && !isNews) return
    await this.#exclusively(async () => {
      const isCurrent = table === this.#table || table === this.#good?.table
      if (isCurrent && !this.#stop.signal.aborted) await this.#settle(table)
    })
  }

  /** Compares the process with what it was told, and tells it again what it does not say. Milliseconds it took. */
  async #repairDrift(): Promise<number> {
    const began = this.#now()
    const { running, table } = { running: this.#running, table: this.#good?.table }
    if (running === undefined || table === undefined || !(await this.#process.alive())) return 0
    try {
      const seen = await observe(this.#process.runtime, running, this.#options.dir)
      const drift = seen === undefined ? undefined : difference(seen, running, this.#options.dir)
      if (drift?.kind === 'commands' && drift.joins.length + drift.maps.length + drift.leaves.length === 0) {
        return this.#now() - began
      }
      // Not shown: it is told again here and now, and nothing is left to show.
      this.#options.log.warn({ drift }, 'the proxy said something else than it was told')
      this.#running = seen
      await this.#settle(table)
    } catch (error) {
      if (!(error instanceof RuntimeSilent)) throw error
    }
    return this.#now() - began
  }

  /** One of the loops, again after a while where it throws: that is a bug, and the process serves all the same. */
  async #keep(what: string, loop: () => Promise<void>): Promise<void> {
    const { clock, log } = this.#options
    for (let pauseMs = 250; !this.#stop.signal.aborted; pauseMs = Math.min(30_000, pauseMs * 2)) {
      try {
        await loop()
      } catch (error) {
        const why = `${what} of the proxy broke: ${internalError(error)}`
        // Shown: the proxy in the host's record.
        log.error(
          { why, error: error instanceof Error ? error.stack : undefined },
          'an internal error, which is a bug',
        )
        this.#fail(why)
        await clock.sleep(pauseMs, this.#stop.signal)
      }
    }
  }

  /** One thing at a time. */
  #exclusively<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(work)
    this.#queue = result.catch(() => undefined)
    return result
  }

  #fail(why: string): void {
    if (this.#trouble?.why === why) return
    this.#trouble = { since: this.#trouble?.since ?? this.#now(), why }
    // Shown: the proxy in the host's record.
    this.#options.log.error({ why }, 'proxy failing')
    this.#changed()
  }

  #refuse(why: string): void {
    if (this.#refusal === why) return
    this.#refusal = why
    this.#changed()
  }

  #accept(): void {
    if (this.#refusal === undefined) return
    this.#refusal = undefined
    this.#options.log.info('the proxy takes routes again')
    this.#changed()
  }

  #recover(): void {
    if (this.#trouble === undefined) return
    this.#trouble = undefined
    this.#options.log.info('proxy well again')
    this.#changed()
  }

  #changed(): void {
    for (const listener of this.#listeners) listener()
  }

  #now(): Instant {
    return this.#options.clock.now()
  }
}

/**
 * The least time between two reloads. Each leaves the worker that it replaced with the connections that it had, which live as
 * long as they like, an hour at most; a worker takes 7 MB, and 60 MB where there are 400 services. So a few reloads come at
 * once, and the more workers are left, the longer the next one waits: thirty at most are left where they never end sooner.
 */
const reloadPauseMs = (replaced: number): number => 250 * Math.max(0, replaced - 7) ** 2

/** What of a newer table needs no reload, as a rule: who answers for the services and addresses of the one that is served. */
function meanwhile(served: RouteTable, newer: RouteTable): RouteTable {
  const routes = new Map(
    [...served.routes].map(([service, route]): [ServiceName, Route] => {
      const next = newer.routes.get(service)
      return [service, next?.uid === route.uid ? { ...route, backings: next.backings } : route]
    }),
  )
  return { revision: served.revision, routes }
}
