/** What commands say of instances that could not be placed where they stand now, and of what answers after an undo. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestServer, testServer } from '@boxcar/api/testing'
import type { GenerationNumber, ServiceName } from '@boxcar/core/model/ids'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { run } from '../run.ts'
import { testTerminal } from '../test-terminal.ts'

const web = 'default/web' as ServiceName
const image = `web@sha256:${'a'.repeat(64)}`
const g = (n: number) => n as GenerationNumber

let server: TestServer
let url = ''
let dir = ''

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'boxcar-misplaced-'))
  server = await testServer()
  url = await server.app.listen({ host: '127.0.0.1', port: 0 })
  for (const host of ['h1', 'h2']) await server.addHost(host, { labels: { zone: 'b' } })
  await boxcar('deploy', '-f', spec('replicas: 2'), '--yes', '--detach')
  await server.roll(web, { phase: 'settled', live: g(1) })
  await server.place('default/web/1/0', 'h1', 'ready')
  await server.place('default/web/1/1', 'h2', 'ready')
})
afterEach(async () => {
  await server.close()
  rmSync(dir, { recursive: true, force: true })
})

function spec(...lines: readonly string[]): string {
  const path = join(dir, 'web.yaml')
  writeFileSync(path, ['name: web', `image: ${image}`, ...lines, ''].join('\n'))
  return path
}

async function boxcar(...argv: readonly string[]) {
  const terminal = testTerminal({ env: { BOXCAR_SERVER: url } })
  const status = await run(argv, terminal)
  return { status, out: terminal.outText(), err: terminal.errText() }
}

const toZoneA = ['replicas: 2', 'placement:', '  where: ["zone = a"]'] as const
const label =
  "Next: label a host so that 'zone = a' holds: boxcar host label h1 zone=a, or change /placement/where"

test.each([[[]], [['--detach']]])(
  'a deploy that leaves instances outside says so and ends with status 3 %j',
  async more => {
    const ran = await boxcar('deploy', '-f', spec(...toZoneA), '--yes', ...more)
    expect(ran.status, ran.err).toBe(3)
    expect(ran.out).toBe('default/web generation 1: 2/2 ready, 2 misplaced\n')
    const [plan = '', end = ''] = ran.err.split('Error: ')
    expect(plan).toContain(`
    2 instances stand where they could not be placed now:
      h1: wants 'zone = a', has zone = b: default/web/1/0
      h2: wants 'zone = a', has zone = b: default/web/1/1
    next: label a host`)
    expect(end).toBe(`default/web: accepted, but not all instances stand where they could be placed now
  Why: 2 instances stand where they could not be placed now:
         h1: wants 'zone = a', has zone = b: default/web/1/0
         h2: wants 'zone = a', has zone = b: default/web/1/1
 ${label}
`)
  },
)

test('the same deploy again is not done either, and is once the hosts are labelled', async () => {
  await boxcar('deploy', '-f', spec(...toZoneA), '--yes')
  expect((await boxcar('deploy', '-f', spec(...toZoneA), '--yes')).status).toBe(3)
  for (const host of ['h1', 'h2']) await boxcar('host', 'label', host, 'zone=a')
  const ran = await boxcar('deploy', '-f', spec(...toZoneA), '--yes')
  expect(ran, ran.err).toMatchObject({ status: 0, out: 'default/web generation 1: 2/2 ready\n' })
})

test('every look says it: status, services, instances, hosts, describe and why', async () => {
  await boxcar('deploy', '-f', spec(...toZoneA), '--yes')
  const all = (await boxcar('status')).out
  expect(all).toMatch(/^Services +1 of 1 ready$/m)
  expect(all).toMatch(/^Instances +2 of 2 ready, 2 misplaced: boxcar why SERVICE/m)
  expect((await boxcar('get', 'services')).out).toMatch(
    /^default\/web +misplaced +2\/2 .*2 instances stand where they could not be placed now: default\/web\/1\/0 on h1 wants/m,
  )
  for (const argv of [
    ['status', 'web'],
    ['describe', 'service', 'web'],
  ]) {
    const { out } = await boxcar(...argv)
    expect(out).toMatch(/^Status +misplaced: 2 of 2 instances are ready; 2 instances stand/m)
    expect(out).toMatch(/^Next +label a host so that 'zone = a' holds/m)
  }
  const reason =
    /^default\/web\/1\/1 +h2 +ready .*could not be placed here now: wants 'zone = a', has zone = b$/m
  expect((await boxcar('get', 'instances', 'web')).out).toMatch(reason)
  expect((await boxcar('describe', 'host', 'h2')).out).toMatch(reason)
  expect((await boxcar('get', 'hosts')).out).toMatch(/^h1 .* 1 instance could not be placed here now$/m)
  const why = (await boxcar('why', 'web')).out
  expect(why).toContain("  h2: wants 'zone = a', has zone = b: default/web/1/1")
  expect(why).toContain("What would help: label a host so that 'zone = a' holds")
  expect((await boxcar('why', 'web/1/0')).out).toContain('could not be placed here now')
})

test('taking a label away says what it leaves outside', async () => {
  for (const host of ['h1', 'h2']) await boxcar('host', 'label', host, 'zone=a')
  expect((await boxcar('deploy', '-f', spec(...toZoneA), '--yes')).status).toBe(0)
  const ran = await boxcar('host', 'label', 'h2', 'zone-')
  expect(ran.status).toBe(0)
  expect(ran.err).toBe(
    'h2: 1 instance could not be placed there now, and stays: default/web/1/1; boxcar why SERVICE tells what to do\n',
  )
})

test('explain and plan say from when on a change in place counts', async () => {
  expect((await boxcar('explain', 'placement.where')).out).toContain(
    'no new generation: for what is placed from now on; what runs stays where it stands',
  )
  expect((await boxcar('explain', 'replicas')).out).toMatch(/no new generation$/m)
  const plan = await boxcar('plan', '-f', spec('replicas: 2', 'restart: { backoff: { cap: 5m } }'))
  expect(plan.out + plan.err).toContain(
    '(in place, from the next failures on; a wait that has begun goes on)',
  )
})

test('after an undo the service is ready, and the spec’s generation is named', async () => {
  await boxcar('deploy', '-f', spec('replicas: 2', 'env: { A: b }'), '--yes', '--detach')
  await server.roll(
    web,
    { phase: 'settled', live: g(1) },
    { asked: g(2), rejections: [{ generation: g(2), because: 'undone', evidence: [], at: 0 }] },
  )
  const { out } = await boxcar('status')
  expect(out).toMatch(/^Services +1 of 1 ready$/m)
  expect(out).toMatch(
    /^default\/web +ready +2\/2 .* 2 of 2 instances are ready; generation 1 answers after an undo, the spec asks for generation 2$/m,
  )
  expect((await boxcar('why', 'web')).out).toContain('the spec asks for generation 2')
})

test('a service that is not there is named, with the one that was meant', async () => {
  const ran = await boxcar('why', 'wbe')
  expect(ran).toMatchObject({
    status: 1,
    err: `Error: not found
  Why: there is no service wbe in project default; did you mean web?
 Next: boxcar get services -A
`,
  })
})
