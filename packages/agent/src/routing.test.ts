import type { GenerationNumber, InstanceId, ServiceName } from '@boxcar/core/model/ids'
import { mostOutdated, type Route, type RouteAck, routeAck } from '@boxcar/core/model/route'
import { concerns, type Unserved } from '@boxcar/core/model/unserved'
import { routes } from '@boxcar/store/keys'
import { silent } from '@boxcar/store/log'
import { VirtualClock } from '@boxcar/store/memory/virtual-clock'
import type { Entry, Revision } from '@boxcar/store/store'
import { afterEach, describe, expect, test } from 'vitest'
import { InternalErrors } from './internal-errors.ts'
import type { ProxyFault } from './proxy/picture.ts'
import type { ApplyOutcome, Proxy as EdgeProxy, ProxyHealth, RouteTable } from './proxy/proxy.ts'
import { type ProxyState, Routing } from './routing.ts'

const stops: (() => Promise<void>)[] = []

afterEach(async () => {
  for (const stop of stops.splice(0)) await stop()
})

test('a refused table is tried again ever more seldom, and the one before stays acknowledged', async () => {
  const { clock, edge, routing, acks, told } = start()
  take(routing, '1')
  await clock.advance(100)
  expect(acks.at(-1)?.revision).toBe('1')
  edge.refuse('no space')
  take(routing, '2')
  await clock.advance(60_000)
  expect(acks.at(-1)?.revision).toBe('1')
  // At 0, 0.5, 1.5, 3.5, 7.5, 15.5, 25.5, 35.5, 45.5 and 55.5 seconds.
  expect(edge.asked.filter(revision => revision === '2').length).toBe(10)
  expect(told).toEqual(['routes-refused', 'proxy-failing'])
  edge.accept()
  await clock.advance(100)
  expect(acks.at(-1)?.revision).toBe('2')
})

test('a table that is postponed is given again when it is time, and the one before stays acknowledged', async () => {
  const { clock, edge, routing, acks, told } = start()
  take(routing, '1')
  await clock.advance(100)
  edge.postpone(8_000)
  take(routing, '2')
  await clock.advance(7_900)
  expect(edge.asked).toEqual(['1', '2'])
  edge.accept()
  take(routing, '3')
  await clock.advance(50)
  expect(edge.asked).toEqual(['1', '2', '3'])
  edge.postpone(6_000)
  take(routing, '4')
  await clock.advance(6_100)
  expect(edge.asked).toEqual(['1', '2', '3', '4', '4'])
  expect(acks.at(-1)?.revision).toBe('3')
  // Each time that they wait, not each time that they are given.
  expect(told).toEqual(['routes-postponed', 'routes-postponed'])
})

test('a proxy whose process fails is not waited for after five seconds', async () => {
  const { clock, edge, routing, acks } = start()
  take(routing, '1')
  await clock.advance(100)
  edge.fail('it died', clock)
  await clock.advance(4_900)
  expect(acks.at(-1)?.revision).toBe('1')
  await clock.advance(200)
  expect(acks.at(-1)).toBeUndefined()
})

test('a route that cannot be read any more is named by the acknowledgement, which goes on for all others', async () => {
  const { clock, edge, routing, acks, states, told } = start()
  const acked = async () => {
    await clock.advance(100)
    return acks.at(-1)
  }
  const key = `${routes.name}/shop/web`
  const unreadable = [{ collection: routes.name, key, reason: 'of a newer version' }]
  const [web, other] = [routeOf('shop/web', [80, 81]), routeOf('shop/other', [80])]
  const named = [80, 81].map(listen => ({
    listen,
    service: 'shop/web',
    reason: 'unreadable',
    detail: 'its newest route cannot be read by this agent, which goes on with the one before',
  }))
  change(routing, '1', [web, other])
  expect(await acked()).toEqual({ revision: '1', draining: [] })
  change(routing, '2', [], [key])
  expect(await acked()).toEqual({ revision: '2', draining: [], outdated: [web.service], unserved: named })
  expect(edge.served).toContain(web.service)
  change(routing, '3', [other])
  expect(await acked()).toEqual({ revision: '3', draining: [], outdated: [web.service], unserved: named })
  routing.take({ kind: 'snapshot', revision: '4' as Revision, entries: [], unreadable })
  expect(await acked()).toEqual({ revision: '4', draining: [], outdated: [web.service], unserved: named })
  expect(states.at(-1)?.reason).toMatch(/the newest route of shop\/web cannot be read/)
  change(routing, '5', [web])
  expect(await acked()).toEqual({ revision: '5', draining: [] })
  expect(told).toEqual(['route-unreadable'])
  // What was never served from here holds up nobody.
  change(routing, '6', [], [`${routes.name}/shop/new`])
  change(routing, '7', [web])
  expect(await acked()).toEqual({ revision: '7', draining: [] })
})

