/** Ports that are known to be held are refused where they are asked for, in a plan and in a save alike. */
import type { HostId } from '@boxcar/core/model/ids'
import { specs } from '@boxcar/store/keys'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { buildApp } from './app.ts'
import { heldPorts } from './decide/held-ports.ts'
import type { App } from './routes/route.ts'
import { type TestServer, testServer } from './testing.ts'
import { problemView, savedView } from './views.ts'

const image = `web@sha256:${'a'.repeat(64)}`
const service = (name: string) => `/v1/projects/shop/services/${name}`

let server: TestServer
let app: App
beforeEach(async () => {
  server = await testServer() // whose leader is at 127.0.0.1:7071
  const storeEndpoints = [
    ...['http://10.0.0.1:2379', 'https://[fd00::2]:2381', 'LOCALHOST:2382'],
    ...['https://etcd.elsewhere.example:443', 'http://etcd.elsewhere.example', '10.0.0.99:8443'],
  ]
  app = await buildApp({ ...server.deps, listen: { host: '0.0.0.0', port: 7070 }, storeEndpoints })
  await server.addHost('h1', { address: '10.0.0.1', agentPort: 7171, ports: { from: 20_000, to: 20_999 } })
  await server.addHost('h2', { address: 'FD00:0::2', agentPort: 7272, ports: { from: 30_000, to: 30_999 } })
  await put('db', fixed(9000))
  await put('www', listening(8000))
})
afterEach(async () => {
  await app.close()
  await server.close()
})

const listening = (...ports: readonly number[]) => ({
  image,
  ports: [{ name: 'http', container: 80 }],
  routes: ports.map(listen => ({ port: 'http', listen })),
})
const fixed = (...ports: readonly number[]) => ({
  image,
  ports: ports.map((hostPort, i) => ({ name: `p${i}`, container: 80 + i, hostPort })),
})

async function send(method: 'PUT' | 'PATCH' | 'POST', url: string, payload: object) {
  const answer = await app.inject({
    method,
    url,
    payload,
    headers: method === 'PATCH' ? { 'content-type': 'application/merge-patch+json' } : {},
  })
  await server.deps.mirror.reached((await server.store.list(specs)).revision)
  return answer
}
const put = (name: string, spec: object) => send('PUT', service(name), spec)
const plan = (...services: readonly object[]) => send('POST', '/v1/plans', { project: 'shop', services })

const refused: readonly [string, object, string, RegExp][] = [
  ['the port of an agent', listening(80, 7171), '/routes/1/listen', /7171 is held by the agent of host h1/],
  ['the port of another agent', listening(7272), '/routes/0/listen', /the agent of host h2/],
  ['the port of this server', listening(7070), '/routes/0/listen', /a server \(0\.0\.0\.0:7070\)/],
  ['the port of the leader', listening(7071), '/routes/0/listen', /a server \(127\.0\.0\.1:7071\)/],
  ['a port of the store', listening(2379), '/routes/0/listen', /the store \(http:\/\/10\.0\.0\.1:2379\)/],
  ['another of the store', listening(2381), '/routes/0/listen', /the store/],
  ['one of loopback', listening(2382), '/routes/0/listen', /the store \(LOCALHOST:2382\)/],
  ['the first port for instances', listening(20_000), '/routes/0/listen', /the instances of host h1/],
  ['the last port for instances', listening(30_999), '/routes/0/listen', /host h2, which get 30000 to 30999/],
  ['a fixed host port', listening(9000), '/routes/0/listen', /service shop\/db as its fixed host port/],
  ['fixed: the port of an agent', fixed(9001, 7171), '/ports/1/hostPort', /the agent of host h1/],
  ['fixed: the port of a server', fixed(7070), '/ports/0/hostPort', /a server/],
  ['fixed: a port of the store', fixed(2379), '/ports/0/hostPort', /the store/],
  [
    'fixed: where proxies listen',
    fixed(8000),
    '/ports/0/hostPort',
    /the proxies for a route of service shop\/www/,
  ],
]
test.each(refused)('%s is refused', async (_, spec, pointer, message) => {
  const before = server.etcd.revision
  const fault = { pointer, code: 'port_held', message: expect.stringMatching(message) }
  const answer = await put('web', spec)
  expect(problemView.parse(answer.json())).toMatchObject({
    status: 422,
    code: 'invalid-spec',
    errors: [fault],
  })
  const planned = await plan({ name: 'web', ...spec })
  expect(problemView.parse(planned.json())).toMatchObject({
    status: 422,
    errors: [{ ...fault, pointer: `/services/0${pointer}` }],
  })
  expect(server.etcd.revision).toBe(before)
})

test.each<[string, object]>([
  ['a free port', listening(80)],
  ['the port of a store that is on no host', listening(443)],
  ['the default port of one', listening(80, 8443)],
  ['fixed: the port of a store that is on no host', fixed(443)],
  ['a port between the ranges', listening(21_000)],
  [
    'where other proxies listen',
    { ...listening(8000), routes: [{ port: 'http', listen: 8000, path: '/a' }] },
  ],
  ['fixed: that of another service, which may be on other hosts', fixed(9000)],
  ['fixed: one of the range, which placing counts', fixed(20_000)],
])('%s is taken', async (_, spec) => {
  expect((await put('web', spec)).statusCode).toBe(201)
})

test.each<[string, readonly number[]]>([
  ['https://10.0.0.1', [443]],
  ['http://10.0.0.1/', [80]],
  ['https://h1.example.com:2379', [2379]],
  ['http://0.0.0.0:7070', [7070]],
  ['[::]:7070', [7070]],
  ['http://[::1]:7070', [7070]],
  ['https://10.0.0.2', []],
  ['https://boxcar.example.com:8443', []],
  ['[fd00::2]:2379', []],
  ['no address', []],
])('a server at %s holds %j of a host at 10.0.0.1 and one at h1.example.com', (address, expected) => {
  const host = { agentPort: 1, ports: { from: 2, to: 3 } }
  const hosts = [
    { ...host, id: 'h1' as HostId, address: '10.0.0.1' },
    { ...host, id: 'h2' as HostId, address: 'H1.example.com' },
  ]
  const held = heldPorts({ hosts, servers: [address], store: [], services: [] })
  expect(held.filter(it => it.holder.startsWith('a server')).map(it => it.from)).toEqual(expected)
})

test('services of one plan are seen by each other', async () => {
  const answer = await plan({ name: 'a', ...fixed(9100) }, { name: 'b', ...listening(9100) })
  expect(problemView.parse(answer.json()).errors).toMatchObject([
    { pointer: '/services/1/routes/0/listen', message: expect.stringMatching(/service shop\/a/) },
  ])
  // The first of them gives the port up that the second takes.
  expect((await plan({ name: 'www', ...listening(8001) }, { name: 'b', ...fixed(8000) })).statusCode).toBe(
    200,
  )
})

test('who had a port before it was held may be scaled and deployed, and asks for no other held one', async () => {
  await put('web', listening(7373))
  await server.addHost('h3', { agentPort: 7373 })
  const scaled = await send('PATCH', service('web'), { replicas: 3 })
  expect(savedView.parse(scaled.json()).service.replicas).toBe(3)
  expect((await put('web', { ...listening(7373), env: { A: '1' } })).statusCode).toBe(200)
  const more = await send('PATCH', service('web'), { routes: listening(7373, 7171).routes })
  expect(problemView.parse(more.json()).errors).toMatchObject([{ pointer: '/routes/1/listen' }])
})
