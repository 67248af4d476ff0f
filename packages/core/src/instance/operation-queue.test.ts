import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Instant } from '../model/clock.ts'
import {
  dequeue,
  emptyQueue,
  enqueue,
  next,
  type Operation,
  type OperationKind,
  type OperationLimits,
  type OperationQueue,
  occupiesMs,
  operationKinds,
} from './operation-queue.ts'

const limits = { start: 2, stop: 2, remove: 2 }
const at = (ms: number) => ms as Instant

/** `start a` for each operation, numbered from 1. */
function queueOf(...texts: readonly string[]): OperationQueue {
  return texts.reduce((queue, text, index) => enqueue(queue, operation(index + 1, text)), emptyQueue)
}

function operation(id: number, text: string): Operation {
  const [kind = '', service = ''] = text.split(' ')
  return { id, kind: kind as OperationKind, service }
}

describe('what is begun next', () => {
  test.each<[string, readonly string[], OperationLimits, readonly number[]]>([
    ['nothing where nothing waits', [], limits, []],
    ['as many as the limit lets', ['start a', 'start a', 'start a'], limits, [1, 2]],
    [
      'each kind by its own limit',
      ['start a', 'start a', 'start a', 'stop a', 'remove a'],
      limits,
      [4, 5, 1, 2],
    ],
    ['stops before removals before starts', ['start a', 'remove a', 'stop a'], limits, [3, 2, 1]],
    [
      'services in turns',
      ['start a', 'start a', 'start a', 'start b', 'start c'],
      { ...limits, start: 4 },
      [1, 4, 5, 2],
    ],
    [
      'of one service in order',
      ['start a', 'start b', 'start a', 'start b'],
      { ...limits, start: 4 },
      [1, 2, 3, 4],
    ],
    [
      'one more of a service that has nothing under way',
      ['start a', 'start a', 'start a', 'start b', 'start c'],
      limits,
      [1, 4, 5],
    ],
    ['no more of one that has', ['start a', 'start a', 'start b', 'start b'], limits, [1, 3]],
  ])('%s', (_, texts, most, ids) => {
    expect(next(queueOf(...texts), most, at(0)).begun.map(({ id }) => id)).toEqual(ids)
  })

  test('a service that comes later waits for one operation of those that were queued before it', () => {
    let queue = queueOf('start a', 'start a', 'start a', 'start b', 'start b', 'start b')
    const order: string[] = []
    while (order.length < 6) {
      const decided = next(queue, { ...limits, start: 1 }, at(0))
      order.push(...decided.begun.map(({ service }) => service))
      queue = dequeue(decided.queue, decided.queue.running[0]?.id ?? 0)
      if (order.length === 2) queue = enqueue(queue, operation(100, 'start c'))
    }
    expect(order).toEqual(['a', 'b', 'a', 'c', 'b', 'a'])
  })

  test('what is dropped is not begun', () => {
    const queue = dequeue(queueOf('start a', 'start a'), 1)
    expect(next(queue, limits, at(0)).begun.map(({ id }) => id)).toEqual([2])
  })

  test.each<[string, OperationKind, number]>([
    ['a stop that waits out the grace of its process gives its place away', 'stop', occupiesMs.stop],
    ['a start that hangs does so, later', 'start', occupiesMs.start],
    ['and a removal that hangs', 'remove', occupiesMs.remove],
  ])('%s', (_, kind, ms) => {
    const first = next(queueOf(`${kind} a`, `${kind} a`, `${kind} a`), limits, at(0))
    expect(first.begun.map(({ id }) => id)).toEqual([1, 2])
    expect(first.lookAgainAt).toBe(ms)
    expect(next(first.queue, limits, at(ms - 1)).begun).toEqual([])
    const later = next(first.queue, limits, at(ms))
    expect(later.begun.map(({ id }) => id)).toEqual([3])
    expect(later.lookAgainAt).toBeUndefined()
  })
})

