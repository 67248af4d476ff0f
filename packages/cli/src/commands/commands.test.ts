/** The commands against a real API over the store in memory; what the leader and the hosts write is written by the test. */
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Agents } from '@boxcar/api/agents'
import { type TestServer, testServer } from '@boxcar/api/testing'
import { serviceView } from '@boxcar/api/views'
import type { GenerationNumber, HostId, InstanceId, ServiceName } from '@boxcar/core/model/ids'
import type { InstanceState } from '@boxcar/core/model/report'
import type { Phase } from '@boxcar/core/model/rollout'
import { put, remove } from '@boxcar/store/collection'
import {
  events,
  generations,
  intents,
  leaders,
  pendings,
  placements,
  reports,
  specs,
} from '@boxcar/store/keys'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { z } from 'zod'
import { exitStatus } from '../exit.ts'
import { run } from '../run.ts'
import { type TestTerminal, testTerminal } from '../test-terminal.ts'
import { yamlOf } from '../yaml-output.ts'
import { parseYamlText } from '../yaml-text.ts'

let server: TestServer
let url = ''
let dir = ''
let file = ''

beforeEach(async () => {
  server = await testServer()
  url = await server.app.listen({ host: '127.0.0.1', port: 0 })
  dir = mkdtempSync(join(tmpdir(), 'boxcar-commands-'))
  file = spec('image: web:1')
})
afterEach(async () => {
  await server.close()
  rmSync(dir, { recursive: true, force: true })
})

const spec = (...lines: readonly string[]): string => {
  const path = join(dir, 'web.yaml')
  writeFileSync(path, ['name: web', ...lines, ''].join('\n'))
  return path
}

interface Ran {
  readonly status: number
  readonly out: string
  readonly err: string
}

async function boxcar(argv: readonly string[], terminal: TestTerminal = terminalFor()): Promise<Ran> {
  const status = await run(argv, terminal)
  return { status, out: terminal.outText(), err: terminal.errText() }
}

const terminalFor = (how: Parameters<typeof testTerminal>[0] = {}) =>
  testTerminal({ ...how, env: { BOXCAR_SERVER: url, ...how.env } })

const web = 'default/web' as ServiceName
const g = (n: number) => n as GenerationNumber

/** The server behind a connection that breaks as it is told: `before` the server hears of a request, or `after` it was done. */
async function behind(
  fate: (request: { readonly method: string; readonly path: string }) => 'answered' | 'before' | 'after',
): Promise<{ readonly url: string; readonly close: () => Promise<void> }> {
  const front = createServer(async (request, response) => {
    const { method = 'GET', url: path = '/' } = request
    const end = fate({ method, path })
    if (end === 'before') return void request.socket.destroy()
    const sent: Buffer[] = []
    for await (const part of request) sent.push(part)
    const headers = Object.fromEntries(
      Object.entries(request.headers).filter(
        (entry): entry is [string, string] =>
          typeof entry[1] === 'string' &&
          !['connection', 'host', 'content-length', 'transfer-encoding'].includes(entry[0]),
      ),
    )
    const body = sent.length === 0 ? {} : { body: Buffer.concat(sent) }
    const answer = await fetch(url + path, { method, headers, ...body })
    const text = await answer.text()
    if (end === 'after') return void request.socket.destroy()
    response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? '' }).end(text)
  })
  front.listen(0, '127.0.0.1')
  await once(front, 'listening')
  const address = front.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  return {
    url: `http://127.0.0.1:${port}`,
    close: async () => {
      front.closeAllConnections()
      front.close()
      await once(front, 'close')
    },
  }
}

/** What the leader and a host would write of one instance. */
async function instance(
  slot: number,
  state: InstanceState,
  more: { readonly reason?: string } = {},
  number = 1,
): Promise<void> {
  const uid = (await server.store.get(specs, web))?.value.uid ?? 'none'
  const id = `default/web/${number}/${slot}` as InstanceId
  const host = `h${slot + 1}` as HostId
  await server.write(
    put(
      placements,
      { host, instance: id },
      {
        instance: id,
        service: web,
        generation: g(number),
        slot,
        host,
        uid,
        term: '1',
        desired: 'run',
        because: 'missing',
        cpuMilli: 100,
        memoryMiB: 64,
        ports: {},
        image: 'web@sha256:1',
      },
    ),
    put(
      reports,
      { host, instance: id },
      { instance: id, uid, state, attempt: 1, restarts: 0, since: 0, ...more },
    ),
  )
}

/** Waits until the command that runs beside the test has put the service. */
async function untilAsked(number = 1): Promise<void> {
  for (let i = 0; i < 400; i += 1) {
    const seen = await server.store.get(specs, web)
    if (seen?.value.generation === number) return
    await new Promise(resolve => setTimeout(resolve, 5))
  }
  throw new Error('the service was not put')
}

