import type { Clock, Instant, WallTime } from '@boxcar/core/model/clock'
import { expect, test } from 'vitest'
import { type ContainerSpec, EngineFault, EngineUnavailable } from './engine.ts'
import { MemoryDocker, type MemoryDockerOptions } from './memory.ts'

/** A clock that stands until it is moved. */
class SteppedClock implements Clock {
  #now = 0
  readonly #sleepers: { readonly at: number; readonly wake: () => void }[] = []

  now(): Instant {
    return this.#now as Instant
  }

  wall(): WallTime {
    return (1_700_000_000_000 + this.#now) as WallTime
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise(resolve => {
      if (signal?.aborted) return resolve()
      signal?.addEventListener('abort', () => resolve(), { once: true })
      this.#sleepers.push({ at: this.#now + ms, wake: resolve })
    })
  }

  async advance(ms: number): Promise<void> {
    const end = this.#now + ms
    for (;;) {
      await settled()
      this.#sleepers.sort((a, b) => a.at - b.at)
      const next = this.#sleepers[0]
      if (next === undefined || next.at > end) break
      this.#sleepers.shift()
      this.#now = next.at
      next.wake()
    }
    this.#now = end
    await settled()
  }
}

const settled = () => new Promise<void>(resolve => setImmediate(resolve))

const spec: ContainerSpec = {
  name: 'web',
  image: 'web:1',
  labels: { 'boxcar.placement': '1' },
  env: {},
  resources: {},
  ports: [],
}
const owner = { cluster: 'blue', host: 'h1' }

function machine(options: Partial<MemoryDockerOptions> = {}) {
  const clock = new SteppedClock()
  const docker = new MemoryDocker({ clock, ...options })
  docker.import('web:1', {
    content: 'web',
    behaves: (_, run) => (run === 1 ? {} : { ends: { afterMs: 100, exitCode: 1 } }),
  })
  return { clock, docker, engine: docker.engine(owner) }
}

async function started(engine: ReturnType<MemoryDocker['engine']>) {
  const outcome = await engine.create(spec)
  if (outcome.kind !== 'created') throw new Error(outcome.kind)
  await engine.start(outcome.id)
  return outcome.id
}

test('a lost answer is found again', async () => {
  const { clock, docker, engine } = machine()
  docker.failNext('create', 'lost-answer')
  const asking = expect(engine.create(spec)).rejects.toThrow(EngineUnavailable)
  await clock.advance(20_000)
  await asking
  expect(await engine.create(spec)).toMatchObject({ kind: 'exists', state: 'created' })
})

test('faults come once each, in the order in which they were ordered', async () => {
  const { clock, docker, engine } = machine()
  docker.failNext('list', 'fails')
  docker.failNext('list', 'hangs')
  await expect(engine.list()).rejects.toThrow(EngineFault)
  const hanging = expect(engine.list()).rejects.toThrow('did not answer list within 15000 ms')
  await clock.advance(15_000)
  await hanging
  expect(await engine.list()).toEqual([])
})

test('calls take the time that they are given', async () => {
  const { clock, engine } = machine({ latencyMs: call => (call === 'start' ? 200 : 0) })
  const created = await engine.create(spec)
  if (created.kind !== 'created') throw new Error(created.kind)
  let outcome: unknown
  void engine.start(created.id).then(seen => {
    outcome = seen
  })
  await clock.advance(199)
  expect(outcome).toBeUndefined()
  await clock.advance(1)
  expect(outcome).toEqual({ kind: 'started' })
})

test('crashes, memory and restarts of the engine', async () => {
  const { clock, docker, engine } = machine()
  const id = await started(engine)
  docker.crash(id, 137, 'out-of-memory')
  expect(await engine.inspect(id)).toMatchObject({ state: 'exited', exitCode: 137, oomKilled: true })
  await engine.start(id)
  await clock.advance(99)
  expect(await engine.inspect(id)).toMatchObject({ state: 'running', exitCode: undefined, oomKilled: false })
  await clock.advance(1)
  expect(await engine.inspect(id)).toMatchObject({ state: 'exited', exitCode: 1 })
  await engine.start(id)
  docker.restart()
  expect(await engine.inspect(id)).toMatchObject({ state: 'exited', exitCode: 137 })
})

test('the same calls give the same ids', async () => {
  const [one, other] = [machine(), machine()]
  expect(await started(one.engine)).toBe(await started(other.engine))
})

test('ports of the machine that something else holds', async () => {
  const { docker, engine } = machine()
  docker.foreignPorts.add(8080)
  const ports = [{ container: 80, host: 8080, hostAddress: '0.0.0.0', protocol: 'tcp' as const }]
  const outcome = await engine.create({ ...spec, ports })
  if (outcome.kind !== 'created') throw new Error(outcome.kind)
  expect(await engine.start(outcome.id)).toMatchObject({ kind: 'failed', because: 'port-taken' })
})
