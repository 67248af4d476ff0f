/** A route that a host cannot serve, on every screen and at the end of a deploy; what leader and hosts write is written by the test. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestServer, testServer } from '@boxcar/api/testing'
import type { GenerationNumber, HostId, ServiceName } from '@boxcar/core/model/ids'
import { listenersOf } from '@boxcar/core/model/route'
import type { Unserved } from '@boxcar/core/model/unserved'
import { put } from '@boxcar/store/collection'
import { routeAcks, routes, specs } from '@boxcar/store/keys'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { run } from '../run.ts'
import { testTerminal } from '../test-terminal.ts'

let server: TestServer
let url = ''
let dir = ''

const web = 'default/web' as ServiceName
const g = (n: number) => n as GenerationNumber
const held: Unserved = { listen: 81, address: '0.0.0.0', reason: 'held', holder: 'process 812 (sshd)' }
const words = 'h2: port 81 at 0.0.0.0 is held by process 812 (sshd)'
const next = "free port 81 on h2 ('ss -ltnp' there shows who has it), or give the route another port"

beforeEach(async () => {
  server = await testServer()
  url = await server.app.listen({ host: '127.0.0.1', port: 0 })
  dir = mkdtempSync(join(tmpdir(), 'boxcar-unserved-'))
  for (const [i, host] of ['h1', 'h2'].entries()) await server.addHost(host, { address: `10.0.0.${i + 1}` })
})
afterEach(async () => {
  await server.close()
  rmSync(dir, { recursive: true, force: true })
})

async function boxcar(...argv: readonly string[]) {
  const terminal = testTerminal({ env: { BOXCAR_SERVER: url } })
  const status = await run(argv, terminal)
  return { status, out: terminal.outText(), err: terminal.errText() }
}

function file(listen: number): string {
  const path = join(dir, 'web.yaml')
  const image = `web@sha256:${'a'.repeat(64)}`
  const lines = ['name: web', `image: ${image}`, 'replicas: 0', 'ports: [{ name: http, container: 80 }]']
  writeFileSync(path, `${lines.join('\n')}\nroutes: [{ port: http, listen: ${listen} }]\n`)
  return path
}

/** Waits until the spec asks for this port. */
async function untilAsked(listen: number): Promise<void> {
  for (let i = 0; i < 400; i += 1) {
    const seen = await server.store.get(specs, web)
    if (seen?.value.spec.routes[0]?.listen === listen) return
    await new Promise(resolve => setTimeout(resolve, 5))
  }
  throw new Error(`nobody asked for port ${listen}`)
}

/** What the leader and the proxies write for the spec as it is. */
async function serve(cannot: Readonly<Record<string, readonly Unserved[]>> = {}): Promise<void> {
  const spec = (await server.store.get(specs, web))?.value
  if (spec === undefined) throw new Error('nobody asked for the service')
  const listeners = listenersOf(spec.spec.routes)
  const backings = [{ generation: g(1), share: 1000, endpoints: [] }]
  const route = { service: web, uid: spec.uid, term: '1', listeners, backings, drainMs: 1 }
  await server.write(put(routes, web, route))
  const revision = (await server.store.get(routes, web))?.modified ?? ''
  for (const host of ['h1', 'h2']) {
    const unserved = cannot[host] === undefined ? {} : { unserved: cannot[host] }
    await server.write(put(routeAcks, host as HostId, { revision, draining: [], ...unserved }, server.lease))
  }
}

/** Served everywhere at port 80. */
async function running(): Promise<void> {
  await boxcar('deploy', '-f', file(80), '--yes', '--detach')
  await server.roll(web, { phase: 'settled', live: g(1) })
  await serve()
}

describe('a route that is moved to a held port, which makes no generation', () => {
  test('ends with status 3, after naming host, port, holder and what to do', async () => {
    await running()
    const ending = boxcar('deploy', '-f', file(81), '--yes')
    await untilAsked(81)
    await serve({ h2: [held] })
    const ran = await ending
    expect(ran.status, ran.err).toBe(3)
    expect(ran.err).toContain(
      [
        'Error: default/web is accepted and ready, but 1 of 2 hosts serve its routes',
        `  Why: ${words}`,
        `         ${next}`,
        ' Next: boxcar why default/web',
      ].join('\n'),
    )
    // While it was watched, too.
    expect(ran.err).toMatch(/default\/web: degraded, 0\/0 ready: 0 of 0 instances are ready; h2: port 81/)
  })

  test('is done once the port is free', async () => {
    await running()
    const ending = boxcar('deploy', '-f', file(81), '--yes')
    await untilAsked(81)
    await serve({ h2: [held] })
    await serve()
    const ran = await ending
    expect(ran.status, ran.err).toBe(0)
    expect(ran.out).toContain('http://10.0.0.2:81/')
  })

  test('is not done before the leader wrote the route, though all was served before', async () => {
    await running()
    const ran = await boxcar('deploy', '-f', file(81), '--yes', '--timeout', '2s')
    expect(ran.status, ran.err).toBe(124)
  })
})

test('a generation that was not served by its deadline: status 4, with the evidence', async () => {
  const ending = boxcar('deploy', '-f', file(81), '--yes')
  await untilAsked(81)
  await server.roll(web, { phase: 'warming', next: g(1) })
  await serve({ h2: [held] })
  const evidence = [{ host: 'h2', what: 'port 81 at 0.0.0.0 is held by process 812 (sshd)' }]
  const rejections = [{ generation: g(1), because: 'not-served-by-deadline' as const, evidence, at: 0 }]
  await server.roll(web, { phase: 'reverted', rejected: g(1) }, { rejections })
  const ran = await ending
  expect(ran.status, ran.err).toBe(4)
  expect(ran.err).toContain(
    [
      '  Why: generation 1 was not served on every host by its deadline',
      '       on h2: port 81 at 0.0.0.0 is held by process 812 (sshd)',
    ].join('\n'),
  )
})

test.each<[string, readonly string[], readonly (string | RegExp)[]]>([
  ['status', ['status'], [/default\/web +degraded/, words]],
  ['status of it', ['status', 'web'], [/Status +degraded: .*h2: port 81/, /Not served +h2: port 81/, next]],
  ['the routes', ['get', 'routes'], [/ 1\/2 +h2: port 81 at 0\.0\.0\.0 is held by process 812 \(sshd\)/]],
  ['the hosts', ['get', 'hosts'], [/h2 .*proxy: port 81 at 0\.0\.0\.0 is held/]],
  [
    'why',
    ['why', 'web'],
    [/^default\/web: 0 of 0 instances are ready; h2: port 81/, `What would help: ${next}`],
  ],
  ['describe', ['describe', 'service', 'web'], [/Not served +h2: port 81/, next]],
  ['describe the host', ['describe', 'host', 'h2'], [/Not served +h2: port 81/, next]],
  ['rollout status', ['rollout', 'status', 'web'], [/generation 1 answers, but not everywhere: h2: port 81/]],
])('it is in %s', async (_, argv, expected) => {
  await boxcar('deploy', '-f', file(81), '--yes', '--detach')
  await server.roll(web, { phase: 'settled', live: g(1) })
  await serve({ h2: [held] })
  const { out } = await boxcar(...argv)
  for (const text of expected)
    expect(out).toEqual(
      typeof text === 'string' ? expect.stringContaining(text) : expect.stringMatching(text),
    )
})
