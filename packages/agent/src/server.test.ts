import { request } from 'node:http'
import { clusterName, hostId } from '@boxcar/core/model/ids'
import { agentToken } from '@boxcar/store/agent-token'
import { silent } from '@boxcar/store/log'
import { VirtualClock } from '@boxcar/store/memory/virtual-clock'
import { afterEach, describe, expect, test } from 'vitest'
import { MemoryDocker } from './engine/memory.ts'
import { type AgentServer, listen, type ServerOptions } from './server.ts'

const host = hostId.parse('h1')
const cluster = { uid: 'u', epoch: 1, schema: 1, secret: 'secret' }

describe("the agent's own port", () => {
  let server: AgentServer | undefined
  const docker = new MemoryDocker({ clock: new VirtualClock() })
  docker.registry.push('app:1', { content: 'app', behaves: () => ({}) })
  docker.import('noisy:1', {
    content: 'noisy',
    behaves: () => ({ writes: [{ afterMs: 0, stream: 'stdout', line: 'hello' }] }),
  })
  const engine = docker.engine({ cluster: clusterName.parse('c'), host })
  const open = async (more: Partial<ServerOptions> = {}) => {
    const made = await engine.create({
      name: 'one',
      image: 'noisy:1',
      labels: {},
      env: {},
      resources: {},
      ports: [],
    })
    const id = 'id' in made ? made.id : undefined
    if (id !== undefined) await engine.start(id)
    const instances = { containerOf: (instance: string) => (instance === 'shop/web/1/0' ? id : undefined) }
    server = await listen({
      host,
      address: '127.0.0.1',
      port: 0,
      log: silent,
      engine,
      instances: () => instances,
      cluster: () => cluster,
      incarnation: 'i1',
      leaseGoodForMs: () => 1234.5,
      ...more,
    })
    return `http://127.0.0.1:${server.port}`
  }
  const authorization = `Bearer ${agentToken(cluster.secret, host)}`
  afterEach(() => server?.close())

  test('says whether it lives', async () => {
    const response = await fetch(`${await open()}/v1/alive`, { headers: { authorization } })
    expect(await response.json()).toEqual({
      host: 'h1',
      cluster: 'u',
      incarnation: 'i1',
      leaseGoodForMs: 1234,
    })
  })

  test.each([
    ['none', {}],
    ['empty', { authorization: 'Bearer ' }],
    ['wrong', { authorization: 'Bearer wrong' }],
    ["another host's", { authorization: `Bearer ${agentToken(cluster.secret, 'h2')}` }],
    ['basic', { authorization: `Basic ${agentToken(cluster.secret, host)}` }],
  ])('refuses a token that is %s', async (_, headers) => {
    const response = await fetch(`${await open()}/v1/alive`, { headers })
    expect(response.status).toBe(401)
  })

  test('answers nothing before it has heard of its cluster', async () => {
    const response = await fetch(`${await open({ cluster: () => undefined })}/v1/alive`, {
      headers: { authorization },
    })
    expect(response.status).toBe(503)
  })

  test.each(['//', '/\\\\['])(
    'a target that is no address (%s) is refused, after the token was looked at',
    async target => {
      const { port } = new URL(await open())
      const ask = (headers: Record<string, string>) =>
        new Promise<number | undefined>((resolve, reject) => {
          request({ host: '127.0.0.1', port, path: target, headers }, response => {
            response.resume()
            resolve(response.statusCode)
          })
            .on('error', reject)
            .end()
        })
      expect(await ask({})).toBe(401)
      expect(await ask({ authorization })).toBe(400)
    },
  )

  test('resolves an image as its engine does', async () => {
    const url = `${await open()}/v1/images/resolve`
    const ask = (body: string) => fetch(url, { method: 'POST', headers: { authorization }, body })
    expect(await (await ask('{"image":"app:1"}')).json()).toMatchObject({ kind: 'resolved' })
    expect(await (await ask('{"image":"nothing:1"}')).json()).toMatchObject({ kind: 'not-found' })
    expect((await ask('{')).status).toBe(400)
    expect((await ask('[]')).status).toBe(422)
    expect((await ask('{"image":""}')).status).toBe(422)
    expect((await ask(`"${'x'.repeat(70_000)}"`)).status).toBe(413)
    expect((await fetch(url, { headers: { authorization } })).status).toBe(405)
  })

  test('gives the logs of an instance', async () => {
    const url = await open()
    const get = (path: string) => fetch(`${url}/v1/instances/${path}`, { headers: { authorization } })
    const text = await (await get('shop/web/1/0/logs?tail=10&since=0')).text()
    expect(
      text
        .trim()
        .split('\n')
        .map(line => JSON.parse(line)),
    ).toEqual([{ at: expect.any(Number), stream: 'stdout', line: 'hello' }])
    expect((await get('shop/web/1/7/logs')).status).toBe(404)
    expect((await get('shop/web/0/0/logs')).status).toBe(404)
    expect((await get('shop/web/1/0/logs?tail=-1')).status).toBe(422)
  })

  test('ends a followed log when its reader leaves', async () => {
    const url = await open()
    const leave = new AbortController()
    const response = await fetch(`${url}/v1/instances/shop/web/1/0/logs?follow=true`, {
      headers: { authorization },
      signal: leave.signal,
    })
    expect(response.status).toBe(200)
    leave.abort()
    await server?.close()
  })

  test('says so when its port is taken', async () => {
    const url = await open()
    const first = server
    await expect(open({ port: Number(new URL(url).port) })).rejects.toThrow(/another program listens there/)
    server = first
  })
})
