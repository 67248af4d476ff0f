import { existsSync, mkdirSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { onRecord } from '@boxcar/cli/machine/claim'
import { run, tryRun } from '@boxcar/cli/machine/command'
import { buildHello } from '@boxcar/cli/machine/images'
import { type Machine, startMachine } from '@boxcar/cli/machine/machine'
import { startProcess } from '@boxcar/cli/machine/process'
import { allPids, commandLineOf } from '@boxcar/cli/machine/procfs'
import { LeftBehind, residue } from '@boxcar/cli/machine/residue'
import { freeSubnets } from '@boxcar/cli/machine/subnet'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { pushApp } from '../lab/app-image.ts'
import { isRoot } from '../lab/as-root.ts'
import { until } from '../lab/until.ts'

const freezer = '/sys/fs/cgroup/freezer'

describe.skipIf(!isRoot)('a machine of two hosts', () => {
  let machine: Machine
  let dir: string

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'boxcar-machine-'))
    machine = await startMachine({ hosts: 2, dir })
  })

  afterAll(async () => {
    await machine?.stop()
  })

  test('a second machine has another name and other addresses', async () => {
    const other = await startMachine({ hosts: 1, dir: await mkdtemp(join(tmpdir(), 'boxcar-machine-')) })
    try {
      expect(other.name).not.toBe(machine.name)
      expect(other.gateway).not.toBe(machine.gateway)
      expect(other.etcd.endpoint).not.toBe(machine.etcd.endpoint)
    } finally {
      await other.stop()
    }
    expect(await residue(other.name)).toEqual([])
  })

  test('a container from the registry answers across hosts, until the link is cut, and again after', async () => {
    const [image] = await pushApp(machine.registry.address, [{ version: '1' }, { version: '2' }])
    if (image === undefined) throw new Error('no image')
    await Promise.all(
      machine.hosts.map(host =>
        host.docker([
          'run',
          '--detach',
          '--name',
          'app',
          '--publish',
          `${host.address}:8080:8080`,
          image.pinned,
        ]),
      ),
    )
    const [h1, h2] = machine.hosts
    if (h1 === undefined || h2 === undefined) throw new Error('two hosts were asked for')
    const url = `http://${h2.address}:8080/`
    const ask = `
      const answer = await fetch(process.argv[1], { signal: AbortSignal.timeout(1000) })
      process.stdout.write(await answer.text())`
    const askFromH1 = async () => {
      const end = await tryRun([...h1.enter, process.execPath, '--eval', ask, url])
      return end.status === 0 ? end.stdout : undefined
    }
    expect(await until(askFromH1, answer => answer !== undefined)).toContain('"version":"1"')
    expect(await get(url)).toContain('"version":"1"')
    expect((await run([...h1.enter, 'hostname'])).trim()).toBe('h1')

    await h2.cutLink()
    expect(await askFromH1()).toBeUndefined()
    expect(await h2.docker(['ps', '--quiet'])).not.toBe('')
    await h2.restoreLink()
    await until(askFromH1, answer => answer !== undefined)
  })

  test('the sample is built from its Dockerfile, once a version', async () => {
    const host = machine.hosts[0]
    if (host === undefined) throw new Error('no host')
    const build = { host, registry: machine.registry.address, context: resolve('examples/hello') }
    const one = await buildHello(build, '1')
    const two = await buildHello(build, '2')
    expect(one.digest).not.toBe(two.digest)
    const publish = `${host.address}:9090:8080`
    await host.docker(['run', '--detach', '--name', 'hello', '--publish', publish, two.pinned])
    const url = `http://${host.address}:9090`
    expect(
      await until(
        () => get(`${url}/`).catch(String),
        text => text.startsWith('Hello'),
      ),
    ).toContain('version 2')
    expect(await get(`${url}/healthz`)).toBe('ok\n')
    const before = performance.now()
    await host.docker(['stop', 'hello'])
    expect(performance.now() - before).toBeLessThan(5_000)
  })

  test('etcd keeps its data and its address over a stop and over a kill', async () => {
    const { endpoint } = machine.etcd
    const call = (path: string, body: object) =>
      fetch(`${endpoint}/v3/kv/${path}`, { method: 'POST', body: JSON.stringify(body) }).then(it => it.text())
    const key = Buffer.from('k').toString('base64')
    await call('put', { key, value: Buffer.from('v').toString('base64') })
    await machine.etcd.stop()
    await expect(call('range', { key })).rejects.toThrow()
    await machine.etcd.start()
    await machine.etcd.kill()
    await machine.etcd.start()
    expect(await call('range', { key })).toContain('"count":"1"')
    expect(machine.etcd.endpoint).toBe(endpoint)
  })

  test('a killed engine comes back, a paused one is silent', async () => {
    const host = machine.hosts[1]
    if (host === undefined) throw new Error('no host')
    await host.engine.pause()
    await expect(host.docker(['version'], { timeoutMs: 500 })).rejects.toThrow()
    host.engine.resume()
    await host.docker(['version'])
    await host.engine.kill()
    await expect(host.docker(['version'])).rejects.toThrow()
    await host.engine.start()
    expect(await host.docker(['ps', '--all', '--format', '{{.Names}}'])).toContain('app')
  })

  test("an engine's own programs write their temporary files to its folder", async () => {
    const host = machine.hosts[0]
    const containerd = allPids().find(
      pid => commandLineOf(pid)[0] === 'containerd' && commandLineOf(pid).join(' ').includes(`${dir}/h1/`),
    )
    if (host === undefined || containerd === undefined) throw new Error('no containerd')
    const stacks = async (folder: string) =>
      (await readdir(folder)).filter(name => name.startsWith(`containerd.`) && name.endsWith('.stacks.log'))
    const before = await stacks(tmpdir())
    // As an engine does before it kills one that does not answer in time.
    process.kill(containerd, 'SIGUSR1')
    await until(
      () => stacks(join(dir, 'h1/tmp')),
      files => files.length > 0,
    )
    expect(await stacks(tmpdir())).toEqual(before)
  })

  test('nothing is left after the stop, though a container is paused', async () => {
    await machine.hosts[0]?.docker(['pause', 'app'])
    expect(await residue(machine.name)).not.toEqual([])
    await machine.stop()
    expect(await residue(machine.name)).toEqual([])
    expect(existsSync(dir)).toBe(false)
  })
})

