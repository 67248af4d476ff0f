import { describe, expect, test } from 'vitest'
import type { Instant } from '../model/clock.ts'
import { choose } from './choose.ts'
import { HostColumns } from './columns.ts'
import { ask, columnsOf, host, id, instance, load } from './fixture.ts'
import { portRestMs } from './ports.ts'
import { parseWhere } from './where.ts'

const at = (ms: number) => ms as Instant

test('counts what is taken and given back', () => {
  const columns = columnsOf(host('h1'))
  columns.take(id('h1'), load('a'))
  columns.take(id('h1'), load('b', { cpuMilli: 500, memoryMiB: 6 }))
  expect(columns.used(id('h1'))).toEqual({ cpuMilli: 1500, memoryMiB: 1030 })
  expect(columns.free(id('h1'))).toEqual({ cpuMilli: 2500, memoryMiB: 3066 })
  expect(columns.instances(id('h1'))).toBe(2)
  columns.give(id('h1'), instance('a'), at(0))
  columns.give(id('h1'), instance('a'), at(0))
  columns.give(id('h1'), instance('stranger'), at(0))
  columns.give(id('h9'), instance('a'), at(0))
  expect(columns.used(id('h1'))).toEqual({ cpuMilli: 500, memoryMiB: 6 })
  expect(columns.instances(id('h1'))).toBe(1)
})

test('taking an instance again replaces it, and its former ports rest', () => {
  const columns = columnsOf(host('h1', { ports: { from: 100, to: 101 } }))
  columns.advance(at(7))
  columns.take(id('h1'), load('a', { ports: { http: 100 } }))
  columns.take(id('h1'), load('a', { ports: { http: 100 } }))
  const held = { dynamicPorts: [], fixedPorts: [{ name: 'x', port: 100 }] }
  expect(columns.pickPorts(id('h1'), held, at(7))).toEqual({
    obstacle: { kind: 'port', port: 100, heldBy: 'a' },
  })
  columns.take(id('h1'), load('a', { cpuMilli: 100, memoryMiB: 10, ports: { http: 101 } }))
  expect(columns.used(id('h1'))).toEqual({ cpuMilli: 100, memoryMiB: 10 })
  expect(columns.instances(id('h1'))).toBe(1)
  const one = { dynamicPorts: ['http'], fixedPorts: [] }
  expect(columns.pickPorts(id('h1'), one, at(7))).toEqual({
    obstacle: { kind: 'no-free-port', from: 100, to: 101 },
  })
  expect(columns.pickPorts(id('h1'), one, at(7 + portRestMs))).toEqual({ ports: { http: 100 } })
})

test('an unknown host has nothing and is never chosen', () => {
  const columns = new HostColumns()
  expect(columns.view(id('h1'))).toBeUndefined()
  expect(columns.free(id('h1'))).toEqual({ cpuMilli: 0, memoryMiB: 0 })
  expect(columns.used(id('h1'))).toEqual({ cpuMilli: 0, memoryMiB: 0 })
  expect(columns.instances(id('h1'))).toBe(0)
  expect(choose(columns, ask({ cpuMilli: 0, memoryMiB: 0 }), 1)).toEqual([])
  expect(() => columns.pickPorts(id('h1'), ask(), at(0))).toThrow('no host h1')
})

describe('a host that comes late, goes, and comes back', () => {
  test('a load read before its host counts once the host is there', () => {
    const columns = new HostColumns()
    columns.take(id('h1'), load('a', { cpuMilli: 3500 }))
    expect(choose(columns, ask({ cpuMilli: 100 }), 1)).toEqual([])
    expect(columns.size).toBe(0)
    columns.upsert(host('h1'))
    expect(columns.size).toBe(1)
    expect(columns.free(id('h1')).cpuMilli).toBe(500)
    expect(choose(columns, ask({ cpuMilli: 501 }), 1)).toEqual([])
  })

  test('a deleted host is not chosen; what it holds counts when it returns', () => {
    const columns = columnsOf(host('h1'), host('h2'))
    columns.take(id('h1'), load('a', { cpuMilli: 4000 }))
    columns.delete(id('h1'))
    columns.delete(id('h1'))
    expect(columns.view(id('h1'))).toBeUndefined()
    expect(choose(columns, ask({ cpuMilli: 1 }), 2)).toEqual(['h2', 'h2'])
    columns.upsert(host('h1'))
    expect(columns.free(id('h1')).cpuMilli).toBe(0)
  })

  test('its released ports rest while it is away', () => {
    const columns = columnsOf(host('h1', { ports: { from: 100, to: 100 } }))
    columns.take(id('h1'), load('a', { ports: { http: 100 } }))
    columns.delete(id('h1'))
    columns.give(id('h1'), instance('a'), at(1))
    columns.upsert(host('h1', { ports: { from: 100, to: 100 } }))
    const one = ask({ dynamicPorts: ['http'] })
    expect(choose(columns, one, 1)).toEqual([])
    columns.advance(at(portRestMs))
    expect(choose(columns, one, 1)).toEqual([])
    columns.advance(at(1 + portRestMs))
    expect(choose(columns, one, 1)).toEqual(['h1'])
  })

  test('a slot is used again when nothing is left of its host', () => {
    const columns = columnsOf(host('h1'))
    for (let i = 2; i < 2000; i++) {
      columns.take(id(`h${i - 1}`), load('a', { ports: { http: 20_000 } }))
      columns.delete(id(`h${i - 1}`))
      columns.give(id(`h${i - 1}`), instance('a'), at(i * portRestMs))
      columns.upsert(host(`h${i}`))
    }
    expect(columns.size).toBe(1)
    expect(columns.slots).toBeLessThan(5)
    expect(columns.used(id('h1999'))).toEqual({ cpuMilli: 0, memoryMiB: 0 })
    expect(choose(columns, ask(), 9)).toHaveLength(4)
  })
})

test('what a host says of itself may change', () => {
  const columns = columnsOf(host('h1', { labels: { disk: 'hdd' } }), host('h2', { labels: { disk: 'hdd' } }))
  const ssd = ask({ where: [parseWhere('disk = ssd')] })
  expect(choose(columns, ssd, 1)).toEqual([])
  columns.upsert(host('h2', { labels: { disk: 'ssd' } }))
  expect(choose(columns, ssd, 1)).toEqual(['h2'])
  columns.upsert(host('h2', { labels: { disk: 'ssd' }, accepts: { kind: 'draining' } }))
  expect(choose(columns, ssd, 1)).toEqual([])
  columns.upsert(host('h2', { labels: { disk: 'ssd' }, cpuMilli: 999 }))
  expect(choose(columns, ssd, 1)).toEqual([])
  columns.upsert(host('h2', { labels: { disk: 'ssd' } }))
  columns.upsert(host('h1', { labels: { zone: 'a', disk: 'ssd' } }))
  columns.upsert(host('h3', { labels: { disk: 'ssd', zone: 'a' } }))
  expect(choose(columns, ssd, 3)).toEqual(['h1', 'h2', 'h3'])
})

test('grows beyond its first columns', () => {
  const names = Array.from({ length: 300 }, (_, i) => `h${String(i).padStart(3, '0')}`)
  const columns = columnsOf(...names.map(name => host(name)))
  for (const name of names) columns.take(id(name), load('a'))
  expect(columns.used(id('h299'))).toEqual({ cpuMilli: 1000, memoryMiB: 1024 })
  expect(choose(columns, ask(), 300)).toEqual(names)
})
