import type { GenerationNumber, InstanceId, ServiceName } from '@boxcar/core/model/ids'
import type { Endpoint, Route } from '@boxcar/core/model/route'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { arrange, drainingEndpoints, type Layout, release, type Slot } from './slots.ts'

const web = 'shop/web' as ServiceName

const member = (generation: number, slot: number, port = 20_000 + generation * 100 + slot): Endpoint => ({
  instance: `${web}/${generation}/${slot}` as InstanceId,
  address: '10.0.0.1',
  ports: { http: port },
})

function table(backings: [number, number[]][], uid = 'u1'): ReadonlyMap<ServiceName, Route> {
  const route: Route = {
    service: web,
    uid,
    term: '1',
    listeners: [{ protocol: 'http', listen: 80, hostnames: [], path: '/', expose: 'public', port: 'http' }],
    drainMs: 1000,
    backings: backings.map(([generation, slots]) => ({
      generation: generation as GenerationNumber,
      share: 0,
      endpoints: slots.map(slot => member(generation, slot)),
    })),
  }
  return new Map([[web, route]])
}

/** Generation 1 with its first instance on another port. */
function moved(uid: string): ReadonlyMap<ServiceName, Route> {
  const route = table([], uid).get(web)
  if (route === undefined) throw new Error('a route')
  const backing = { generation: 1 as GenerationNumber, share: 0, endpoints: [member(1, 0, 9)] }
  return new Map([[web, { ...route, backings: [backing] }]])
}

const word = (slot: Slot) =>
  slot.use === 'free' ? '-' : `${slot.use === 'draining' ? '~' : ''}${slot.endpoint.instance.slice(9)}`
const drawn = (layout: Layout) => layout.get(web)?.lanes.map(lane => lane.slots.map(word).join(' '))
const empty: Layout = new Map()

describe('arranging', () => {
  test('seats a generation in a lane, and the next one beside it', () => {
    const first = arrange(empty, table([[1, [0, 1]]]), 'fit')
    expect(drawn(first)).toEqual(['1/0 1/1 - -', '- - - -', '- - - -', '- - - -'])
    const second = arrange(
      first,
      table([
        [1, [0, 1]],
        [2, [0]],
      ]),
      'keep',
    )
    expect(drawn(second)).toEqual(['1/0 1/1 - -', '2/0 - - -', '- - - -', '- - - -'])
    const third = arrange(second, table([[2, [0, 1]]]), 'keep')
    expect(drawn(third)).toEqual(['~1/0 ~1/1 - -', '2/0 2/1 - -', '- - - -', '- - - -'])
  })

  test('leaves a slot alone while it drains, and gives it back to the one that returns', () => {
    const both = arrange(empty, table([[1, [0, 1]]]), 'fit')
    const one = arrange(both, table([[1, [1, 2]]]), 'keep')
    expect(drawn(one)?.[0]).toBe('~1/0 1/1 1/2 -')
    expect(drawn(arrange(one, table([[1, [0, 1, 2]]]), 'keep'))?.[0]).toBe('1/0 1/1 1/2 -')
    const freed = release(one, endpoint => endpoint.instance.endsWith('/0'))
    expect(drawn(arrange(freed, table([[1, [1, 2, 3]]]), 'keep'))?.[0]).toBe('1/3 1/1 1/2 -')
  })

  test('takes a new process of an instance for another member', () => {
    const before = arrange(empty, table([[1, [0]]]), 'fit')
    expect(drawn(arrange(before, moved('u1'), 'keep'))?.[0]).toBe('~1/0 1/0 - -')
  })

  test('grows to the power of two above twice the members, and only then', () => {
    const four = arrange(empty, table([[1, [0, 1]]]), 'fit')
    expect(arrange(four, table([[1, [0, 1, 2, 3]]]), 'keep').get(web)?.lanes[0]?.slots.length).toBe(4)
    expect(arrange(four, table([[1, [0, 1, 2, 3, 4]]]), 'keep').get(web)?.lanes[0]?.slots.length).toBe(16)
    expect(arrange(empty, table([[1, [0, 1, 2]]]), 'fit').get(web)?.lanes[0]?.slots.length).toBe(8)
  })

  test('keeps the room of a service that left until a reload is due, and its sessions have ended', () => {
    const served = arrange(empty, table([[1, [0]]]), 'fit')
    const left = arrange(served, new Map(), 'keep')
    expect(drawn(left)?.[0]).toBe('~1/0 - - -')
    expect(arrange(left, new Map(), 'fit').has(web)).toBe(true)
    const drained = release(left, () => true)
    expect(arrange(drained, new Map(), 'keep').has(web)).toBe(true)
    expect(arrange(drained, new Map(), 'fit').has(web)).toBe(false)
  })

  test('takes a service that was made anew for a stranger', () => {
    const served = arrange(empty, table([[1, [0]]]), 'fit')
    expect(drawn(arrange(served, moved('u2'), 'keep'))).toEqual([
      '~1/0 - - -',
      '1/0 - - -',
      '- - - -',
      '- - - -',
    ])
  })

  test('gives an undone generation its lane back while it drains there', () => {
    const served = arrange(arrange(empty, table([[1, [0, 1]]]), 'fit'), table([[2, [0]]]), 'keep')
    expect(drawn(arrange(served, table([[1, [0, 1]]]), 'keep'))).toEqual([
      '1/0 1/1 - -',
      '~2/0 - - -',
      '- - - -',
      '- - - -',
    ])
  })

  test('changes nothing when nothing changed', () => {
    const layout = arrange(empty, table([[1, [0, 1]]]), 'fit')
    expect(arrange(layout, table([[1, [1, 0]]]), 'keep').get(web)).toBe(layout.get(web))
  })
})

test('whatever comes and goes: all are seated once, nobody moves, nobody sits where another drains', () => {
  const step = fc.record({
    backings: fc.array(
      fc.tuple(
        fc.integer({ min: 1, max: 8 }),
        fc.uniqueArray(fc.integer({ min: 0, max: 9 }), { maxLength: 7 }),
      ),
      { maxLength: 4 },
    ),
    sizing: fc.constantFrom('keep' as const, 'fit' as const),
    ends: fc.integer({ min: 0, max: 3 }),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 25 }), steps => {
      let layout = empty
      for (const { backings, sizing, ends } of steps) {
        const wanted = [...new Map(backings)]
        const before = seats(layout)
        layout = arrange(layout, table(wanted), sizing)
        const now = seats(layout)
        const serving = [...now]
          .filter(([, seat]) => seat.slot.use === 'serving')
          .map(([, seat]) => seat.instance)
        const asked = wanted.flatMap(([generation, slots]) =>
          slots.map(slot => `${web}/${generation}/${slot}`),
        )
        expect(serving.toSorted()).toEqual(asked.toSorted())
        for (const [place, seat] of before) expect(now.get(place)?.instance).toBe(seat.instance)
        const sizes = new Set(layout.get(web)?.lanes.map(lane => lane.slots.length))
        expect(sizes.size).toBeLessThan(2)
        for (const endpoint of drainingEndpoints(layout).slice(0, ends))
          layout = release(layout, e => e === endpoint)
      }
    }),
  )
})

function seats(layout: Layout) {
  const result = new Map<string, { instance: string; slot: Slot }>()
  layout.get(web)?.lanes.forEach((lane, l) => {
    lane.slots.forEach((slot, s) => {
      if (slot.use !== 'free') result.set(`${l}/${s}`, { instance: slot.endpoint.instance, slot })
    })
  })
  return result
}
