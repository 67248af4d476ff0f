import type { Instant } from '@boxcar/core/model/clock'
import type { GenerationNumber, InstanceId, ServiceName } from '@boxcar/core/model/ids'
import type { Endpoint, Route } from '@boxcar/core/model/route'
import { describe, expect, test } from 'vitest'
import {
  drainingInstances,
  type Leaving,
  leavingAfter,
  lookAt,
  overdue,
  restingAfter,
  type WorkerUse,
} from './leaving.ts'
import { draw } from './picture.ts'
import { arrange, type Layout } from './slots.ts'

const web = 'shop/web' as ServiceName
const at = (ms: number) => ms as Instant
const one: Endpoint = {
  instance: 'shop/web/1/0' as InstanceId,
  address: '2001:db8::7',
  ports: { main: 31_000 },
}
const two: Endpoint = { instance: 'shop/web/2/0' as InstanceId, address: '10.0.0.8', ports: { main: 31_001 } }

function routes(backings: [number, number, Endpoint[]][], protocol: 'http' | 'tcp' = 'http') {
  const route: Route = {
    service: web,
    uid: 'u',
    term: '1',
    drainMs: 1_000,
    listeners: [{ protocol, listen: 80, hostnames: [], path: '/', expose: 'private', port: 'main' }],
    backings: backings.map(([generation, share, endpoints]) => ({
      generation: generation as GenerationNumber,
      share,
      endpoints,
    })),
  }
  return new Map([[web, route]])
}

const nothing: Layout = new Map()
const before = arrange(nothing, routes([[1, 1000, [one]]]), 'fit')
const table = routes([[2, 1000, [two]]])
const layout = arrange(before, table, 'keep')
const { picture } = draw({
  routes: table,
  layout,
  addresses: { public: [], private: ['127.0.0.1'] },
  blocked: [],
})
const leaving = leavingAfter([], layout, table, at(0), new Map())

const use = (
  role: 'newest' | 'replaced',
  sessions: number,
  more: Partial<WorkerUse['uses'][number]> = {},
): WorkerUse => ({
  worker: role === 'newest' ? 2 : 1,
  role,
  uses: [
    {
      backend: 'shop_2fweb__main__http__0',
      server: 's1',
      address: '2001:db8:0:0:0:0:0:7',
      port: 31_000,
      sessions,
      ...more,
    },
  ],
})

describe('an endpoint that left', () => {
  test('has its drain time, and is named while it is not routed', () => {
    expect(leaving).toEqual([{ service: web, endpoint: one, deadline: at(1_000), quiet: 0 }])
    expect(drainingInstances(leaving, table)).toEqual(['shop/web/1/0'])
    expect(drainingInstances(leaving, routes([[1, 1000, [one]]]))).toEqual([])
    expect(leavingAfter(leaving, layout, table, at(700), new Map())[0]?.deadline).toBe(1_000)
  })

  test.each<[string, Leaving, WorkerUse[], number, string]>([
    ['once without sessions', { ...firstOf(leaving), quiet: 0 }, [use('newest', 0)], 10, 'goes on, quiet 1'],
    ['twice without sessions', { ...firstOf(leaving), quiet: 1 }, [use('newest', 0)], 20, 'done'],
    ['with a session again', { ...firstOf(leaving), quiet: 1 }, [use('newest', 1)], 20, 'goes on, quiet 0'],
    [
      'with one in a replaced worker',
      firstOf(leaving),
      [use('newest', 0), use('replaced', 2)],
      20,
      'goes on, quiet 0',
    ],
    [
      'at its deadline',
      firstOf(leaving),
      [use('newest', 1), use('replaced', 2)],
      1_000,
      'goes on, quiet 0, cut at 2 1',
    ],
    ['long after it', firstOf(leaving), [use('newest', 1)], 4_000, 'done, cut at 2'],
    [
      'a session of another service',
      firstOf(leaving),
      [use('replaced', 1, { backend: 'shop_2fapi__a__http__0' })],
      10,
      'goes on, quiet 1',
    ],
    ['a session elsewhere', firstOf(leaving), [use('replaced', 1, { port: 9 })], 10, 'goes on, quiet 1'],
  ])('%s', (_, entry, workers, now, expected) => {
    const { goOn, done, cuts } = lookAt([entry], workers, picture, at(now))
    const state = done.length > 0 ? 'done' : `goes on, quiet ${goOn[0]?.quiet}`
    const cut = cuts.length > 0 ? `, cut at ${cuts.map(c => c.worker).join(' ')}` : ''
    expect(state + cut).toBe(expected)
  })

  test('does not take a new tenant of its place with it', () => {
    const tenant = use('newest', 5, {
      backend: 'shop_2fweb__main__http__1',
      address: two.address,
      port: 31_001,
    })
    const moved = { ...firstOf(leaving), endpoint: { ...two, instance: one.instance } }
    expect(lookAt([moved], [tenant], picture, at(9_000)).cuts).toEqual([])
  })
})

describe('a TCP generation that stopped answering', () => {
  const was = routes(
    [
      [1, 1000, [one]],
      [2, 0, [two]],
    ],
    'tcp',
  )
  const is = routes(
    [
      [1, 0, [one]],
      [2, 1000, [two]],
    ],
    'tcp',
  )
  const tcpLayout = arrange(nothing, is, 'fit')
  const resting = restingAfter([], was, is, at(0))

  test('rests for its drain time, unless its share comes back', () => {
    expect(resting).toEqual([{ service: web, generation: 1, deadline: at(1_000) }])
    expect(restingAfter(resting, is, is, at(500))).toEqual(resting)
    expect(restingAfter(resting, is, was, at(500))).toEqual([
      { service: web, generation: 2, deadline: at(1_500) },
    ])
    expect(restingAfter([], routes([[1, 1000, [one]]]), routes([[1, 0, [one]]]), at(0))).toEqual([])
  })

  test('loses its connections then, on every worker', () => {
    const backend = 'shop_2fweb__main__tcp__0'
    const workers = [
      use('newest', 1, { backend }),
      use('replaced', 1, { backend: 'shop_2fweb__main__tcp__3' }),
    ]
    expect(overdue(resting, workers, tcpLayout, at(999))).toEqual({ goOn: resting, cuts: [] })
    expect(overdue(resting, workers, tcpLayout, at(1_000))).toEqual({
      goOn: [],
      cuts: [
        { worker: 2, server: `${backend}/s1` },
        { worker: 1, server: 'shop_2fweb__main__tcp__3/s1' },
      ],
    })
  })
})

function firstOf(list: readonly Leaving[]): Leaving {
  const [first] = list
  if (first === undefined) throw new Error('nobody left')
  return first
}
