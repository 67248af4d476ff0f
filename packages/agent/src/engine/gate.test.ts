import { expect, test } from 'vitest'
import { Gate } from './gate.ts'

test('lets so many through at once, and the others in the order in which they came', async () => {
  const gate = new Gate(2)
  const doors = [0, 1, 2, 3].map(() => Promise.withResolvers<void>())
  const begun: number[] = []
  const passing = doors.map((door, i) =>
    gate.pass(async () => {
      begun.push(i)
      await door.promise
    }),
  )
  await Promise.resolve()
  expect(begun).toEqual([0, 1])
  doors[1]?.resolve()
  await passing[1]
  expect(begun).toEqual([0, 1, 2])
  for (const door of doors) door.resolve()
  await Promise.all(passing)
  expect(begun).toEqual([0, 1, 2, 3])
})

test('a failure gives its turn on, and whoever gives up leaves the line', async () => {
  const gate = new Gate(1)
  const door = Promise.withResolvers<void>()
  const failing = gate.pass(async () => {
    await door.promise
    throw new Error('broke')
  })
  const leaving = new AbortController()
  const left = gate.pass(async () => 'never', leaving.signal)
  const next = gate.pass(async () => 'next')
  leaving.abort(new Error('enough'))
  await expect(left).rejects.toThrow('enough')
  door.resolve()
  await expect(failing).rejects.toThrow('broke')
  expect(await next).toBe('next')
  await expect(gate.pass(async () => 'never', AbortSignal.abort(new Error('before')))).rejects.toThrow(
    'before',
  )
  expect(await gate.pass(async () => 'last')).toBe('last')
})
