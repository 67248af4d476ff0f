import { describe, expect, test } from 'vitest'
import type { Instant } from '../model/clock.ts'
import { type Ask, choose } from './choose.ts'
import type { HostView } from './columns.ts'
import { ask, columnsOf, host, id, load } from './fixture.ts'
import { parseWhere } from './where.ts'

const here = (counts: Record<string, number>) =>
  new Map(Object.entries(counts).map(([name, count]) => [id(name), count]))

interface Case {
  readonly name: string
  readonly hosts: Readonly<Record<string, Partial<HostView>>>
  /** Thousandths of a core in use. */
  readonly used?: Readonly<Record<string, number>>
  readonly ask: Partial<Ask>
  readonly count: number
  readonly chosen: readonly string[]
}

const cases: readonly Case[] = [
  { name: 'no host', hosts: {}, ask: {}, count: 3, chosen: [] },
  { name: 'no replica', hosts: { h1: {} }, ask: {}, count: 0, chosen: [] },

  {
    name: 'spread: ids settle a tie',
    hosts: { h2: {}, h10: {}, h1: {} },
    ask: {},
    count: 3,
    chosen: ['h1', 'h10', 'h2'],
  },
  {
    name: 'spread: the least loaded first',
    hosts: { h1: {}, h2: {}, h3: {} },
    used: { h1: 2000, h2: 1000, h3: 1500 },
    ask: {},
    count: 3,
    chosen: ['h2', 'h3', 'h1'],
  },
  {
    name: 'spread: load is relative to the size of a host',
    hosts: { h1: {}, h2: { cpuMilli: 16_000, memoryMiB: 16_384 } },
    used: { h1: 1000, h2: 3000 },
    ask: {},
    count: 1,
    chosen: ['h2'],
  },
  {
    name: 'spread: the fuller dimension counts',
    hosts: { h1: { memoryMiB: 2048 }, h2: {} },
    used: { h2: 900 },
    ask: { cpuMilli: 100 },
    count: 1,
    chosen: ['h2'],
  },
  {
    name: 'spread: siblings weigh more than load',
    hosts: { h1: {}, h2: {} },
    used: { h2: 2500 },
    ask: { have: here({ h1: 1 }) },
    count: 1,
    chosen: ['h2'],
  },
  {
    name: 'spread: fills up evenly, then wherever there is room',
    hosts: { h1: { cpuMilli: 1000 }, h2: {}, h3: { cpuMilli: 2000 } },
    ask: {},
    count: 99,
    chosen: ['h2', 'h3', 'h1', 'h2', 'h3', 'h2', 'h2'],
  },
  {
    name: 'spread: siblings on other hosts are made up for first',
    hosts: { h1: {}, h2: {}, h3: {} },
    ask: { have: here({ h1: 2, h2: 1, gone: 7 }), cpuMilli: 100, memoryMiB: 10 },
    count: 4,
    chosen: ['h3', 'h2', 'h3', 'h1'],
  },

  {
    name: 'pack: the fullest that still fits, until it is full',
    hosts: { h1: {}, h2: {}, h3: {} },
    used: { h2: 2000, h3: 3500 },
    ask: { strategy: 'pack' },
    count: 5,
    chosen: ['h2', 'h2', 'h1', 'h1', 'h1'],
  },
  {
    name: 'pack: the smallest host first',
    hosts: { h1: { cpuMilli: 8000, memoryMiB: 8192 }, h2: {} },
    ask: { strategy: 'pack' },
    count: 1,
    chosen: ['h2'],
  },
  {
    name: 'pack: siblings do not matter',
    hosts: { h1: {}, h2: {} },
    used: { h1: 1000 },
    ask: { strategy: 'pack', have: here({ h1: 3 }) },
    count: 2,
    chosen: ['h1', 'h1'],
  },
  {
    name: 'pack: at most so many on a host',
    hosts: { h1: {}, h2: {}, h3: {} },
    ask: { strategy: 'pack', maxPerHost: 2, have: here({ h2: 1, h3: 2 }) },
    count: 9,
    chosen: ['h1', 'h1', 'h2'],
  },

  {
    name: 'only where labels match',
    hosts: { h1: {}, h2: { labels: { disk: 'ssd' } }, h3: { labels: { disk: 'ssd', gpu: '' } } },
    ask: { where: [parseWhere('disk = ssd'), parseWhere('!gpu')] },
    count: 2,
    chosen: ['h2', 'h2'],
  },
  {
    name: 'never on a host that takes no work',
    hosts: { h1: { accepts: { kind: 'suspect' } }, h2: { accepts: { kind: 'draining' } }, h3: {} },
    ask: {},
    count: 2,
    chosen: ['h3', 'h3'],
  },
  {
    name: 'a fixed port: one a host',
    hosts: { h1: {}, h2: {} },
    ask: { fixedPorts: [{ name: 'dns', port: 53 }] },
    count: 3,
    chosen: ['h1', 'h2'],
  },
  {
    name: 'as many as there are ports',
    hosts: { h1: { ports: { from: 100, to: 102 } }, h2: { ports: { from: 100, to: 101 } } },
    ask: { dynamicPorts: ['http', 'admin'], cpuMilli: 1, memoryMiB: 1 },
    count: 5,
    chosen: ['h1', 'h2'],
  },

  {
    name: 'spread: a host to avoid is used last',
    hosts: { h1: {}, h2: { cpuMilli: 2000 } },
    ask: { avoid: here({ h1: 60_000 }) },
    count: 4,
    chosen: ['h2', 'h2', 'h1', 'h1'],
  },
  {
    name: 'pack: a host to avoid is used last',
    hosts: { h1: {}, h2: { cpuMilli: 2000 } },
    used: { h1: 1000 },
    ask: { strategy: 'pack', avoid: here({ h1: 60_000, gone: 1 }) },
    count: 3,
    chosen: ['h2', 'h2', 'h1'],
  },
]

