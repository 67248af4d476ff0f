import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Instant } from '../model/clock.ts'
import type { HostId, InstanceId } from '../model/ids.ts'
import { HostPorts, type PortAsk, portRestMs, portSeed } from './ports.ts'

const at = (ms: number) => ms as Instant
const one = { dynamicPorts: ['http'], fixedPorts: [] } satisfies PortAsk
const [web, shop, api] = ['p/web/1/0', 'p/shop/1/0', 'p/api/1/0'] as [InstanceId, InstanceId, InstanceId]

function portsOf(from: number, to: number): HostPorts {
  const ports = new HostPorts()
  ports.setRange({ from, to })
  return ports
}

/** Picks a port and holds it. */
function take(ports: HostPorts, instance: InstanceId): number {
  const picked = ports.pick(one)
  if ('obstacle' in picked) throw new Error('no port')
  const port = picked.ports.http ?? 0
  ports.hold(port, instance)
  return port
}

describe('dynamic ports', () => {
  test('go round the range, the one used longest ago next', () => {
    const ports = portsOf(100, 102)
    expect([take(ports, web), take(ports, shop)]).toEqual([100, 101])
    ports.release(100, web, at(0))
    ports.wake(at(portRestMs))
    expect([take(ports, web), take(ports, api)]).toEqual([102, 100])
  })

  test('rest for ten minutes, to the millisecond', () => {
    const ports = portsOf(100, 100)
    take(ports, web)
    ports.release(100, web, at(5))
    expect(ports.freeAt).toBe(5 + portRestMs)
    ports.wake(at(5 + portRestMs - 1))
    expect(ports.pick(one)).toEqual({ obstacle: { kind: 'no-free-port', from: 100, to: 100 } })
    ports.wake(at(5 + portRestMs))
    expect(ports.pick(one)).toEqual({ ports: { http: 100 } })
  })

  test('a port released again rests again, behind the others', () => {
    const ports = portsOf(100, 101)
    ports.hold(100, web)
    ports.hold(101, shop)
    ports.release(100, web, at(0))
    ports.release(101, shop, at(10))
    ports.hold(100, web)
    ports.release(100, web, at(20))
    ports.wake(at(10 + portRestMs))
    expect(ports.free).toBe(1)
    expect(ports.pick(one)).toEqual({ ports: { http: 101 } })
  })

  test('several of one instance differ, also from its fixed ones', () => {
    const ports = portsOf(100, 103)
    const ask = { dynamicPorts: ['a', 'b'], fixedPorts: [{ name: 'f', port: 101 }] }
    expect(ports.pick(ask)).toEqual({ ports: { a: 100, b: 102, f: 101 } })
  })

  test('a fixed port of the range leaves one less', () => {
    const ports = portsOf(100, 101)
    const ask = { dynamicPorts: ['a', 'b'], fixedPorts: [{ name: 'f', port: 101 }] }
    expect(ports.pick(ask)).toEqual({ obstacle: { kind: 'no-free-port', from: 100, to: 101 } })
  })

  test('a fixed port that rests leaves not one less', () => {
    const ports = portsOf(100, 101)
    ports.hold(101, web)
    ports.release(101, web, at(0))
    const ask = { dynamicPorts: ['a'], fixedPorts: [{ name: 'f', port: 101 }] }
    expect(ports.pick(ask)).toEqual({ ports: { a: 100, f: 101 } })
  })

  test('a port outside the range counts neither held nor rested', () => {
    const ports = portsOf(100, 101)
    ports.hold(53, web)
    ports.release(53, web, at(0))
    expect(ports.free).toBe(2)
    ports.wake(at(portRestMs))
    expect(ports.free).toBe(2)
  })

  test('a leader that takes over begins far from what is held', () => {
    const ports = portsOf(100, 199)
    for (const port of [110, 111, 112]) ports.hold(port, web)
    expect(ports.pick(one)).toEqual({ ports: { http: 161 } })
  })

  test('leaders in a row begin far from each other, also where nothing is held', () => {
    const size = 10_000
    const host = 'h1' as HostId
    const starts = [7, 8, 9, 1234, 1235].map(term => {
      const ports = portsOf(20_000, 20_000 + size - 1)
      const picked = ports.pick(one, portSeed(String(term), host))
      return 'ports' in picked ? (picked.ports.http ?? 0) : 0
    })
    for (const start of starts) {
      expect(start).toBeGreaterThanOrEqual(20_000)
      expect(start).toBeLessThan(20_000 + size)
      expect(starts.filter(other => Math.abs(other - start) < size / 100)).toEqual([start])
    }
    expect(portSeed('7', host)).toBe(portSeed('7', host))
    expect(portSeed('7', host)).not.toBe(portSeed('7', 'h2' as HostId))
  })

  test('and stay away from what is held, whatever the seed', () => {
    fc.assert(
      fc.property(fc.nat(), seed => {
        const ports = portsOf(100, 199)
        for (const port of [110, 111, 112]) ports.hold(port, web)
        const picked = ports.pick(one, seed)
        const port = 'ports' in picked ? (picked.ports.http ?? 0) : 0
        expect(port).toBeGreaterThanOrEqual(161)
        expect(port).toBeLessThan(161 + 24)
      }),
    )
  })

  test('an empty range has none', () => {
    const ports = portsOf(0, -1)
    expect(ports.free).toBe(0)
    expect(ports.pick(one)).toEqual({ obstacle: { kind: 'no-free-port', from: 0, to: -1 } })
  })

  test('a range that moves counts again', () => {
    const ports = portsOf(100, 109)
    ports.hold(100, web)
    ports.hold(105, shop)
    ports.release(105, shop, at(0))
    expect(ports.free).toBe(8)
    ports.setRange({ from: 105, to: 106 })
    expect(ports.free).toBe(1)
    expect(ports.pick(one)).toEqual({ ports: { http: 106 } })
  })
})

