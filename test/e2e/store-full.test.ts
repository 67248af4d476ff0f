/** The store is full for a minute: work goes on, every screen says so with what mends it, and it is as before afterwards. */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect } from 'vitest'
import { test } from '../lab/as-root.ts'
import { containersOn, starts } from '../lab/containers.ts'
import { type EtcdGateway, etcdGateway } from '../lab/etcd-gateway.ts'
import { type Lab, startLab } from '../lab/lab.ts'
import { now } from '../lab/load.ts'
import { until } from '../lab/until.ts'
import { figure, untilReady, web, webPort, webSpec } from '../lab/web.ts'

let lab: Lab
beforeAll(async () => {
  lab = await startLab({ images: [{ version: '1' }, { version: '2' }], etcdQuotaBytes: 16 * 1024 * 1024 })
  await lab.api.put(web, webSpec(lab, '1'))
  await untilReady(lab, 1)
})
afterAll(() => lab?.stop())

/** As a history that nobody compacts does: one key, written again and again. */
async function fill(gateway: EtcdGateway): Promise<void> {
  for (let i = 0; i < 200; i += 1)
    if ((await gateway.put('/filler', `${i} ${'x'.repeat(500_000)}`)) === 'refused') return
  throw new Error('the store was not filled')
}

test('7: the store full for 60 s, one container killed meanwhile: no failed request, no eviction, told by status and doctor, and mended by what they say', async () => {
  const gateway = etcdGateway(lab.machine.etcd.endpoint)
  const before = { containers: await containersOn(lab.hosts), leader: (await lab.api.cluster()).leader }
  const load = lab.load(webPort, { rate: 100 })
  await fill(gateway)
  const full = now()
  await expect(lab.api.put(web, webSpec(lab, '2'))).rejects.toMatchObject({
    problem: { status: 503, code: 'store-full', next: expect.stringContaining('boxcar doctor') },
  })

  const [victim] = before.containers
  if (victim === undefined) throw new Error('nothing runs')
  await lab.host(victim.host).machine.docker(['kill', victim.id])
  await until(
    async () => (await containersOn([lab.host(victim.host)])).filter(it => it.instance === victim.instance),
    runs => runs.some(it => it.running && it.startedAt !== victim.startedAt),
    { everyMs: 500, timeoutMs: 10_000, what: 'the killed container running again' },
  )

  // What the server knows of the members is up to two seconds old.
  await until(
    () => lab.boxcar(['status']),
    ({ stdout }) =>
      /^Problem +the store is full \(alarm NOSPACE on \S+: \d+ MiB of a quota of 16 MiB/m.test(stdout),
    { timeoutMs: 5000, what: 'status names the full store' },
  )
  const doctor = await lab.boxcar(['doctor', '--etcd', lab.machine.etcd.endpoint])
  const etcdctl = `etcdctl --endpoints=${lab.machine.etcd.endpoint}`
  for (const line of ['the store is full', `${etcdctl} defrag`, `${etcdctl} alarm disarm`])
    expect(doctor.stdout).toContain(line)
  expect(doctor.status).toBe(1)

  await sleep(Math.max(0, 60_000 - (now() - full)))
  const { leader, store } = await lab.api.cluster()
  expect(leader).toEqual(before.leader)
  expect((await lab.api.hosts()).map(it => [it.id, it.state])).toEqual(lab.hosts.map(it => [it.id, 'ready']))
  const others = (list: typeof before.containers) =>
    starts(list.filter(it => it.instance !== victim.instance))
  expect(others(await containersOn(lab.hosts))).toEqual(others(before.containers))

  // What they say, step by step.
  const revision = /compact (\d+)$/m.exec(store.problems.flatMap(it => it.next).join('\n'))?.[1]
  const mended = now()
  await gateway.compact(revision ?? '')
  await gateway.defragment()
  await gateway.disarm()
  await until(
    () => lab.api.put(web, webSpec(lab, '2')),
    saved => saved.generation === 2,
    { timeoutMs: 20_000, everyMs: 100, what: 'a PUT is accepted again' },
  )
  const accepted = now() - mended
  await until(
    () => lab.api.cluster(),
    seen => seen.store.problems.every(it => it.level === 'advice') && seen.store.alarms.length === 0,
    { timeoutMs: 10_000, what: 'nothing is the matter any more' },
  )
  expect(now() - mended).toBeLessThan(10_000)
  await untilReady(lab, 2)
  const report = await load.stop()
  figure(
    `7: full for ${((mended - full) / 1000).toFixed(0)} s; mended → a PUT is accepted: ${(accepted / 1000).toFixed(1)} s, deployed: ${((now() - mended) / 1000).toFixed(1)} s; ${report.summary()}`,
  )
  expect(report.failures).toEqual([])
})
