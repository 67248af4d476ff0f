/** Two clusters on one etcd and one set of engines, and a service deleted and created again under its name. */
import { afterAll, beforeAll, expect } from 'vitest'
import { test } from '../lab/as-root.ts'
import type { LabCluster } from '../lab/cluster.ts'
import { containersOn } from '../lab/containers.ts'
import { type Lab, startLab } from '../lab/lab.ts'
import { until } from '../lab/until.ts'
import { figure, untilReady, web, webSpec } from '../lab/web.ts'

let lab: Lab
let other: LabCluster
beforeAll(async () => {
  lab = await startLab({ images: [{ version: '1' }, { version: '2' }], hosts: 2, servers: 1 })
  other = await lab.another({ name: 'other', servers: 1 })
})
afterAll(() => lab?.stop())

const spec = (version: string, port: number, replicas: number) =>
  webSpec(lab, version, { replicas, routes: [{ port: 'http', listen: port }] })
const running = async (cluster: string) => (await containersOn(lab.hosts, cluster)).filter(it => it.running)

test('10a: two clusters side by side do not touch each other', async () => {
  const [stranger] = lab.hosts
  const strangerId = (
    await stranger?.machine.docker(['run', '-d', '--name', 'stranger', lab.image('1').pinned])
  )?.trim()
  await Promise.all([lab.api.put(web, spec('1', 8080, 4)), other.api.put(web, spec('2', 8090, 2))])
  await Promise.all([untilReady(lab, 1), untilReady(other, 1)])
  expect(await running('lab')).toHaveLength(4)
  expect(await running('other')).toHaveLength(2)
  for (const [port, version] of [
    [8080, '1'],
    [8090, '2'],
  ] as const) {
    const seen = new Set<string>()
    for (let i = 0; i < 20; i++) {
      const body: unknown = await (await fetch(lab.urls(port)[0] ?? '')).json()
      seen.add(typeof body === 'object' && body !== null && 'version' in body ? String(body.version) : '')
    }
    expect([...seen]).toEqual([version])
  }
  await other.api.remove(web)
  await until(
    () => running('other'),
    left => left.length === 0,
    { timeoutMs: 60_000, what: 'the other cluster empty' },
  )
  expect(await running('lab')).toHaveLength(4)
  const left = await stranger?.machine.docker(['inspect', '--format', '{{.State.Running}}', strangerId ?? ''])
  expect(left?.trim()).toBe('true')
  figure(
    '10: 4 + 2 instances of shop/web/1 under one name in two clusters; deleting one left the other and a stranger alone',
  )
})

test('10b: a service recreated under its name has a new uid and begins at generation 1, with nothing of the old one', async () => {
  const first = await lab.api.service(web)
  await lab.api.remove(web)
  const saved = await lab.api.put(web, spec('2', 8080, 3))
  expect(saved.generation).toBe(1)
  expect(saved.service.uid).not.toBe(first.uid)
  await untilReady(lab, 1)
  const containers = await until(
    () => running('lab'),
    it => it.length === 3,
    { timeoutMs: 30_000, what: 'three containers' },
  )
  expect(new Set(containers.map(it => it.uid))).toEqual(new Set([saved.service.uid]))
  for (const url of lab.urls(8080)) {
    const body: unknown = await (await fetch(url)).json()
    expect(body).toMatchObject({ version: '2', generation: 1 })
  }
  figure('10: recreated shop/web: new uid, generation 1, three containers, all of the new one')
})
