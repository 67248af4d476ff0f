import { describe, expect, test } from 'vitest'
import type { Instant } from '../model/clock.ts'
import type { HostId } from '../model/ids.ts'
import { type BrakeSeen, brake, pulls } from './brake.ts'
import { type Absence, verdict } from './verdict.ts'

const at = (ms: number) => ms as Instant
const h = (id: string) => id as HostId
const absence = (changes: Partial<Absence> = {}): Absence => ({
  host: h('h1'),
  goneSince: at(1000),
  answered: undefined,
  ...changes,
})

describe('the verdict on a host', () => {
  test.each([
    ['a host with its key is alive', undefined, 9000, 'alive'],
    ['a missing key is a question first', absence(), 1000, 'suspect'],
    ['within the grace', absence(), 2999, 'suspect'],
    ['silent for the grace', absence(), 3000, 'lost'],
    ['its agent answered meanwhile', absence({ answered: at(2900) }), 4800, 'suspect'],
    ['its agent answered and fell silent', absence({ answered: at(2900) }), 4900, 'lost'],
  ] as const)('%s', (_, seen, now, expected) => {
    expect(verdict(seen, at(now))).toBe(expected)
  })
})

const seen = (changes: Partial<BrakeSeen> = {}): BrakeSeen => ({
  hosts: 10,
  candidates: [{ host: h('h1'), goneSince: at(0) }],
  absent: 1,
  storeBack: undefined,
  pulledAt: undefined,
  evictedInPace: 0,
  ...changes,
})
const three = ['h1', 'h2', 'h3'].map(id => ({ host: h(id), goneSince: at(0) }))

describe('the brake', () => {
  test.each([
    ['one of many goes', seen(), 10_000, { kind: 'free', evict: ['h1'] }],
    [
      'the last one standing is never evicted',
      seen({ hosts: 1 }),
      10_000,
      { kind: 'held', because: 'all-suspect', evict: [] },
    ],
    [
      'all suspect: none, ever',
      seen({ candidates: three, absent: 10 }),
      9_999_999,
      { kind: 'held', because: 'all-suspect', evict: [] },
    ],
    [
      'the store was away just now',
      seen({ storeBack: at(5000) }),
      10_999,
      { kind: 'held', because: 'store-was-away', evict: [] },
    ],
    ['the store was away long ago', seen({ storeBack: at(4000) }), 10_000, { kind: 'free', evict: ['h1'] }],
    [
      'many vanished: held',
      seen({ candidates: three, absent: 3, pulledAt: at(0) }),
      14_999,
      { kind: 'held', because: 'many-vanished', evict: [] },
    ],
    [
      'then a fifth of the hosts',
      seen({ candidates: three, absent: 3, pulledAt: at(0) }),
      15_000,
      { kind: 'held', because: 'many-vanished', evict: ['h1', 'h2'] },
    ],
    [
      'and no more until the pace allows',
      seen({ candidates: three, absent: 3, pulledAt: at(0), evictedInPace: 2 }),
      15_000,
      { kind: 'held', because: 'many-vanished', evict: [] },
    ],
  ] as const)('%s', (_, what, now, expected) => {
    expect(brake(what, at(now))).toEqual(expected)
  })

  test('is pulled by two hosts and 30 % within ten seconds', () => {
    expect(pulls([at(0)], 3, at(1000))).toBe(false)
    expect(pulls([at(0), at(500)], 3, at(1000))).toBe(true)
    expect(pulls([at(0), at(500)], 7, at(1000))).toBe(false)
    expect(pulls([at(0), at(500)], 3, at(10_400))).toBe(false)
  })
})
