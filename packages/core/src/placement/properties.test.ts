/**
 * What must hold of placing for any hosts and any ask. The reference below decides one replica at a time over plain
 * objects, by the words of the rules; it shares nothing with the code under test.
 */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Instant } from '../model/clock.ts'
import type { HostId } from '../model/ids.ts'
import { type Ask, choose } from './choose.ts'
import type { HostColumns, HostView, Load } from './columns.ts'
import { explain } from './explain.ts'
import { ask as askOf, columnsOf, host, id, instance, load } from './fixture.ts'
import { type LabelRule, parseWhere } from './where.ts'

const names = ['h1', 'h10', 'h2', 'a', 'b.c', 'z-9', 'h3', 'h4']
const ranges = [
  { from: 100, to: 99 },
  { from: 100, to: 102 },
  { from: 101, to: 110 },
  { from: 20_000, to: 20_049 },
]

const hosts = fc.uniqueArray(
  fc
    .record({
      name: fc.constantFrom(...names),
      accepts: fc.oneof(
        { weight: 5, arbitrary: fc.constant(undefined) },
        fc.constant({ kind: 'draining' as const }),
      ),
      labels: fc.dictionary(fc.constantFrom('disk', 'zone', 'gpu'), fc.constantFrom('x', 'y')),
      cpuMilli: fc.constantFrom(0, 3, 6, 8, 12),
      memoryMiB: fc.constantFrom(0, 4, 9, 16),
      ports: fc.constantFrom(...ranges),
    })
    .map(({ name, ...fields }) => host(name, fields)),
  { selector: each => each.id, minLength: 1 },
)

const loads = fc
  .array(
    fc.record({
      on: fc.constantFrom(...names),
      cpuMilli: fc.nat(3),
      memoryMiB: fc.nat(4),
      port: fc.option(fc.integer({ min: 98, max: 106 }), { nil: undefined }),
    }),
    { maxLength: 10 },
  )
  .map(list =>
    list.map(({ on, cpuMilli, memoryMiB, port }, i) => ({
      on: id(on),
      load: load(`p/s/1/${i}`, { cpuMilli, memoryMiB, ports: port === undefined ? {} : { x: port } }),
    })),
  )

const perHost = (most: number) =>
  fc
    .dictionary(fc.constantFrom(...names, 'gone'), fc.integer({ min: 1, max: most }), { maxKeys: 4 })
    .map(counts => new Map(Object.entries(counts).map(([name, count]) => [id(name), count])))

const asks: fc.Arbitrary<Ask> = fc.record({
  cpuMilli: fc.nat(4),
  memoryMiB: fc.nat(5),
  dynamicPorts: fc.constantFrom<readonly string[]>([], [], ['http'], ['http', 'admin']),
  fixedPorts: fc.oneof(
    { weight: 3, arbitrary: fc.constant([]) },
    fc
      .array(fc.integer({ min: 99, max: 104 }), { minLength: 1, maxLength: 2 })
      .map(ports => ports.map((port, i) => ({ name: `f${i}`, port }))),
  ),
  where: fc.oneof(
    { weight: 2, arbitrary: fc.constant([]) },
    fc
      .array(
        fc.constantFrom('disk = x', 'disk != x', 'zone in (x, z)', 'zone not in (x, z)', 'gpu', '!gpu'),
        {
          minLength: 1,
          maxLength: 2,
        },
      )
      .map(texts => texts.map(parseWhere)),
  ),
  maxPerHost: fc.option(fc.integer({ min: 1, max: 3 }), { nil: undefined }),
  strategy: fc.constantFrom('spread', 'pack'),
  have: perHost(3),
  avoid: fc.oneof({ weight: 2, arbitrary: fc.constant(new Map()) }, perHost(9999)),
})

interface World {
  readonly hosts: readonly HostView[]
  readonly loads: readonly { readonly on: HostId; readonly load: Load }[]
}
const worlds: fc.Arbitrary<World> = fc.record({ hosts, loads })

const counts = fc.oneof(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 40 }))
const now = 0 as Instant

function build(world: World): HostColumns {
  const columns = columnsOf(...world.hosts)
  for (const { on, load } of world.loads) columns.take(on, load)
  return columns
}

/** One replica, as the planner counts it; its load, or nothing where the ports said no. */
function place(columns: HostColumns, ask: Ask, on: HostId, name: string): Load | undefined {
  const picked = columns.pickPorts(on, ask, now)
  if ('obstacle' in picked) return undefined
  const { cpuMilli, memoryMiB } = ask
  const taken = { instance: instance(name), cpuMilli, memoryMiB, ports: picked.ports }
  columns.take(on, taken)
  return taken
}

const and = (ask: Ask, on: HostId): Ask => ({
  ...ask,
  have: new Map([...ask.have, [on, (ask.have.get(on) ?? 0) + 1]]),
})

