import { expect, test } from 'vitest'
import { VirtualClock } from './virtual-clock.ts'

test('sleepers wake in order, and what they set off is done before the next one', async () => {
  const clock = new VirtualClock()
  const trace: string[] = []
  const sleeper = async (name: string, ...naps: readonly number[]): Promise<void> => {
    for (const nap of naps) {
      await clock.sleep(nap)
      trace.push(`${name}@${clock.now()}`)
    }
  }
  void sleeper('a', 30, 5, 100)
  void sleeper('b', 10, 10, 10)
  void sleeper('c', 30)
  await clock.advance(50)
  expect(trace).toEqual(['b@10', 'b@20', 'a@30', 'c@30', 'b@30', 'a@35'])
  expect(clock.now()).toBe(50)
  await clock.advance(1000)
  expect(trace.at(-1)).toBe('a@135')
})

test('an aborted sleep ends at once', async () => {
  const clock = new VirtualClock()
  const stop = new AbortController()
  let woken = false
  void clock.sleep(1000, stop.signal).then(() => {
    woken = true
  })
  stop.abort()
  await clock.settle()
  expect(woken).toBe(true)
  expect(clock.now()).toBe(0)
})

test('the wall clock can jump, the monotonic one does not', async () => {
  const clock = new VirtualClock()
  const before = clock.wall()
  clock.jumpWall(-3_600_000)
  expect(clock.wall()).toBe(before - 3_600_000)
  expect(clock.now()).toBe(0)
})

test('days pass quickly', async () => {
  const clock = new VirtualClock()
  let beats = 0
  const stop = new AbortController()
  void (async () => {
    while (!stop.signal.aborted) {
      await clock.sleep(1000, stop.signal)
      beats += 1
    }
  })()
  await clock.advance(24 * 60 * 60 * 1000)
  stop.abort()
  expect(beats).toBe(86_400)
})
