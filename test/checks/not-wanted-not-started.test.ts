import { expect, test } from 'vitest'
import { checkNotWantedNotStarted, type Happening } from './not-wanted-not-started.ts'

const place = { host: 'h1', instance: 'shop/web/1/0' }
const wants = (at: number, what: 'run' | 'stop' | 'gone'): Happening => ({
  kind: 'placement',
  at,
  ...place,
  wants: what,
})
const does = (at: number, action: 'create' | 'start' | 'destroy', container = 'c1'): Happening => ({
  kind: 'container',
  at,
  ...place,
  container,
  action,
})

test.each<[string, readonly Happening[]]>([
  ['a start of what is wanted', [wants(0, 'run'), does(10, 'create'), does(20, 'start')]],
  ['a start that the engine had begun', [wants(0, 'run'), wants(100, 'stop'), does(590, 'start')]],
  [
    'what is removed without a start',
    [wants(0, 'run'), does(10, 'create'), wants(20, 'stop'), does(30, 'destroy')],
  ],
  [
    'a start after a new placement',
    [wants(0, 'stop'), wants(900, 'gone'), wants(5000, 'run'), does(6000, 'start')],
  ],
  ['one of which no placement was seen', [does(10, 'create'), does(20, 'start')]],
])('%s is fine', (_, history) => {
  expect(checkNotWantedNotStarted(history, 60_000).violations).toEqual([])
})

test.each<[string, readonly Happening[], RegExp]>([
  [
    'a start after a stop was seen',
    [wants(0, 'run'), wants(100, 'stop'), does(601, 'start')],
    /501 ms after/,
  ],
  [
    'a start after the placement was gone, counted from the stop before it',
    [wants(0, 'run'), wants(100, 'stop'), wants(400, 'gone'), does(700, 'start')],
    /600 ms after/,
  ],
  [
    'a container that is created for nobody and stays',
    [wants(0, 'run'), wants(100, 'stop'), does(200, 'create')],
    /never started, still stands/,
  ],
  [
    'a start that is found although the history is not in order',
    [does(5000, 'start'), wants(100, 'gone'), wants(0, 'run')],
    /4900 ms after/,
  ],
])('%s is found', (_, history, violation) => {
  const { violations } = checkNotWantedNotStarted(history, 60_000)
  expect(violations).toHaveLength(1)
  expect(violations[0]).toMatch(violation)
})

test('counts what was started and what never was', () => {
  const history = [
    wants(0, 'run'),
    does(1, 'create'),
    does(2, 'start'),
    does(3, 'create', 'c2'),
    wants(4, 'stop'),
  ]
  const ends = [does(5, 'start', 'c3'), does(6, 'destroy', 'c2'), does(7, 'destroy')]
  expect(checkNotWantedNotStarted([...history, ...ends], 10)).toMatchObject({
    starts: { wanted: 1, unwanted: 1 },
    neverStarted: 1,
    left: 0,
  })
})

test('counts what is left of the unwanted, however short a time ago it was created', () => {
  const history = [wants(0, 'run'), does(1, 'create'), wants(4, 'stop'), does(5, 'create', 'c2')]
  expect(checkNotWantedNotStarted(history, 6)).toMatchObject({ violations: [], left: 2 })
  expect(checkNotWantedNotStarted(history.slice(0, 2), 6).left).toBe(0)
})
