/** What an engine must do, for the one in memory and for a real one alike. */
import { setTimeout as sleep } from 'node:timers/promises'
import { DockerEngine } from '@boxcar/agent/docker/docker-engine'
import {
  type ContainerId,
  type ContainerSpec,
  type Engine,
  EngineUnavailable,
  type LogLine,
  labels,
  NotOurs,
} from '@boxcar/agent/engine/engine'
import { MemoryDocker } from '@boxcar/agent/engine/memory'
import { type Behaviour, type MemoryImage, MemoryRegistry } from '@boxcar/agent/engine/memory-image'
import { pauseProcess } from '@boxcar/cli/machine/process'
import type { Clock, Instant, WallTime } from '@boxcar/core/model/clock'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { isRoot } from '../lab/as-root.ts'
import { type Dockerd, startDockerd } from './dockerd.ts'

/** One kind of engine, with what the suite needs besides. */
interface Bench {
  engine(owner: { cluster: string; host: string }): Engine
  /** The same, giving up on calls after 300 ms. */
  impatient(owner: { cluster: string; host: string }): Engine
  /** `name:tag` in the registry, and the digest that it has there. Not on the engine yet. */
  readonly published: { readonly tag: string; readonly digest: string }
  /** What names of that registry begin with. */
  readonly registry: string
  /** An image of this engine only, that containers here are made from. It declares port 8080 and a health check. */
  readonly local: string
  /** A container of another program, without our labels. */
  stranger(name: string): Promise<string>
  /** Names of all containers, whoever made them. */
  names(): Promise<readonly string[]>
  setRegistry(state: 'up' | 'away'): Promise<void>
  /** away: nothing listens. silent: it never answers. back: as before, all containers have ended. */
  setEngine(state: 'away' | 'silent' | 'heard' | 'back'): Promise<void>
  close(): Promise<void>
}

/** Commands that the suite runs; the engine in memory knows them by heart. */
const does = {
  /** As process 1 it has no handler for SIGTERM, so only SIGKILL ends it. */
  sleeps: ['sleep', '100000'],
  obeys: ['sh', '-c', "trap 'exit 7' TERM; trap 'exit 8' USR1; echo ready; while :; do sleep 0.05; done"],
  fails: ['sh', '-c', 'echo out; echo err >&2; exit 3'],
  counts: ['sh', '-c', 'for i in $(seq 1 20000); do echo line $i; done'],
  ticks: ['sh', '-c', 'for i in $(seq 1 5); do echo tick $i; sleep 0.1; done'],
  longLine: ['sh', '-c', 'head -c 100000 /dev/zero | tr "\\0" x; echo end'],
  cannot: ['no-such-program'],
  greedy: ['dd', 'if=/dev/zero', 'of=/dev/null', 'bs=200M', 'count=1'],
}

const inside = {
  fine: ['sh', '-c', 'echo all well; exit 0'],
  bad: ['sh', '-c', 'echo not well >&2; exit 4'],
  long: ['sh', '-c', 'for i in $(seq 1 5000); do echo $i; done'],
  slow: ['sh', '-c', 'echo begun; sleep 100'],
  cannot: ['no-such-program'],
}

const is = (argv: readonly string[] | undefined, other: readonly string[]) =>
  JSON.stringify(argv) === JSON.stringify(other)

const behaves: MemoryImage['behaves'] = ({ command }) => {
  const says = (...lines: string[]) => lines.map(line => ({ afterMs: 0, stream: 'stdout' as const, line }))
  const common: Behaviour = {
    onSignal: () => 'ignored',
    exec: argv => {
      if (is(argv, inside.fine)) return { exitCode: 0, output: 'all well\n' }
      if (is(argv, inside.bad)) return { exitCode: 4, output: 'not well\n' }
      if (is(argv, inside.long))
        return { exitCode: 0, output: Array.from({ length: 5000 }, (_, i) => `${i + 1}\n`).join('') }
      if (is(argv, inside.slow)) return { exitCode: 0, output: 'begun\n', tookMs: 100_000 }
      return { exitCode: 127, output: 'executable file not found' }
    },
  }
  if (is(command, does.obeys))
    return {
      ...common,
      writes: says('ready'),
      onSignal: name => ({ inMs: 0, exitCode: name === 'SIGUSR1' ? 8 : 7 }),
    }
  if (is(command, does.fails))
    return {
      ...common,
      writes: [...says('out'), { afterMs: 0, stream: 'stderr', line: 'err' }],
      ends: { afterMs: 20, exitCode: 3 },
    }
  if (is(command, does.counts))
    return {
      ...common,
      writes: says(...Array.from({ length: 20_000 }, (_, i) => `line ${i + 1}`)),
      ends: { afterMs: 1, exitCode: 0 },
    }
  if (is(command, does.ticks))
    return {
      ...common,
      writes: Array.from({ length: 5 }, (_, i) => ({
        afterMs: i * 100,
        stream: 'stdout',
        line: `tick ${i + 1}`,
      })),
      ends: { afterMs: 500, exitCode: 0 },
    }
  if (is(command, does.longLine))
    return {
      ...common,
      writes: says('x'.repeat(65_536), `${'x'.repeat(100_000 - 65_536)}end`),
      ends: { afterMs: 1, exitCode: 0 },
    }
  if (is(command, does.cannot))
    return { cannotStart: 'exec: "no-such-program": executable file not found in $PATH' }
  if (is(command, does.greedy))
    return { ...common, ends: { afterMs: 50, exitCode: 137, cause: 'out-of-memory' } }
  return common
}

