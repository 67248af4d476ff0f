/** Thirty replicas, beside what the engines alone need for thirty containers on the same hosts in the same run. */
import { pushBusybox } from '@boxcar/cli/machine/images'
import { afterAll, beforeAll, expect } from 'vitest'
import { test } from '../lab/as-root.ts'
import { type Lab, startLab } from '../lab/lab.ts'
import { now } from '../lab/load.ts'
import { until } from '../lab/until.ts'
import { figure, untilReady } from '../lab/web.ts'

const replicas = 30
const rounds = 3
/** Where a container takes two thirds of a second to start, all the rounds take three minutes. */
const limitMs = 600_000

/** A web server that is up as soon as its container is: what is measured is the way there. */
const command = ['httpd', '-f', '-p', '8080', '-h', '/etc']

let lab: Lab
let image: string
beforeAll(async () => {
  lab = await startLab({ images: [] })
  image = (await pushBusybox(lab.machine.registry.address)).pinned
  for (const { machine } of lab.hosts) await machine.docker(['pull', '--quiet', image])
})
afterAll(() => lab?.stop())

async function plainDockerRun(count: number): Promise<number> {
  const began = now()
  const started = await Promise.all(
    Array.from({ length: count }, async (_, i) => {
      const host = lab.hosts[i % lab.hosts.length]
      if (host === undefined) throw new Error('no host')
      const id = await host.machine.docker([
        'run',
        '-d',
        '-p',
        `${host.address}:${31_000 + i}:8080`,
        image,
        ...command,
      ])
      return { host, id: id.trim() }
    }),
  )
  const tookMs = now() - began
  for (const host of lab.hosts) {
    const ids = started.filter(it => it.host === host).map(it => it.id)
    await host.machine.docker(['rm', '-f', ...ids])
  }
  return tookMs
}

async function boxcar(name: string, count: number): Promise<number> {
  const ref = { project: 'speed', name }
  const spec = {
    name,
    image,
    command,
    replicas: count,
    ports: [{ name: 'http', container: 8080 }],
    resources: { reservations: { cpus: 0.01, memory: '16MiB' } },
    stop: { signal: 'SIGKILL' },
  }
  const began = now()
  await lab.api.put(ref, spec)
  await untilReady(lab, 1, 60_000, ref)
  const tookMs = now() - began
  await lab.api.remove(ref)
  await until(
    () => lab.api.services('speed'),
    left => left.every(it => it.name !== name),
    { timeoutMs: 60_000, what: `${name} gone` },
  )
  return tookMs
}

test(`8: ${replicas} replicas are ready in at most 1.25 times what ${replicas} plain parallel docker run take`, {
  timeout: limitMs,
}, async () => {
  await boxcar('warm-up', lab.hosts.length)
  await plainDockerRun(lab.hosts.length)
  const pairs: { readonly plainMs: number; readonly boxcarMs: number }[] = []
  for (let round = 0; round < rounds; round++) {
    const plainMs = await plainDockerRun(replicas)
    const boxcarMs = await boxcar(`speed-${round}`, replicas)
    pairs.push({ plainMs, boxcarMs })
  }
  const ratios = pairs.map(it => it.boxcarMs / it.plainMs).sort((a, b) => a - b)
  const median = ratios[Math.floor(ratios.length / 2)] ?? Number.NaN
  const spelled = pairs
    .map(it => `${(it.boxcarMs / 1000).toFixed(2)}/${(it.plainMs / 1000).toFixed(2)} s`)
    .join(', ')
  figure(`8: created → ready over plain docker run: ${spelled}; median ratio ${median.toFixed(2)}`)
  expect(median).toBeLessThanOrEqual(1.25)
})
