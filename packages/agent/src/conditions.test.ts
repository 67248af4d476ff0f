import { VirtualClock } from '@boxcar/store/memory/virtual-clock'
import { expect, test } from 'vitest'
import { Conditions, firstFew } from './conditions.ts'

function begin() {
  const clock = new VirtualClock()
  let changes = 0
  const conditions = new Conditions(clock, () => {
    changes += 1
  })
  return { clock, conditions, changes: () => changes }
}

test('one of each kind, in the order of their names, since it began', async () => {
  const { clock, conditions } = begin()
  const began = clock.wall()
  conditions.set('state-not-saved', 'the disk is full')
  await clock.advance(1000)
  conditions.set('orders-refused', 'the store is behind')
  conditions.set('state-not-saved', 'the disk is gone')
  expect(conditions.list()).toEqual([
    { kind: 'orders-refused', reason: 'the store is behind', since: began + 1000 },
    { kind: 'state-not-saved', reason: 'the disk is gone', since: began },
  ])
  conditions.set('state-not-saved', undefined)
  await clock.advance(1000)
  conditions.set('state-not-saved', 'the disk is full')
  expect(conditions.list()[1]?.since).toBe(began + 2000)
})

test('nothing is heard of what is said again', () => {
  const { conditions, changes } = begin()
  conditions.set('task-failing', undefined)
  expect(changes()).toBe(0)
  for (let i = 0; i < 3; i += 1) conditions.set('task-failing', 'x'.repeat(5000))
  expect(changes()).toBe(1)
  conditions.set('task-failing', undefined)
  conditions.set('task-failing', undefined)
  expect(changes()).toBe(2)
})

test('a reason of any length is cut', () => {
  const { conditions } = begin()
  conditions.set('task-failing', 'x'.repeat(1_000_000))
  expect(JSON.stringify(conditions.list()).length).toBeLessThan(1200)
})

test('of many the first few are named, and the rest is counted', () => {
  expect(firstFew(['a', 'b', 'c'])).toBe('a, b, c')
  expect(firstFew(['a', 'b', 'c', 'd', 'e'])).toBe('a, b, c and 2 more')
})