describe('looking', () => {
  test('an empty cluster says what to do, on standard error', async () => {
    const ran = await boxcar(['get', 'services'])
    expect(ran).toEqual({ status: 0, out: '', err: expect.stringContaining('boxcar deploy -f FILE') })
  })

  test('json is the object of the API, name is its name, jsonl a line each', async () => {
    await boxcar(['deploy', '-f', file, '--yes', '--detach'])
    const json = await boxcar(['get', 'services', '-o', 'json'])
    const [view] = z.array(serviceView).parse(JSON.parse(json.out))
    expect(view).toMatchObject({ service: 'default/web', image: 'web:1', generation: 1 })
    expect((await boxcar(['get', 'svc', '-o', 'name'])).out).toBe('default/web\n')
    const jsonl = await boxcar(['get', 'services', 'web', '-o', 'jsonl'])
    expect(serviceView.parse(JSON.parse(jsonl.out))).toEqual(view)
    expect((await boxcar(['get', 'services', '-o', 'yaml'])).out).toContain('service: default/web')
  })

  test('status shows the leader, hosts and services', async () => {
    await server.addHost('h1')
    await boxcar(['deploy', '-f', file, '--yes', '--detach'])
    const { out } = await boxcar(['status'])
    expect(out).toContain('127.0.0.1:7071')
    expect(out).toMatch(/^h1 +ready +127\.0\.0\.2 +0 +0\/4 +0MiB\/8GiB +28\.0 +up$/m)
    expect(out).toMatch(/^default\/web +rolling-out +0\/1 +1 +web:1/m)
  })

  test('an internal error of the leader shows in status, get services and why', async () => {
    await boxcar(['deploy', '-f', file, '--yes', '--detach'])
    const uid = (await server.store.get(specs, web))?.value.uid ?? ''
    const obstacles = [{ kind: 'internal-error' as const, doing: 'planning it', error: 'out of slots' }]
    const pending = { service: web, uid, term: '1', waiting: [], obstacles, count: 0, at: 0 }
    await server.write(put(pendings, web, pending))
    const words = 'internal error: the leader fails at planning it and tries again: out of slots'
    expect((await boxcar(['status'])).out).toMatch(/^default\/web +waiting/m)
    expect((await boxcar(['status'])).out).toContain(words)
    expect((await boxcar(['get', 'services', '-o', 'wide'])).out).toContain(words)
    expect((await boxcar(['why', 'web'])).out).toBe(`default/web: ${words}\n`)
  })

  test('status names nobody whose leader record has no lease, and says since when nobody leads', async () => {
    await server.write(put(leaders, 'self', { address: 'http://old:7070', token: 'old' }))
    const { out } = await boxcar(['status'])
    expect(out).toMatch(/^Leader +none for \ds, since \d{4}-\d\d-\d\d \S+: the leader record has no lease/m)
    expect(out).not.toContain('old:7070')
  })

  test('status says in one line that the store is full, and what to run next', async () => {
    server.etcd.full = true
    const { out } = await boxcar(['status'])
    expect(out).toMatch(
      /^Problem +the store is full \(alarm NOSPACE on memory.*; next: boxcar doctor --etcd memory$/m,
    )
    const refused = await boxcar(['deploy', '-f', file, '--yes', '--detach'])
    expect(refused.err).toContain('the store is full')
    expect(refused.err).toContain('boxcar doctor')
  })

  test('instances with their host, state and reason', async () => {
    await server.addHost('h1')
    await boxcar(['deploy', '-f', file, '--yes', '--detach'])
    await server.roll(web, { phase: 'warming', next: g(1) })
    await instance(0, 'backoff', { reason: 'exited with status 1' })
    const { out } = await boxcar(['get', 'instances', 'web'])
    expect(out).toMatch(/^default\/web\/1\/0 +h1 +backoff +next +0 +\d+d +exited with status 1$/m)
    expect((await boxcar(['describe', 'instance', 'web/1/0'])).out).toContain('exited with status 1')
  })

  test('-p is heard by what shows all projects otherwise', async () => {
    await boxcar(['deploy', '-f', file, '--yes', '--detach'])
    await boxcar(['deploy', '-f', file, '--yes', '--detach', '-p', 'shop'])
    expect((await boxcar(['get', 'rollouts', '-o', 'name'])).out).toBe('default/web\nshop/web\n')
    expect((await boxcar(['get', 'rollouts', '-o', 'name', '-p', 'shop'])).out).toBe('shop/web\n')
    const status = await boxcar(['status', '-p', 'shop'])
    expect(status.out).toContain('shop/web')
    expect(status.out).not.toContain('default/web')
  })

  test('every command that shows data prints it as it was told', async () => {
    const version = await boxcar(['version', '-o', 'json'])
    expect(JSON.parse(version.out)).toMatchObject({ program: { version: expect.any(String) }, server: {} })
    const fields = z
      .array(z.object({ path: z.string() }))
      .parse(parse((await boxcar(['explain', 'stop', '-o', 'yaml'])).out))
    expect(fields.map(it => it.path)).toContain('stop.grace')
    const argv = ['doctor', '--etcd', '127.0.0.1:1', '--docker', 'unix:///nowhere', '-o']
    expect(parse((await boxcar([...argv, 'yaml'])).out)).toContainEqual(
      expect.objectContaining({ check: 'etcd', result: 'fail' }),
    )
    expect((await boxcar([...argv, 'name'])).out).toMatch(/^docker$/m)
    await boxcar(['deploy', '-f', file, '--yes', '--detach'])
    expect(parse((await boxcar(['events', '-o', 'yaml'])).out)).toContainEqual(
      expect.objectContaining({ service: 'default/web' }),
    )
  })

  test('what -o yaml prints of a service can be deployed again, and changes nothing', async () => {
    const env = { A: '1.10', B: '007', C: '0x1F', D: 'yes', E: 'null', F: '', G: '<<', H: ' # \n😀', I: '*a' }
    file = spec('image: web:1', `env: ${JSON.stringify(env)}`, 'labels: { version: 1e3, on: True, x-a: ~a }')
    await boxcar(['deploy', '-f', file, '--yes', '--detach'])
    const printed = parseYamlText((await boxcar(['describe', 'service', 'web', '-o', 'yaml'])).out)
    expect(printed.faults).toEqual([])
    const view = z.object({ spec: z.looseObject({}) }).parse(printed.documents[0]?.value)
    expect(view.spec).toMatchObject({ env, labels: { version: '1e3', on: 'True', 'x-a': '~a' } })
    writeFileSync(file, yamlOf({ name: 'web', ...view.spec }))
    expect((await boxcar(['plan', '-f', file, '--exit-code'])).status).toBe(exitStatus.done)
  })

  test('--version, and the words for a kind that get and describe share', async () => {
    expect((await boxcar(['--version'])).out).toMatch(/^boxcar \d+\.\d+\.\d+\n$/)
    await boxcar(['deploy', '-f', file, '--yes', '--detach'])
    for (const kind of ['service', 'services', 'svc']) {
      expect((await boxcar(['describe', kind, 'web', '-o', 'name'])).out).toBe('default/web\n')
      expect((await boxcar(['get', kind, 'web', '-o', 'name'])).out).toBe('default/web\n')
    }
    expect((await boxcar(['describe', 'routes', 'web'])).err).toContain('service, instance, host')
  })

  test('events are told, newest last', async () => {
    await boxcar(['deploy', '-f', file, '--yes', '--detach'])
    const { out, status } = await boxcar(['events', 'web', '-o', 'jsonl'])
    expect(status).toBe(0)
    expect(JSON.parse(out.trim().split('\n').at(-1) ?? '')).toMatchObject({ service: 'default/web' })
  })
})

describe('deploy', () => {
  test('shows the plan and asks; no means nothing is changed', async () => {
    const ran = await boxcar(['deploy', '-f', file], terminalFor({ answer: 'no' }))
    expect(ran.status).toBe(1)
    expect(ran.err).toMatch(/^\+ default\/web {2}new service, generation 1$/m)
    expect(ran.err).toContain('Nothing was changed.')
    expect(await server.store.get(specs, web)).toBeUndefined()
  })

  test('does nothing where nobody can be asked', async () => {
    const ran = await boxcar(['deploy', '-f', file])
    expect(ran).toMatchObject({ status: 2, err: expect.stringContaining('Next: add --yes') })
    expect(await server.store.get(specs, web)).toBeUndefined()
  })

  test('watches until the service is ready: one line for each change, the result on standard output', async () => {
    await server.addHost('h1')
    const ending = boxcar(['deploy', '-f', '-', '--yes'], terminalFor({ input: 'name: web\nimage: web:1\n' }))
    await untilAsked()
    await server.roll(web, { phase: 'warming', next: g(1) })
    await instance(0, 'starting')
    await new Promise(resolve => setTimeout(resolve, 60))
    await instance(0, 'ready')
    await server.roll(web, { phase: 'settled', live: g(1) })
    const ran = await ending
    expect(ran.status, ran.err).toBe(0)
    expect(ran.out).toBe('default/web generation 1: 1/1 ready\n')
    expect(ran.err).toMatch(/^\d+\.\ds default\/web\/1\/0 on h1: starting$/m)
    expect(ran.err).toMatch(/^\d+\.\ds default\/web\/1\/0 on h1: ready$/m)
  })

  test('a generation that does not make it: status 4, with the evidence', async () => {
    const ending = boxcar(['deploy', '-f', file, '--yes'])
    await untilAsked()
    const evidence = [
      {
        instance: 'default/web/1/0' as InstanceId,
        host: 'h1',
        what: 'it exited',
        exitCode: 3,
        probe: 'connection refused',
        lastLog: ['boom', 'bang'],
      },
    ]
    const rejections = [{ generation: g(1), because: 'not-ready-by-deadline' as const, evidence, at: 0 }]
    await server.roll(web, { phase: 'reverted', rejected: g(1) }, { rejections })
    const ran = await ending
    expect(ran.status, ran.err).toBe(4)
    expect(ran.err).toContain(
      [
        'Error: generation 1 of default/web was reverted; no generation answers users yet',
        '  Why: generation 1 was not ready by its deadline',
        '       default/web/1/0 on h1: it exited (exit status 3)',
        '         probe: connection refused',
        '         | boom',
        '         | bang',
        ' Next: boxcar why default/web, then deploy again',
      ].join('\n'),
    )
  })

  test('no host can take it: status 3, with every host and number', async () => {
    await server.addHost('h1')
    const ending = boxcar(['deploy', '-f', file, '--yes'])
    await untilAsked()
    const uid = (await server.store.get(specs, web))?.value.uid ?? ''
    const obstacles = [{ kind: 'memory' as const, needMiB: 512, freeMiB: 100, totalMiB: 200 }]
    const waiting = [{ instance: 'default/web/1/0', hosts: [{ host: 'h1', obstacles }] }]
    await server.write(put(pendings, web, { service: web, uid, term: '1', waiting, count: 1, at: 0 }))
    await server.roll(web, { phase: 'warming', next: g(1) })
    const ran = await ending
    expect(ran.status, ran.err).toBe(3)
    expect(ran.err).toContain('h1: needs 512 MiB of memory, 100 of 200 MiB are free')
    expect(ran.err).toMatch(/Next: lower \/resources\/reservations\/memory to at most 200MiB/)
  })

  test('--timeout: status 124, and how to go on', async () => {
    const ran = await boxcar(['deploy', '-f', file, '--yes', '--timeout', '2s'])
    expect(ran.status).toBe(124)
    expect(ran.err).toContain('Next: boxcar rollout watch default/web')
  })

  test('Ctrl-C: status 130, and how to go on', async () => {
    const terminal = terminalFor()
    const ending = boxcar(['deploy', '-f', file, '--yes'], terminal)
    await untilAsked()
    terminal.interrupt()
    const ran = await ending
    expect(ran.status).toBe(130)
    expect(ran.err).toContain('work on the cluster goes on')
    expect(ran.err).toContain('Next: boxcar rollout watch default/web')
  })

  test('Ctrl-C while the server plans: status 130, and nothing is changed', async () => {
    const terminal = terminalFor()
    const front = await behind(({ path }) => {
      if (path.startsWith('/v1/plans')) terminal.interrupt()
      return 'answered'
    })
    try {
      const env = { ...terminal.env, BOXCAR_SERVER: front.url }
      const ran = await boxcar(['deploy', '-f', file, '--yes'], { ...terminal, env })
      expect(ran.status, ran.err).toBe(130)
      expect(ran.err).toContain('Why: nothing was changed')
      expect(await server.store.get(specs, web)).toBeUndefined()
    } finally {
      await front.close()
    }
  })

  test('Ctrl-C between two services: status 130, and those accepted are named', async () => {
    writeFileSync(file, 'name: web\nimage: web:1\n---\nname: other\nimage: web:1\n')
    const terminal = terminalFor()
    const front = await behind(({ method }) => {
      if (method === 'PUT') terminal.interrupt()
      return 'answered'
    })
    try {
      const env = { ...terminal.env, BOXCAR_SERVER: front.url }
      const ran = await boxcar(['deploy', '-f', file, '--yes'], { ...terminal, env })
      expect(ran.status, ran.err).toBe(130)
      expect(ran.err).toContain('Accepted before that: default/web generation 1')
      expect((await server.store.list(specs)).entries).toHaveLength(1)
    } finally {
      await front.close()
    }
  })

  test.each([
    ['deploy', ['deploy', '-f', 'FILE']],
    ['rm', ['rm', 'web']],
    ['rollout abort', ['rollout', 'abort', 'web']],
  ])('Ctrl-C at the question of %s: status 130, and nothing is changed', async (_name, argv) => {
    await boxcar(['deploy', '-f', file, '--yes', '--detach'])
    const before = (await server.store.get(specs, web))?.value
    const terminal = terminalFor({ answer: 'no' })
    const asked: TestTerminal = {
      ...terminal,
      confirm: async () => {
        terminal.interrupt()
        return false
      },
    }
    const other = spec('image: web:2')
    const ran = await boxcar(
      argv.map(word => (word === 'FILE' ? other : word)),
      asked,
    )
    expect(ran.status, ran.err).toBe(130)
    expect(ran.err).toContain('nothing was changed')
    expect((await server.store.get(specs, web))?.value).toEqual(before)
  })

  test('an address that another service has: status 5, naming the other', async () => {
    const routes = [
      'image: web:1',
      'ports: [{ name: http, container: 80 }]',
      'routes: [{ port: http, listen: 80 }]',
    ]
    await boxcar(['deploy', '-f', spec(...routes), '--yes', '--detach'])
    writeFileSync(file, ['name: other', ...routes].join('\n'))
    const ran = await boxcar(['deploy', '-f', file, '--yes', '--detach'])
    expect(ran.status).toBe(5)
    expect(ran.err).toContain('default/web')
  })

  test('a service that somebody changed after the plan: status 5, nothing is overwritten', async () => {
    await boxcar(['deploy', '-f', file, '--yes', '--detach'])
    const terminal = terminalFor({ answer: 'yes' })
    const meddling: TestTerminal = {
      ...terminal,
      confirm: async () => {
        await boxcar(['scale', 'web=7'])
        return true
      },
    }
    const ran = await boxcar(['deploy', '-f', spec('image: web:2'), '--detach'], meddling)
    expect(ran.status, ran.err).toBe(5)
    expect((await server.store.get(specs, web))?.value.generation).toBe(1)
  })

  test('a service that somebody created after the plan: status 5, nothing is overwritten', async () => {
    const terminal = terminalFor({ answer: 'yes' })
    const meddling: TestTerminal = {
      ...terminal,
      confirm: async () => {
        const other = terminalFor({ input: 'name: web\nimage: theirs:1\n' })
        await boxcar(['deploy', '-f', '-', '--yes', '--detach'], other)
        return true
      },
    }
    const ran = await boxcar(['deploy', '-f', file, '--detach'], meddling)
    expect(ran.status, ran.err).toBe(5)
    expect((await server.store.get(specs, web))?.value.spec.image).toBe('theirs:1')
  })

  test('of several services, those accepted before one failed are named', async () => {
    writeFileSync(file, 'name: web\nimage: web:1\n---\nname: other\nimage: web:1\n')
    const meddling: TestTerminal = {
      ...terminalFor({ answer: 'yes' }),
      confirm: async () => {
        const other = terminalFor({ input: 'name: other\nimage: theirs:1\n' })
        await boxcar(['deploy', '-f', '-', '--yes', '--detach'], other)
        return true
      },
    }
    const ran = await boxcar(['deploy', '-f', file, '--detach'], meddling)
    expect(ran.status).toBe(5)
    expect(ran.err).toContain(
      'Accepted before that: default/web generation 1; to watch: boxcar rollout watch default/web',
    )
  })

  test('two services that claim one address: told by the plan, nothing is written', async () => {
    const claims = 'ports: [{ name: http, container: 80 }]\nroutes: [{ port: http, listen: 80 }]'
    writeFileSync(file, `name: web\nimage: web:1\n${claims}\n---\nname: other\nimage: web:1\n${claims}\n`)
    const ran = await boxcar(['deploy', '-f', file, '--yes', '--detach'])
    expect(ran.status).toBe(5)
    expect(ran.err).toContain('/services/1/routes/0: *:80/ belongs to service default/web')
    expect(await server.store.get(specs, web)).toBeUndefined()
  })

  test('a server that goes away with the answer: asked again, done once', async () => {
    let cuts = 0
    const flaky = await behind(({ method }) => (method === 'PUT' && cuts++ < 2 ? 'after' : 'answered'))
    try {
      const terminal = testTerminal({ env: { BOXCAR_SERVER: flaky.url } })
      const ran = await boxcar(['deploy', '-f', file, '--yes', '--detach'], terminal)
      expect(ran.status, ran.err).toBe(0)
      expect(ran.err).toContain('trying again')
      expect(cuts).toBe(3)
      expect((await server.store.list(generations)).entries).toHaveLength(1)
    } finally {
      await flaky.close()
    }
  })

  test('what only explains or adorns may be missing: the deploy is done all the same', async () => {
    let whys = 0
    const flaky = await behind(({ path }) => {
      if (path.endsWith('/why')) whys += 1
      return path.endsWith('/why') || path === '/v1/routes' ? 'before' : 'answered'
    })
    try {
      const terminal = testTerminal({ env: { BOXCAR_SERVER: flaky.url } })
      await server.addHost('h1')
      const ending = boxcar(['deploy', '-f', file, '--yes'], terminal)
      await untilAsked()
      await server.roll(web, { phase: 'warming', next: g(1) })
      await expect.poll(() => whys).toBeGreaterThan(0)
      await instance(0, 'ready')
      await server.roll(web, { phase: 'settled', live: g(1) })
      const ran = await ending
      expect(ran.status, ran.err).toBe(0)
      expect(ran.out).toBe('default/web generation 1: 1/1 ready\n')
    } finally {
      await flaky.close()
    }
  })

  test('faults of the file are told with their places, and nothing is sent', async () => {
    const ran = await boxcar(['deploy', '-f', spec('image: web:1', 'replica: 3'), '--yes'])
    expect(ran.status).toBe(1)
    expect(ran.err).toContain(`${file}:3:1: /replica: unknown key 'replica'; did you mean 'replicas'?`)
    expect(ran.out).toBe('')
  })
})

describe('rollout status', () => {
  const asked = async (because: 'undone' | 'aborted' | 'not-ready-by-deadline', now: Phase) => {
    await server.addHost('h1')
    await boxcar(['deploy', '-f', file, '--yes', '--detach'])
    await instance(0, 'ready')
    await server.roll(web, { phase: 'settled', live: g(1) })
    await boxcar(['deploy', '-f', spec('image: web:2'), '--yes', '--detach'])
    const rejections = [{ generation: g(2), because, evidence: [], at: 0 }]
    await server.roll(web, now, { asked: g(2), rejections })
  }

  test('an undo that is done is a success, for who watches as well', async () => {
    await asked('undone', { phase: 'settled', live: g(1), warm: g(2) })
    for (const argv of [
      ['rollout', 'status', 'web'],
      ['rollout', 'watch', 'web'],
      ['status', 'web'],
    ]) {
      const ran = await boxcar(argv)
      expect(ran.status, ran.err).toBe(0)
    }
  })

  test.each(['aborted', 'not-ready-by-deadline'] as const)('given up, %s: status 4', async because => {
    await asked(because, { phase: 'reverted', stable: g(1), rejected: g(2) })
    expect((await boxcar(['rollout', 'status', 'web'])).status).toBe(4)
    expect((await boxcar(['rollout', 'watch', 'web'])).status).toBe(4)
  })
})

describe('undo', () => {
  /** Acts on the undo as the leader would. */
  async function leaderActs(now: Phase): Promise<void> {
    await expect.poll(async () => (await server.store.list(intents)).entries.length).toBe(1)
    const { entries } = await server.store.list(intents)
    await server.roll(web, now)
    await server.write(...entries.map(entry => remove(intents, entry.id)))
  }

  const twoGenerations = async () => {
    await boxcar(['deploy', '-f', file, '--yes', '--detach'])
    await boxcar(['deploy', '-f', spec('image: web:2'), '--yes', '--detach'])
    await server.roll(web, { phase: 'settled', live: g(2) }, { asked: g(2), since: 1 })
  }

  test('to a generation that never gets ready: status 4, with the evidence', async () => {
    await twoGenerations()
    const ending = boxcar(['undo', 'web', '--to', '1'])
    await leaderActs({ phase: 'warming', stable: g(2), next: g(1) })
    const evidence = [{ what: 'it exited', exitCode: 3, lastLog: ['boom'] }]
    const rejections = [{ generation: g(1), because: 'not-ready-by-deadline' as const, evidence, at: 0 }]
    await server.roll(web, { phase: 'reverted', stable: g(2), rejected: g(1) }, { rejections, since: 2 })
    const ran = await ending
    expect(ran.status, ran.err).toBe(4)
    expect(ran.err).toContain('Error: the undo of default/web was given up; generation 2 answers users')
    expect(ran.err).toContain('Why: generation 1 was not ready by its deadline')
    expect(ran.err).toContain('| boom')
  })

  test('to the warm generation: status 0', async () => {
    await twoGenerations()
    const ending = boxcar(['undo', 'web'])
    await leaderActs({ phase: 'draining', live: g(1), old: g(2), undo: true })
    await server.roll(web, { phase: 'settled', live: g(1), warm: g(2) })
    const ran = await ending
    expect(ran.status, ran.err).toBe(0)
  })
})

describe('plan', () => {
  test('shows each difference; status 8 with --exit-code when there are any', async () => {
    await boxcar(['deploy', '-f', file, '--yes', '--detach'])
    const same = await boxcar(['plan', '-f', file, '--exit-code'])
    expect(same).toMatchObject({ status: 0, out: expect.stringContaining('= default/web  no change') })
    const other = await boxcar(['plan', '-f', spec('image: web:2', 'replicas: 4'), '--exit-code'])
    expect(other.status).toBe(8)
    expect(other.out).toContain('~ /image: web:1 → web:2')
    expect(other.out).toContain('+ /replicas: 4  (in place)')
    expect((await boxcar(['plan', '-f', file, '--image', 'web:3'])).status).toBe(0)
  })
})

describe('changing', () => {
  beforeEach(() => boxcar(['deploy', '-f', file, '--yes', '--detach']))

  test('scale', async () => {
    const ran = await boxcar(['scale', 'web=5'])
    expect(ran).toMatchObject({ status: 0, err: 'default/web: 1 → 5 replicas\n' })
    expect((await server.store.get(specs, web))?.value.replicas).toBe(5)
  })

  test('scale checks all of the line before it changes anything', async () => {
    expect((await boxcar(['scale', 'web=5', 'web:6'])).status).toBe(2)
    expect((await server.store.get(specs, web))?.value.replicas).toBe(1)
  })

  test('rm asks, and does as it is told', async () => {
    expect((await boxcar(['rm', 'web'])).status).toBe(2)
    expect((await boxcar(['rm', 'web'], terminalFor({ answer: 'no' }))).status).toBe(1)
    expect(await server.store.get(specs, web)).toBeDefined()
    const ran = await boxcar(['rm', 'web', '--yes'])
    expect(ran.status, ran.err).toBe(0)
    expect(await server.store.get(specs, web)).toBeUndefined()
  })

  test('rm watches until the instances are gone', async () => {
    await instance(0, 'ready')
    const ending = boxcar(['rm', 'web', '--yes'])
    await expect.poll(() => server.store.get(specs, web)).toBeUndefined()
    await new Promise(resolve => setTimeout(resolve, 30))
    await server.write(
      remove(placements, { host: 'h1' as HostId, instance: 'default/web/1/0' as InstanceId }),
    )
    const ran = await ending
    expect(ran.status, ran.err).toBe(0)
    expect(ran.out).toMatch(/^default\/web +1 instance$/m)
    expect(ran.err).toMatch(/^\d+\.\ds default\/web: 1 instance left\n\d+\.\ds default\/web: gone\n$/)
  })

  test('rm --detach does not watch', async () => {
    await instance(0, 'ready')
    expect(await boxcar(['rm', 'web', '--yes', '--detach'])).toMatchObject({ status: 0, err: '' })
  })

  test('rm --timeout: status 124, work goes on, and how to look', async () => {
    await instance(0, 'ready')
    const ran = await boxcar(['rm', 'web', '--yes', '--timeout', '2s'])
    expect(ran.status).toBe(124)
    expect(ran.err).toContain('Error: not gone after 2.0s; work on the cluster goes on')
    expect(ran.err).toContain('Why: default/web: 1 instance left')
    expect(ran.err).toContain('Next: boxcar get instances -p default')
    expect(await server.store.get(specs, web)).toBeUndefined()
  })

  test('Ctrl-C while rm watches: status 130, work goes on', async () => {
    await instance(0, 'ready')
    const terminal = terminalFor()
    const ending = boxcar(['rm', 'web', '--yes'], terminal)
    await expect.poll(() => terminal.errText()).toContain('1 instance left')
    terminal.interrupt()
    const ran = await ending
    expect(ran.status).toBe(130)
    expect(ran.err).toContain('work on the cluster goes on')
  })

  test('rm ends with status 3 where the same obstacle stays in the way for ten seconds, and says which', async () => {
    await instance(0, 'ready')
    await instance(1, 'ready')
    const uid = (await server.store.get(specs, web))?.value.uid ?? ''
    const obstacles = [{ kind: 'internal-error' as const, doing: 'planning it', error: 'no such key' }]
    const pending = { service: web, uid, term: '1', waiting: [], obstacles, count: 0, at: 0 }
    await server.write(put(pendings, web, pending))
    const asked: string[] = []
    const front = await behind(({ method, path }) => {
      if (method === 'GET') asked.push(path)
      return 'answered'
    })
    try {
      const ran = await boxcar(['rm', 'web', '--yes'], terminalFor({ env: { BOXCAR_SERVER: front.url } }))
      expect(ran.status).toBe(3)
      expect(ran.err).toMatch(/^\d+\.\ds default\/web: 2 instances left; default\/web: .*no such key/m)
      expect(ran.err).toContain('Error: default/web is deleted, but 2 instances of it cannot be stopped')
      expect(ran.err).toMatch(/Why: default\/web: .*no such key/)
      expect(ran.err).toContain('Next: boxcar why default/web')
      expect(asked.filter(path => path.endsWith('/why')).length).toBeLessThanOrEqual(2)
    } finally {
      await front.close()
    }
  })

  test('rm of several services asks for their project once in each look', async () => {
    writeFileSync(join(dir, 'more.yaml'), 'name: worker\nimage: web:1\n')
    await boxcar(['deploy', '-f', join(dir, 'more.yaml'), '--yes', '--detach'])
    await instance(0, 'ready')
    const asked: string[] = []
    const front = await behind(({ method, path }) => {
      if (method === 'GET') asked.push(path)
      return 'answered'
    })
    try {
      const terminal = terminalFor({ env: { BOXCAR_SERVER: front.url } })
      const ran = await boxcar(['rm', 'web', 'worker', '--yes', '--timeout', '1s'], terminal)
      expect(ran.status).toBe(124)
      expect(ran.err).toContain('default/web: 1 instance left, default/worker: gone')
      const looks = asked.filter(path => path.includes('instances')).length
      expect(asked.filter(path => path.endsWith('/services')).length).toBe(looks)
      expect(new Set(asked.filter(path => path.includes('instances'))).size).toBe(1)
    } finally {
      await front.close()
    }
  })

  test('rm does not wait for a service that is created again under the name', async () => {
    await instance(0, 'ready')
    const terminal = terminalFor()
    const ending = boxcar(['rm', 'web', '--yes'], terminal)
    await expect.poll(() => terminal.errText()).toContain('1 instance left')
    await boxcar(['deploy', '-f', file, '--yes', '--detach'])
    const ran = await ending
    expect(ran.status, ran.err).toBe(0)
    expect(ran.err).toContain('default/web: created again')
  })

  test('what does not exist: status 1 and a next step', async () => {
    const ran = await boxcar(['scale', 'nobody=2'])
    expect(ran.status).toBe(1)
    expect(ran.err).toMatch(/^Error: .*\n {2}Why: .*nobody.*\n Next: /)
  })

  test.each([
    ['rollout', 'pause', 'web'],
    ['restart', 'web'],
    ['exec', 'web/1/0', '--', 'sh', '-c', 'ls'],
    ['apply', 'some-plan'],
    ['host', 'rm', 'h1'],
    ['token', 'create', '--name', 'ci'],
  ])('what is not built yet is refused by name: boxcar %s %s', async (...argv) => {
    const ran = await boxcar(argv)
    expect(ran.status).toBe(1)
    expect(ran.err).toMatch(/^Error: boxcar .* is not supported yet$/m)
  })

  test('a flag that is not built yet is refused, and nothing is changed', async () => {
    const ran = await boxcar(['deploy', '-f', spec('image: web:2'), '--yes', '--prune'])
    expect(ran.status).toBe(1)
    expect(ran.err).toContain('boxcar deploy --prune is not supported yet')
    expect((await server.store.get(specs, web))?.value.generation).toBe(1)
  })

  test('help names none of what is not built yet', async () => {
    expect((await boxcar(['--help'])).out).not.toMatch(/^ +(restart|exec|apply) /m)
  })
})

test('hosts are cordoned, drained and freed', async () => {
  await server.addHost('h1')
  const cordoned = await boxcar(['host', 'cordon', 'h1', '--why', 'new disk'])
  expect(cordoned.status, cordoned.err).toBe(0)
  expect(cordoned.out).toMatch(/^h1 +cordoned .*new disk$/m)
  expect((await boxcar(['host', 'uncordon', 'h1', '-o', 'name'])).out).toBe('h1\n')
  const drained = await boxcar(['host', 'drain', 'h1'])
  expect(drained.out).toMatch(/^h1 +draining/m)
  expect(drained.err).toContain('nothing runs there')
  expect((await boxcar(['host', 'drain', 'h1', '--cancel'])).out).toMatch(/^h1 +ready/m)
  expect((await boxcar(['host', 'cordon', 'h9'])).status).toBe(1)
})

test('conditions of a host are in status, get hosts and describe host, and harm no terminal', async () => {
  const conditions = [
    { kind: 'state-not-saved', reason: 'the disk is full', since: Date.now() - 180_000 },
    { kind: 'task-failing', reason: 'it \u001b[31mbreaks' },
  ]
  await server.addHost('h1', { conditions })
  await server.addHost('h2')
  const status = (await boxcar(['status'])).out
  expect(status).toMatch(/^Hosts +2 of 2 ready$/m)
  expect(status).toMatch(/^Conditions +h1 \(state-not-saved, task-failing\); next: boxcar describe host h1$/m)
  const listed = (await boxcar(['get', 'hosts'])).out
  expect(listed).toMatch(/^h1 +ready,state-not-saved,task-failing .* the disk is full; it .*breaks$/m)
  expect(listed).toMatch(/^h2 +ready /m)
  const described = (await boxcar(['describe', 'host', 'h1'])).out
  expect(described).toMatch(
    /^Conditions +state-not-saved for 3m.*: the disk is full\n +task-failing: it .*breaks$/m,
  )
  for (const out of [status, listed, described]) expect(out).not.toContain('\u001b')
  expect((await boxcar(['describe', 'host', 'h2'])).out).not.toContain('Conditions')
})

test('hosts are labelled', async () => {
  await server.addHost('h1', { labels: { disk: 'hdd' } })
  const set = await boxcar(['host', 'label', 'h1', 'disk=ssd', 'zone=a', '-o', 'wide'])
  expect(set.status, set.err).toBe(0)
  expect(set.out).toContain('disk=ssd,zone=a')
  expect((await boxcar(['host', 'label', 'h1', 'zone-', '-o', 'json'])).out).not.toContain('zone')
  expect((await boxcar(['host', 'label', 'h1', 'zone'])).status).toBe(2)
})

describe('who may ask, and whom', () => {
  test('no token where one is needed: status 6', async () => {
    const guarded = await testServer({ token: 'a-secret-of-sixteen' })
    try {
      const env = { BOXCAR_SERVER: await guarded.app.listen({ host: '127.0.0.1', port: 0 }) }
      expect((await boxcar(['get', 'hosts'], testTerminal({ env }))).status).toBe(6)
      const token = { ...env, BOXCAR_TOKEN: 'a-secret-of-sixteen' }
      expect((await boxcar(['get', 'hosts'], testTerminal({ env: token }))).status).toBe(0)
      const tokenFile = join(dir, 'token')
      writeFileSync(tokenFile, '# ours\na-secret-of-sixteen\n')
      expect((await boxcar(['get', 'hosts', '--token-file', tokenFile], testTerminal({ env }))).status).toBe(
        0,
      )
    } finally {
      await guarded.close()
    }
  })

  test('nobody answers: status 7', async () => {
    const ran = await boxcar(['status'], testTerminal({ env: { BOXCAR_SERVER: 'http://127.0.0.1:1' } }))
    expect(ran.status).toBe(7)
    expect(ran.err).toMatch(
      /^Error: the Boxcar server at http:\/\/127\.0\.0\.1:1 cannot be reached\n {2}Why: /,
    )
  })
})

describe('a slow reader slows down what prints without end', () => {
  const lines: Agents = {
    logs: async (_host, _instance, { signal }) => ({
      kind: 'lines',
      lines: (async function* () {
        for (let at = 0; !signal.aborted; at += 1) {
          yield { at, stream: 'stdout' as const, line: 'again' }
          await new Promise(resolve => setImmediate(resolve))
        }
      })(),
    }),
  }

  test.each([
    ['logs', ['logs', '-f', 'web']],
    ['events', ['events', '-f']],
  ])('%s', async (_name, argv) => {
    await server.close()
    server = await testServer({ agents: lines })
    url = await server.app.listen({ host: '127.0.0.1', port: 0 })
    await server.addHost('h1')
    await boxcar(['deploy', '-f', file, '--yes', '--detach'])
    await boxcar(['scale', 'web=2'])
    await instance(0, 'ready')
    const terminal = terminalFor()
    let takes = () => {}
    const read = () => {
      if (terminal.interrupted.aborted) return Promise.resolve()
      const pending = Promise.withResolvers<void>()
      takes = pending.resolve
      terminal.interrupted.addEventListener('abort', () => pending.resolve())
      return pending.promise
    }
    const ending = boxcar(argv, { ...terminal, drained: read })
    const printed = () => terminal.outText().split('\n').length - 1
    await expect.poll(printed).toBe(1)
    await new Promise(resolve => setTimeout(resolve, 50))
    expect(printed()).toBe(1)
    takes()
    await expect.poll(printed).toBe(2)
    terminal.interrupt()
    expect((await ending).status).toBe(130)
  })
})

describe('a setting that does not work is put right where it was said', () => {
  const config = (text: string) => {
    mkdirSync(join(dir, 'boxcar'), { recursive: true })
    writeFileSync(join(dir, 'boxcar', 'config.yaml'), text)
    return { XDG_CONFIG_HOME: dir }
  }
  const nobody = 'http://127.0.0.1:1'
  const filed = () => ({
    none: '',
    server: `server: ${nobody}\n`,
    project: 'project: shpo\n',
    ca: 'etcdCa: /no.pem\n',
  })

  type SettingRow = [
    what: string,
    argv: readonly string[],
    env: Readonly<Record<string, string>>,
    file: keyof ReturnType<typeof filed>,
    expected: string,
  ]
  test.each<SettingRow>([
    ['server by flag', ['status', '--server', nobody], {}, 'none', 'or correct --server'],
    ['server by environment', ['status'], { BOXCAR_SERVER: nobody }, 'none', 'or correct BOXCAR_SERVER'],
    ['server in the file', ['status'], { BOXCAR_SERVER: '' }, 'server', 'config.yaml: server'],
    ['no Boxcar server', ['status'], { BOXCAR_SERVER: 'OTHER' }, 'none', 'or correct BOXCAR_SERVER'],
    [
      'no address',
      ['status'],
      { BOXCAR_SERVER: 'ftp://x' },
      'none',
      'Why: BOXCAR_SERVER: must be an address',
    ],
    [
      'project',
      ['get', 'services', 'web'],
      { BOXCAR_PROJECT: 'shpo' },
      'none',
      'the project in force is shpo, by BOXCAR_PROJECT',
    ],
    ['project in the file', ['get', 'services', 'web'], {}, 'project', 'config.yaml: project'],
    [
      'project without services',
      ['get', 'services'],
      { BOXCAR_PROJECT: 'shpo' },
      'none',
      'in project shpo (BOXCAR_PROJECT)',
    ],
    [
      'project by flag',
      ['get', 'services', 'web', '-p', 'shpo'],
      {},
      'none',
      'Next: boxcar get services -A\n',
    ],
    ['no project', ['status'], { BOXCAR_PROJECT: 'No' }, 'none', 'Why: BOXCAR_PROJECT: '],
    ['etcd', ['server', '--log', 'silent'], { BOXCAR_ETCD: '127.0.0.1:1' }, 'none', 'or correct BOXCAR_ETCD'],
    ['etcd by flag', ['server', '--log', 'silent', '--etcd', '127.0.0.1:1'], {}, 'none', 'or correct --etcd'],
    [
      'etcd authority',
      ['server', '--etcd', 'https://127.0.0.1:1'],
      {},
      'ca',
      'config.yaml: etcdCa cannot be read',
    ],
    ['log', ['server'], { BOXCAR_LOG: 'loud' }, 'none', 'Why: BOXCAR_LOG: '],
    [
      'engine',
      ['doctor', '--etcd', '127.0.0.1:1'],
      { DOCKER_HOST: 'unix:///no' },
      'none',
      'or correct DOCKER_HOST',
    ],
    [
      'engine by flag',
      ['doctor', '--etcd', '127.0.0.1:1', '--docker', 'unix:///no'],
      {},
      'none',
      'or correct --docker',
    ],
    ...(process.platform === 'linux'
      ? [
          [
            'etcd of an agent',
            [
              ...'agent --log silent --no-edge --advertise 127.0.0.1 --agent-port 0 --state-dir DIR'.split(
                ' ',
              ),
            ],
            { BOXCAR_ETCD: '127.0.0.1:1' },
            'none',
            'or correct BOXCAR_ETCD',
          ] satisfies SettingRow,
        ]
      : []),
  ])('%s', async (_what, argv, env, file, expected) => {
    const other = createServer((_request, response) => response.end('hello'))
    other.listen(0, '127.0.0.1')
    await once(other, 'listening')
    const address = other.address()
    const port = typeof address === 'object' && address !== null ? address.port : 0
    try {
      const said = Object.entries(env).map(([name, value]) => [
        name,
        value === 'OTHER' ? `127.0.0.1:${port}` : value,
      ])
      const terminal = terminalFor({ env: { ...config(filed()[file]), ...Object.fromEntries(said) } })
      const line = argv.map(word => (word === 'DIR' ? dir : word))
      const { out, err } = await boxcar(line, terminal)
      expect(out + err).toContain(expected)
      expect(out + err).not.toContain('please report this')
    } finally {
      other.closeAllConnections()
      other.close()
    }
  })

  test('a token, by whoever said it', async () => {
    const guarded = await testServer({ token: 'a-secret-of-sixteen' })
    try {
      const server = { BOXCAR_SERVER: await guarded.app.listen({ host: '127.0.0.1', port: 0 }) }
      const tokenFile = join(dir, 'token')
      writeFileSync(tokenFile, 'another-one\n')
      const next = async (argv: readonly string[], env: Readonly<Record<string, string>>) =>
        (await boxcar(['get', 'hosts', ...argv], testTerminal({ env: { ...server, ...env } }))).err
      expect(await next([], { BOXCAR_TOKEN: 'another-one' })).toContain('Next: correct BOXCAR_TOKEN')
      expect(await next(['--token-file', tokenFile], {})).toContain('Next: correct --token-file')
      expect(await next([], config('token: another-one\n'))).toContain('config.yaml: token')
      expect(await next([], {})).toContain('Next: set BOXCAR_TOKEN, or give --token-file')
    } finally {
      await guarded.close()
    }
  })
})

describe.skipIf(process.platform !== 'linux')('dev', () => {
  test('listens on loopback only, since everybody is let in', async () => {
    const ran = await boxcar(['dev', '--listen', '0.0.0.0:7070'])
    expect(ran.status).toBe(2)
    expect(ran.err).toContain('it can be reached from other machines')
  })

  test('says at once that an address is taken', async () => {
    const ran = await boxcar(['dev', '--listen', new URL(url).host])
    expect(ran.status).toBe(2)
    expect(ran.err).toContain('is taken by another process')
    expect(ran.err).toContain('Next: leave --listen out')
  })

  test('an engine that does not answer: one sentence, a next step, and nothing left', async () => {
    const folders = () => readdirSync(tmpdir()).filter(name => name.startsWith('boxcar-dev-'))
    const before = folders()
    const ran = await boxcar(['dev', '--engine', 'unix:///nowhere/docker.sock'])
    expect(ran.status).toBe(1)
    expect(ran.err).toMatch(/^Error: .*\n {2}Why: .*\n(?: {7}.*\n)* Next: /m)
    expect(ran.err).not.toContain('please report this')
    expect(folders()).toEqual(before)
  })
})

describe('command lines that are none', () => {
  test.each([
    [['depoy'], "unknown command 'depoy'", 'did you mean deploy?', 'boxcar --help'],
    [
      ['get', 'services', '--foo'],
      "unknown option '--foo'",
      'this command has no such flag',
      'boxcar get --help',
    ],
    [
      ['deploy'],
      "required option '-f, --file <file>' not specified",
      'it must be given',
      'boxcar deploy --help',
    ],
    [['host', 'drain'], "missing required argument 'host'", 'it must be given', 'boxcar host drain --help'],
    [['get', 'planets'], 'planets is no kind of object', 'the kinds are projects', 'boxcar get --help'],
    [
      ['why', '../x'],
      '../x is not the name of a service',
      'a service is named web',
      'boxcar get services -A',
    ],
  ])('%j', async (argv, what, why, next) => {
    const { status, err, out } = await boxcar(argv)
    expect(status).toBe(2)
    expect(out).toBe('')
    expect(err).toContain(`Error: ${what}`)
    expect(err).toContain(`  Why: ${why}`)
    expect(err).toContain(` Next: ${next}`)
  })
})

test('events of a service are all there, whichever way their writer named it', async () => {
  const event = { at: 0, level: 'info' as const, kind: 'test' }
  await server.write(
    put(
      events,
      { writer: 'scheduler', id: '1' },
      { ...event, writer: 'scheduler', message: 'one', project: 'default', service: 'web' },
    ),
    put(
      events,
      { writer: 'agent/h1', id: '2' },
      { ...event, writer: 'agent/h1', message: 'two', instance: 'default/web/1/0', host: 'h1' },
    ),
    put(
      events,
      { writer: 'api', id: '3' },
      { ...event, writer: 'api', message: 'three', service: 'default/web' },
    ),
    put(
      events,
      { writer: 'api', id: '4' },
      { ...event, writer: 'api', message: 'four', service: 'other/web' },
    ),
  )
  const { out } = await boxcar(['events', 'web', '-o', 'jsonl'])
  const told = out
    .trim()
    .split('\n')
    .map(line => z.object({ message: z.string(), service: z.string() }).parse(JSON.parse(line)))
  expect(told.map(it => it.message).sort()).toEqual(['one', 'three', 'two'])
  expect(new Set(told.map(it => it.service))).toEqual(new Set(['default/web']))
})
