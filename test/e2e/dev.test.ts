/** `boxcar dev`, as a person uses it: the tour of the README, and nothing left after Ctrl-C. */

import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { run, tryRun } from '@boxcar/cli/machine/command'
import type { MachineHost } from '@boxcar/cli/machine/host'
import { type Machine, startMachine } from '@boxcar/cli/machine/machine'
import { type OwnedProcess, startProcess } from '@boxcar/cli/machine/process'
import { allPids, commandLineOf } from '@boxcar/cli/machine/procfs'
import { residue } from '@boxcar/cli/machine/residue'
import { afterEach, beforeEach, describe, expect } from 'vitest'
import { test } from '../lab/as-root.ts'
import { now } from '../lab/load.ts'
import { until } from '../lab/until.ts'
import { figure } from '../lab/web.ts'

const program = join(import.meta.dirname, '../../packages/cli/src/main.ts')

let dir: string
let dev: OwnedProcess | undefined
let machine: Machine | undefined
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'boxcar-test-'))
})
afterEach(async () => {
  await dev?.stop(60_000)
  dev = undefined
  await machine?.stop()
  machine = undefined
  await rm(dir, { recursive: true, force: true })
})

const folders = async () => (await readdir(tmpdir())).filter(name => name.startsWith('boxcar-dev-')).sort()

/** What an earlier run left, and nobody can take away, is no fault of the one that is tested. */
const newResidue = async (before: readonly string[]) =>
  (await residue()).filter(line => !before.includes(line))

interface Running {
  readonly server: string
  readonly route: string
  readonly nextImage: string
  /** The engine of one host. */
  readonly engine: string
  readonly output: () => string
}

/** Starts it, and waits until it has said something. */
async function startUntil(
  said: string,
  args: readonly string[],
  enter: readonly string[],
): Promise<() => string> {
  const logFile = join(dir, `dev-${randomUUID()}.log`)
  const output = () => readFileSync(logFile, 'utf8')
  dev = await startProcess({
    name: 'boxcar dev',
    argv: [...enter, process.execPath, program, 'dev', ...args],
    logFile,
  })
  await until(
    () => {
      if (dev?.end !== undefined) throw new Error(`it ended:\n${output()}`)
      return output()
    },
    text => text.includes(said),
    { timeoutMs: 120_000, everyMs: 100, what: `"${said}" printed` },
  )
  return output
}

/** Starts it, and reads from what it prints where things are. */
async function startDev(args: readonly string[], enter: readonly string[] = []): Promise<Running> {
  const output = await startUntil('Ctrl-C takes all of it away.', args, enter)
  const find = (pattern: RegExp): string => {
    const found = pattern.exec(output())?.[1]
    if (found === undefined) throw new Error(`${pattern} is not in:\n${output()}`)
    return found
  }
  return {
    server: find(/API\s+(http:\/\/\S+)/),
    route: find(/Open\s+(http:\/\/\S+)/),
    nextImage: find(/--image (\S+)/),
    engine: find(/docker -H (\S+) ps/),
    output,
  }
}

const boxcar = (running: Running, args: readonly string[], enter: readonly string[] = []) =>
  tryRun([...enter, process.execPath, program, ...args], {
    timeoutMs: 90_000,
    env: { ...process.env, BOXCAR_SERVER: running.server, NO_COLOR: '1' },
  })

const curl = async (url: string, enter: readonly string[] = []): Promise<string> => {
  const script = 'fetch(process.argv[1]).then(r => r.text()).then(t => process.stdout.write(t))'
  return (await tryRun([...enter, process.execPath, '-e', script, url])).stdout
}

async function tour(running: Running, enter: readonly string[] = []): Promise<void> {
  const status = await boxcar(running, ['status'], enter)
  expect(status).toMatchObject({ status: 0 })
  expect(status.stdout).toContain('hello')
  const first = await curl(running.route, enter)
  const deployed = await boxcar(
    running,
    ['deploy', '-f', 'examples/hello.yaml', '--image', running.nextImage, '--yes'],
    enter,
  )
  expect(deployed.stderr + deployed.stdout).toContain('2')
  expect(deployed.status).toBe(0)
  const second = await curl(running.route, enter)
  expect(second).not.toBe(first)
  expect((await boxcar(running, ['undo', 'hello'], enter)).status).toBe(0)
  const version = (page: string) => /version\s+(\S+)/i.exec(page)?.[1]
  expect(version(second)).not.toBe(version(first))
  expect(version(await curl(running.route, enter))).toBe(version(first))
}