test('an acknowledgement does not count for a service of which the proxy serves the route of before', async () => {
  const { clock, edge, routing, acks } = start()
  change(routing, '1', [routeOf('shop/web', [80])])
  edge.setAside('shop/web' as ServiceName)
  await clock.advance(100)
  expect(acks.at(-1)).toEqual({ revision: '1', draining: [], outdated: ['shop/web'] })
  edge.setAside()
  await clock.advance(100)
  expect(acks.at(-1)).toEqual({ revision: '1', draining: [] })
})

test('a route that an agent which starts anew cannot read stays served as the proxy has it, and is named', async () => {
  const { clock, edge, routing, acks, told, states } = start()
  const web = routeOf('shop/web', [80])
  edge.taken = new Map([[web.service, web]])
  const unreadable = ['shop/web', 'shop/new'].map(name => ({
    collection: routes.name,
    key: `${routes.name}/${name}`,
    reason: 'of a newer version',
  }))
  routing.take({ kind: 'snapshot', revision: '9' as Revision, entries: [], unreadable })
  await clock.advance(100)
  expect(edge.served).toEqual([web.service])
  expect(acks.at(-1)).toMatchObject({ revision: '9', outdated: [web.service], unserved: [{ listen: 80 }] })
  // Nothing of the other is served here, so it holds up nobody; it is told all the same.
  expect(told).toEqual(['route-unreadable', 'route-unreadable'])
  expect(states.at(-1)?.reason).toMatch(/cannot be read/)
})

test('a route that can be read again is named until the proxy has applied it', async () => {
  const { clock, edge, routing, acks } = start()
  const web = routeOf('shop/web', [80])
  change(routing, '1', [web])
  change(routing, '2', [], [`${routes.name}/shop/web`])
  await clock.advance(100)
  edge.postpone(8_000)
  change(routing, '3', [web])
  await clock.advance(100)
  expect(acks.at(-1)).toMatchObject({
    revision: '2',
    outdated: [web.service],
    unserved: [{ listen: 80, reason: 'unreadable' }],
  })
  edge.accept()
  await clock.advance(100)
  expect(acks.at(-1)).toEqual({ revision: '3', draining: [] })
})

test.each<[number, RouteAck['outdated']]>([
  [mostOutdated, expect.objectContaining({ length: mostOutdated })],
  [mostOutdated + 1, 'all'],
])(
  'of %i services whose route cannot be read the acknowledgement names each, or says all',
  async (count, said) => {
    const { clock, routing, acks } = start()
    const services = Array.from({ length: count }, (_, n) => `shop/s${n}`)
    const written = services.map(service => routeOf(service, [80]))
    const keys = services.map(service => `${routes.name}/${service}`)
    change(routing, '1', written)
    change(routing, '2', [], keys)
    await clock.advance(100)
    expect(acks.at(-1)).toMatchObject({ revision: '2', outdated: said })
    expect(acks.at(-1)?.unserved).toHaveLength(256)
    expect(routeAck.parse(acks.at(-1))).toEqual(acks.at(-1))
  },
)

test('a newer table is tried at once though the one before was refused', async () => {
  const { clock, edge, routing } = start()
  edge.refuse('no space')
  take(routing, '1')
  await clock.advance(20_000)
  take(routing, '2')
  await clock.advance(10)
  expect(edge.asked.at(-1)).toBe('2')
})