describe('for any hosts and any ask', () => {
  test('a group goes where the reference puts it', () => {
    fc.assert(
      fc.property(worlds, asks, counts, (world, ask, count) => {
        expect(choose(build(world), ask, count)).toEqual(new Reference(world).place(ask, count))
      }),
      { numRuns: 3000 },
    )
  })

  test('a group goes where its replicas go one by one, and each gets its ports', () => {
    fc.assert(
      fc.property(worlds, asks, counts, (world, ask, count) => {
        const group = choose(build(world), ask, count)
        const columns = build(world)
        let next = ask
        for (let i = 0; i < count; i++) {
          const [on, ...more] = choose(columns, next, 1)
          expect(more).toEqual([])
          expect(on).toBe(group[i])
          if (on === undefined) return
          expect(place(columns, ask, on, `p/new/1/${i}`)).toBeDefined()
          next = and(next, on)
        }
      }),
      { numRuns: 1000 },
    )
  })

  test('no host is filled over its size, no host gets more than its maximum, no port is given twice', () => {
    fc.assert(
      fc.property(worlds, fc.array(fc.tuple(asks, counts), { maxLength: 4 }), (world, groups) => {
        const columns = build(world)
        const held = new Map<string, number>()
        const key = (on: HostId, port: number) => `${on}:${port}`
        for (const { on, load } of world.loads)
          for (const port of Object.values(load.ports)) held.set(key(on, port), 1)
        groups.forEach(([ask, count], g) => {
          const chosen = choose(columns, ask, count)
          expect(chosen.length).toBeLessThanOrEqual(count)
          chosen.forEach((on, i) => {
            const taken = place(columns, ask, on, `p/g${g}/1/${i}`)
            for (const port of Object.values(taken?.ports ?? {})) {
              expect(held.has(key(on, port))).toBe(false)
              held.set(key(on, port), 1)
            }
            for (const { name, port } of ask.fixedPorts) expect(taken?.ports[name]).toBe(port)
            for (const name of ask.dynamicPorts) {
              const range = columns.view(on)?.ports
              expect(taken?.ports[name]).toBeGreaterThanOrEqual(range?.from ?? Number.NaN)
              expect(taken?.ports[name]).toBeLessThanOrEqual(range?.to ?? Number.NaN)
            }
          })
          for (const on of new Set(chosen)) {
            expect(columns.free(on).cpuMilli).toBeGreaterThanOrEqual(0)
            expect(columns.free(on).memoryMiB).toBeGreaterThanOrEqual(0)
            const there = chosen.filter(other => other === on).length + (ask.have.get(on) ?? 0)
            expect(there).toBeLessThanOrEqual(ask.maxPerHost ?? Number.POSITIVE_INFINITY)
          }
        })
      }),
      { numRuns: 1000 },
    )
  })

  test('a host is explained exactly when it would not be taken', () => {
    fc.assert(
      fc.property(worlds, asks, (world, ask) => {
        const columns = build(world)
        const explained = explain(columns, ask)
        expect(explained.every(({ obstacles }) => obstacles.length > 0)).toBe(true)
        const free = new Set(world.hosts.map(({ id }) => id))
        for (const { host } of explained) free.delete(host)
        // Who is taken when the hosts before it are gone, until none is left.
        const taken = new Set<HostId>()
        for (;;) {
          const [on] = choose(columns, ask, 1)
          if (on === undefined || (ask.avoid.has(on) && [...taken].some(other => !ask.avoid.has(other))))
            break
          taken.add(on)
          columns.delete(on)
        }
        expect(taken).toEqual(free)
      }),
      { numRuns: 2000 },
    )
  })

  test('the order in which hosts and loads came makes no difference', () => {
    const both = worlds.chain(world =>
      fc.record({
        world: fc.constant(world),
        other: fc.record({
          hosts: fc.shuffledSubarray([...world.hosts], { minLength: world.hosts.length }),
          loads: fc.shuffledSubarray([...world.loads], { minLength: world.loads.length }),
        }),
      }),
    )
    fc.assert(
      fc.property(both, asks, counts, ({ world, other }, ask, count) => {
        const [one, two] = [build(world), build(other)]
        const chosen = choose(one, ask, count)
        expect(choose(two, ask, count)).toEqual(chosen)
        expect(explain(two, ask)).toEqual(explain(one, ask))
        const shuffled = {
          ...ask,
          have: new Map([...ask.have].reverse()),
          avoid: new Map([...ask.avoid].reverse()),
        }
        expect(choose(two, shuffled, count)).toEqual(chosen)
        chosen.forEach((on, i) => {
          expect(place(two, ask, on, `p/n/1/${i}`)).toEqual(place(one, ask, on, `p/n/1/${i}`))
        })
      }),
      { numRuns: 1000 },
    )
  })

  test('spread stays within one where nothing else binds', () => {
    const used = fc.dictionary(fc.constantFrom(...names), fc.nat(900), { maxKeys: 8 })
    fc.assert(
      fc.property(used, fc.integer({ min: 1, max: 60 }), (cpus, count) => {
        const columns = columnsOf(...names.map(name => host(name, { cpuMilli: 9000, memoryMiB: 9000 })))
        for (const [name, cpuMilli] of Object.entries(cpus)) columns.take(id(name), load('x', { cpuMilli }))
        const chosen = choose(columns, askOf({ cpuMilli: 1, memoryMiB: 1 }), count)
        expect(chosen).toHaveLength(count)
        const each = names.map(name => chosen.filter(on => on === name).length)
        expect(Math.max(...each) - Math.min(...each)).toBeLessThanOrEqual(1)
      }),
    )
  })

  test('what is taken and given back leaves no trace but resting ports', () => {
    fc.assert(
      fc.property(worlds, asks, counts, (world, ask, count) => {
        const columns = build(world)
        const chosen = choose(columns, ask, count)
        const before = world.hosts.map(({ id }) => [columns.used(id), columns.instances(id)])
        chosen.forEach((on, i) => {
          place(columns, ask, on, `p/n/1/${i}`)
        })
        chosen.forEach((on, i) => {
          columns.give(on, instance(`p/n/1/${i}`), now)
        })
        expect(world.hosts.map(({ id }) => [columns.used(id), columns.instances(id)])).toEqual(before)
        columns.advance(600_000 as Instant)
        expect(choose(columns, ask, count)).toEqual(chosen)
      }),
      { numRuns: 500 },
    )
  })
})

