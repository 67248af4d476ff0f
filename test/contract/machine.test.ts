import { existsSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { run, tryRun } from '@boxcar/cli/machine/command'
import { buildHello } from '@boxcar/cli/machine/images'
import { type Machine, startMachine } from '@boxcar/cli/machine/machine'
import { residue } from '@boxcar/cli/machine/residue'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { pushApp } from '../lab/app-image.ts'
import { isRoot } from '../lab/as-root.ts'
import { until } from '../lab/until.ts'

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

  test('nothing is left after the stop', async () => {
    expect(await residue(machine.name)).not.toEqual([])
    await machine.stop()
    expect(await residue(machine.name)).toEqual([])
    expect(existsSync(dir)).toBe(false)
  })
})

describe.skipIf(!isRoot)('a machine whose owner is killed', () => {
  test('its processes die with it, and the next start takes the rest away', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'boxcar-machine-'))
    const name = `k${process.pid.toString(36)}`.slice(0, 8)
    const owner = `
      import { startMachine } from '@boxcar/cli/machine/machine'
      await startMachine({ hosts: 1, dir: process.argv[1], name: process.argv[2] })
      process.kill(process.pid, 'SIGKILL')`
    await tryRun([process.execPath, '--input-type=module', '--eval', owner, dir, name])
    const left = await until(
      () => residue(name),
      lines => !lines.some(line => line.startsWith('process')),
    )
    expect(left).not.toEqual([])
    const next = await startMachine({ hosts: 1, dir: await mkdtemp(join(tmpdir(), 'boxcar-machine-')) })
    await next.stop()
    expect(await residue(name)).toEqual([])
    expect(existsSync(dir)).toBe(false)
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
