import { expect, test } from 'vitest'
import { orAborted, SharedLook } from './shared-look.ts'

test('whoever asks while a look is under way shares the next one', async () => {
  const looks: PromiseWithResolvers<number>[] = []
  const shared = new SharedLook(() => {
    const look = Promise.withResolvers<number>()
    looks.push(look)
    return look.promise
  })
  const first = shared.take()
  const second = shared.take()
  const third = shared.take()
  expect(looks).toHaveLength(1)
  looks[0]?.resolve(1)
  expect(await first).toBe(1)
  await Promise.resolve()
  expect(looks).toHaveLength(2)
  looks[1]?.resolve(2)
  expect(await Promise.all([second, third])).toEqual([2, 2])
  const fourth = shared.take()
  expect(looks).toHaveLength(3)
  looks[2]?.reject(new Error('away'))
  await expect(fourth).rejects.toThrow('away')
})

test('a failed look fails only those who shared it', async () => {
  let looks = 0
  const shared = new SharedLook(async () => {
    if (++looks === 1) throw new Error('away')
    return looks
  })
  const first = shared.take()
  const second = shared.take()
  await expect(first).rejects.toThrow('away')
  expect(await second).toBe(2)
})

test('an aborted signal ends the wait', async () => {
  const controller = new AbortController()
  const waiting = orAborted(new Promise<never>(() => undefined), controller.signal)
  controller.abort(new Error('enough'))
  await expect(waiting).rejects.toThrow('enough')
  await expect(orAborted(Promise.resolve(1), controller.signal)).rejects.toThrow('enough')
  expect(await orAborted(Promise.resolve(1), undefined)).toBe(1)
})
