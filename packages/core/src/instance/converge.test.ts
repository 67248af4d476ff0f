import { describe, expect, test } from 'vitest'
import type { Instant } from '../model/clock.ts'
import type { InstanceId } from '../model/ids.ts'
import {
  type Action,
  converge,
  countUnasked,
  type Look,
  type Memory,
  type Order,
  type SeenContainer,
} from './converge.ts'

const a = 'shop/web/1/0' as InstanceId
const now = 100_000 as Instant
const later = (now + 1) as Instant

const order = (more: Partial<Order> = {}): Order => ({
  instance: a,
  uid: 'u1',
  desired: 'run',
  placement: '10',
  print: 'http=20000 image',
  ...more,
})
const box = (id: string, more: Partial<SeenContainer> = {}): SeenContainer => ({
  id,
  state: 'running',
  instance: a,
  uid: 'u1',
  print: 'http=20000 image',
  attempt: 1,
  graceMs: 10_000,
  ...more,
})
const remembered = (more: Partial<Memory> = {}): Memory => ({
  doing: undefined,
  retryAt: undefined,
  hindered: undefined,
  notBefore: undefined,
  attempt: 1,
  watched: undefined,
  failedProbe: undefined,
  examined: undefined,
  stopped: undefined,
  ...more,
})
interface Scene {
  readonly order?: Order
  readonly boxes?: readonly SeenContainer[] | 'engine-away'
  readonly memory?: Memory
  readonly orders?: Look['ordersAre']
  readonly unaskedMs?: number
  readonly unreadable?: readonly InstanceId[]
  readonly skipped?: readonly InstanceId[]
}
function decide({
  order: told,
  boxes = [],
  memory,
  orders = 'fresh',
  unaskedMs,
  unreadable = [],
  skipped = [],
}: Scene) {
  const containers = boxes === 'engine-away' ? undefined : boxes
  const look: Look = {
    orders: new Map(told === undefined ? [] : [[told.instance, told]]),
    unreadable: new Set(unreadable),
    skipped: new Set(skipped),
    containers,
    memories: new Map(memory === undefined ? [] : [[a, memory]]),
    held: new Set(),
    ordersAre: orders,
    unaskedSince: new Map(
      unaskedMs === undefined ? [] : (containers ?? []).map(({ id }) => [id, (now - unaskedMs) as Instant]),
    ),
  }
  return converge(look, now)
}

