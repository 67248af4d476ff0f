import { describe, expect, test } from 'vitest'
import { routeAck } from './route.ts'
import { agentHolder, type Unserved, unservedNext, unservedReasons, unservedWords } from './unserved.ts'

const at80 = { listen: 80, reason: 'held' as const }

test('without a list all is served, as an older agent means it', () => {
  expect(routeAck.parse({ revision: '7', draining: [] })).toStrictEqual({ revision: '7', draining: [] })
})

describe('what a newer agent says of it', () => {
  const other = { listen: 81, reason: 'held' as const }
  test.each<[string, object, object]>([
    [
      'a reason that is not known: another one',
      { unserved: [{ listen: 80, reason: 'some-newer-reason' }] },
      { unserved: [{ listen: 80, reason: 'other' }] },
    ],
    [
      'routes that are not known: all that listen there',
      { unserved: [{ ...at80, only: 'private' }, other] },
      { unserved: [at80, other] },
    ],
    [
      'what is only shown, in another form: left out',
      { unserved: [{ ...at80, address: ['::'], holder: { pid: 812 }, detail: 5 }] },
      { unserved: [at80] },
    ],
    [
      'a listener that is not understood: counted',
      { unserved: [{ ...at80, listen: '80-90' }, other, 'port 80', { ...at80, service: 7 }] },
      { unserved: [other], unnamed: 3 },
    ],
    [
      'beside what it counts itself',
      { unserved: [{ reason: 'held' }, other], unnamed: 4 },
      { unserved: [other], unnamed: 5 },
    ],
    ['a list that is none: counted once', { unserved: { 80: 'held' } }, { unnamed: 1 }],
    ['a count that is none: no count', { unserved: [at80], unnamed: 'many' }, { unserved: [at80] }],
  ])('%s', (_, said, read) => {
    const acknowledged = { revision: '7', draining: ['shop/web/1/0'] }
    expect(routeAck.parse({ ...acknowledged, ...said })).toEqual({ ...acknowledged, ...read })
  })
})

test.each<[Unserved, string]>([
  [{ ...at80, holder: 'process 812 (sshd)' }, 'port 80 is held by process 812 (sshd)'],
  [at80, 'port 80 is held by another process'],
  [
    { ...at80, address: '::', reason: 'shared', holder: 'process 5 (haproxy)' },
    'port 80 at :: is shared with process 5 (haproxy), which gets a part of the connections',
  ],
  [{ ...at80, reason: 'not-permitted' }, 'port 80: the user of the proxy may not listen there'],
  [
    { ...at80, reason: 'no-address', address: '10.0.0.9' },
    'port 80 at 10.0.0.9: the host does not have the address',
  ],
  [{ ...at80, reason: 'protocol', detail: 'it is tcp of a/b' }, 'port 80 is not served: it is tcp of a/b'],
])('%j in words', (one, words) => {
  expect(unservedWords(one)).toBe(words)
})

test.each(unservedReasons)('%s has words and something to do', reason => {
  const one = { listen: 80, reason }
  expect(unservedWords(one)).toMatch(/^port 80/)
  expect(unservedNext(one, 'h1')).not.toBe('')
})

test('nobody is told to end the agent of a host', () => {
  expect(unservedNext({ ...at80, holder: agentHolder }, 'h1')).toBe('give the route another port')
})