const clock: Clock = {
  now: () => performance.now() as Instant,
  wall: () => Date.now() as WallTime,
  async sleep(ms, signal) {
    await sleep(ms, undefined, { ...(signal && { signal }) }).catch(() => undefined)
  },
}

const check = {
  test: ['CMD', 'test', '-f', '/tmp/ok'],
  intervalMs: 5000,
  timeoutMs: undefined,
  startPeriodMs: undefined,
  retries: 2,
}

async function memoryBench(): Promise<Bench> {
  const registry = new MemoryRegistry()
  const docker = new MemoryDocker({ clock, registry })
  const image = { content: 'busybox', behaves, health: { healthcheck: check, exposedPorts: [8080] } }
  docker.import('boxcar-test:local', image)
  const digest = registry.push('127.0.0.1:5000/team/sample:1', { ...image, content: 'published' })
  return {
    engine: owner => docker.engine(owner),
    impatient: owner => docker.engine(owner, { callMs: 300 }),
    published: { tag: '127.0.0.1:5000/team/sample:1', digest },
    registry: '127.0.0.1:5000',
    local: 'boxcar-test:local',
    stranger: async name =>
      docker.runStranger({
        ...specOf('x', 'boxcar-test:local'),
        name,
        labels: { [labels.cluster]: 'other' },
        command: does.sleeps,
      }),
    names: async () => docker.all().map(container => container.name),
    setRegistry: async state => {
      registry.state = state
    },
    setEngine: async state => {
      if (state === 'back') docker.restart()
      else docker.become(state === 'heard' ? 'up' : state)
    },
    close: async () => undefined,
  }
}

async function dockerBench(): Promise<Bench & { readonly dockerd: Dockerd }> {
  const dockerd = await startDockerd()
  const address = `unix://${dockerd.socket}`
  const changes = [
    'EXPOSE 8080',
    'CMD ["sleep", "100000"]',
    'HEALTHCHECK --interval=5s --retries=2 CMD ["test", "-f", "/tmp/ok"]',
  ]
  await dockerd.importBusybox('boxcar-test:local', changes)
  // Another content than the local image, so that the two have nothing in common.
  const tag = `${dockerd.registry}/team/sample:1`
  await dockerd.importBusybox(tag, [...changes, 'ENV PUBLISHED=1'])
  const pushed = await dockerd.docker('push', tag)
  await dockerd.docker('rmi', tag)
  const digest = /digest: (sha256:[0-9a-f]{64})/.exec(pushed)?.[1] ?? ''
  return {
    dockerd,
    engine: owner => new DockerEngine({ address, ...owner }),
    impatient: owner => new DockerEngine({ address, ...owner, times: { callMs: 300 } }),
    published: { tag, digest },
    registry: dockerd.registry,
    local: 'boxcar-test:local',
    async stranger(name) {
      const args = ['--name', name, '--label', `${labels.cluster}=other`, 'boxcar-test:local', ...does.obeys]
      return (await dockerd.docker('run', '-d', ...args)).trim()
    },
    names: async () =>
      (await dockerd.docker('ps', '-a', '--format', '{{.Names}}')).split('\n').filter(name => name !== ''),
    setRegistry: state => (state === 'up' ? dockerd.startRegistry() : dockerd.stopRegistry()),
    async setEngine(state) {
      if (state === 'away') await dockerd.stopEngine('SIGTERM')
      else if (state === 'back') await dockerd.startEngine()
      else if (state === 'silent') await pauseProcess(dockerd.pid())
      else process.kill(dockerd.pid(), 'SIGCONT')
    },
    close: () => dockerd.close(),
  }
}

const specOf = (name: string, image: string): ContainerSpec => ({
  name,
  image,
  labels: { [labels.instance]: `shop/${name}/1/0`, [labels.placement]: '7' },
  env: {},
  resources: {},
  ports: [],
  healthcheck: 'none',
})

const owner = { cluster: 'blue', host: 'h1' }

const benches: readonly [string, () => Promise<Bench>][] = [
  ['memory', memoryBench],
  ['docker', dockerBench],
]

