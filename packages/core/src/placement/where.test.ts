import { expect, test } from 'vitest'
import { meets, parseWhere, whereText } from './where.ts'

test.each([
  ['gpu', { kind: 'has', key: 'gpu' }],
  ['  gpu  ', { kind: 'has', key: 'gpu' }],
  ['!gpu', { kind: 'lacks', key: 'gpu' }],
  ['! gpu', { kind: 'lacks', key: 'gpu' }],
  ['disk=ssd', { kind: 'in', key: 'disk', values: ['ssd'] }],
  ['disk = ssd', { kind: 'in', key: 'disk', values: ['ssd'] }],
  ['disk!=hdd', { kind: 'not-in', key: 'disk', values: ['hdd'] }],
  ['zone in (a, b)', { kind: 'in', key: 'zone', values: ['a', 'b'] }],
  ['zone in(a)', { kind: 'in', key: 'zone', values: ['a'] }],
  ['zone  not  in ( a ,b )', { kind: 'not-in', key: 'zone', values: ['a', 'b'] }],
  ['not in (a)', { kind: 'in', key: 'not', values: ['a'] }],
  ['topology.example/zone = eu-1.a', { kind: 'in', key: 'topology.example/zone', values: ['eu-1.a'] }],
])('reads %s', (text, rule) => {
  expect(parseWhere(text)).toEqual(rule)
})

test.each(['', 'a b', 'a = ', '= b', 'a in ()', 'a in (b', '!a = b', 'a not in b', 'a = b, c', 'a\0'])(
  'refuses %j',
  text => {
    expect(() => parseWhere(text)).toThrow('not a label expression')
  },
)

test.each(['gpu', '!gpu', 'disk = ssd', 'disk != hdd', 'zone in (a, b)', 'zone not in (a, b)'])(
  'spells %s as it was read',
  text => {
    expect(whereText(parseWhere(text))).toBe(text)
  },
)

test.each([
  ['gpu', { gpu: '' }, true],
  ['gpu', {}, false],
  ['!gpu', {}, true],
  ['!gpu', { gpu: 'a100' }, false],
  ['disk = ssd', { disk: 'ssd' }, true],
  ['disk = ssd', { disk: 'SSD' }, false],
  ['disk = ssd', {}, false],
  ['disk != hdd', { disk: 'ssd' }, true],
  ['disk != hdd', { disk: 'hdd' }, false],
  ['disk != hdd', {}, true],
  ['zone in (a, b)', { zone: 'b' }, true],
  ['zone in (a, b)', { zone: 'c' }, false],
  ['zone in (a, b)', {}, false],
  ['zone not in (a, b)', { zone: 'c' }, true],
  ['zone not in (a, b)', { zone: 'a' }, false],
  ['zone not in (a, b)', {}, true],
  ['constructor', {}, false],
  ['!toString', {}, true],
])('%s against %j: %s', (text, labels, expected) => {
  expect(meets(labels, parseWhere(text))).toBe(expected)
})