describe.skipIf(!isRoot)('a machine whose owner is killed', () => {
  test('its processes die with it, and the next start takes the rest away, a paused container too', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'boxcar-machine-'))
    const name = `k${process.pid.toString(36)}`.slice(0, 8)
    const owner = `
      import { pushBusybox } from '@boxcar/cli/machine/images'
      import { startMachine } from '@boxcar/cli/machine/machine'
      const { hosts: [host], registry } = await startMachine({ hosts: 1, dir: process.argv[1], name: process.argv[2] })
      const { pinned } = await pushBusybox(registry.address)
      await host.docker(['run', '--detach', '--name', 'app', pinned, 'sleep', '60'])
      await host.docker(['pause', 'app'])
      process.kill(process.pid, 'SIGKILL')`
    await tryRun([process.execPath, '--input-type=module', '--eval', owner, dir, name])
    const left = await until(
      () => residue(name),
      // Those of the paused container wait for somebody who thaws them, and their host's first process for them.
      lines => !lines.some(line => /^process \d+: (?:dockerd|etcd|docker-registry)/.test(line)),
    )
    expect(left).not.toEqual([])
    const next = await startMachine({ hosts: 1, dir: await mkdtemp(join(tmpdir(), 'boxcar-machine-')) })
    await next.stop()
    expect(await residue(name)).toEqual([])
    expect(existsSync(dir)).toBe(false)
  })

  /** With version 1 of control groups only: with version 2 a frozen process takes a SIGKILL. */
  describe.skipIf(!existsSync(freezer))('what cannot be taken away', () => {
    const group = join(freezer, `bxc-${process.pid}`)
    const command = `echo THAWED > ${group}/freezer.state`
    /** Freezes one process of a machine as a person does who has nothing to do with it, and thaws it at the end. */
    const whileFrozen = async (pid: number | undefined, act: () => Promise<void>) => {
      mkdirSync(group)
      try {
        writeFileSync(join(group, 'cgroup.procs'), String(pid))
        writeFileSync(join(group, 'freezer.state'), 'FROZEN')
        await act()
      } finally {
        writeFileSync(join(group, 'freezer.state'), 'THAWED')
        // The killed process ends now; until then its group is busy.
        await until(
          () => {
            rmdirSync(group)
            return true
          },
          it => it,
        )
      }
    }

    test('is named by the stop, with what to do, and goes with the next stop', async () => {
      const machine = await startMachine({
        hosts: 1,
        dir: await mkdtemp(join(tmpdir(), 'boxcar-machine-')),
      })
      try {
        await whileFrozen(machine.etcd.pid, async () => {
          const [left, killed] = await Promise.all([
            machine.stop().catch((error: unknown) => error),
            machine.etcd.kill().catch(String),
          ])
          expect(killed).toContain(
            `etcd, process ${machine.etcd.pid}, does not end: frozen in control group ${group}`,
          )
          if (!(left instanceof LeftBehind)) throw new Error(`not refused as it should be: ${String(left)}`)
          expect(left.commands).toEqual([command])
          expect(left.message).toContain(`frozen in control group ${group}`)
        })
      } finally {
        await machine.stop()
      }
      expect(await residue(machine.name)).toEqual([])
    })

    test('holds up no later start: that one names it, takes other names and goes on', async () => {
      const start = async (lines: string[] = []) =>
        startMachine({
          hosts: 1,
          dir: await mkdtemp(join(tmpdir(), 'boxcar-machine-')),
          onProgress: line => lines.push(line),
        })
      const name = `s${process.pid.toString(36)}`.slice(0, 8)
      const owner = await startProcess({
        name: 'owner',
        argv: [
          ...[process.execPath, '--input-type=module', '--eval'],
          `import { startMachine } from '@boxcar/cli/machine/machine'
          const { etcd } = await startMachine({ hosts: 1, dir: process.argv[1], name: process.argv[2] })
          console.log('etcd ' + etcd.pid)
          setInterval(() => undefined, 1000)`,
          ...[await mkdtemp(join(tmpdir(), 'boxcar-machine-')), name],
        ],
        cwd: resolve('.'),
        logFile: join(await mkdtemp(join(tmpdir(), 'boxcar-owner-')), 'owner.log'),
      })
      try {
        const said = await until(
          () => /^etcd (\d+)$/m.exec(owner.lastLines())?.[1],
          pid => pid !== undefined,
          { timeoutMs: 30_000 },
        )
        await whileFrozen(Number(said), async () => {
          await owner.kill()
          const lines: string[] = []
          const next = await start(lines)
          try {
            expect(next.name).not.toBe(name)
            expect(lines).toContainEqual(
              expect.stringMatching(new RegExp(`^machine ${name} stays for now: process ${said}: .*etcd`)),
            )
            expect(lines.join('\n')).toContain(`to take it away: ${command}`)
          } finally {
            await next.stop()
          }
        })
      } finally {
        await owner.kill()
        await rm(dirname(owner.logFile), { recursive: true })
      }
      const lines: string[] = []
      await (await start(lines)).stop()
      expect(lines).toContain(`took away what machine ${name} had left behind`)
      expect(await residue(name)).toEqual([])
    })
  })

  test('files that a killed start left half written hold up nobody', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'boxcar-machine-'))
    const [subnet] = (await freeSubnets()).filter(it => !onRecord().subnets.has(it))
    const torn = `/run/boxcar-machines/net-${subnet}.json`
    const lock = '/run/boxcar-machines/sweep.lock'
    mkdirSync('/run/boxcar-machines', { recursive: true })
    writeFileSync(torn, '')
    writeFileSync(lock, '{"pid":')
    try {
      const machine = await startMachine({ hosts: 1, dir })
      await machine.stop()
      expect([torn, lock].filter(existsSync)).toEqual([])
    } finally {
      rmSync(torn, { force: true })
    }
  })

  test('a start that fails half way leaves nothing', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'boxcar-machine-'))
    const name = `f${process.pid.toString(36)}`.slice(0, 8)
    // The first line of progress comes when the network is made, after the claim and the folder.
    const owner = `
      import { startMachine } from '@boxcar/cli/machine/machine'
      await startMachine({ hosts: 1, dir: process.argv[1], name: process.argv[2], onProgress: () => {
        throw new Error('the progress breaks')
      } })`
    const end = await tryRun([process.execPath, '--input-type=module', '--eval', owner, dir, name])
    expect(end.status).toBe(1)
    expect(end.stderr).toContain('the progress breaks')
    expect(await residue(name)).toEqual([])
    expect(existsSync(dir)).toBe(false)
  })
})

function get(url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { agent: false, timeout: 2_000 }, response => {
      let text = ''
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part
      })
      response.on('end', () => resolve(text))
      response.on('error', reject)
    })
    sent.on('timeout', () => sent.destroy(new Error('no answer')))
    sent.on('error', reject)
    sent.end()
  })
}
