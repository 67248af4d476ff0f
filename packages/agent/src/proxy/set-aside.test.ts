import type { Instant } from '@boxcar/core/model/clock'
import type { ServiceName } from '@boxcar/core/model/ids'
import type { Listener, Route } from '@boxcar/core/model/route'
import { describe, expect, test } from 'vitest'
import { findInvalidServices, SetAside } from './set-aside.ts'

const name = (n: number) => `shop/s${n}` as ServiceName
const now = 1000 as Instant
const later = (ms: number) => (now + ms) as Instant

const listener = (listen: number, port = 'http'): Listener => ({
  protocol: 'http',
  listen,
  hostnames: [],
  path: '/',
  expose: 'public',
  port,
})
const routeOf = (n: number, more: Partial<Route> = {}): Route => ({
  service: name(n),
  uid: 'u',
  term: '1',
  listeners: [listener(8000 + n)],
  backings: [],
  drainMs: 0,
  ...more,
})
const table = (...routes: Route[]) => new Map(routes.map(route => [route.service, route]))

describe('the services that a table cannot be served with', () => {
  const all = Array.from({ length: 40 }, (_, n) => name(n))

  test.each([[[]], [[7]], [[0, 39]], [[3, 4, 5, 20]]])('%j are found, and none else', async bad => {
    let asked = 0
    const found = await findInvalidServices(all, async services => {
      asked += 1
      const one = bad.find(n => services.includes(name(n)))
      return one === undefined ? undefined : `${one} is bad`
    })
    expect([...found]).toEqual(bad.map(n => [name(n), `${n} is bad`]))
    // By halving: the whole, the depth, and the service alone.
    expect(asked).toBeLessThanOrEqual(2 + bad.length * 8)
  })

  test('are none where nothing can be had whoever is left out, or where each can be had by itself', async () => {
    expect((await findInvalidServices(all, async () => 'no such binary')).size).toBe(0)
    const tooMany = async (services: readonly ServiceName[]) =>
      services.length > 20 ? 'too many' : undefined
    expect((await findInvalidServices(all, tooMany)).size).toBe(0)
  })
})

describe('services that cannot be served together', () => {
  const all = Array.from({ length: 40 }, (_, n) => name(n))
  const notTogether =
    (...groups: readonly (readonly number[])[]) =>
    async (services: readonly ServiceName[]) => {
      const group = groups.find(numbers => numbers.every(n => services.includes(name(n))))
      return group === undefined ? undefined : `${group.join(' and ')} contradict each other`
    }

  test.each<[string, readonly (readonly number[])[], readonly number[]]>([
    ['in one half', [[1, 2]], [2]],
    ['in both halves', [[3, 30]], [30]],
    ['of three', [[3, 20, 39]], [39]],
    [
      'two pairs',
      [
        [3, 30],
        [4, 9],
      ],
      [9, 30],
    ],
    [
      'one with two others',
      [
        [3, 5],
        [3, 30],
      ],
      [5, 30],
    ],
    ['beside one that cannot be served by itself', [[3, 30], [17]], [17, 30]],
  ])('%s: the first that breaks those before it', async (_, groups, expected) => {
    const found = await findInvalidServices(all, notTogether(...groups))
    expect([...found.keys()]).toEqual(expected.map(name))
    expect(await notTogether(...groups)(all.filter(one => !found.has(one)))).toBeUndefined()
  })

  test('one of them is tried again together with what is served, ever later', async () => {
    const aside = new SetAside()
    const [served, refused] = [table(routeOf(1)), routeOf(2)]
    const asked = table(routeOf(1), refused)
    const retry = (ms: number, whyNot: (names: readonly ServiceName[]) => Promise<string | undefined>) =>
      aside.retry(asked, served, routes => whyNot([...routes.keys()]), later(ms))
    aside.add(name(2), refused, '1 and 2 contradict each other', now)
    expect(await retry(10_000, notTogether([1, 2]))).toBe(false)
    expect(aside.admit(asked, served, now)).toEqual(served)
    let asks = 0
    const count = async () => {
      asks += 1
      return undefined
    }
    expect(await retry(29_999, count)).toBe(false)
    expect(asks).toBe(0)
    expect(await retry(30_000, count)).toBe(true)
    expect(asks).toBe(1)
    expect(aside.admit(asked, served, now)).toEqual(asked)
  })

  test('two of them that are due at once are not both taken back', async () => {
    const aside = new SetAside()
    const asked = table(routeOf(1), routeOf(2), routeOf(3))
    const served = table(routeOf(3))
    for (const n of [1, 2]) aside.add(name(n), routeOf(n), 'it is bad', now)
    const whyNot = notTogether([1, 2])
    expect(await aside.retry(asked, served, routes => whyNot([...routes.keys()]), later(10_000))).toBe(true)
    expect(aside.admit(asked, served, now)).toEqual(table(routeOf(1), routeOf(3)))
  })

  test('what is not asked for any more is not tried', async () => {
    const aside = new SetAside()
    aside.add(name(1), routeOf(1), 'it is bad', now)
    expect(await aside.retry(table(), table(), async () => 'never asked', later(10_000))).toBe(true)
    expect(aside.faults()).toEqual([])
  })
})

describe('a service that is set aside', () => {
  test('is served as before where it was served, and else not, until its route is another one', () => {
    const aside = new SetAside()
    const [served, asked] = [routeOf(1, { drainMs: 5 }), routeOf(1)]
    aside.add(name(1), asked, 'it is bad', now)
    const none = new Map<ServiceName, Route>()
    expect(aside.admit(table(asked, routeOf(2)), none, now)).toEqual(table(routeOf(2)))
    expect(aside.admit(table(asked, routeOf(2)), table(served), now)).toEqual(table(served, routeOf(2)))
    // Of an earlier service of this name.
    expect(aside.admit(table(asked), table(routeOf(1, { uid: 'old' })), now)).toEqual(none)
    expect(aside.faults()).toEqual([
      { kind: 'listener', service: name(1), listen: 8001, reason: 'refused', why: 'it is bad' },
    ])
    // Read again it is another object, and the same route.
    expect(aside.admit(table(routeOf(1)), none, now)).toEqual(none)
    const mended = routeOf(1, { drainMs: 7 })
    expect(aside.admit(table(mended), none, now)).toEqual(table(mended))
    expect(aside.faults()).toEqual([])
  })

  test('is tried again after ten seconds, then ever later', async () => {
    const aside = new SetAside()
    let tries = 0
    const triesAt = async (ms: number) => {
      const whyNot = async () => {
        tries += 1
        return `it is bad, ${tries}`
      }
      await aside.retry(table(routeOf(1)), table(), whyNot, later(ms))
      return tries
    }
    aside.add(name(1), routeOf(1), 'it is bad', now)
    expect(await triesAt(9_999)).toBe(0)
    expect(await triesAt(10_000)).toBe(1)
    expect(await triesAt(29_999)).toBe(1)
    expect(await triesAt(30_000)).toBe(2)
    expect(aside.faults()).toMatchObject([{ why: 'it is bad, 2' }])
  })

  test('is one whose port has a name that no command has room for', () => {
    const aside = new SetAside()
    const long = routeOf(1, { listeners: [listener(8001, 'p'.repeat(65))] })
    expect(aside.admit(table(long, routeOf(2)), new Map(), now)).toEqual(table(routeOf(2)))
    expect(aside.faults()).toMatchObject([{ service: name(1), listen: 8001 }])
  })
})
