import { createServer, type Server } from 'node:http'
import type { GenerationNumber, HostId, InstanceId, ServiceName } from '@boxcar/core/model/ids'
import { agentToken } from '@boxcar/store/agent-token'
import { put } from '@boxcar/store/collection'
import { placements } from '@boxcar/store/keys'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { agentsOverHttp } from './agents.ts'
import { createClient } from './client.ts'
import { type TestServer, testServer } from './testing.ts'

let server: TestServer
let agent: Server
let asked: { url: string; token: string }[]
let says: (url: string) => readonly string[] | undefined

beforeEach(async () => {
  asked = []
  agent = createServer((request, response) => {
    asked.push({ url: request.url ?? '', token: request.headers.authorization ?? '' })
    const lines = says(request.url ?? '')
    const count = lines?.length ?? 0
    response.statusCode = lines === undefined ? 404 : 200
    for (const [i, line] of (lines ?? []).entries())
      response.write(`${JSON.stringify({ at: i * 10 + count, stream: 'stdout', line })}\n`)
    response.end()
  })
  await new Promise<void>(resolve => agent.listen(0, '127.0.0.1', resolve))
  // The secret is drawn by the server; its agents client is made from it.
  const fetching = { ask: agentsOverHttp('secret') }
  server = await testServer({ agents: { logs: (...args) => fetching.ask.logs(...args) } })
  fetching.ask = agentsOverHttp(server.deps.cluster.secret)
  const bound = agent.address()
  const agentPort = typeof bound === 'object' && bound !== null ? bound.port : 0
  await server.addHost('h1', { address: '127.0.0.1', agentPort })
  await server.addHost('h2', { address: '127.0.0.1', agentPort: 1 })
  await server.app.inject({
    method: 'PUT',
    url: '/v1/projects/shop/services/web',
    payload: { image: 'a', replicas: 2 },
  })
  await place('h1', 0)
})
afterEach(async () => {
  await server.close()
  await new Promise(resolve => agent.close(resolve))
})

async function place(host: string, slot: number): Promise<void> {
  const at = { host: host as HostId, instance: `shop/web/1/${slot}` as InstanceId }
  await server.write(
    put(placements, at, {
      ...at,
      service: 'shop/web' as ServiceName,
      generation: 1 as GenerationNumber,
      slot,
      uid: 'u',
      term: '1',
      desired: 'run',
      because: 'missing',
      cpuMilli: 1,
      memoryMiB: 1,
      ports: {},
      image: 'a',
    }),
  )
}
const get = (path: string, accept = '*/*') =>
  server.app.inject({ url: `/v1/projects/shop/services/web/${path}`, headers: { accept } })

test("of one instance, with the token that is made for its host's agent", async () => {
  says = () => ['hello', 'world']
  const answer = await get('instances/1/0/logs?tail=5')
  expect(answer.body).toBe('hello\nworld\n')
  expect(asked).toEqual([
    {
      url: '/v1/instances/shop/web/1/0/logs?tail=5',
      token: `Bearer ${agentToken(server.deps.cluster.secret, 'h1')}`,
    },
  ])
})

test('of a service, in order of time, and which instances are missing', async () => {
  await place('h1', 1)
  await place('h2', 2)
  says = url => (url.includes('/1/0/') ? ['a', 'b', 'c'] : ['x'])
  const answer = await get('logs')
  expect(answer.body).toBe('1/1 | x\n1/0 | a\n1/0 | b\n1/0 | c\n')
  expect(answer.headers['boxcar-missing']).toBe('shop/web/1/2')
  const json = await get('logs', 'application/jsonl')
  expect(JSON.parse(json.body.split('\n')[0] ?? '')).toEqual({
    at: 1,
    stream: 'stdout',
    line: 'x',
    instance: 'shop/web/1/1',
  })
})

test('what is not there is 404, and a host that does not answer 503', async () => {
  says = () => undefined
  expect((await get('instances/1/0/logs')).statusCode).toBe(404)
  await place('h2', 1)
  expect((await get('instances/1/1/logs')).json()).toMatchObject({ status: 503, code: 'agent-unreachable' })
  expect((await get('instances/1/7/logs')).statusCode).toBe(404)
})

test('through the client', async () => {
  says = () => ['hello']
  await server.app.listen({ host: '127.0.0.1', port: 0 })
  const bound = server.app.server.address()
  const port = typeof bound === 'object' && bound !== null ? bound.port : 0
  const client = createClient({ server: `http://127.0.0.1:${port}` })
  const lines: string[] = []
  for await (const line of client.logs({ project: 'shop', name: 'web' }, { follow: true }))
    lines.push(line.line)
  expect(lines).toEqual(['hello'])
})
