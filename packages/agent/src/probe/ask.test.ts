import type { Clock, Instant } from '@boxcar/core/model/clock'
import { VirtualClock } from '@boxcar/store/memory/virtual-clock'
import { expect, test } from 'vitest'
import { MemoryDocker } from '../engine/memory.ts'
import { ask } from './ask.ts'
import { MemoryNetwork } from './memory-network.ts'

/** A container whose command never ends, asked by a process that stands still meanwhile. */
async function askExec(standstillMs: number) {
  const time = new VirtualClock()
  let skippedMs = 0
  const clock: Clock = {
    now: () => (time.now() + skippedMs) as Instant,
    wall: () => time.wall(),
    sleep: (ms, signal) => time.sleep(ms, signal),
  }
  const docker = new MemoryDocker({ clock: time })
  const behaviour = { exec: () => ({ exitCode: 0, output: '', tookMs: 60_000 }) }
  docker.import('app:1', { content: 'app', behaves: () => behaviour })
  const labels = { 'boxcar.cluster': 'c', 'boxcar.host': 'h' }
  const id = docker.runStranger({ name: 'app', image: 'app:1', labels, env: {}, resources: {}, ports: [] })
  const asker = {
    engine: docker.engine({ cluster: 'c', host: 'h' }),
    network: new MemoryNetwork(docker),
    clock,
    address: '10.0.0.1',
  }
  const question = { kind: 'exec', argv: ['check'], timeoutMs: 1000 } as const
  const answer = ask(asker, id, question, new AbortController().signal)
  await time.advance(300)
  skippedMs = standstillMs
  await time.advance(1000)
  return (await answer).kind
}

test.each([
  [0, 'failed'],
  [100, 'failed'],
  [400, 'undecided'],
  [60_000, 'undecided'],
] as const)('a command that does not end in time, to who stood still for %i ms: %s', async (ms, kind) => {
  expect(await askExec(ms)).toBe(kind)
})
