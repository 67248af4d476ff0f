/**
 * One agent, put together from its parts. Everything that touches the world is passed in, so that the same agent runs on real
 * hosts and, in memory, under a virtual clock.
 */
import type { Chance, Clock } from '@boxcar/core/model/clock'
import type { HostRecord } from '@boxcar/core/model/host'
import { Bell } from '@boxcar/store/bell'
import { clusterSelf } from '@boxcar/store/cluster'
import { EventWriter } from '@boxcar/store/events'
import { clusters } from '@boxcar/store/keys'
import type { Log } from '@boxcar/store/log'
import { type Store, StoreUnavailable } from '@boxcar/store/store'
import { capacityOf } from './capacity.ts'
import { Conditions, firstFew } from './conditions.ts'
import { type AgentConfig, StartError } from './config.ts'
import { Containers, type EngineHealth } from './containers.ts'
import { type Engine, type EngineInfo, EngineUnavailable } from './engine/engine.ts'
import { follow, ordersFile } from './follow.ts'
import { Instances } from './instances.ts'
import { InternalErrors } from './internal-errors.ts'
import { loop } from './loop.ts'
import { Operations } from './operations.ts'
import type { Network } from './probe/network.ts'
import type { Proxy as EdgeProxy } from './proxy/proxy.ts'
import { Registration } from './registration.ts'
import { Reporter } from './reporter.ts'
import { type ProxyState, Routing } from './routing.ts'
import type { AgentServer, ServerOptions } from './server.ts'
import type { Files } from './state/files.ts'
import { type Identity, readIdentity, saveIdentity } from './state/identity.ts'
import { Orders, type Refused, type Unusable } from './state/orders.ts'
import { RoutedPorts } from './state/routed-ports.ts'
import { SavedState } from './state/saved-state.ts'
import { Templates } from './state/templates.ts'
import { Tasks } from './tasks.ts'

export interface AgentDeps {
  readonly clock: Clock
  readonly chance: Chance
  readonly log: Log
  readonly store: Store
  readonly engine: Engine
  readonly network: Network
  readonly files: Files
  /** Takes over this host's proxy, or starts it; throws StartError. Left out where this host has no edge. */
  readonly openEdge?: (() => Promise<Edge>) | undefined
  /** Opens the agent's own port; left out where nobody asks for it. */
  readonly listen?: (options: ServerOptions) => Promise<AgentServer>
}

export interface Edge {
  readonly proxy: EdgeProxy
  readonly version: string
  /** What it cannot do on this host however long it runs, for the host's record. */
  readonly shortcoming?: string
}

export interface RunningAgent {
  /** The agent's own port. */
  readonly port: number
  /** Whether it is registered just now. */
  isPresent(): boolean
  /** Ends the agent and leaves its containers, its proxy and its presence for the next run (registration.ts says why). */
  leave(): Promise<void>
  /** Resolves once it has left; it ends in no other way. */
  readonly ended: Promise<void>
}

/**
 * Starts an agent. Throws StartError where the store or the engine cannot be reached and nothing is known from an earlier
 * run; with orders of an earlier run it starts from them, and tries for ever.
 */
export async function runAgent(config: AgentConfig, deps: AgentDeps): Promise<RunningAgent> {
  const state = new SavedState(deps)
  const identity = await readIdentity(state, deps.chance)
  const agent = new Agent(config, deps, state, identity)
  return await agent.start()
}

class Agent {
  readonly #config: AgentConfig
  readonly #deps: AgentDeps
  readonly #state: SavedState
  readonly #identity: Identity
  readonly #stop = new AbortController()
  /** Rings when the main loop may have something to do. */
  readonly #bell = new Bell()
  /** Rings when the store was heard. */
  readonly #heard = new Bell()
  readonly #conditions: Conditions
  readonly #errors: InternalErrors
  readonly #tasks: Tasks
  readonly #orders: Orders
  readonly #registration: Registration
  readonly #reporter: Reporter
  readonly #routedPorts: RoutedPorts
  readonly #templates: Templates
  readonly #containers: Containers
  readonly #instances: Instances
  #edge: Edge | undefined
  #routing: Routing | undefined
  readonly #incarnation: string
  #info: EngineInfo | undefined
  #proxyState: ProxyState = { state: 'up' }
  #engineWas: EngineHealth['state'] = 'up'
  #refused: Refused | undefined
  #server: AgentServer | undefined

