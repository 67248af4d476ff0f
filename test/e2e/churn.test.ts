/** A service of many replicas that is deleted while most of them wait for their start: invariants C11 and L12 on real hosts. */
import { pushBusybox } from '@boxcar/cli/machine/images'
import { afterAll, beforeAll, expect } from 'vitest'
import { test } from '../lab/as-root.ts'
import { type Churn, churn, goneBoundMs } from '../lab/churn.ts'
import { type Lab, startLab } from '../lab/lab.ts'
import { figure } from '../lab/web.ts'

const replicas = 120

let lab: Lab
let image: string
beforeAll(async () => {
  lab = await startLab({ images: [] })
  image = (await pushBusybox(lab.machine.registry.address)).pinned
  for (const { machine } of lab.hosts) await machine.docker(['pull', '--quiet', image])
})
afterAll(() => lab?.stop())

test(`${replicas} replicas deleted after 3 s: none is started any more, and another service scales meanwhile`, async () => {
  const seen: Churn = await churn(lab, { image, replicas, deletedAfterMs: 3000, scaledAfterMs: 1500 })
  const { goneMs, started, stopMs, scaleMs, report } = seen
  const spelled = (ms: number) => `${(ms / 1000).toFixed(2)} s`
  figure(`${replicas} replicas deleted after 3 s, ${started} started by then: gone after ${spelled(goneMs)}`)
  figure(`as many that were ready, on idle hosts: gone after ${spelled(stopMs)}`)
  figure(`another service's scale to 2 meanwhile: ${spelled(scaleMs.busy)}; idle: ${spelled(scaleMs.idle)}`)
  figure(`started although not wanted any more, as the engines had begun it: ${report.starts.unwanted}`)
  expect(report.violations).toEqual([])
  // Otherwise nothing waited, and nothing is shown.
  expect(report.starts.wanted + report.starts.unwanted).toBeLessThan(replicas)
  expect(goneMs).toBeLessThanOrEqual(goneBoundMs(seen))
  expect(scaleMs.busy).toBeLessThanOrEqual(3 * scaleMs.idle)
})