describe('fixed ports', () => {
  const ask = { dynamicPorts: [], fixedPorts: [{ name: 'dns', port: 53 }] }

  test('are given as asked, or the holder is named', () => {
    const ports = portsOf(100, 109)
    expect(ports.pick(ask)).toEqual({ ports: { dns: 53 } })
    ports.hold(53, web)
    expect(ports.pick(ask)).toEqual({ obstacle: { kind: 'port', port: 53, heldBy: web } })
  })

  test('need no rest: who stops first gets its own port back at once', () => {
    const ports = portsOf(50, 59)
    ports.hold(53, web)
    ports.release(53, web, at(0))
    expect(ports.pick(ask)).toEqual({ ports: { dns: 53 } })
  })

  test('one asked for twice cannot be had', () => {
    const twice = {
      dynamicPorts: [],
      fixedPorts: [
        { name: 'a', port: 53 },
        { name: 'b', port: 53 },
      ],
    }
    const obstacle = { kind: 'port', port: 53, heldBy: 'port a of the same instance' }
    expect(portsOf(1, 2).pick(twice)).toEqual({ obstacle })
    expect(portsOf(53, 54).obstacles({ ...twice, dynamicPorts: ['c'] })).toEqual([obstacle])
  })
})

test('a port claimed twice stays held until the last claim ends, the least id named', () => {
  const ports = portsOf(100, 100)
  ports.hold(100, web)
  ports.hold(100, api)
  ports.hold(100, shop)
  ports.hold(100, shop)
  const fixed = { dynamicPorts: [], fixedPorts: [{ name: 'x', port: 100 }] }
  expect(ports.obstacles(fixed)).toEqual([{ kind: 'port', port: 100, heldBy: api }])
  ports.release(100, api, at(0))
  expect(ports.obstacles(fixed)).toEqual([{ kind: 'port', port: 100, heldBy: shop }])
  ports.release(100, web, at(0))
  ports.release(100, shop, at(0))
  expect(ports.obstacles(fixed)).toEqual([])
  expect(ports.free).toBe(0)
  ports.wake(at(portRestMs))
  expect(ports.free).toBe(1)
})

test('whatever is taken and released when, no port is held twice or handed out within ten minutes of its release', () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('take'), ports: fc.integer({ min: 1, max: 3 }) }),
    fc.record({ kind: fc.constant('release'), nth: fc.nat(9) }),
    fc.record({ kind: fc.constant('wait'), ms: fc.integer({ min: 1, max: portRestMs }) }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.integer({ min: 1, max: 12 }), (steps, size) => {
      const ports = portsOf(100, 99 + size)
      const held: { readonly instance: InstanceId; readonly port: number }[] = []
      const releasedAt = new Map<number, number>()
      let now = 0
      steps.forEach((each, i) => {
        if ('ms' in each) now += each.ms
        else if ('nth' in each) {
          const [gone] = held.splice(each.nth, 1)
          if (gone === undefined) return
          ports.release(gone.port, gone.instance, at(now))
          releasedAt.set(gone.port, now)
        } else {
          ports.wake(at(now))
          const isFree = (port: number) =>
            !held.some(other => other.port === port) &&
            now - (releasedAt.get(port) ?? -Infinity) >= portRestMs
          const free = Array.from({ length: size }, (_, n) => 100 + n).filter(isFree)
          expect(ports.free).toBe(free.length)
          const names = Array.from({ length: each.ports }, (_, n) => `p${n}`)
          const picked = ports.pick({ dynamicPorts: names, fixedPorts: [] })
          expect('ports' in picked).toBe(free.length >= each.ports)
          if (!('ports' in picked)) return
          const instance = `p/s/1/${i}` as InstanceId
          expect(new Set(Object.values(picked.ports)).size).toBe(each.ports)
          for (const port of Object.values(picked.ports)) {
            expect(free).toContain(port)
            ports.hold(port, instance)
            held.push({ instance, port })
          }
        }
      })
    }),
    { numRuns: 1000 },
  )
})
