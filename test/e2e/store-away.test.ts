/** The store is away for a minute: work goes on. */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect } from 'vitest'
import { test } from '../lab/as-root.ts'
import { containersOn, starts } from '../lab/containers.ts'
import { type Lab, startLab } from '../lab/lab.ts'
import { now } from '../lab/load.ts'
import { until } from '../lab/until.ts'
import { figure, untilReady, web, webPort, webSpec } from '../lab/web.ts'

let lab: Lab
beforeAll(async () => {
  lab = await startLab({ images: [{ version: '1' }, { version: '2' }] })
  await lab.api.put(web, webSpec(lab, '1'))
  await untilReady(lab, 1)
})
afterAll(() => lab?.stop())

test('7: etcd stopped for 60 s, one agent restarted meanwhile: no container stopped, no failed request, then a deploy works', async () => {
  const before = starts(await containersOn(lab.hosts))
  const load = lab.load(webPort, { rate: 100 })
  const stopped = now()
  await lab.machine.etcd.stop()
  await sleep(10_000)
  await lab.host('h2').agent.restart()
  await sleep(20_000)
  // Without the store a write is refused with a reason, and a read goes on.
  await expect(lab.api.put(web, webSpec(lab, '2'))).rejects.toMatchObject({ problem: { status: 503 } })
  expect((await lab.api.service(web)).ready).toBeGreaterThan(0)
  await sleep(Math.max(0, 60_000 - (now() - stopped)))
  const away = now() - stopped
  await lab.machine.etcd.start()
  await lab.hostsReady(30_000)
  await sleep(8000) // longer than any grace: whoever would evict or restart something does it now
  const report = await load.stop()
  figure(`7: etcd away for ${(away / 1000).toFixed(0)} s; ${report.summary()}`)
  expect(report.failures).toEqual([])
  expect(starts(await containersOn(lab.hosts))).toEqual(before)

  const began = now()
  await until(
    () => lab.api.put(web, webSpec(lab, '2')),
    saved => saved.generation === 2,
    { timeoutMs: 20_000, what: 'a PUT is accepted again' },
  )
  await untilReady(lab, 2)
  figure(`7: a deploy afterwards: ${((now() - began) / 1000).toFixed(1)} s`)
})