/** As a person does who looks at something; a frozen process takes no signal with version 1 of control groups. */
async function pauseOne({ engine }: Running): Promise<void> {
  const docker = (...args: readonly string[]) => run(['docker', '--host', engine, ...args])
  const [id = ''] = (await docker('ps', '--quiet', '--filter', 'status=running')).split('\n')
  await docker('pause', id)
}

/** Ctrl-C as a terminal sends it, or what else ends it. */
async function end(...signals: readonly NodeJS.Signals[]): Promise<void> {
  const ended = dev?.exited
  for (const signal of signals) if (dev !== undefined) process.kill(dev.pid, signal)
  await ended
}

test('as root: three hosts in namespaces, the tour, and nothing left after Ctrl-C, though a container is paused', async () => {
  const [before, residueBefore] = [await folders(), await residue()]
  const began = now()
  const running = await startDev([])
  figure(`dev: up with its sample in ${((now() - began) / 1000).toFixed(1)} s`)
  await tour(running)
  await pauseOne(running)
  const stopping = now()
  await end('SIGINT')
  figure(`dev: gone ${((now() - stopping) / 1000).toFixed(1)} s after Ctrl-C`)
  expect(running.output()).toContain('Nothing is left.')
  expect(await newResidue(residueBefore)).toEqual([])
  expect(await folders()).toEqual(before)
})

test('as root: nothing left after a Ctrl-C during the start', async () => {
  const [before, residueBefore] = [await folders(), await residue()]
  const output = await startUntil('network', ['--hosts', '1'], [])
  await end('SIGINT')
  expect(output()).toContain('Taking everything away')
  expect(output()).toContain('Nothing is left.')
  expect(await newResidue(residueBefore)).toEqual([])
  expect(await folders()).toEqual(before)
})

describe('with --engine', () => {
  let host: MachineHost
  let before: readonly string[]
  beforeEach(async () => {
    before = await folders()
    machine = await startMachine({ hosts: 1, dir: join(dir, 'machine') })
    const [only] = machine.hosts
    if (only === undefined) throw new Error('the machine has no host')
    host = only
  })

  const engine = () => ['--engine', host.dockerSocket]
  const things = async () => ({
    containers: (await host.docker(['ps', '--all', '--quiet'])).trim(),
    images: (await host.docker(['image', 'ls', '--all', '--quiet'])).trim(),
    processes: allPids()
      .map(pid => commandLineOf(pid).join(' '))
      .filter(line => line.includes('/boxcar-dev-')),
    folders: (await folders()).filter(name => !before.includes(name)),
  })
  const nothing = { containers: '', images: '', processes: [], folders: [] }

  test('three logical hosts on one engine, the tour, and nothing left after Ctrl-C, though a container is paused', async () => {
    const running = await startDev(engine(), host.enter)
    await tour(running, host.enter)
    await pauseOne(running)
    await end('SIGINT')
    expect(running.output()).toContain('Nothing is left.')
    expect(await things()).toEqual(nothing)
  })

  test('what a killed run left is taken away by the next; a closed terminal leaves nothing', async () => {
    await startDev(engine(), host.enter)
    const [killed] = (await things()).folders
    await end('SIGKILL')
    const left = await things()
    expect(left.containers).not.toBe('')
    expect(left.processes.join('\n')).toContain('haproxy')
    const output = await startUntil('A cluster is running.', [...engine(), '--no-sample'], host.enter)
    expect(output()).toContain(
      `took away what an earlier run had left behind in ${join(tmpdir(), killed ?? '?')}`,
    )
    expect(await things()).toMatchObject({ containers: '', images: '' })
    // A shell that goes says so twice.
    await end('SIGHUP', 'SIGHUP')
    expect(await things()).toEqual(nothing)
  })

  test('nothing left after a Ctrl-C while the sample is built', async () => {
    const output = await startUntil('an agent on each', engine(), host.enter)
    await end('SIGINT')
    expect(output()).toContain('Nothing is left.')
    expect(await things()).toEqual(nothing)
  })
})
