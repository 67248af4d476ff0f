import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Instant } from '../model/clock.ts'
import type { HostId } from '../model/ids.ts'
import { type BrakeSeen, brake, pulls } from './brake.ts'
import { type Absence, beginAbsence, cutOffMs, heard, isAnswering, isCutOff, verdict } from './verdict.ts'

const at = (ms: number) => ms as Instant
const h = (id: string) => id as HostId
const gone = beginAbsence(h('h1'), at(1000))
/** Questions as they ended: when each was sent, and whether it was answered. */
const questions = (...ended: readonly (readonly [sentAt: number, answered: boolean])[]): Absence =>
  ended.reduce((absence, [sentAt, answered]) => heard(absence, at(sentAt), answered), gone)

describe('the verdict on a host', () => {
  test.each([
    ['a host with its key is alive', undefined, 9000, 'alive'],
    ['a missing key is a question first', gone, 1000, 'suspect'],
    ['nobody was asked, however long', gone, 999_000, 'suspect'],
    ['asked once', questions([1000, false]), 9000, 'suspect'],
    ['within the grace', questions([1000, false], [1400, false]), 2999, 'suspect'],
    ['silent for the grace', questions([1000, false], [1400, false]), 3000, 'lost'],
    ['first asked late', questions([5000, false], [5400, false]), 6999, 'suspect'],
    ['its agent answered every question, the last one long ago', questions([1000, true]), 99_000, 'suspect'],
    [
      'it answered and fell silent: counted from the first question that it left unanswered',
      questions([1000, false], [1400, true], [4000, false], [4400, false]),
      5999,
      'suspect',
    ],
    [
      'and after the grace',
      questions([1000, false], [1400, true], [4000, false], [4400, false]),
      6000,
      'lost',
    ],
    [
      'an early question that ends late tells nothing new',
      questions([1400, true], [1000, false], [1200, false]),
      9000,
      'suspect',
    ],
    [
      'nor does a late answer to an early one excuse the silence after it',
      questions([1400, false], [1800, false], [1000, true]),
      3400,
      'lost',
    ],
    [
      'a question from before the key went does not count',
      questions([600, false], [900, false], [1000, false]),
      9000,
      'suspect',
    ],
  ] as const)('%s', (_, seen, now, expected) => {
    expect(verdict(seen, at(now))).toBe(expected)
  })

  test('a host that answers all that it is asked is never lost; one that answers nothing is, after the grace', () => {
    const moments = fc.array(fc.integer({ min: 1000, max: 20_000 }), { minLength: 2, maxLength: 30 })
    fc.assert(
      fc.property(moments, fc.integer({ min: 0, max: 99_000 }), (sent, laterMs) => {
        const now = at(Math.max(...sent) + laterMs)
        const answering = questions(...sent.map(moment => [moment, true] as const))
        expect(verdict(answering, now)).toBe('suspect')
        expect(isAnswering(answering)).toBe(true)
        const silent = questions(...sent.map(moment => [moment, false] as const))
        expect(verdict(silent, now)).toBe(now - Math.min(...sent) >= 2000 ? 'lost' : 'suspect')
      }),
    )
  })

  test('it is cut off when its key is missing for long', () => {
    expect(isCutOff(gone, at(1000 + cutOffMs - 1))).toBe(false)
    expect(isCutOff(gone, at(1000 + cutOffMs))).toBe(true)
  })
})

const seen = (changes: Partial<BrakeSeen> = {}): BrakeSeen => ({
  hosts: 10,
  candidates: [{ host: h('h1'), goneSince: at(0), idle: false }],
  absent: 1,
  storeBack: undefined,
  pulledAt: undefined,
  evictedInPace: 0,
  ...changes,
})
const three = ['h1', 'h2', 'h3'].map(id => ({ host: h(id), goneSince: at(0), idle: false }))
const idle = { host: h('h0'), goneSince: at(0), idle: true }

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
    [
      'one on which nothing runs is not held with the others',
      seen({ candidates: [idle, ...three], absent: 4, pulledAt: at(0) }),
      5000,
      { kind: 'held', because: 'many-vanished', evict: ['h0'] },
    ],
    [
      'nor does it use the pace',
      seen({ candidates: [idle, ...three], absent: 4, pulledAt: at(0) }),
      15_000,
      { kind: 'held', because: 'many-vanished', evict: ['h0', 'h1', 'h2'] },
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