test('each fault is told of once while it lasts', async () => {
  const { clock, edge, routing, messages } = start()
  const [a, b] = [fault(80), fault(81)]
  const faults = async (revision: string, list: readonly ProxyFault[]) => {
    edge.cannot(...list)
    take(routing, revision)
    await clock.advance(100)
    return messages.splice(0).length
  }
  expect(await faults('1', [a, b])).toBe(2)
  expect(await faults('2', [a, b])).toBe(0)
  expect(await faults('3', [b])).toBe(0)
  expect(await faults('4', [b, a])).toBe(1)
})

describe('what the proxy cannot serve', () => {
  const held = (listen: number, holder = 'process 812 (sshd)') => ({
    listen,
    address: '127.0.0.1',
    reason: 'held',
    holder,
  })

  test('is named by the acknowledgement for as long as that lasts, without a new route', async () => {
    const { clock, edge, routing, acks } = start()
    take(routing, '1')
    await clock.advance(100)
    expect(acks.at(-1)).toEqual({ revision: '1', draining: [] })
    edge.cannot(fault(80))
    await clock.advance(100)
    expect(acks.at(-1)).toEqual({ revision: '1', draining: [], unserved: [held(80)] })
    edge.cannot(fault(80, 'process 900 (nginx)'), fault(81))
    await clock.advance(100)
    expect(acks.at(-1)?.unserved).toEqual([held(80, 'process 900 (nginx)'), held(81)])
    edge.cannot()
    await clock.advance(100)
    expect(acks.at(-1)).toEqual({ revision: '1', draining: [] })
  })

  const kinds: readonly [ProxyFault, Unserved | undefined][] = [
    [
      { kind: 'port', port: 80, address: '10.0.0.1', only: 'public', reason: 'not-permitted' },
      { listen: 80, address: '10.0.0.1', only: 'public', reason: 'not-permitted' },
    ],
    [
      { kind: 'port', port: 80, address: '10.0.0.1', reason: 'no-address' },
      { listen: 80, address: '10.0.0.1', reason: 'no-address' },
    ],
    [
      { kind: 'port', port: 80, address: '10.0.0.1', reason: 'cannot-listen', detail: 'EMFILE' },
      { listen: 80, address: '10.0.0.1', reason: 'cannot-listen', detail: 'EMFILE' },
    ],
    [
      { kind: 'port', port: 80, address: '0.0.0.0', reason: 'shared', holder: 'process 5 (haproxy)' },
      { listen: 80, address: '0.0.0.0', reason: 'shared', holder: 'process 5 (haproxy)' },
    ],
    ...(['protocol', 'claimed', 'unfit'] as const).map((reason): [ProxyFault, Unserved] => [
      { kind: 'listener', service: 'shop/web' as ServiceName, listen: 80, reason, why: 'it clashes' },
      { service: 'shop/web' as ServiceName, listen: 80, reason, detail: 'it clashes' },
    ]),
    [
      endpointFault('shop/web/1/0'),
      {
        service: 'shop/web' as ServiceName,
        listen: 80,
        reason: 'no-endpoint',
        detail: 'shop/web/1/0 has no port "http"',
      },
    ],
    // Of the generation that is kept for an undo: it answers nobody.
    [endpointFault('shop/web/2/0'), undefined],
    [{ kind: 'disk', why: 'no space left' }, undefined],
  ]
  test.each(kinds)('%j', async (one, expected) => {
    const { clock, edge, routing, acks } = start()
    const backing = (generation: number, share: number) => ({
      generation: generation as GenerationNumber,
      share,
      endpoints: [
        { instance: `shop/web/${generation}/0` as InstanceId, address: '10.0.0.9', ports: { web: 20_000 } },
      ],
    })
    const listener = { protocol: 'http', listen: 80, hostnames: [], path: '/', expose: 'public' } as const
    const listeners = [{ ...listener, port: 'http' }]
    change(routing, '1', [{ ...routeOf('shop/web'), listeners, backings: [backing(1, 1000), backing(2, 0)] }])
    edge.cannot(one)
    await clock.advance(100)
    expect(acks.at(-1)?.unserved).toEqual(expected === undefined ? undefined : [expected])
    // What an older server reads without the field, and what any reads with it.
    expect(routeAck.parse(acks.at(-1))).toEqual(acks.at(-1))
  })

  test('is bounded, and what is left out is counted', async () => {
    const { clock, edge, routing, acks } = start()
    take(routing, '1')
    edge.cannot(...Array.from({ length: 300 }, (_, i) => fault(1000 + i)))
    await clock.advance(100)
    expect(acks.at(-1)?.unserved).toHaveLength(256)
    expect(acks.at(-1)?.unnamed).toBe(44)
  })

  test('names one of each service first, whatever comes before it', async () => {
    const { clock, edge, routing, acks } = start()
    const listening = (service: string, from: number, count: number) => ({
      ...routeOf(service),
      listeners: Array.from({ length: count }, (_, i) => ({
        ...{ protocol: 'http' as const, hostnames: [], path: '/', expose: 'public' as const },
        ...{ listen: from + i, port: 'http' },
      })),
    })
    const bad = Array.from({ length: 5 }, (_, i) => listening(`shop/bad${i}`, 1000 + 64 * i, 64))
    const all = [...bad, listening('shop/web', 9000, 2), listening('shop/zoo', 9002, 1)]
    change(routing, '1', all)
    const held = bad.flatMap(({ listeners }) => listeners.map(({ listen }) => fault(listen)))
    const zoo = 'shop/zoo' as ServiceName
    edge.cannot(...held, fault(9001), {
      kind: 'listener',
      service: zoo,
      listen: 9002,
      reason: 'unfit',
      why: 'its path is too long',
    })
    await clock.advance(100)
    const { unserved = [], unnamed } = acks.at(-1) ?? {}
    expect(unserved).toHaveLength(256)
    expect(unnamed).toBe(322 - 256)
    for (const { service, listeners } of all)
      expect(unserved.some(one => listeners.some(listener => concerns(one, service, listener)))).toBe(true)
  })
})

