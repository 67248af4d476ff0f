import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { HostId, ServiceName } from './ids.ts'
import { concerns, type Listening, type Unserved } from './unserved.ts'
import { UnservedIndex } from './unserved-index.ts'

const web = 'shop/web' as ServiceName
const db = 'shop/db' as ServiceName
const at80 = { listen: 80, reason: 'held' as const }
const said = (...lists: readonly (readonly Unserved[])[]) => {
  const index = new UnservedIndex()
  for (const [i, list] of lists.entries()) index.add(`h${i + 1}` as HostId, list)
  return index
}

describe('what one host says concerns a listener of the service', () => {
  test.each<[string, Unserved, 'public' | 'private', boolean]>([
    ['its port', at80, 'public', true],
    ['another port', { ...at80, listen: 81 }, 'public', false],
    ['its own listener', { ...at80, service: web }, 'private', true],
    ['that of another service', { ...at80, service: db }, 'public', false],
    ['public addresses alone, and it is public', { ...at80, only: 'public' }, 'public', true],
    ['public addresses alone, and it is private', { ...at80, only: 'public' }, 'private', false],
  ])('%s', (_, one, expose, concerned) => {
    expect(said([one]).of(web, [{ listen: 80, expose }])).toMatchObject(
      concerned ? [{ host: 'h1', one }] : [],
    )
  })
})

test('one that concerns several listeners is found once, and hosts come in their order', () => {
  const own = { ...at80, service: web }
  const listeners: readonly Listening[] = [
    { listen: 81, expose: 'public' },
    { listen: 80, expose: 'public' },
    { listen: 80, expose: 'private' },
  ]
  const found = said([own, at80], [{ ...at80, listen: 81 }], [at80]).of(web, listeners)
  expect(found.map(({ host, one }) => [host, one.listen])).toEqual([
    ['h1', 80],
    ['h1', 80],
    ['h2', 81],
    ['h3', 80],
  ])
})

test('nothing is added of a host whose entry throws when it is read', () => {
  const odd = {
    ...at80,
    get service(): ServiceName {
      throw new Error('it cannot be read')
    },
  }
  const index = said([])
  expect(() => index.add('h9' as HostId, [at80, odd])).toThrow('it cannot be read')
  expect(index.of(web, [{ listen: 80, expose: 'public' }])).toEqual([])
})

test('it finds what a walk over all hosts finds, in the same order', () => {
  const expose = fc.constantFrom('public' as const, 'private' as const)
  const listen = fc.integer({ min: 80, max: 82 })
  const entry = fc.record(
    {
      listen,
      service: fc.constantFrom(web, db),
      only: fc.constant('public' as const),
      reason: fc.constant('held' as const),
    },
    { requiredKeys: ['listen', 'reason'] },
  )
  const hosts = fc.array(fc.array(entry, { maxLength: 6 }), { maxLength: 6 })
  const listeners = fc.array(fc.record({ listen, expose }), { maxLength: 4 })
  fc.assert(
    fc.property(hosts, listeners, fc.integer({ min: 1, max: 9 }), (lists, asked, most) => {
      const walked = lists.flatMap((list, i) =>
        list
          .filter(one => asked.some(listener => concerns(one, web, listener)))
          .map(one => ({ host: `h${i + 1}`, one })),
      )
      const found = (limit?: number) =>
        said(...lists)
          .of(web, asked, limit)
          .map(({ host, one }) => ({ host, one }))
      expect(found()).toEqual(walked)
      expect(found(most)).toEqual(walked.slice(0, most))
    }),
  )
})
