/**
 * A service of 300 replicas over three real hosts, deleted three seconds after it was created: how long until nothing of it is
 * left, how many of its containers were started for nothing, and how long another service's scale takes meanwhile.
 * `node test/bench/churn.bench.ts`; needs root.
 */
import { pushBusybox } from '@boxcar/cli/machine/images'
import { type Churn, churn, goneRatio, scaleRatio, spelled } from '../lab/churn.ts'
import { startLab } from '../lab/lab.ts'

const replicas = 300
const rounds = 3

const lab = await startLab({ images: [] })
try {
  const image = (await pushBusybox(lab.machine.registry.address)).pinned
  for (const { machine } of lab.hosts) await machine.docker(['pull', '--quiet', image])
  const seen: Churn[] = []
  for (let round = 0; round < rounds; round++) {
    const one = await churn(lab, { image, replicas })
    process.stdout.write(`${[...spelled(one, replicas), ...one.report.violations, ''].join('\n')}\n`)
    seen.push(one)
  }
  const ratio = scaleRatio(seen)
  process.stdout.write(
    `the other service's scale takes ${ratio.toFixed(1)} times its time on idle hosts (median)\n`,
  )
  const isWithin = goneRatio(seen) <= 1 && seen.every(one => one.report.violations.length === 0)
  if (!isWithin || ratio > 3) process.exitCode = 1
} finally {
  await lab.stop()
}
