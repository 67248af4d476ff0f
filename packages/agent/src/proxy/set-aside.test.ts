import type { Instant } from '@boxcar/core/model/clock'
import type { ServiceName } from '@boxcar/core/model/ids'
import type { Listener, Route } from '@boxcar/core/model/route'
import { describe, expect, test } from 'vitest'
import { culpritsOf, SetAside } from './set-aside.ts'

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

describe('the culprits', () => {
  const all = Array.from({ length: 40 }, (_, n) => name(n))

  test.each([[[]], [[7]], [[0, 39]], [[3, 4, 5, 20]]])('%j are found, and none else', async bad => {
    let asked = 0
    const found = await culpritsOf(all, async services => {
      asked += 1
      const one = bad.find(n => services.includes(name(n)))
      return one === undefined ? undefined : `${one} is bad`
    })
    expect([...found]).toEqual(bad.map(n => [name(n), `${n} is bad`]))
    // By halving: about twice the depth for each.
    expect(asked).toBeLessThanOrEqual(2 + bad.length * 13)
  })

  test('are none where nothing can be had whoever is left out, or where each can be had by itself', async () => {
    expect((await culpritsOf(all, async () => 'no such binary')).size).toBe(0)
    const tooMany = async (services: readonly ServiceName[]) =>
      services.length > 20 ? 'too many' : undefined
    expect((await culpritsOf(all, tooMany)).size).toBe(0)
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

  test('is due again after ten seconds, then ever later', () => {
    const aside = new SetAside()
    aside.add(name(1), routeOf(1), 'it is bad', now)
    expect(aside.due(later(9_999))).toEqual([])
    expect(aside.due(later(10_000))).toEqual([name(1)])
    aside.add(name(1), routeOf(1), 'it is bad', later(10_000))
    expect(aside.due(later(29_999))).toEqual([])
    expect(aside.due(later(30_000))).toEqual([name(1)])
  })

  test('is one whose port has a name that no command has room for', () => {
    const aside = new SetAside()
    const long = routeOf(1, { listeners: [listener(8001, 'p'.repeat(65))] })
    expect(aside.admit(table(long, routeOf(2)), new Map(), now)).toEqual(table(routeOf(2)))
    expect(aside.faults()).toMatchObject([{ service: name(1), listen: 8001 }])
  })
})
