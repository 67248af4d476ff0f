/** A leader record without a lease, as a store copied by key and value has it, keeps nobody from leading. */
import { afterAll, beforeAll, expect } from 'vitest'
import { test } from '../lab/as-root.ts'
import { etcdGateway } from '../lab/etcd-gateway.ts'
import { type Lab, startLab } from '../lab/lab.ts'
import { now } from '../lab/load.ts'
import { until } from '../lab/until.ts'
import { figure, untilReady, web, webSpec } from '../lab/web.ts'

let lab: Lab
beforeAll(async () => {
  lab = await startLab({ hosts: 1, images: [{ version: '1' }] })
})
afterAll(() => lab?.stop())

test('6: the record put without its lease and its leader killed: another one leads within 8 s, and is the one that is named', async () => {
  const leader = await lab.leader()
  const other = lab.servers.find(it => it.id !== leader.id)
  if (other === undefined) throw new Error('there are two servers')
  const before = (await other.api.cluster()).leader
  const gateway = etcdGateway(lab.machine.etcd.endpoint)
  const key = `/boxcar/${lab.name}/v1/leader/self`
  const record = await gateway.get(key)
  if (record === undefined) throw new Error('a leader has a record')
  // Both at once, so that the leader has no time to see it.
  await leader.process.pause()
  await gateway.put(key, record)
  const killed = now()
  await leader.process.kill()
  let lastNamedMs = 0
  const after = await until(
    async () => {
      const asked = now()
      const { leader: shown } = await other.api.cluster()
      if (shown !== undefined && shown.address === before?.address) lastNamedMs = asked - killed
      return shown
    },
    shown => shown !== undefined && BigInt(shown.term) > BigInt(before?.term ?? '0'),
    { timeoutMs: 20_000, everyMs: 50, what: 'the other server leads' },
  )
  const tookMs = now() - killed
  figure(`6: record without a lease, leader killed → the next leads: ${(tookMs / 1000).toFixed(2)} s`)
  expect(tookMs).toBeLessThan(8000)
  expect(after?.address).toBe(other.url)
  // The dead one is named by nobody once the other server has seen its record lose its lease.
  figure(`6: record without a lease, leader killed → last named after ${lastNamedMs} ms`)
  expect(lastNamedMs).toBeLessThan(1000)
  await other.api.put(web, webSpec(lab, '1', { replicas: 1 }))
  await untilReady(other, 1)
})

test('6: put over the record of a living leader: one leads again under a lease', async () => {
  const { api } = lab.servers.find(it => it.process.pid !== undefined) ?? lab
  const gateway = etcdGateway(lab.machine.etcd.endpoint)
  const before = (await api.cluster()).leader
  await gateway.put(`/boxcar/${lab.name}/v1/leader/self`, '{"address":"http://old:7070","token":"old"}')
  const began = now()
  await until(
    async () => (await api.cluster()).leader,
    shown => shown !== undefined && BigInt(shown.term) > BigInt(before?.term ?? '0'),
    { timeoutMs: 20_000, everyMs: 50, what: 'a leader with a higher term' },
  )
  figure(`6: record put over a living leader's → a higher term: ${((now() - began) / 1000).toFixed(2)} s`)
  expect(now() - began).toBeLessThan(8000)
})