test.each(cases)('$name', ({ hosts, used = {}, ask: fields, count, chosen }) => {
  const columns = columnsOf(...Object.entries(hosts).map(([name, view]) => host(name, view)))
  for (const [name, cpuMilli] of Object.entries(used))
    columns.take(id(name), load('other', { cpuMilli, memoryMiB: 0 }))
  expect(choose(columns, ask(fields), count)).toEqual(chosen)
})

describe('between two groups', () => {
  test('nothing of the first is left', () => {
    const columns = columnsOf(host('h1'), host('h2'), host('h3'))
    const first = ask({ have: here({ h1: 5 }), avoid: here({ h2: 1 }) })
    expect(choose(columns, first, 3)).toEqual(['h3', 'h3', 'h3'])
    expect(choose(columns, ask(), 4)).toEqual(['h1', 'h2', 'h3', 'h1'])
    expect(choose(columns, first, 3)).toEqual(['h3', 'h3', 'h3'])
  })

  test('a smaller cluster is not mistaken for the one before', () => {
    expect(choose(columnsOf(...['a', 'b', 'c', 'd'].map(name => host(name))), ask(), 4)).toHaveLength(4)
    expect(choose(columnsOf(host('z')), ask(), 2)).toEqual(['z', 'z'])
  })
})

test('ports that rest are waited for', () => {
  const columns = columnsOf(host('h1', { ports: { from: 100, to: 100 } }))
  const one = ask({ dynamicPorts: ['http'] })
  columns.take(id('h1'), load('a', { ports: { http: 100 } }))
  expect(choose(columns, one, 1)).toEqual([])
  columns.give(id('h1'), load('a').instance, 1000 as Instant)
  columns.advance(600_999 as Instant)
  expect(choose(columns, one, 1)).toEqual([])
  columns.advance(601_000 as Instant)
  expect(choose(columns, one, 1)).toEqual(['h1'])
})
