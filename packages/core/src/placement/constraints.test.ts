import { describe, expect, test } from 'vitest'
import type { Ask } from './choose.ts'
import type { HostView, Load } from './columns.ts'
import * as constraint from './constraints.ts'
import { ask, columnsOf, host, id, load } from './fixture.ts'
import type { Obstacle } from './obstacle.ts'
import { parseWhere } from './where.ts'

const { acceptsWork, matchesLabels, belowMaxPerHost, hasCpus, hasMemory, hasPorts } = constraint

interface Case {
  readonly name: string
  readonly constraint: constraint.Constraint
  readonly host?: Partial<HostView>
  readonly loads?: readonly Load[]
  readonly ask?: Partial<Ask>
  readonly room: number
  readonly obstacles?: readonly Obstacle[]
}

const most = 100
const where = (...texts: string[]) => ({ where: texts.map(parseWhere) })

const cases: readonly Case[] = [
  { name: 'takes work', constraint: acceptsWork, room: most },
  ...(
    [
      { kind: 'suspect' },
      { kind: 'lost' },
      { kind: 'cordoned', why: 'disk swap' },
      { kind: 'draining' },
      { kind: 'engine-down', reason: 'no answer' },
      { kind: 'orders-refused', reason: 'the store is behind' },
    ] satisfies Obstacle[]
  ).map(accepts => ({
    name: accepts.kind,
    constraint: acceptsWork,
    host: { accepts },
    room: 0,
    obstacles: [accepts],
  })),

  { name: 'no rule', constraint: matchesLabels, room: most },
  {
    name: 'label equal',
    constraint: matchesLabels,
    host: { labels: { disk: 'ssd' } },
    ask: where('disk = ssd'),
    room: most,
  },
  {
    name: 'labels that differ, each told',
    constraint: matchesLabels,
    host: { labels: { disk: 'hdd', gpu: 'a100' } },
    ask: where('disk = ssd', '!gpu', 'zone in (a, b)', 'disk'),
    room: 0,
    obstacles: [
      { kind: 'label', want: 'disk = ssd', have: 'disk = hdd' },
      { kind: 'label', want: '!gpu', have: 'gpu = a100' },
      { kind: 'label', want: 'zone in (a, b)', have: 'no label zone' },
    ],
  },

  { name: 'no maximum', constraint: belowMaxPerHost, ask: { have: new Map([[id('h'), 50]]) }, room: most },
  { name: 'maximum', constraint: belowMaxPerHost, ask: { maxPerHost: 3 }, room: 3 },
  {
    name: 'some of the maximum there',
    constraint: belowMaxPerHost,
    ask: { maxPerHost: 3, have: new Map([[id('h'), 1]]) },
    room: 2,
  },
  {
    name: 'maximum reached',
    constraint: belowMaxPerHost,
    ask: { maxPerHost: 3, have: new Map([[id('h'), 3]]) },
    room: 0,
    obstacles: [{ kind: 'max-per-host', max: 3, have: 3 }],
  },
  {
    name: 'maximum lowered below what is there',
    constraint: belowMaxPerHost,
    ask: { maxPerHost: 1, have: new Map([[id('h'), 3]]) },
    room: 0,
    obstacles: [{ kind: 'max-per-host', max: 1, have: 3 }],
  },

  { name: 'cpus for some', constraint: hasCpus, loads: [load('a')], ask: { cpuMilli: 1400 }, room: 2 },
  { name: 'cpus to the last', constraint: hasCpus, loads: [load('a')], ask: { cpuMilli: 3000 }, room: 1 },
  {
    name: 'a thousandth too few cpus',
    constraint: hasCpus,
    loads: [load('a')],
    ask: { cpuMilli: 3001 },
    room: 0,
    obstacles: [{ kind: 'cpus', needMilli: 3001, freeMilli: 3000, totalMilli: 4000 }],
  },
  {
    name: 'cpus of a host that shrank',
    constraint: hasCpus,
    host: { cpuMilli: 500 },
    loads: [load('a')],
    ask: { cpuMilli: 100 },
    room: 0,
    obstacles: [{ kind: 'cpus', needMilli: 100, freeMilli: -500, totalMilli: 500 }],
  },
  { name: 'no cpus needed', constraint: hasCpus, host: { cpuMilli: 0 }, ask: { cpuMilli: 0 }, room: most },
  {
    name: 'no cpus needed of an overfull host',
    constraint: hasCpus,
    host: { cpuMilli: 0 },
    loads: [load('a')],
    ask: { cpuMilli: 0 },
    room: 0,
    obstacles: [{ kind: 'cpus', needMilli: 0, freeMilli: -1000, totalMilli: 0 }],
  },

  { name: 'memory for some', constraint: hasMemory, loads: [load('a')], ask: { memoryMiB: 1000 }, room: 3 },
  {
    name: 'a MiB too little memory',
    constraint: hasMemory,
    loads: [load('a')],
    ask: { memoryMiB: 3073 },
    room: 0,
    obstacles: [{ kind: 'memory', needMiB: 3073, freeMiB: 3072, totalMiB: 4096 }],
  },

  { name: 'no ports', constraint: hasPorts, host: { ports: { from: 1, to: 0 } }, room: most },
  {
    name: 'ports for some',
    constraint: hasPorts,
    host: { ports: { from: 100, to: 105 } },
    loads: [load('a', { ports: { http: 103 } })],
    ask: { dynamicPorts: ['http', 'admin'] },
    room: 2,
  },
  {
    name: 'too few ports',
    constraint: hasPorts,
    host: { ports: { from: 100, to: 101 } },
    loads: [load('a', { ports: { http: 100 } })],
    ask: { dynamicPorts: ['http', 'admin'] },
    room: 0,
    obstacles: [{ kind: 'no-free-port', from: 100, to: 101 }],
  },
  { name: 'fixed port', constraint: hasPorts, ask: { fixedPorts: [{ name: 'dns', port: 53 }] }, room: 1 },
  {
    name: 'fixed ports held, and no others',
    constraint: hasPorts,
    host: { ports: { from: 100, to: 100 } },
    loads: [load('p/a/1/0', { ports: { dns: 53, ntp: 123, http: 100 } })],
    ask: {
      dynamicPorts: ['http'],
      fixedPorts: [
        { name: 'dns', port: 53 },
        { name: 'tls', port: 443 },
        { name: 'ntp', port: 123 },
      ],
    },
    room: 0,
    obstacles: [
      { kind: 'port', port: 53, heldBy: 'p/a/1/0' },
      { kind: 'port', port: 123, heldBy: 'p/a/1/0' },
      { kind: 'no-free-port', from: 100, to: 100 },
    ],
  },
]

describe.each(cases)('$name', each => {
  const columns = columnsOf(host('h', each.host))
  for (const one of each.loads ?? []) columns.take(id('h'), one)
  const slot = columns.slotOf(id('h')) ?? -1

  test(`leaves room for ${each.room}`, () => {
    const room = new Int32Array(columns.slots).fill(most)
    each.constraint.limit(room, columns, ask(each.ask))
    expect(Math.max(0, room[slot] ?? 0)).toBe(each.room)
  })

  test('says what stands in the way', () => {
    expect(each.constraint.obstacles(columns, slot, ask(each.ask))).toEqual(each.obstacles ?? [])
  })
})

test('the list has every constraint of this file', () => {
  const { constraints, ...all } = constraint
  expect(new Set(constraints)).toEqual(new Set(Object.values(all)))
})
