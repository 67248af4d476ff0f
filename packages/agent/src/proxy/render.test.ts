import type { GenerationNumber, InstanceId, ServiceName } from '@boxcar/core/model/ids'
import type { Listener, Route } from '@boxcar/core/model/route'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { difference, joinCommands, welcomeCommands } from './difference.ts'
import { asStarted, draw, type Picture } from './picture.ts'
import { render } from './render.ts'
import { arrange, type Layout } from './slots.ts'

const dir = '/var/lib/boxcar/proxy'
const addresses = { public: ['0.0.0.0', '::'], private: ['127.0.0.1', '172.17.0.1'] }
const nothing: Layout = new Map()

interface Words {
  readonly service: string
  readonly port: string
  readonly hostname: string
  readonly path: string
}

function routeOf({ service, port, hostname, path }: Words, more: Partial<Listener> = {}): Route {
  return {
    service: service as ServiceName,
    uid: 'u',
    term: '1',
    drainMs: 1000,
    listeners: [
      { protocol: 'http', listen: 80, hostnames: [hostname], path, expose: 'public', port, ...more },
    ],
    backings: [
      {
        generation: 1 as GenerationNumber,
        share: 1000,
        endpoints: [
          { instance: `${service}/1/0` as InstanceId, address: '10.0.0.7', ports: { [port]: 31_000 } },
        ],
      },
    ],
  }
}

function pictureOf(...routes: Route[]) {
  const table = new Map(routes.map(route => [route.service, route]))
  const layout = arrange(nothing, table, 'fit')
  return draw({ routes: table, layout, addresses, blocked: [] })
}

const plain: Words = { service: 'shop/web', port: 'http', hostname: 'shop.example', path: '/' }
const asked = (picture: Picture) => render(picture, dir, '7')

describe('rendering', () => {
  test('is a function of its input, whatever the order it comes in', () => {
    const [a, b] = [routeOf(plain), routeOf({ ...plain, service: 'shop/api', hostname: 'api.example' })]
    expect(asked(pictureOf(b, a).picture)).toEqual(asked(pictureOf(a, b).picture))
  })

  test('says members, so that a process starts right, and one structure whatever they are', () => {
    const one = asked(pictureOf(routeOf(plain)).picture)
    expect(one.configuration).toContain('  server s1 10.0.0.7:31000\n  server s2 127.0.0.1:1 disabled\n')
    expect(one.configuration).toContain(
      '  bind 0.0.0.0:80 name 80\n  bind [::]:80 name 80 v6only\n  bind unix@',
    )
    expect(one.maps.shares).toBe('shop_2fweb 0\n')
    expect(one.maps.hosts).toBe('80i_73686F702E6578616D706C65 whole\n80u_73686F702E6578616D706C65 whole\n')
    const none = routeOf(plain)
    const without = {
      ...none,
      backings: none.backings.map(backing => ({ ...backing, endpoints: [], share: 0 })),
    }
    expect(asked(pictureOf(without).picture).structure).toBe(one.structure)
  })

  test('opens private routes inside only', () => {
    const { configuration, maps } = asked(pictureOf(routeOf(plain, { expose: 'private' })).picture)
    expect(configuration).toContain('  bind 127.0.0.1:80 name 80\n  bind 172.17.0.1:80 name 80\n  bind unix@')
    expect(maps.paths).toBe('80i_73686F702E6578616D706C65_2F shop_2fweb:http\n')
  })

  test('refuses a listener that contradicts another, and serves that other', () => {
    const tcp = routeOf({ ...plain, service: 'a/tcp' }, { protocol: 'tcp', hostnames: [], expose: 'private' })
    const { picture, faults } = pictureOf(tcp, routeOf(plain))
    expect(faults).toEqual([
      {
        kind: 'listener',
        service: 'shop/web',
        listen: 80,
        reason: 'protocol',
        why: 'port 80 is tcp of a/tcp already',
      },
    ])
    expect(picture.tcpFronts.map(front => front.service)).toEqual(['a_2ftcp'])
    expect(picture.httpDoors).toEqual([])
  })
})