test('files that are behind are in the record of the host, and nothing is unserved', async () => {
  const { clock, edge, routing, acks, states } = start()
  take(routing, '1')
  edge.cannot({ kind: 'disk', why: 'no space left' })
  await clock.advance(100)
  expect(states).toEqual([{ state: 'up', reason: 'its files are behind: no space left' }])
  expect(acks.at(-1)).toEqual({ revision: '1', draining: [] })
  edge.cannot()
  await clock.advance(100)
  expect(states.at(-1)).toEqual({ state: 'up' })
})

test('a route that cannot be read stays as it was, however that is heard', async () => {
  const { clock, edge, routing } = start()
  const id = 'shop/web' as ServiceName
  const value = { service: id, uid: 'u', term: '1', listeners: [], backings: [], drainMs: 1000 }
  const unreadable = [{ collection: 'routes', key: 'routes/shop/web', reason: 'newer' }]
  const entry = { id, value, created: '1', modified: '1', lease: undefined } as Entry<ServiceName, unknown>
  const at = (revision: string) => ({ revision: revision as Revision, unreadable })
  routing.take({ kind: 'snapshot', ...at('1'), entries: [{ kind: 'put', collection: routes, entry }] })
  routing.take({
    kind: 'changes',
    ...at('2'),
    changes: [{ kind: 'removed', collection: routes, id, revision: '2' as Revision }],
  })
  routing.take({ kind: 'snapshot', ...at('3'), entries: [] })
  await clock.advance(100)
  expect(edge.served).toEqual([id])
  routing.take({ kind: 'snapshot', ...at('4'), unreadable: [], entries: [] })
  await clock.advance(100)
  expect(edge.served).toEqual([])
})

function endpointFault(instance: string): ProxyFault {
  const why = 'has no port "http"'
  return { kind: 'endpoint', service: 'shop/web' as ServiceName, instance, port: 'http', why }
}

const fault = (port: number, holder = 'process 812 (sshd)'): ProxyFault => ({
  kind: 'port',
  port,
  address: '127.0.0.1',
  reason: 'held',
  holder,
})

function take(routing: Routing, revision: string): void {
  routing.take({ kind: 'snapshot', revision: revision as Revision, entries: [], unreadable: [] })
}

