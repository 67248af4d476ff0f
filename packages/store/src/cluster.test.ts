import { expect, test } from 'vitest'
import { NewerSchema, openCluster } from './cluster.ts'
import { put } from './collection.ts'
import { clusters } from './keys.ts'
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
  await expect(openCluster(a, seededChance(1))).rejects.toThrow('cannot be read')
})