describe('whatever users write', () => {
  const nasty = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 60 }),
    fc.constantFrom(
      'x\n  server evil 6.6.6.6:80',
      'a\r\nb',
      '#',
      '"\'',
      '\\',
      ' ',
      '%[src]',
      '$' + '{HOME}',
      ';shutdown frontend web',
      '<<',
      '\0',
      '__proto__',
      'constructor',
      'a__b__http__0',
      'é'.repeat(120),
    ),
  )
  const words: fc.Arbitrary<Words> = fc.record({
    service: nasty,
    port: nasty,
    hostname: nasty,
    path: nasty.map(text => `/${text}`),
  })

  test('only the template is in the configuration, the maps and the commands', () => {
    const twin = shapes(asked(pictureOf(routeOf(plain)).picture).configuration)
    fc.assert(
      fc.property(words, fc.constantFrom('http', 'tcp'), (given, protocol) => {
        const { picture } = pictureOf(routeOf(given, protocol === 'tcp' ? { protocol, hostnames: [] } : {}))
        const { configuration, maps } = asked(picture)
        if (protocol === 'http') expect(shapes(configuration)).toEqual(twin)
        expect(configuration).toMatch(/^[\n -~]*$/)
        for (const line of lines(maps.hosts)) expect(line).toMatch(/^80[ui]_[0-9A-F]* (whole|paths)$/)
        for (const line of lines(maps.paths))
          expect(line).toMatch(/^80[ui]_[0-9A-F]*_[0-9A-F]+ [a-z0-9_]*:[a-z0-9_]*$/)
        for (const line of lines(maps.shares)) expect(line).toMatch(/^[a-z0-9_]* \d+(:\d+)*$/)
        const before: Picture = {
          ...picture,
          maps: { hosts: new Map(), paths: new Map(), shares: new Map() },
        }
        for (const command of commandsBetween(before, picture)) expect(command).toMatch(commandShape)
      }),
      { numRuns: 300 },
    )
  })

  test('an address that is none never becomes a server', () => {
    fc.assert(
      fc.property(nasty, address => {
        const route = routeOf(plain)
        const [backing] = route.backings
        if (backing === undefined) throw new Error('one backing')
        const endpoints = backing.endpoints.map(endpoint => ({ ...endpoint, address }))
        const { picture, faults } = pictureOf({ ...route, backings: [{ ...backing, endpoints }] })
        expect(faults.map(fault => fault.kind)).toEqual(['endpoint'])
        expect(asked(picture).configuration).not.toMatch(/server s1 (?!127\.0\.0\.1:1 disabled)/)
      }),
    )
  })

  test('two listeners never share a key by their encoding', () => {
    fc.assert(
      fc.property(words, words, (a, b) => {
        fc.pre(a.hostname.toLowerCase() !== b.hostname.toLowerCase() && a.service !== b.service)
        const { picture } = pictureOf(routeOf(a), routeOf(b))
        const fits = [a, b].filter(w => Buffer.byteLength(w.hostname) <= 253)
        expect(picture.maps.paths.size).toBe(2 * fits.length)
      }),
    )
  })
})

describe('the difference of two pictures', () => {
  const endpoints = (count: number) =>
    Array.from({ length: count }, (_, at) => ({
      instance: `shop/web/1/${at}` as InstanceId,
      address: '10.0.0.7',
      ports: { http: 31_000 + at },
    }))
  const table = (count: number, share = 1000): ReadonlyMap<ServiceName, Route> => {
    const route = routeOf(plain)
    const backings = [{ generation: 1 as GenerationNumber, share, endpoints: endpoints(count) }]
    return new Map([[route.service, { ...route, backings }]])
  }
  const steps = (from: number, to: number, share?: number) => {
    const before = arrange(nothing, table(from), 'fit')
    const after = arrange(before, table(to, share), 'keep')
    const one = draw({ routes: table(from), layout: before, addresses, blocked: [] }).picture
    const two = draw({ routes: table(to, share), layout: after, addresses, blocked: [] }).picture
    return difference(one, two, dir)
  }
  const server = 'shop_2fweb__http__http__0'

  test('brings members in before the maps change and sends them away after', () => {
    expect(steps(1, 2)).toEqual({
      kind: 'commands',
      joins: [{ name: `${server}/s2`, address: '10.0.0.7', port: 31_001 }],
      maps: [],
      leaves: [],
    })
    expect(steps(2, 1)).toMatchObject({ joins: [], leaves: [`set server ${server}/s2 state drain`] })
    expect(steps(1, 0, 0)).toMatchObject({
      maps: [`del map ${dir}/shares.map shop_2fweb`],
      leaves: [`set server ${server}/s1 state drain`],
    })
  })

  test('is a reload where there is no room', () => {
    expect(steps(1, 5)).toEqual({ kind: 'reload' })
  })

  test('starts a member without weight and down, and gives it weight last', () => {
    const join = { name: `${server}/s1`, address: '10.0.0.7', port: 80 }
    expect([...joinCommands(join), ...welcomeCommands(join, 'reached')]).toEqual([
      `set server ${server}/s1 weight 0`,
      `set server ${server}/s1 addr 10.0.0.7 port 80`,
      `set server ${server}/s1 state ready`,
      `set server ${server}/s1 health down`,
      `enable health ${server}/s1`,
      `set server ${server}/s1 health up`,
      `set server ${server}/s1 weight 100`,
    ])
  })

  test('of a picture and itself is nothing, also once its process has started anew', () => {
    const before = arrange(nothing, table(2), 'fit')
    const layout = arrange(before, table(1), 'keep')
    const { picture } = draw({ routes: table(1), layout, addresses, blocked: [] })
    const none = { kind: 'commands', joins: [], maps: [], leaves: [] }
    expect(difference(picture, picture, dir)).toEqual(none)
    expect(difference(asStarted(picture), picture, dir)).toEqual(none)
  })
})

const commandShape =
  /^((add|set|del) map \/var\/lib\/boxcar\/proxy\/[a-z]+\.map [0-9A-Zuia-z_]+( [a-z0-9_:]+)?|(set server|enable health) [a-z0-9_]+\/s\d+( [a-z]+ [a-z0-9.:]+( port \d+)?)?)$/

function commandsBetween(from: Picture, to: Picture): readonly string[] {
  const all = difference(from, to, dir)
  return all.kind === 'reload' ? ['reload'] : [...all.joins.flatMap(joinCommands), ...all.maps, ...all.leaves]
}

const lines = (text: string) => text.split('\n').filter(line => line !== '')

/** A configuration with its names blanked: what is left is the template. */
const shapes = (text: string) =>
  text.split('\n').map(line => line.replace(/^backend [a-z0-9_]*__[a-z0-9_]*__(http|tcp)__\d+$/, 'backend'))