const routeOf = (service: string, ports: readonly number[] = []): Route => ({
  service: service as ServiceName,
  uid: 'u',
  term: '1',
  listeners: ports.map(listen => ({
    protocol: 'http',
    listen,
    hostnames: [],
    path: '/',
    expose: 'public',
    port: 'http',
  })),
  backings: [],
  drainMs: 1000,
})

/** A step in which these routes were written; unreadable ones are told as their removal, as the store does. */
function change(routing: Routing, at: string, puts: readonly Route[], unreadable: readonly string[] = []) {
  const revision = at as Revision
  const collection = routes
  const written = puts.map(value => {
    const entry = { id: value.service, value, created: revision, modified: revision, lease: undefined }
    return { kind: 'put', collection, entry } as const
  })
  const gone = unreadable.map(key => {
    const id = key.slice(routes.name.length + 1) as ServiceName
    return { kind: 'removed', collection, id, revision } as const
  })
  const unread = unreadable.map(key => ({ collection: routes.name, key, reason: 'of a newer version' }))
  routing.take({ kind: 'changes', revision, changes: [...written, ...gone], unreadable: unread })
}

function start() {
  const clock = new VirtualClock()
  const edge = new Edge()
  const acks: (RouteAck | undefined)[] = []
  const states: ProxyState[] = []
  const told: string[] = []
  const messages: string[] = []
  const routing = new Routing({
    proxy: edge,
    clock,
    log: silent,
    errors: new InternalErrors({ log: silent, tell: event => told.push(event.kind) }),
    tell: event => {
      told.push(event.kind)
      messages.push(event.message)
    },
    onAck: ack => acks.push(ack),
    onState: state => states.push(state),
  })
  const stop = new AbortController()
  const running = routing.run(stop.signal)
  stops.push(() => {
    stop.abort()
    return running
  })
  return { clock, edge, routing, acks, states, told, messages }
}

/** A proxy that answers what a test wants. */
class Edge implements EdgeProxy {
  readonly asked: string[] = []
  served: readonly ServiceName[] = []
  /** What an earlier run of the agent left it serving. */
  taken: ReadonlyMap<ServiceName, Route> = new Map()
  #outdated: readonly ServiceName[] = []
  #faults: readonly ProxyFault[] = []
  readonly #listeners = new Set<() => void>()
  #health: ProxyHealth = { kind: 'ok', faults: [] }
  #outcome: ApplyOutcome | undefined

  refuse(why: string): void {
    this.#outcome = { kind: 'refused', why }
    this.#become({ kind: 'refusing', why, faults: [] })
  }

  postpone(inMs: number): void {
    this.#outcome = { kind: 'postponed', inMs, why: 'too many workers' }
  }

  fail(why: string, clock: VirtualClock): void {
    this.#become({ kind: 'failing', since: clock.now(), why, faults: [] })
  }

  accept(): void {
    this.#outcome = undefined
    this.#become({ kind: 'ok', faults: [] })
  }

  apply({ revision, routes: table }: RouteTable): Promise<ApplyOutcome> {
    this.asked.push(revision)
    this.served = [...table.keys()]
    return Promise.resolve(this.#outcome ?? { kind: 'applied', revision, faults: this.#faults })
  }

  draining(): Promise<readonly InstanceId[]> {
    return Promise.resolve([])
  }

  /** Serves the routes of before of these, since HAProxy refuses their newest. */
  setAside(...services: ServiceName[]): void {
    this.#outdated = services
    this.#become(this.#health)
  }

  servedRoutes(): ReadonlyMap<ServiceName, Route> {
    return this.taken
  }

  health(): ProxyHealth {
    return { ...this.#health, faults: this.#faults, outdated: this.#outdated }
  }

  /** By itself: no route came. */
  cannot(...faults: readonly ProxyFault[]): void {
    this.#faults = faults
    for (const listener of this.#listeners) listener()
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  leave(): Promise<void> {
    return Promise.resolve()
  }

  stop(): Promise<void> {
    return Promise.resolve()
  }

  #become(health: ProxyHealth): void {
    this.#health = health
    for (const listener of this.#listeners) listener()
  }
}