describe('what a host does next', () => {
  const stopOrder = order({ desired: 'stop' })
  const dead = box('c1', { state: 'ended' })
  test.each<[string, Scene, readonly Action[]]>([
    ['nothing where nothing is', {}, []],
    ['starts what is ordered', { order: order() }, [{ kind: 'start', instance: a, attempt: 1 }]],
    [
      'starts with saved orders too',
      { order: order(), orders: 'saved' },
      [{ kind: 'start', instance: a, attempt: 1 }],
    ],
    ['does nothing while the engine is away', { order: order(), boxes: 'engine-away' }, []],
    [
      'adopts what runs',
      { order: order(), boxes: [box('c1')] },
      [{ kind: 'adopt', instance: a, container: 'c1' }],
    ],
    [
      'leaves alone what it watches',
      { order: order(), boxes: [box('c1')], memory: remembered({ watched: 'c1' }) },
      [],
    ],
    [
      'does one thing at a time',
      { order: order(), boxes: [box('c1')], memory: remembered({ doing: 'adopt' }) },
      [],
    ],
    [
      'ends what its probes gave up',
      { order: order(), boxes: [box('c1')], memory: remembered({ watched: 'c1', failedProbe: 'dead' }) },
      [{ kind: 'end', instance: a, container: 'c1', because: 'dead' }],
    ],
    [
      'looks into an end before it starts again',
      { order: order(), boxes: [dead], memory: remembered({ watched: 'c1' }) },
      [{ kind: 'examine', instance: a, container: 'c1' }],
    ],
    [
      'looks into an end that it did not see happen',
      { order: order(), boxes: [dead] },
      [{ kind: 'examine', instance: a, container: 'c1' }],
    ],
    [
      'looks into what was removed from outside',
      { order: order(), memory: remembered({ watched: 'c1' }) },
      [{ kind: 'examine', instance: a, container: 'c1' }],
    ],
    [
      'starts again once that is done',
      { order: order(), boxes: [dead], memory: remembered({ watched: 'c1', examined: 'c1' }) },
      [{ kind: 'start', instance: a, attempt: 2 }],
    ],
    [
      'waits for its back-off',
      {
        order: order(),
        boxes: [dead],
        memory: remembered({ examined: 'c1', notBefore: (now + 1) as Instant }),
      },
      [],
    ],
    [
      'takes up a start that was cut short',
      {
        order: order(),
        boxes: [box('c2', { state: 'created', attempt: 2 })],
        memory: remembered({ attempt: 2 }),
      },
      [{ kind: 'start', instance: a, attempt: 2 }],
    ],
    [
      'keeps one dead container beside the one that runs',
      {
        order: order(),
        boxes: [dead, box('c2', { state: 'ended', attempt: 2 }), box('c3', { attempt: 3 })],
        memory: remembered({ attempt: 3, watched: 'c3', examined: 'c2' }),
      },
      [{ kind: 'tidy', instance: a, containers: ['c1'] }],
    ],
    [
      'keeps the newest of two that run',
      { order: order(), boxes: [box('c2', { attempt: 2 }), box('c1')] },
      [{ kind: 'discard', instance: a, container: 'c1', because: 'surplus' }],
    ],
    [
      'ends the container of another service of the same name first',
      { order: order(), boxes: [box('c1', { uid: 'old' })] },
      [{ kind: 'discard', instance: a, container: 'c1', because: 'other-service' }],
    ],
    [
      'ends what was made for other ports first',
      { order: order(), boxes: [box('c1', { print: 'http=20001 image' })] },
      [{ kind: 'discard', instance: a, container: 'c1', because: 'superseded' }],
    ],
    [
      'numbers its attempts on from what is there',
      { order: order(), boxes: [box('c1', { state: 'ended', uid: 'old', attempt: 5 })] },
      [{ kind: 'start', instance: a, attempt: 6 }],
    ],
    [
      'stops all that is of the instance',
      { order: stopOrder, boxes: [box('c1'), box('c2', { state: 'ended', attempt: 2 })] },
      [{ kind: 'stop', instance: a, containers: ['c1', 'c2'] }],
    ],
    ['confirms the stop of what is not there', { order: stopOrder }, [{ kind: 'confirm', instance: a }]],
    ['confirms once', { order: stopOrder, memory: remembered({ stopped: '10' }) }, []],
    [
      'confirms each placement anew',
      { order: stopOrder, memory: remembered({ stopped: '9' }) },
      [{ kind: 'confirm', instance: a }],
    ],
    ['does not confirm what it cannot see', { order: stopOrder, boxes: 'engine-away' }, []],
    [
      'interrupts a start that is told to stop',
      { order: stopOrder, memory: remembered({ doing: 'start' }) },
      [{ kind: 'interrupt', instance: a }],
    ],
    [
      'interrupts the start of what has no order any more',
      { memory: remembered({ doing: 'start' }) },
      [{ kind: 'interrupt', instance: a }],
    ],
    [
      'but not of what is asked for in words that it does not understand',
      { memory: remembered({ doing: 'start' }), unreadable: [a] },
      [],
    ],
    ['nor of what is wanted', { order: order(), memory: remembered({ doing: 'start' }) }, []],
    ...(['adopt', 'examine', 'tidy'] as const).map((doing): [string, Scene, readonly Action[]] => [
      `interrupts ${doing} of what is told to stop`,
      { order: stopOrder, memory: remembered({ doing }) },
      [{ kind: 'interrupt', instance: a }],
    ]),
    ...(['stop', 'end', 'discard'] as const).map((doing): [string, Scene, readonly Action[]] => [
      `lets ${doing} of what is told to stop go on`,
      { order: stopOrder, memory: remembered({ doing }) },
      [],
    ]),
    [
      'stops at once during a back-off',
      { order: stopOrder, boxes: [dead], memory: remembered({ examined: 'c1', notBefore: later }) },
      [{ kind: 'stop', instance: a, containers: ['c1'] }],
    ],
    [
      'lets a stop that is taken back end first',
      { order: order(), memory: remembered({ doing: 'stop' }) },
      [],
    ],
    [
      'forgets what has no order and no container',
      { memory: remembered() },
      [{ kind: 'forget', instance: a }],
    ],
    ['forgets nothing by saved orders', { memory: remembered(), orders: 'saved' }, []],
    ['waits with what nobody asks for', { boxes: [box('c1')], unaskedMs: 9_999 }, []],
    [
      'ends what nobody asked for during ten seconds',
      { boxes: [box('c1')], unaskedMs: 10_000 },
      [{ kind: 'discard', instance: a, container: 'c1', because: 'unasked' }],
    ],
    [
      'ends what names no instance as well',
      { boxes: [box('c1', { instance: undefined })], unaskedMs: 10_000 },
      [{ kind: 'discard', instance: undefined, container: 'c1', because: 'unasked' }],
    ],
    ['never by saved orders', { boxes: [box('c1')], orders: 'saved', unaskedMs: 1_000_000 }, []],
    [
      'ends one after the other of what nobody asks for',
      { boxes: [box('c1'), box('c2', { attempt: 2 })], unaskedMs: 10_000 },
      [{ kind: 'discard', instance: a, container: 'c1', because: 'unasked' }],
    ],
    [
      'lets be what is asked for in words that it does not understand',
      { boxes: [box('c1')], unaskedMs: 1_000_000, unreadable: [a] },
      [],
    ],
    ['and does not forget it', { memory: remembered(), unreadable: [a] }, []],
    [
      'leaves as it is what the agent itself failed at a moment ago',
      { order: stopOrder, boxes: [box('c1')], skipped: [a] },
      [],
    ],
    ['also where nobody asks for it', { boxes: [box('c1')], unaskedMs: 1_000_000, skipped: [a] }, []],
    [
      'but interrupts a start that is told to stop all the same',
      { order: stopOrder, memory: remembered({ doing: 'start' }), skipped: [a] },
      [{ kind: 'interrupt', instance: a }],
    ],
    [
      'and the start of what has no order any more',
      { memory: remembered({ doing: 'start' }), skipped: [a] },
      [{ kind: 'interrupt', instance: a }],
    ],
    ['but no stop', { order: stopOrder, memory: remembered({ doing: 'stop' }), skipped: [a] }, []],
    ...(['discard', 'stop', 'end'] as const).map((hindered): [string, Scene, readonly Action[]] => [
      `waits after a failed ${hindered} with what nobody asks for`,
      { boxes: [box('c1')], unaskedMs: 1_000_000, memory: remembered({ hindered, retryAt: later }) },
      [],
    ]),
    [
      'but not after a failed start',
      { boxes: [box('c1')], unaskedMs: 10_000, memory: remembered({ hindered: 'start', retryAt: later }) },
      [{ kind: 'discard', instance: a, container: 'c1', because: 'unasked' }],
    ],
    [
      'stops at once though a start was hindered',
      { order: stopOrder, boxes: [box('c1')], memory: remembered({ hindered: 'start', retryAt: later }) },
      [{ kind: 'stop', instance: a, containers: ['c1'] }],
    ],
    [
      'but does not stop without a pause what it could not stop',
      { order: stopOrder, boxes: [box('c1')], memory: remembered({ hindered: 'stop', retryAt: later }) },
      [],
    ],
    [
      'waits after a failure of the engine',
      { order: order(), memory: remembered({ retryAt: (now + 1) as Instant }) },
      [],
    ],
  ])('%s', (_, scene, actions) => {
    expect(decide(scene).actions).toEqual(actions)
  })

  test.each<[string, Scene, number | undefined]>([
    [
      'the end of a back-off',
      {
        order: order(),
        boxes: [dead],
        memory: remembered({ examined: 'c1', notBefore: (now + 7) as Instant }),
      },
      now + 7,
    ],
    ['the next try', { order: order(), memory: remembered({ retryAt: (now + 9) as Instant }) }, now + 9],
    [
      'the next try to end what nobody asks for',
      {
        boxes: [box('c1')],
        unaskedMs: 60_000,
        memory: remembered({ hindered: 'discard', retryAt: (now + 5) as Instant }),
      },
      now + 5,
    ],
    ['the end of patience', { boxes: [box('c1')], unaskedMs: 4000 }, now + 6000],
    ['nothing', { order: order(), boxes: [box('c1')], memory: remembered({ watched: 'c1' }) }, undefined],
  ])('looks again at %s', (_, scene, at) => {
    expect(decide(scene).lookAgainAt).toBe(at)
  })

  test('decides for the others where one instance throws, and says which one did', () => {
    const b = 'shop/web/1/1' as InstanceId
    const odd: Memory = {
      ...remembered(),
      get watched(): string {
        throw new Error('so ordered')
      },
    }
    const look: Look = {
      orders: new Map([
        [a, order()],
        [b, order({ instance: b })],
      ]),
      unreadable: new Set(),
      skipped: new Set(),
      containers: [box('c1')],
      memories: new Map([[a, odd]]),
      held: new Set(),
      ordersAre: 'fresh',
      unaskedSince: new Map(),
    }
    const { actions, failures } = converge(look, now)
    expect(actions).toEqual([{ kind: 'start', instance: b, attempt: 1 }])
    expect(failures).toMatchObject([{ instance: a, error: { message: 'so ordered' } }])
  })

  test('counts the time without an order only while orders are fresh', () => {
    const look = {
      orders: new Map<InstanceId, Order>(),
      unreadable: new Set<InstanceId>(),
      containers: [box('c1')],
      ordersAre: 'fresh' as const,
    }
    const first = countUnasked(new Map(), look, 1 as Instant)
    expect(countUnasked(first, look, 500 as Instant).get('c1')).toBe(1)
    const gap = countUnasked(first, { ...look, ordersAre: 'saved' }, 600 as Instant)
    expect(countUnasked(gap, look, 700 as Instant).get('c1')).toBe(700)
    expect(countUnasked(first, { ...look, orders: new Map([[a, order()]]) }, 800 as Instant).size).toBe(0)
    expect(countUnasked(first, { ...look, unreadable: new Set([a]) }, 800 as Instant).size).toBe(0)
  })
})
