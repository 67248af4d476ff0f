import { expect, test } from 'vitest'
import { NewerSchema, openCluster, recordProblem, UnreadableRecord } from './cluster.ts'
import { put } from './collection.ts'
import { type ClusterRecord, clusters } from './keys.ts'
import { MemoryEtcd } from './memory/memory-etcd.ts'
import { seededChance } from './memory/seeded-chance.ts'
import { VirtualClock } from './memory/virtual-clock.ts'
import type { Key } from './store.ts'

function open() {
  const clock = new VirtualClock()
  const world = new MemoryEtcd(clock)
  return { clock, a: world.connect({ cluster: 'c1' }), b: world.connect({ cluster: 'c1' }) }
}

test('the first server makes the record, the others read it', async () => {
  const { a, b } = open()
  const [one, two] = await Promise.all([openCluster(a, seededChance(1)), openCluster(b, seededChance(2))])
  expect(one).toEqual(two)
  expect(one).toMatchObject({ epoch: 1, schema: 1 })
  expect(one.secret).toMatch(/^[0-9a-z]{40}$/)
})

test('a lost answer is settled by reading', async () => {
  const { clock, a, b } = open()
  a.faults.loseAnswers(1)
  const opening = openCluster(a, seededChance(1))
  await clock.advance(2000)
  expect(await opening).toEqual(await openCluster(b, seededChance(2)))
})

test('data of a newer program are refused with a clear reason', async () => {
  const { a } = open()
  const record = { uid: 'u', epoch: 1, schema: 2, secret: 's' }
  await a.commit({ guards: [], writes: [put(clusters, 'self', record)] })
  await expect(openCluster(a, seededChance(1))).rejects.toThrow(NewerSchema)
  await expect(openCluster(a, seededChance(1))).rejects.toThrow('schema 2')
})

test('a record that cannot be read is not written over', async () => {
  const { a } = open()
  await a.commit({
    guards: [],
    writes: [{ kind: 'put', key: 'cluster/self' as Key, json: '{"uid":7}', lease: undefined }],
  })
  await expect(openCluster(a, seededChance(1))).rejects.toThrow(UnreadableRecord)
})

const known: ClusterRecord = { uid: 'u', epoch: 2, schema: 1, secret: 's' }
test.each<{ name: string; record?: ClusterRecord; unreadable?: string; message?: RegExp; next?: RegExp }>([
  { name: 'as it was opened', record: known },
  { name: 'of a later epoch', record: { ...known, epoch: 3 } },
  {
    name: 'that cannot be read',
    unreadable: 'not JSON: Unexpected token in "the secret"',
    message: /^cluster\/self cannot be read \(not JSON\): agents .* take no new work/,
    next: /jq -c \.cluster \/var\/lib\/boxcar\/orders\.json/,
  },
  {
    name: 'that was removed',
    message: /is not there any more/,
    next: /put \/boxcar\/prod\/v1\/cluster\/self/,
  },
  { name: 'of a newer schema', record: { ...known, schema: 2 }, message: /schema 2/, next: /newer boxcar/ },
  { name: 'of another cluster', record: { ...known, uid: 'v' }, message: /uid v, this server serves u/ },
  {
    name: 'of an earlier epoch',
    record: { ...known, epoch: 1 },
    message: /from 2 to 1/,
    next: /higher epoch/,
  },
])('a record $name', ({ record, unreadable, message, next }) => {
  const endpoints = ['http://10.0.0.1:2379']
  const problem = recordProblem({ record, unreadable }, { name: 'prod', endpoints, expected: known })
  if (message === undefined) return expect(problem).toBeUndefined()
  expect(problem).toMatchObject({
    kind: record?.schema === 2 ? 'newer-schema' : 'cluster-record',
    level: 'fail',
    message: expect.stringMatching(message),
  })
  if (next !== undefined) expect(problem?.next.join('\n')).toMatch(next)
  // Whoever reads a screen must not learn the secret.
  expect(JSON.stringify(problem)).not.toMatch(/"s"|the secret/)
})

test('a store without a record, before a server ever started, is nothing wrong', () => {
  expect(
    recordProblem({ record: undefined, unreadable: undefined }, { name: 'c', endpoints: [] }),
  ).toBeUndefined()
})