/** The rules in their own words, slowly. */
class Reference {
  readonly #hosts: Counted[]

  constructor(world: World) {
    this.#hosts = world.hosts.map(view => {
      const loads = world.loads.filter(({ on }) => on === view.id).map(({ load }) => load)
      return {
        view,
        cpu: loads.reduce((sum, l) => sum + l.cpuMilli, 0),
        memory: loads.reduce((sum, l) => sum + l.memoryMiB, 0),
        here: 0,
        ports: new Set(loads.flatMap(l => Object.values(l.ports))),
      }
    })
  }

  place(ask: Ask, count: number): HostId[] {
    const chosen: HostId[] = []
    for (const each of this.#hosts) each.here = ask.have.get(each.view.id) ?? 0
    while (chosen.length < count) {
      const fitting = this.#hosts.filter(each => this.#fits(each, ask))
      const preferred = fitting.filter(each => !ask.avoid.has(each.view.id))
      const [best] = (preferred.length > 0 ? preferred : fitting).sort((a, b) => {
        const [partsA, partsB] = [this.#partsAfter(a, ask), this.#partsAfter(b, ask)]
        const better =
          ask.strategy === 'spread'
            ? a.here - b.here || Math.max(...partsA) - Math.max(...partsB)
            : partsB[0] + partsB[1] - (partsA[0] + partsA[1])
        return better || (a.view.id < b.view.id ? -1 : 1)
      })
      if (best === undefined) break
      chosen.push(best.view.id)
      best.cpu += ask.cpuMilli
      best.memory += ask.memoryMiB
      best.here++
      for (const { port } of ask.fixedPorts) best.ports.add(port)
      for (const _ of ask.dynamicPorts) best.ports.add(this.#freePorts(best, ask)[0] ?? Number.NaN)
    }
    return chosen
  }

  #fits(each: Counted, ask: Ask): boolean {
    const { view } = each
    const fixed = ask.fixedPorts.map(({ port }) => port)
    return (
      view.accepts === undefined &&
      ask.where.every(rule => satisfied(view.labels, rule)) &&
      (ask.maxPerHost === undefined || each.here < ask.maxPerHost) &&
      each.cpu + ask.cpuMilli <= view.cpuMilli &&
      each.memory + ask.memoryMiB <= view.memoryMiB &&
      fixed.every(port => !each.ports.has(port)) &&
      new Set(fixed).size === fixed.length &&
      this.#freePorts(each, ask).length >= ask.dynamicPorts.length
    )
  }

  #freePorts(each: Counted, ask: Ask): number[] {
    const { from, to } = each.view.ports
    const range = Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => from + i)
    return range.filter(port => !each.ports.has(port) && !ask.fixedPorts.some(fixed => fixed.port === port))
  }

  #partsAfter(each: Counted, ask: Ask): readonly [number, number] {
    const fraction = (used: number, total: number) => (total === 0 ? 0 : used / total)
    return [
      fraction(each.cpu + ask.cpuMilli, each.view.cpuMilli),
      fraction(each.memory + ask.memoryMiB, each.view.memoryMiB),
    ]
  }
}

interface Counted {
  readonly view: HostView
  cpu: number
  memory: number
  here: number
  readonly ports: Set<number>
}

function satisfied(labels: Readonly<Record<string, string>>, rule: LabelRule): boolean {
  const value = Object.entries(labels).find(([key]) => key === rule.key)?.[1]
  if (rule.kind === 'has') return value !== undefined
  if (rule.kind === 'lacks') return value === undefined
  const among = value !== undefined && rule.values.some(v => v === value)
  return rule.kind === 'in' ? among : !among
}
