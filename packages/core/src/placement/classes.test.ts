import { expect, test } from 'vitest'
import { LabelClasses } from './classes.ts'
import { columnsOf, host } from './fixture.ts'
import { parseWhere } from './where.ts'

const ssd = [parseWhere('disk = ssd')]

test('labels in another order are the same class', () => {
  const classes = new LabelClasses()
  const one = classes.join({ disk: 'ssd', zone: 'a' })
  expect(classes.join({ zone: 'a', disk: 'ssd' })).toBe(one)
  expect(classes.join({ zone: 'b', disk: 'ssd' })).not.toBe(one)
})

test('a class without hosts is forgotten and its number used again', () => {
  const classes = new LabelClasses()
  const fast = classes.join({ disk: 'ssd' })
  classes.join({ disk: 'ssd' })
  expect(classes.meeting(ssd)[fast]).toBe(1)
  classes.leave(fast)
  expect(classes.meeting(ssd)[fast]).toBe(1)
  classes.leave(fast)
  const slow = classes.join({ disk: 'hdd' })
  expect(slow).toBe(fast)
  expect(classes.meeting(ssd)[slow]).toBe(0)
  const fastAgain = classes.join({ disk: 'ssd' })
  expect(fastAgain).not.toBe(slow)
  expect(classes.meeting(ssd)[fastAgain]).toBe(1)
})

test('hosts whose labels change, or that go, leave no classes behind', () => {
  const columns = columnsOf(host('h1'), host('h2'))
  for (let i = 0; i < 50; i++) {
    columns.upsert(host('h1', { labels: { build: String(i) } }))
    columns.upsert(host('h3', { labels: { run: String(i) } }))
    columns.delete(host('h3').id)
  }
  expect(columns.classes.meeting([]).length).toBeLessThanOrEqual(4)
})
