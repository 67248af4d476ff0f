/** The watchman beside a real world under a virtual clock, look by look. */
import { cutOffMs } from '@boxcar/core/health/verdict'
import type { HostId, InstanceId } from '@boxcar/core/model/ids'
import type { Revision } from '@boxcar/core/model/revision'
import { type HostHealth, World } from '@boxcar/core/model/world'
import { silent as noLog } from '@boxcar/store/log'
import { VirtualClock } from '@boxcar/store/memory/virtual-clock'
import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import { InternalErrors } from './internal-errors.ts'
import { type Watching, Watchman } from './watchman.ts'

let clock: VirtualClock
let world: World
let watchman: Watchman
let silent: Set<string>
let asked: number
let watching: Watching

const host = (n: number): HostId => `h${String(n).padStart(2, '0')}` as HostId
const seen = <Value>(value: Value) => ({ value, modified: '1' as Revision })

function hosts(count: number, { withWork = true } = {}): void {
  for (let n = 1; n <= count; n++) {
    const id = host(n)
    const record = {
      id,
      address: `10.0.0.${n}`,
      agentPort: 7071,
      capacity: { cpuMilli: 4000, memoryMiB: 4096 },
      labels: {},
      ports: { from: 20_000, to: 29_999 },
      engine: { version: '20.10', state: 'up' as const },
      proxy: { version: '2.6', state: 'up' as const },
      agentVersion: '1',
    }
    world.apply({ kind: 'host', host: id, seen: seen(record) }, clock.now())
    back(n)
    if (withWork) work(n)
  }
}

function work(n: number): void {
  const instance = `shop/web/1/${n}` as InstanceId
  const placement = { host: host(n), instance, desired: 'run', cpuMilli: 0, memoryMiB: 0, ports: {} }
  world.apply({ kind: 'placement', host: host(n), instance, seen: seen(placement as never) }, clock.now())
}

function gone(...numbers: readonly number[]): void {
  for (const n of numbers) world.apply({ kind: 'presence', host: host(n), seen: undefined }, clock.now())
}
function back(...numbers: readonly number[]): void {
  for (const n of numbers)
    world.apply({ kind: 'presence', host: host(n), seen: seen({ since: 0 }) }, clock.now())
}

/** Looks every 400 ms for so long, first at once. */
async function look(ms = 0): Promise<void> {
  for (let t = 0; ; t += 400) {
    watching = watchman.look(world)
    await clock.settle()
    if (t >= ms) return
    await clock.advance(400)
  }
}

const all = (health: HostHealth): string[] =>
  [...world.hosts.values()].filter(it => it.health === health).map(it => it.id)

/** How long until a host is called lost. */
async function lostAfterMs(n: number, mostMs = 60_000): Promise<number> {
  const from = clock.now()
  while (world.hosts.get(host(n))?.health !== 'lost') {
    if (clock.now() - from > mostMs) throw new Error(`${host(n)} is not called lost within ${mostMs} ms`)
    await look()
    await clock.advance(400)
  }
  return clock.now() - from - 400
}

const office = () =>
  new Watchman(
    clock,
    {
      async isAlive({ id }) {
        asked++
        return !silent.has(id)
      },
      resolve: () => Promise.reject(new Error('nobody resolves here')),
    },
    new InternalErrors(clock, noLog, (id, failure) => world.setFailure(id, failure)),
  )

beforeEach(() => {
  clock = new VirtualClock()
  world = new World()
  silent = new Set()
  asked = 0
  watchman = office()
})

test('gone and silent for the grace: lost', async () => {
  hosts(10)
  silent.add('h01')
  gone(1)
  expect(await lostAfterMs(1)).toBe(2000)
})

test('a leader that was busy and asked nobody calls nobody lost', async () => {
  hosts(10)
  gone(1)
  await look(4000)
  expect(asked).toBeGreaterThan(9)
  await clock.advance(30_000)
  await look()
  expect(all('suspect')).toEqual(['h01'])
  silent.add('h01') // and when it dies, its time begins with the first question that it leaves unanswered
  await clock.advance(400)
  expect(await lostAfterMs(1)).toBe(2000)
})

test('a key that went and came between two looks starts the absence afresh', async () => {
  hosts(10)
  silent.add('h01')
  gone(1)
  await look(1600)
  back(1)
  gone(1)
  await look(400)
  expect(all('suspect')).toEqual(['h01'])
})