describe.each(benches)('the engine: %s', (name, open) => {
  let bench: Bench
  let engine: Engine
  const canRun = name === 'memory' || isRoot

  beforeAll(async () => {
    if (canRun) bench = await open()
  })
  afterAll(() => bench?.close())
  beforeEach(context => {
    context.skip(!canRun, 'an engine of its own needs root')
    engine = bench.engine(owner)
  })
  afterEach(async () => {
    for (const host of ['h1', 'h2']) {
      const cleaner = bench.engine({ cluster: 'blue', host })
      await Promise.all((await cleaner.list()).map(container => cleaner.remove(container.id)))
    }
  })

  const spec = (name: string, more: Partial<ContainerSpec> = {}): ContainerSpec => ({
    ...specOf(name, bench.local),
    ...more,
  })

  async function made(name: string, more: Partial<ContainerSpec> = {}): Promise<ContainerId> {
    const outcome = await engine.create(spec(name, more))
    if (outcome.kind !== 'created') throw new Error(JSON.stringify(outcome))
    return outcome.id
  }

  async function running(name: string, more: Partial<ContainerSpec> = {}): Promise<ContainerId> {
    const id = await made(name, more)
    expect(await engine.start(id)).toEqual({ kind: 'started' })
    return id
  }

  async function until<T>(look: () => Promise<T | undefined | false>): Promise<T> {
    for (const end = Date.now() + 20_000; Date.now() < end; await sleep(20)) {
      const seen = await look()
      if (seen !== undefined && seen !== false) return seen
    }
    throw new Error('it did not come to be')
  }

  const over = (id: ContainerId) =>
    until(async () => {
      const seen = await engine.inspect(id)
      return seen?.state === 'exited' && seen
    })

  async function linesOf(id: ContainerId, options: Parameters<Engine['logs']>[1] = {}): Promise<LogLine[]> {
    const lines: LogLine[] = []
    for await (const line of engine.logs(id, options)) lines.push(line)
    return lines
  }

  const texts = (lines: readonly LogLine[]) => lines.map(line => line.line)

  describe('the machine', () => {
    test('is described', async () => {
      const info = await engine.info()
      expect(info.version).toMatch(/^\d+\.\d+/)
      expect(info.cpuMilli).toBeGreaterThanOrEqual(1000)
      expect(info.memoryMiB).toBeGreaterThan(100)
      expect(info).toMatchObject({ os: 'linux', rootDir: expect.stringMatching(/^\//) })
      expect((await engine.info()).id).toBe(info.id)
    })
  })

  describe('the life of a container', () => {
    test('created, running, stopped, removed', async () => {
      const id = await made('web', {
        command: does.sleeps,
        labels: { [labels.instance]: 'shop/web/1/0', mine: 'yes' },
      })
      expect(await engine.list()).toMatchObject([
        {
          id,
          name: 'web',
          state: 'created',
          labels: {
            [labels.cluster]: 'blue',
            [labels.host]: 'h1',
            [labels.instance]: 'shop/web/1/0',
            mine: 'yes',
          },
        },
      ])
      expect(await engine.inspect(id)).toMatchObject({
        state: 'created',
        exitCode: undefined,
        startedAtMs: undefined,
      })

      const before = Date.now()
      expect(await engine.start(id)).toEqual({ kind: 'started' })
      const seen = await engine.inspect(id)
      expect(seen).toMatchObject({
        state: 'running',
        exitCode: undefined,
        oomKilled: false,
        health: undefined,
      })
      expect(Math.abs((seen?.startedAtMs ?? 0) - before)).toBeLessThan(10_000)

      await engine.stop(id, { graceMs: 0 })
      expect(await engine.inspect(id)).toMatchObject({ state: 'exited', exitCode: 137, oomKilled: false })
      await engine.remove(id)
      expect(await engine.list()).toEqual([])
      expect(await engine.inspect(id)).toBeUndefined()
    })

    test('is listed by name, in whatever state', async () => {
      await running('bb', { command: does.sleeps })
      await made('cc')
      await over(await running('aa', { command: does.fails }))
      expect((await engine.list()).map(({ name, state }) => `${name} ${state}`)).toEqual([
        'aa exited',
        'bb running',
        'cc created',
      ])
    })

    test('the same name and labels twice is one container', async () => {
      const id = await made('web')
      expect(await engine.create(spec('web'))).toEqual({ kind: 'exists', id, state: 'created' })
      expect(await engine.create(spec('web', { labels: { [labels.placement]: '8' } }))).toEqual({
        kind: 'name-taken',
        by: 'ours',
        id,
      })
      expect(await engine.list()).toHaveLength(1)
    })

    test('an image that is not here', async () => {
      expect(await engine.create(spec('web', { image: `${bench.published.tag}` }))).toMatchObject({
        kind: 'image-missing',
      })
      expect(await engine.list()).toEqual([])
    })

    test('a spec that the engine does not accept', async () => {
      expect(await engine.create(spec('no good name'))).toMatchObject({ kind: 'refused', permanent: true })
      expect(await engine.list()).toEqual([])
    })

    test('starting what runs, and what is gone', async () => {
      const id = await running('web', { command: does.sleeps })
      expect(await engine.start(id)).toEqual({ kind: 'started' })
      await engine.remove(id)
      expect(await engine.start(id)).toEqual({ kind: 'gone' })
    })

    test('a command that cannot be executed', async () => {
      const id = await made('web', { command: does.cannot })
      const outcome = await engine.start(id)
      expect(outcome).toMatchObject({
        kind: 'failed',
        because: 'command',
        reason: expect.stringContaining('no-such-program'),
      })
      expect(await engine.inspect(id)).toMatchObject({
        state: 'created',
        exitCode: 127,
        error: expect.stringContaining('no-such-program'),
      })
    })

    test('a port that another one has', async () => {
      const ports = [{ container: 80, host: 18080, hostAddress: '127.0.0.1', protocol: 'tcp' as const }]
      const first = await running('first', { command: does.sleeps, ports })
      const second = await made('second', { command: does.sleeps, ports })
      expect(await engine.start(second)).toMatchObject({ kind: 'failed', because: 'port-taken' })
      await engine.stop(first, { graceMs: 0 })
      expect(await engine.start(second)).toEqual({ kind: 'started' })
    })

    test('ends by itself, and starts again', async () => {
      const id = await running('web', { command: does.fails })
      const first = await over(id)
      expect(first).toMatchObject({ exitCode: 3, oomKilled: false })
      expect(Math.abs((first.finishedAtMs ?? 0) - (first.startedAtMs ?? 0))).toBeLessThan(5000)
      await sleep(5)
      expect(await engine.start(id)).toEqual({ kind: 'started' })
      const second = await over(id)
      expect(second.startedAtMs).toBeGreaterThan(first.startedAtMs ?? 0)
      expect(texts(await linesOf(id)).filter(line => line === 'out')).toHaveLength(2)
    })

    test('more memory than it may have', async () => {
      const id = await running('web', { command: does.greedy, resources: { memoryMiB: 16 } })
      expect(await over(id)).toMatchObject({ exitCode: 137, oomKilled: true })
    })
  })

  describe('stopping', () => {
    const obeying = async (name: string, more: Partial<ContainerSpec> = {}) => {
      const id = await running(name, { command: does.obeys, ...more })
      await until(async () => (await linesOf(id)).length > 0)
      return id
    }

    test('a process that obeys ends as it likes, at once', async () => {
      const id = await obeying('web')
      const began = Date.now()
      await engine.stop(id, { graceMs: 20_000 })
      expect(Date.now() - began).toBeLessThan(5000)
      expect(await engine.inspect(id)).toMatchObject({ state: 'exited', exitCode: 7 })
    })

    test('one that does not obey is killed when the grace is over', async () => {
      const id = await running('web', { command: does.sleeps })
      const began = Date.now()
      await engine.stop(id, { graceMs: 1000 })
      expect(Date.now() - began).toBeGreaterThan(900)
      expect(await engine.inspect(id)).toMatchObject({ exitCode: 137, oomKilled: false })
    })

    test('by the signal that it was made with, or by another', async () => {
      const own = await obeying('own', { stopSignal: 'SIGUSR1' })
      await engine.stop(own, { graceMs: 20_000 })
      expect(await engine.inspect(own)).toMatchObject({ exitCode: 8 })
      const other = await obeying('other')
      await engine.stop(other, { signal: 'SIGUSR1', graceMs: 20_000 })
      expect(await engine.inspect(other)).toMatchObject({ exitCode: 8 })
      const deaf = await running('deaf', { command: does.sleeps })
      await engine.stop(deaf, { signal: 'SIGUSR1', graceMs: 300 })
      expect(await engine.inspect(deaf)).toMatchObject({ exitCode: 137 })
    })

    test('again, and what is gone', async () => {
      const id = await running('web', { command: does.sleeps })
      await Promise.all([engine.stop(id, { graceMs: 0 }), engine.stop(id, { graceMs: 0 })])
      await engine.stop(id, { graceMs: 0 })
      await engine.kill(id, 'SIGTERM')
      await engine.remove(id)
      await engine.stop(id, { graceMs: 0 })
      await engine.kill(id, 'SIGKILL')
      await engine.remove(id)
    })

    test('a signal alone', async () => {
      const id = await obeying('web')
      await engine.kill(id, 'SIGUSR1')
      expect(await over(id)).toMatchObject({ exitCode: 8 })
      const deaf = await running('deaf', { command: does.sleeps })
      await engine.kill(deaf, 'SIGKILL')
      expect(await over(deaf)).toMatchObject({ exitCode: 137 })
    })

    test('removing what runs, many at once', async () => {
      const ids = await Promise.all(
        ['aa', 'bb', 'cc', 'dd', 'ee'].map(name => running(name, { command: does.sleeps })),
      )
      expect((await engine.list()).map(container => container.state)).toEqual(Array(5).fill('running'))
      await Promise.all([...ids, ...ids].map(id => engine.remove(id)))
      expect(await engine.list()).toEqual([])
    })
  })

  describe('containers that are not ours', () => {
    test('are not listed, and refused', async () => {
      const other = bench.engine({ cluster: 'blue', host: 'h2' })
      const id = await running('web', { command: does.sleeps })
      expect(await other.list()).toEqual([])
      await expect(other.stop(id, { graceMs: 0 })).rejects.toThrow(NotOurs)
      await expect(other.remove(id)).rejects.toThrow(NotOurs)
      await expect(other.kill(id, 'SIGKILL')).rejects.toThrow(NotOurs)
      await expect(other.start(id)).rejects.toThrow(NotOurs)
      await expect(other.inspect(id)).rejects.toThrow(NotOurs)
      await expect(other.exec(id, inside.fine, { timeoutMs: 1000 })).rejects.toThrow(NotOurs)
      await expect(other.logs(id)[Symbol.asyncIterator]().next()).rejects.toThrow(NotOurs)
      expect(await other.create(spec('web'))).toEqual({ kind: 'name-taken', by: 'stranger', id })
      expect(await engine.inspect(id)).toMatchObject({ state: 'running' })
    })

    test('keep a name that we wanted', async () => {
      const id = await bench.stranger('landlord')
      expect(await engine.create(spec('landlord'))).toEqual({ kind: 'name-taken', by: 'stranger', id })
      expect(await bench.names()).toContain('landlord')
    })
  })

  describe('logs', () => {
    test('both streams with their times', async () => {
      const id = await running('web', { command: does.fails })
      await over(id)
      const lines = await linesOf(id)
      expect([...lines].sort((a, b) => (a.line < b.line ? 1 : -1))).toEqual([
        { stream: 'stdout', at: expect.any(Number), line: 'out' },
        { stream: 'stderr', at: expect.any(Number), line: 'err' },
      ])
      for (const { at } of lines) expect(Math.abs(at - Date.now())).toBeLessThan(30_000)
    })

    test('the last ones, and those since a time', async () => {
      const id = await running('web', { command: does.ticks })
      await over(id)
      const all = await linesOf(id)
      expect(texts(all)).toEqual(['tick 1', 'tick 2', 'tick 3', 'tick 4', 'tick 5'])
      expect(texts(await linesOf(id, { tail: 2 }))).toEqual(['tick 4', 'tick 5'])
      expect(await linesOf(id, { tail: 0 })).toEqual([])
      expect(texts(await linesOf(id, { sinceMs: (all[2]?.at ?? 0) - 20 }))).toEqual([
        'tick 3',
        'tick 4',
        'tick 5',
      ])
    })

    test('followed until the container ends', async () => {
      const id = await running('web', { command: does.ticks })
      const heard: number[] = []
      const lines: LogLine[] = []
      for await (const line of engine.logs(id, { follow: true })) {
        heard.push(Date.now())
        lines.push(line)
      }
      expect(texts(lines)).toEqual(['tick 1', 'tick 2', 'tick 3', 'tick 4', 'tick 5'])
      expect((heard.at(-1) ?? 0) - (heard[0] ?? 0)).toBeGreaterThan(200)
    })

    test('followed until nobody wants them any more', async () => {
      const id = await running('web', { command: does.obeys })
      const controller = new AbortController()
      const lines: string[] = []
      for await (const { line } of engine.logs(id, { follow: true, signal: controller.signal })) {
        lines.push(line)
        setTimeout(() => controller.abort(), 50)
      }
      expect(lines).toEqual(['ready'])
      for await (const { line } of engine.logs(id, { follow: true })) {
        expect(line).toBe('ready')
        break
      }
      expect(await linesOf(id, { follow: true, signal: AbortSignal.abort() })).toEqual([])
      expect(await engine.inspect(id)).toMatchObject({ state: 'running' })
    })

    test('twenty thousand lines to a slow reader', async () => {
      const id = await running('web', { command: does.counts })
      await over(id)
      let count = 0
      for await (const { line } of engine.logs(id)) {
        expect(line).toBe(`line ${++count}`)
        if (count % 2000 === 0) await sleep(10)
      }
      expect(count).toBe(20_000)
    })

    test('a line that is longer than a message', async () => {
      const id = await running('web', { command: does.longLine })
      await over(id)
      const lines = texts(await linesOf(id))
      expect(lines.join('')).toBe(`${'x'.repeat(100_000)}end`)
      expect(lines).toHaveLength(2)
    })

    test('of what is gone there are none', async () => {
      const id = await made('web')
      expect(await linesOf(id)).toEqual([])
      await engine.remove(id)
      expect(await linesOf(id)).toEqual([])
    })
  })

  describe('commands in a container', () => {
    test('exit status and output', async () => {
      const id = await running('web', { command: does.sleeps })
      expect(await engine.exec(id, inside.fine, { timeoutMs: 10_000 })).toEqual({
        kind: 'exited',
        exitCode: 0,
        output: 'all well\n',
      })
      expect(await engine.exec(id, inside.bad, { timeoutMs: 10_000 })).toEqual({
        kind: 'exited',
        exitCode: 4,
        output: 'not well\n',
      })
      const long = await engine.exec(id, inside.long, { timeoutMs: 10_000 })
      expect(long.kind === 'exited' && long.output.length).toBe(4096)
      expect(long.kind === 'exited' && long.output).toMatch(/\n4999\n5000\n$/)
    })

    test('one that cannot be executed', async () => {
      const id = await running('web', { command: does.sleeps })
      const outcome = await engine.exec(id, inside.cannot, { timeoutMs: 10_000 })
      expect(outcome.kind === 'exited' && [126, 127]).toContain(outcome.kind === 'exited' && outcome.exitCode)
      expect(await engine.inspect(id)).toMatchObject({ state: 'running' })
    })

    test('one that takes too long', async () => {
      const id = await running('web', { command: does.sleeps })
      const began = Date.now()
      expect(await engine.exec(id, inside.slow, { timeoutMs: 700 })).toEqual({
        kind: 'timed-out',
        output: 'begun\n',
      })
      expect(Date.now() - began).toBeLessThan(5000)
    })

    test('where nothing runs', async () => {
      const id = await made('web')
      expect(await engine.exec(id, inside.fine, { timeoutMs: 1000 })).toMatchObject({ kind: 'not-running' })
      await engine.remove(id)
      expect(await engine.exec(id, inside.fine, { timeoutMs: 1000 })).toMatchObject({ kind: 'not-running' })
    })
  })

  describe('health checks', () => {
    const quick = { test: ['CMD', ...inside.fine], intervalMs: 1000, retries: 1 }

    test('that pass', async () => {
      const id = await running('web', { command: does.sleeps, healthcheck: quick })
      expect((await engine.inspect(id))?.health).toMatchObject({ status: 'starting' })
      const seen = await until(async () => {
        const detail = await engine.inspect(id)
        return detail?.health?.status === 'healthy' && detail
      })
      expect(seen.health).toEqual({
        status: 'healthy',
        failingStreak: 0,
        last: { exitCode: 0, output: 'all well\n' },
      })
    })

    test('that fail', async () => {
      const id = await running('web', {
        command: does.sleeps,
        healthcheck: { ...quick, test: ['CMD', ...inside.bad] },
      })
      const seen = await until(async () => {
        const detail = await engine.inspect(id)
        return detail?.health?.status === 'unhealthy' && detail
      })
      expect(seen.health?.last).toEqual({ exitCode: 4, output: 'not well\n' })
    })

    test('of the image, and none where none is wanted', async () => {
      const own = await running('own', { command: does.sleeps, healthcheck: undefined })
      const none = await running('none', { command: does.sleeps, healthcheck: 'none' })
      expect((await engine.inspect(own))?.health).toMatchObject({ status: 'starting' })
      expect((await engine.inspect(none))?.health).toBeUndefined()
    })
  })

  describe('events', () => {
    test('tell of what happens to ours, and of nothing else', async () => {
      const controller = new AbortController()
      const heard: string[] = []
      const names = new Map<string, string>()
      const listening = Promise.withResolvers<void>()
      const iteration = (async () => {
        for await (const event of engine.events(controller.signal)) {
          if (event.kind === 'listening') listening.resolve()
          else heard.push(`${names.get(event.id) ?? event.id} ${event.action}`)
        }
      })()
      await listening.promise
      const other = bench.engine({ cluster: 'blue', host: 'h2' })
      await other.create(spec('theirs'))
      const id = await made('web', { command: does.sleeps })
      names.set(id, 'web')
      await engine.start(id)
      await engine.exec(id, inside.fine, { timeoutMs: 5000 })
      await engine.kill(id, 'SIGKILL')
      await over(id)
      await engine.remove(id)
      await until(async () => heard.some(line => line.endsWith('destroy')))
      controller.abort()
      await iteration
      const known = heard.map(line => line.replace(id, 'web'))
      expect(known).toEqual(['web create', 'web start', 'web kill', 'web die', 'web destroy'])
    })

    test('end when nobody listens', async () => {
      for await (const event of engine.events()) {
        expect(event).toEqual({ kind: 'listening' })
        break
      }
      for await (const event of engine.events(AbortSignal.abort())) throw new Error(`heard ${event.kind}`)
    })
  })

  describe('images', () => {
    const pinned = () => `${bench.registry}/team/sample@${bench.published.digest}`
    const nowhere = () => `${bench.registry}/team/nothing:1`

    test('a local one is known by its id', async () => {
      const outcome = await engine.resolve(bench.local)
      expect(outcome).toMatchObject({
        kind: 'local',
        imageId: expect.stringMatching(/^sha256:[0-9a-f]{64}$/),
      })
      if (outcome.kind !== 'local') return
      expect(await engine.resolve(outcome.imageId)).toEqual(outcome)
      expect(await engine.pull(outcome.imageId)).toEqual({ kind: 'pulled', digest: outcome.imageId })
      expect(await engine.create(spec('web', { image: outcome.imageId }))).toMatchObject({ kind: 'created' })
      const elsewhere = `sha256:${'0'.repeat(64)}`
      expect(await engine.resolve(elsewhere)).toMatchObject({ kind: 'not-found' })
      expect(await engine.pull(elsewhere)).toMatchObject({ kind: 'failed', permanent: true })
    })

    test('a tag is pinned without a download, a digest is itself', async () => {
      const { tag, digest } = bench.published
      expect(await engine.resolve(tag)).toEqual({ kind: 'resolved', reference: pinned(), digest })
      expect(await engine.resolve(pinned())).toEqual({ kind: 'resolved', reference: pinned(), digest })
      expect(await engine.resolve(`${tag}@${digest}`)).toEqual({
        kind: 'resolved',
        reference: pinned(),
        digest,
      })
      expect(await engine.imageHealthcheck(pinned())).toBeUndefined()
    })

    test('what no registry has, and what is no reference', async () => {
      expect(await engine.resolve(nowhere())).toMatchObject({
        kind: 'not-found',
        reason: expect.stringContaining('manifest unknown'),
      })
      expect(await engine.pull(nowhere())).toMatchObject({
        kind: 'failed',
        permanent: true,
        reason: expect.stringContaining('unknown'),
      })
      const unknown = `${bench.registry}/team/sample@sha256:${'1'.repeat(64)}`
      expect(await engine.pull(unknown)).toMatchObject({ kind: 'failed', permanent: true })
      expect(await engine.resolve('Not An Image')).toMatchObject({ kind: 'invalid' })
      expect(await engine.pull('Not An Image')).toMatchObject({ kind: 'failed', permanent: true })
    })

    test('a registry that is away, and pulls once it is back', async () => {
      await bench.setRegistry('away')
      try {
        expect(await engine.resolve(bench.published.tag)).toMatchObject({
          kind: 'registry-away',
          here: undefined,
        })
        expect(await engine.pull(pinned())).toMatchObject({ kind: 'failed', permanent: false })
      } finally {
        await bench.setRegistry('up')
      }
      const progress: string[][] = [[], []]
      const outcomes = await Promise.all([
        engine.pull(pinned(), { onProgress: line => progress[0]?.push(line.status) }),
        engine.pull(pinned(), { onProgress: line => progress[1]?.push(line.status) }),
      ])
      expect(outcomes).toEqual(Array(2).fill({ kind: 'pulled', digest: bench.published.digest }))
      for (const heard of progress) expect(heard.length).toBeGreaterThan(0)
      expect(await engine.imageHealthcheck(pinned())).toEqual({ healthcheck: check, exposedPorts: [8080] })
      const id = await made('pulled', { image: pinned(), command: does.sleeps })
      expect(await engine.start(id)).toEqual({ kind: 'started' })

      // From now on what is here can be used without the registry.
      expect(await engine.pull(bench.published.tag)).toEqual({
        kind: 'pulled',
        digest: bench.published.digest,
      })
      await bench.setRegistry('away')
      try {
        expect(await engine.pull(pinned())).toEqual({ kind: 'pulled', digest: bench.published.digest })
        expect(await engine.resolve(bench.published.tag)).toMatchObject({
          kind: 'registry-away',
          here: pinned(),
        })
      } finally {
        await bench.setRegistry('up')
      }
    })

    test('a wait that is given up', async () => {
      const signal = AbortSignal.abort(new Error('enough'))
      await expect(engine.pull(pinned(), { signal })).rejects.toThrow('enough')
    })
  })

  describe('an engine in trouble', () => {
    test('silent: calls end by their timers, and go on afterwards', async () => {
      const impatient = bench.impatient(owner)
      const id = await running('web', { command: does.sleeps })
      expect(await impatient.list()).toHaveLength(1)
      await bench.setEngine('silent')
      try {
        const calls = [
          impatient.info(),
          impatient.list(),
          impatient.inspect(id),
          impatient.create(spec('other')),
          impatient.kill(id, 'SIGTERM'),
        ]
        for (const call of await Promise.allSettled(calls))
          expect(call).toMatchObject({ reason: expect.any(EngineUnavailable) })
        await expect(engine.list(AbortSignal.timeout(50))).rejects.toThrow('timeout')
        await expect(engine.info(AbortSignal.timeout(50))).rejects.toThrow('timeout')
      } finally {
        await bench.setEngine('heard')
      }
      expect(await engine.inspect(id)).toMatchObject({ state: 'running' })
      // What was asked of a silent engine is perhaps done: asking again finds out.
      expect(['created', 'exists']).toContain((await engine.create(spec('other'))).kind)
      expect((await engine.list()).map(container => container.name)).toEqual(['other', 'web'])
    })

    test('away: says so, and everything is found again', async () => {
      const id = await running('web', { command: does.obeys })
      await until(async () => (await linesOf(id)).length > 0)
      const ended = (async () => {
        for await (const event of engine.events())
          if (event.kind === 'changed' && event.action === 'never') break
      })()
      await bench.setEngine('away')
      await ended
      await expect(engine.info()).rejects.toThrow(EngineUnavailable)
      await expect(engine.list()).rejects.toThrow(EngineUnavailable)
      await expect(engine.inspect(id)).rejects.toThrow(EngineUnavailable)
      await expect(engine.create(spec('other'))).rejects.toThrow(EngineUnavailable)
      await expect(engine.start(id)).rejects.toThrow(EngineUnavailable)
      await expect(engine.stop(id, { graceMs: 0 })).rejects.toThrow(EngineUnavailable)
      await expect(engine.remove(id)).rejects.toThrow(EngineUnavailable)
      await expect(engine.pull(bench.published.tag)).rejects.toThrow(EngineUnavailable)
      await expect(engine.resolve(bench.published.tag)).rejects.toThrow(EngineUnavailable)
      await expect(engine.events()[Symbol.asyncIterator]().next()).rejects.toThrow(EngineUnavailable)
      await expect(engine.logs(id)[Symbol.asyncIterator]().next()).rejects.toThrow(EngineUnavailable)
      await bench.setEngine('back')
      expect((await engine.list()).map(({ name, state }) => `${name} ${state}`)).toEqual(['web exited'])
      expect(await engine.start(id)).toEqual({ kind: 'started' })
    })
  })
})

describe.skipIf(!isRoot)('a real engine besides', () => {
  let bench: Awaited<ReturnType<typeof dockerBench>>
  let engine: Engine

  beforeAll(async () => {
    bench = await dockerBench()
    engine = bench.engine(owner)
  })
  afterAll(() => bench?.close())

  test('applies what the spec says', async () => {
    const outcome = await engine.create({
      ...specOf('full', bench.local),
      command: ['-c', 'env; cat /etc/hosts; ulimit -n; sleep 100000'],
      entrypoint: ['sh'],
      env: { GREETING: 'hello = world', LONG: 'x'.repeat(100_000) },
      user: '1000:1000',
      workdir: '/tmp',
      hostname: 'full-0',
      init: true,
      stopSignal: 'SIGINT',
      readOnly: true,
      tmpfs: ['/scratch'],
      shmSizeMiB: 8,
      capDrop: ['ALL'],
      capAdd: ['NET_BIND_SERVICE'],
      extraHosts: { 'boxcar.internal': '10.1.2.3' },
      ulimits: { nofile: { soft: 1000, hard: 2000 } },
      resources: { cpuMilli: 250, memoryMiB: 32, pids: 50 },
      ports: [
        { container: 8080, host: 18080, hostAddress: '127.0.0.1', protocol: 'tcp' },
        { container: 8080, host: 18081, hostAddress: '127.0.0.1', protocol: 'tcp' },
      ],
      healthcheck: {
        test: ['CMD-SHELL', 'exit 0'],
        intervalMs: 2000,
        timeoutMs: 1500,
        startPeriodMs: 3000,
        retries: 4,
      },
    })
    if (outcome.kind !== 'created') throw new Error(JSON.stringify(outcome))
    expect(await engine.start(outcome.id)).toEqual({ kind: 'started' })
    const [seen] = JSON.parse(await bench.dockerd.docker('inspect', outcome.id))
    expect(seen.Config).toMatchObject({
      User: '1000:1000',
      WorkingDir: '/tmp',
      Hostname: 'full-0',
      StopSignal: 'SIGINT',
      Labels: {
        'boxcar.cluster': 'blue',
        'boxcar.host': 'h1',
        'boxcar.instance': 'shop/full/1/0',
        'boxcar.placement': '7',
      },
      Healthcheck: {
        Test: ['CMD-SHELL', 'exit 0'],
        Interval: 2e9,
        Timeout: 1.5e9,
        StartPeriod: 3e9,
        Retries: 4,
      },
    })
    expect(seen.HostConfig).toMatchObject({
      RestartPolicy: { Name: 'no', MaximumRetryCount: 0 },
      NanoCpus: 250_000_000,
      Memory: 32 * 1024 ** 2,
      MemorySwap: 32 * 1024 ** 2,
      PidsLimit: 50,
      ReadonlyRootfs: true,
      Tmpfs: { '/scratch': '' },
      ShmSize: 8 * 1024 ** 2,
      CapAdd: ['NET_BIND_SERVICE'],
      CapDrop: ['ALL'],
      Init: true,
      LogConfig: { Type: 'local', Config: { 'max-size': '20m', 'max-file': '5' } },
      SecurityOpt: ['no-new-privileges'],
      PortBindings: {
        '8080/tcp': [
          { HostIp: '127.0.0.1', HostPort: '18080' },
          { HostIp: '127.0.0.1', HostPort: '18081' },
        ],
      },
    })
    await sleep(300)
    const lines: string[] = []
    for await (const { line } of engine.logs(outcome.id)) lines.push(line)
    expect(lines).toContain('GREETING=hello = world')
    expect(lines).toContain('10.1.2.3\tboxcar.internal')
    expect(lines.filter(line => line === '1000')).toHaveLength(1)
    await engine.remove(outcome.id)
  })

  test('answers on the address and port that it was given, and nowhere else', async () => {
    const outcome = await engine.create({
      ...specOf('web', bench.local),
      command: ['sh', '-c', 'echo it works >/tmp/index.html; exec httpd -f -p 80 -h /tmp'],
      ports: [{ container: 80, host: 18090, hostAddress: '127.0.0.7', protocol: 'tcp' }],
    })
    if (outcome.kind !== 'created') throw new Error(JSON.stringify(outcome))
    expect(await engine.start(outcome.id)).toEqual({ kind: 'started' })
    const get = (address: string) =>
      bench.dockerd.inside('busybox', 'wget', '-q', '-O', '-', `http://${address}:18090/`)
    await vi.waitFor(async () => expect(await get('127.0.0.7')).toBe('it works\n'), { timeout: 10_000 })
    await expect(get('127.0.0.8')).rejects.toThrow()
    await engine.remove(outcome.id)
  })

  test('leaves no command behind that took too long, nor its children', async () => {
    const outcome = await engine.create({ ...specOf('web', bench.local), command: does.sleeps })
    if (outcome.kind !== 'created') throw new Error(JSON.stringify(outcome))
    await engine.start(outcome.id)
    await engine.exec(outcome.id, ['sh', '-c', 'sleep 4242; echo'], { timeoutMs: 500 })
    await sleep(200)
    expect(await bench.dockerd.docker('top', outcome.id)).not.toContain('4242')
    await engine.remove(outcome.id)
  })

  test('reads the logs of a terminal, which have no frames', async () => {
    const name = ['--label', 'boxcar.cluster=blue', '--label', 'boxcar.host=h1', '--name', 'tty']
    const line = 'echo one; echo two three'
    await bench.dockerd.docker('run', '-t', '--log-driver', 'local', ...name, bench.local, 'sh', '-c', line)
    const [container] = await engine.list()
    const lines: LogLine[] = []
    for await (const line of container === undefined ? [] : engine.logs(container.id)) lines.push(line)
    expect(lines.map(({ line, stream }) => `${stream}: ${line}`)).toEqual([
      'stdout: one',
      'stdout: two three',
    ])
    expect(Math.abs((lines[0]?.at ?? 0) - Date.now())).toBeLessThan(30_000)
    if (container !== undefined) await engine.remove(container.id)
  })

  test('takes anonymous volumes away with their container', async () => {
    await bench.dockerd.docker(
      'run',
      '-d',
      '--label',
      'boxcar.cluster=blue',
      '--label',
      'boxcar.host=h1',
      '-v',
      '/data',
      bench.local,
      'sleep',
      '1000',
    )
    expect(await bench.dockerd.docker('volume', 'ls', '-q')).not.toBe('')
    for (const { id } of await engine.list()) await engine.remove(id)
    expect(await bench.dockerd.docker('volume', 'ls', '-q')).toBe('')
  })
})