  constructor(config: AgentConfig, deps: AgentDeps, state: SavedState, identity: Identity) {
    const { clock, chance, log, store, engine, network } = deps
    const { hostId: host } = config
    const { signal } = this.#stop
    this.#config = config
    this.#deps = deps
    this.#state = state
    this.#identity = identity
    this.#info = identity.engine
    this.#incarnation = chance.id()
    this.#errors = new InternalErrors({ log, tell: event => this.#reporter.tell(event) })
    const errors = this.#errors
    const conditions = new Conditions(clock, () => this.#describe())
    this.#conditions = conditions
    state.onChange(() => this.#noteState())
    this.#tasks = new Tasks({ clock, errors, onBreak: () => this.#noteTasks() })
    this.#orders = new Orders(config.cluster)
    this.#routedPorts = new RoutedPorts(state, errors)
    this.#registration = new Registration({
      store,
      clock,
      log,
      errors,
      tell: event => this.#reporter.tell(event),
      host,
      token: identity.token,
      believed: async until => {
        while (!this.#orders.believed && !until.aborted) await this.#heard.next(until)
      },
    })
    this.#reporter = new Reporter({
      store,
      clock,
      log,
      errors,
      state,
      host,
      events: new EventWriter({ store, clock, chance, writer: `agent/${host}`, signal, log }),
      mayWrite: () => this.#orders.mayReport,
      onFound: report => this.#instances.remember(report),
      onRead: () => this.#instances.report(),
    })
    this.#templates = new Templates({ store, state, errors })
    this.#containers = new Containers({
      engine,
      clock,
      log,
      errors,
      conditions,
      onChange: () => {
        this.#lookAtEngine()
        this.#bell.ring()
      },
      onHealth: container => this.#instances.healthChanged(container),
    })
    this.#instances = new Instances({
      host: config,
      engine,
      operations: new Operations(clock),
      asker: { engine, network, clock, address: config.advertise },
      clock,
      log,
      errors,
      containers: this.#containers,
      templates: this.#templates,
      tell: this.#reporter.tell,
      routedPorts: this.#routedPorts,
      storedReports: () => this.#reporter.stored(),
      changed: () => this.#bell.ring(),
      orders: this.#orders,
      reporter: this.#reporter,
      conditions,
    })
  }

  async start(): Promise<RunningAgent> {
    const { hostId, agentPort } = this.#config
    const saved = await this.#loadOrders()
    const isKnown = saved === 'taken-up'
    // Beside orders that are not ours lies nothing that is.
    if (saved !== 'foreign') {
      await this.#templates.load()
      await this.#routedPorts.load()
      for (const { report, ...strikes } of await this.#reporter.load())
        this.#errors.contain({ instance: report.instance }, 'remembering its last report', () =>
          this.#instances.remember(report, strikes),
        )
    }
    this.#noteState()
    this.#tellUnread()
    // First of all, since it also keeps out a second agent of this host.
    this.#server = await this.#listen()
    try {
      // Before the store is asked: the proxy goes on with the routes that it had.
      await this.#openEdge()
      const store = await this.#checkStore(isKnown)
      await this.#checkEngine(isKnown)
      if (store === 'answers') await this.#registration.refuseForeign()
    } catch (error) {
      this.#stop.abort()
      await Promise.all([this.#server?.close(), this.#edge?.proxy.leave()])
      throw error
    }
    this.#describe()
    const ended = this.#run()
    this.#deps.log.info({ host: hostId, port: this.#server?.port ?? agentPort }, 'the agent runs')
    return {
      port: this.#server?.port ?? agentPort,
      isPresent: () => this.#registration.isPresent,
      leave: async () => {
        this.#stop.abort()
        await ended.catch(() => {})
      },
      ended,
    }
  }

  /** All tasks, until the agent is told to leave. */
  async #run(): Promise<void> {
    const { clock } = this.#deps
    const { signal } = this.#stop
    const main = (until: AbortSignal) =>
      loop(
        {
          instances: this.#instances,
          clock,
          bell: this.#bell,
          onTurn: () => {
            if (this.#tasks.areWell) this.#registration.progress()
            this.#noteTasks()
          },
        },
        until,
      )
    const routing = this.#routing
    await Promise.all([
      this.#tasks.keep('main loop', main, signal),
      this.#tasks.keep('following of orders', until => this.#follow(until), signal),
      this.#tasks.keep('watch of containers', until => this.#containers.watch(until), signal),
      this.#tasks.keep('writing of reports', until => this.#reporter.run(until), signal),
      this.#tasks.keep('saving of state', until => this.#state.keepSaved(until), signal),
      this.#tasks.keep('registration', until => this.#registration.run(until), signal),
      ...(routing === undefined ? [] : [this.#tasks.keep('routing', until => routing.run(until), signal)]),
    ])
    this.#instances.leave()
    await Promise.allSettled([this.#edge?.proxy.leave(), this.#server?.close()])
  }

  #follow(signal: AbortSignal): Promise<void> {
    const { store, clock, log } = this.#deps
    return follow(
      {
        store,
        clock,
        log,
        errors: this.#errors,
        state: this.#state,
        host: this.#config.hostId,
        orders: this.#orders,
        onStep: step => {
          this.#routedPorts.take(step)
          this.#routing?.take(step)
          if (step.kind === 'snapshot') this.#reporter.reread()
          this.#noteUnreadableOrders()
          this.#believe()
          this.#heard.ring()
        },
        onOrders: () => {
          void this.#templates.keepFor(this.#orders.orders)
          this.#bell.ring()
        },
        onRefused: refused => this.#tellRefusal(refused),
      },
      signal,
    )
  }

  async #openEdge(): Promise<void> {
    const { clock, log } = this.#deps
    const edge = await this.#deps.openEdge?.()
    if (edge === undefined) return
    this.#edge = edge
    this.#routing = new Routing({
      proxy: edge.proxy,
      clock,
      log,
      errors: this.#errors,
      tell: this.#reporter.tell,
      onAck: ack => this.#registration.setAck(ack),
      onState: state => {
        this.#proxyState = state
        this.#describe()
      },
    })
  }

  #listen(): Promise<AgentServer> | undefined {
    const { log, engine, listen } = this.#deps
    return listen?.({
      host: this.#config.hostId,
      address: this.#config.advertise,
      port: this.#config.agentPort,
      log,
      engine,
      instances: () => this.#instances,
      cluster: () => this.#orders.cluster,
      incarnation: this.#incarnation,
      leaseGoodForMs: () => this.#registration.goodForMs(),
    })
  }

  /** What became of the orders that an earlier run left. */
  async #loadOrders(): Promise<'none' | 'taken-up' | Unusable['is']> {
    const text = await this.#state.read(ordersFile)
    if (text === undefined) return 'none'
    const problem = this.#orders.load(text)
    if (problem === undefined) return 'taken-up'
    this.#state.unusable(ordersFile, `${problem.problem}; orders come from the store alone`)
    return problem.is
  }

  async #checkStore(isKnown: boolean): Promise<'answers' | 'away'> {
    const { store, log } = this.#deps
    try {
      const found = (await store.get(clusters, clusterSelf))?.value.uid
      const known = this.#orders.cluster?.uid
      if (known !== undefined && found !== undefined && known !== found)
        throw new StartError(
          `${ordersFile} in the state folder is of another cluster (uid ${known}) than the store (uid ${found})`,
          'give the store of the cluster that this host is of with --etcd; to make the host part of the other one, move its state folder away',
        )
      return 'answers'
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) throw error
      if (!isKnown)
        throw new StartError(
          `the store cannot be reached: ${error.message}`,
          'start etcd, or give its addresses with --etcd; boxcar doctor says more',
          { cause: error, silent: 'store' },
        )
      // Shown: the host is suspect until it reaches the store.
      log.warn({ error: error.message }, 'the store is away; starting from the orders of an earlier run')
      return 'away'
    }
  }

  async #checkEngine(isKnown: boolean): Promise<void> {
    const { engine, log } = this.#deps
    try {
      await this.#askEngine()
      await engine.list()
    } catch (error) {
      if (!(error instanceof EngineUnavailable)) throw error
      if (!isKnown)
        throw new StartError(
          `the container engine cannot be reached: ${error.message}`,
          'start it, or give its address with --docker; boxcar doctor says more',
          { cause: error, silent: 'engine' },
        )
      // Shown: the engine in the host's record, once it is down.
      log.warn({ error: error.message }, 'the engine is away; trying again')
    }
  }

  async #askEngine(): Promise<void> {
    const info = await this.#deps.engine.info()
    const before = JSON.stringify(this.#info)
    this.#info = info
    if (before !== JSON.stringify(info)) await saveIdentity(this.#state, { ...this.#identity, engine: info })
  }

  /** Tells of an engine that went or came back. */
  #lookAtEngine(): void {
    const { health } = this.#containers
    if (health.state === this.#engineWas) return
    this.#engineWas = health.state
    if (health.state === 'down')
      this.#reporter.tell({
        kind: 'engine-down',
        level: 'error',
        message: `the engine is down: ${health.reason}`,
      })
    else {
      this.#reporter.tell({ kind: 'engine-up', message: 'the engine answers again' })
      // It may be another one now, or the same with other means.
      void this.#askEngine()
        .then(() => this.#describe())
        // Not shown: the look at the engine asks the same, and calls it down where it gets no answer.
        .catch(error => this.#deps.log.warn({ error: String(error) }, 'the engine was not asked what it is'))
    }
    this.#describe()
  }

  /** Once for each time that it begins. Into another cluster's store nothing is written. */
  #tellRefusal(refused: Refused): void {
    const { reason, store } = refused
    if (this.#refused?.store === store) return
    this.#refused = refused
    // Shown: the condition `orders-refused`; into another cluster's store nothing is written, and there the host is missing.
    this.#deps.log.error({ reason }, 'orders are refused; what runs goes on as it was told before')
    if (store !== 'behind') return
    this.#reporter.tell({
      kind: 'orders-refused',
      level: 'error',
      message: `orders are refused: ${reason}`,
    })
    this.#conditions.set('orders-refused', reason)
  }

  #believe(): void {
    if (this.#refused === undefined) return
    this.#refused = undefined
    this.#conditions.set('orders-refused', undefined)
  }

  #tellUnread(): void {
    for (const one of this.#state.takeUnread())
      this.#reporter.tell({
        kind: 'state-unread',
        level: 'warning',
        message: `a file of the state folder was of no use when the agent started: ${one}`,
      })
  }

  #noteState(): void {
    this.#conditions.set('state-not-saved', this.#state.unsaved)
  }

  #noteTasks(): void {
    this.#conditions.set('task-failing', this.#tasks.failing)
  }

  #noteUnreadableOrders(): void {
    const { unreadable } = this.#orders
    const reason = `this agent (${this.#config.version}) cannot read the placement of ${firstFew([...unreadable].sort())}: what runs there is left as it is`
    this.#conditions.set('orders-unreadable', unreadable.size === 0 ? undefined : reason)
  }

  /** The host's record as it is now; nothing before the engine was ever heard. */
  #describe(): void {
    const { advertise, hostId, labels, ports, reserve, agentPort, version } = this.#config
    const info = this.#info
    if (info === undefined) return
    const { cpuMilli, memoryMiB, engineVersion } = capacityOf(info, reserve)
    const edge = this.#edge
    const record: HostRecord = {
      id: hostId,
      address: advertise,
      agentPort: this.#server?.port ?? agentPort,
      capacity: { cpuMilli, memoryMiB },
      labels,
      ports,
      engine: { version: engineVersion, ...this.#containers.health },
      proxy: edge === undefined ? { version: '', state: 'off' } : this.#proxyRecord(edge),
      agentVersion: version,
      // Also where there are none: what was written before goes with it.
      conditions: this.#conditions.list(),
    }
    this.#registration.setRecord(record)
  }

  #proxyRecord({ version, shortcoming }: Edge): HostRecord['proxy'] {
    const { state, reason } = this.#proxyState
    const reasons = [shortcoming, reason].filter(text => text !== undefined)
    return { version, state, ...(reasons.length === 0 ? {} : { reason: reasons.join('; ') }) }
  }
}