describe('the brake', () => {
  test('many vanish together: held, then paced', async () => {
    hosts(10)
    for (const n of [1, 2, 3, 4]) silent.add(host(n))
    gone(1, 2, 3, 4)
    await look(14_800)
    expect(all('lost')).toEqual([])
    expect(watching.held).toMatchObject({ because: 'many-vanished' })
    await look(400)
    expect(all('lost')).toEqual(['h01', 'h02'])
    await look(30_400)
    expect(all('lost')).toEqual(['h01', 'h02', 'h03', 'h04'])
  })

  test('hosts that died long ago hold up nobody under a new leader', async () => {
    hosts(4, { withWork: false })
    for (const n of [2, 3, 4]) work(n)
    silent.add('h01').add('h02')
    gone(1) // dead for days
    watchman = office()
    await look(4000)
    gone(2)
    expect(await lostAfterMs(2)).toBe(2000)
    world = new World()
    watchman = office()
    hosts(4, { withWork: false })
    for (const n of [2, 3, 4]) work(n)
    gone(1, 2) // one more died together with the old leader
    expect(await lostAfterMs(2)).toBe(2000)
  })

  test('one host that flaps is one host', async () => {
    hosts(3)
    silent.add('h01')
    gone(1)
    await look(800)
    back(1)
    await look(1200)
    gone(1)
    expect(await lostAfterMs(1)).toBe(2000)
  })

  test('evictions one by one do not use up the pace of a brake', async () => {
    hosts(10)
    for (const n of [1, 2, 3, 4, 5, 6]) silent.add(host(n))
    for (const n of [1, 2]) {
      gone(n)
      await look(11_000)
    }
    expect(all('lost')).toEqual(['h01', 'h02'])
    gone(3, 4, 5)
    await look(15_200)
    expect(all('lost')).toEqual(['h01', 'h02', 'h03', 'h04'])
  })

  test('a suspect that answers does not keep it pulled: the next time it holds again', async () => {
    hosts(10)
    silent.add('h02').add('h03')
    gone(1, 2, 3)
    await look(60_000)
    expect(all('lost')).toEqual(['h02', 'h03'])
    back(2, 3)
    await look(60_000)
    for (const n of [5, 6, 7, 8]) silent.add(host(n))
    gone(5, 6, 7, 8)
    await look(14_800)
    expect(all('lost')).toEqual([])
    await look(400)
    expect(all('lost')).toEqual(['h05', 'h06'])
  })
})

describe('a host that answers and does not reach the store', () => {
  test('is cut off after its time, and no longer when it is back', async () => {
    hosts(3)
    gone(3)
    await look(cutOffMs - 400)
    expect(all('cut-off')).toEqual([])
    await look(400)
    expect(all('cut-off')).toEqual(['h03'])
    expect(watching.cutOff).toEqual(['h03'])
    back(3)
    await look()
    expect(all('alive')).toEqual(['h01', 'h02', 'h03'])
    expect(watching.cutOff).toEqual([])
  })

  test('is lost when it falls silent at last', async () => {
    hosts(3)
    gone(3)
    await look(cutOffMs)
    silent.add('h03')
    await clock.advance(400)
    expect(await lostAfterMs(3)).toBe(2000)
  })

  test('where no host reaches it, none is', async () => {
    hosts(3)
    gone(1, 2, 3)
    await look(2 * cutOffMs)
    expect(all('suspect')).toEqual(['h01', 'h02', 'h03'])
  })
})

test('a host whose agent answers is never called lost, however busy the leader and whatever the others do; a silent one is, in the end', async () => {
  const deed = fc.record({
    does: fc.constantFrom('gone', 'back', 'silent', 'busy', 'store-away'),
    host: fc.integer({ min: 1, max: 5 }),
    ms: fc.constantFrom(0, 100, 400, 2100, 16_000),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(deed, { maxLength: 40 }), async deeds => {
      clock = new VirtualClock()
      world = new World()
      watchman = office()
      silent = new Set()
      hosts(6)
      const absent = new Set<string>()
      for (const { does, host: n, ms } of deeds) {
        if (does === 'gone') absent.add(host(n)) && gone(n)
        else if (does === 'back') {
          back(n)
          absent.delete(host(n))
          silent.delete(host(n))
        } else if (does === 'silent' && n > 2)
          silent.add(host(n)) // 1 and 2 always answer
        else if (does === 'store-away') watchman.storeWasAway()
        await clock.advance(ms)
        await look()
        for (const id of all('lost')) expect([...silent]).toContain(id)
        expect(all('alive')).toEqual([...world.hosts.keys()].filter(id => !absent.has(id)))
      }
      await look(120_000)
      expect(all('lost').sort()).toEqual([...absent].filter(id => silent.has(id)).sort())
    }),
    { numRuns: 30 },
  )
})
