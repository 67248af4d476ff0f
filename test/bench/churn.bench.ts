/**
 * A service of 300 replicas over three real hosts, deleted three seconds after it was created: how long until nothing of it is
 * left, how many of its containers were started for nothing, and how long another service's scale takes meanwhile.
 * `node test/bench/churn.bench.ts`; needs root.
 */
import { pushBusybox } from '@boxcar/cli/machine/images'
import { churn, goneBoundMs } from '../lab/churn.ts'
import { startLab } from '../lab/lab.ts'

const replicas = Number(process.env.REPLICAS ?? 300)
const seconds = (ms: number): string => `${(ms / 1000).toFixed(2)} s`

const lab = await startLab({ images: [] })
try {
  const image = (await pushBusybox(lab.machine.registry.address)).pinned
  for (const { machine } of lab.hosts) await machine.docker(['pull', '--quiet', image])
  const seen = await churn(lab, { image, replicas, deletedAfterMs: 3000, scaledAfterMs: 1500 })
  const boundMs = goneBoundMs(seen)
  const { violations, starts, neverStarted } = seen.report
  const lines = [
    `${replicas} replicas deleted after 3 s, ${seen.started} started by then: gone after ${seconds(seen.goneMs)}`,
    `  bound ${seconds(boundMs)}; as many that were ready are gone after ${seconds(seen.stopMs)} on idle hosts`,
    `another service's scale to 2: ${seconds(seen.scaleMs.busy)} meanwhile, ${seconds(seen.scaleMs.idle)} on idle hosts`,
    `containers started that were not wanted any more: ${starts.unwanted}; created and never started: ${neverStarted}`,
    ...violations,
  ]
  process.stdout.write(`${lines.join('\n')}\n`)
  const isWithin = seen.goneMs <= boundMs && seen.scaleMs.busy <= 3 * seen.scaleMs.idle
  if (!isWithin || violations.length > 0) process.exitCode = 1
} finally {
  await lab.stop()
}