describe('over any course of things', () => {
  const kind = fc.constantFrom(...operationKinds)
  const service = fc.constantFrom('a', 'b', 'c', 'd')
  const step = fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({ does: fc.constant('queue' as const), kind, service, count: fc.nat(20) }),
    },
    { weight: 3, arbitrary: fc.record({ does: fc.constant('end' as const), which: fc.nat() }) },
    { weight: 1, arbitrary: fc.record({ does: fc.constant('drop' as const), which: fc.nat() }) },
    { weight: 1, arbitrary: fc.record({ does: fc.constant('wait' as const), ms: fc.nat(800) }) },
  )
  type Step = typeof step extends fc.Arbitrary<infer One> ? One : never
  const someLimits = fc.record({
    start: fc.integer({ min: 1, max: 8 }),
    stop: fc.integer({ min: 1, max: 8 }),
    remove: fc.integer({ min: 1, max: 8 }),
  })

  /** A queue with what happened to it. */
  class Course {
    queue = emptyQueue
    now = 0
    ids = 0
    readonly limits: OperationLimits
    readonly dropped = new Set<number>()
    readonly begun: Operation[] = []
    readonly queued: Operation[] = []

    constructor(most: OperationLimits) {
      this.limits = most
    }

    take(taken: Step): void {
      switch (taken.does) {
        case 'queue':
          for (let n = 0; n < taken.count; n++) this.add(taken.kind, taken.service)
          break
        case 'end':
          this.remove(this.queue.running, taken.which)
          break
        case 'drop':
          this.dropped.add(this.remove(this.queue.waiting, taken.which) ?? -1)
          break
        case 'wait':
          this.now += taken.ms
      }
      this.decide()
    }

    add(kindOf: OperationKind, serviceOf: string): number {
      const added = { id: ++this.ids, kind: kindOf, service: serviceOf }
      this.queued.push(added)
      this.queue = enqueue(this.queue, added)
      return added.id
    }

    remove(among: readonly Operation[], which: number): number | undefined {
      const id = among[which % Math.max(1, among.length)]?.id
      if (id !== undefined) this.queue = dequeue(this.queue, id)
      return id
    }

    decide(): void {
      const decided = next(this.queue, this.limits, at(this.now))
      this.queue = decided.queue
      this.begun.push(...decided.begun)
      this.check()
    }

    /** After every decision. */
    check(): void {
      for (const each of operationKinds) {
        const occupying = this.queue.running.filter(
          ({ kind: of, since }) => of === each && this.now < since + occupiesMs[each],
        )
        expect(occupying.length, `${each} at once`).toBeLessThanOrEqual(this.limits[each] + 1)
        const waiting = this.queue.waiting.filter(({ kind: of }) => of === each)
        const busy = new Set(occupying.map(({ service: whose }) => whose))
        // The place beyond the limit is for a service that has no other.
        if (occupying.length > this.limits[each])
          expect(busy.size, `services with a ${each}`).toBeGreaterThan(1)
        // Nothing waits beside free room, so no kind ever waits for another.
        if (waiting.length > 0)
          expect(occupying.length, `room for ${each}`).toBeGreaterThanOrEqual(this.limits[each])
        if (waiting.some(({ service: whose }) => !busy.has(whose)))
          expect(occupying.length, `the place kept for a ${each}`).toBe(this.limits[each] + 1)
      }
    }
  }

  const course = fc.tuple(someLimits, fc.array(step, { maxLength: 60 })).map(([most, steps]) => {
    const run = new Course(most)
    for (const each of steps) run.take(each)
    return run
  })

  test('limits hold, no room is left unused, nothing dropped is begun, nothing is begun twice', () => {
    fc.assert(
      fc.property(course, ({ begun, dropped }) => {
        expect(begun.filter(({ id }) => dropped.has(id))).toEqual([])
        expect(new Set(begun.map(({ id }) => id)).size).toBe(begun.length)
      }),
    )
  })

  test('everything that waits is begun once what runs ends', () => {
    fc.assert(
      fc.property(course, run => {
        while (run.queue.waiting.length > 0) {
          const before = run.begun.length
          for (const { id } of run.queue.running) run.queue = dequeue(run.queue, id)
          run.decide()
          expect(run.begun.length).toBeGreaterThan(before)
        }
        expect(run.begun.length + [...run.dropped].filter(id => id > 0).length).toBe(run.queued.length)
      }),
    )
  })

  test('operations of one kind and service are begun in the order in which they were queued', () => {
    fc.assert(
      fc.property(course, ({ begun }) => {
        const last = new Map<string, number>()
        for (const { id, kind: of, service: whose } of begun) {
          expect(id).toBeGreaterThan(last.get(`${of} ${whose}`) ?? 0)
          last.set(`${of} ${whose}`, id)
        }
      }),
    )
  })

  test('a start waits for at most one start of each other service, whatever else is queued', () => {
    fc.assert(
      fc.property(
        course,
        fc.array(fc.record({ service, count: fc.nat(5) }), { maxLength: 20 }),
        (run, after) => {
          const id = run.add('start', 'newcomer')
          const from = run.begun.length
          run.decide()
          const coming = [...after]
          while (!run.begun.some(each => each.id === id)) {
            const more = coming.shift()
            for (let n = 0; n < (more?.count ?? 0); n++) run.add('start', more?.service ?? 'a')
            const running = run.queue.running.find(({ kind: of }) => of === 'start')
            if (running === undefined) throw new Error('no start runs and one waits')
            run.queue = dequeue(run.queue, running.id)
            run.decide()
          }
          const before = run.begun.slice(
            from,
            run.begun.findIndex(each => each.id === id),
          )
          const starts = before.filter(({ kind: of }) => of === 'start').map(({ service: whose }) => whose)
          expect(new Set(starts).size).toBe(starts.length)
        },
      ),
    )
  })
})
