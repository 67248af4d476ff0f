/** The listening server: where it may listen, whom it lets in, and what it says to requests that are not HTTP. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { ApiProblem, ApiUnreachable, createClient } from './client.ts'
import { CannotListen, type ListenOptions, type RunningApi, startApi } from './main.ts'
import { type TestServer, testServer } from './testing.ts'
import { problemView } from './views.ts'

const token = 'a-token-of-enough-characters'
let folder: string
let tokenFile: string
let server: TestServer
const running: RunningApi[] = []

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'boxcar-api-'))
  tokenFile = join(folder, 'token')
  await writeFile(tokenFile, `${token}\n`)
  server = await testServer()
})
afterEach(async () => {
  for (const api of running.splice(0)) await api.close()
})
afterAll(async () => {
  await server.close()
  await rm(folder, { recursive: true })
})

async function start(options: ListenOptions = {}): Promise<RunningApi> {
  const api = await startApi(server.deps, { listen: '127.0.0.1:0', ...options })
  running.push(api)
  return api
}

describe('where it listens', () => {
  test('beyond loopback only with a token, or where told that everybody may come', async () => {
    await expect(start({ listen: '0.0.0.0:0' })).rejects.toThrow(/--token-file, or --insecure/)
    await expect(start({ listen: '[::]:0' })).rejects.toThrow(CannotListen)
    await start({ listen: '0.0.0.0:0', access: 'insecure' })
    await start({ listen: '0.0.0.0:0', tokenFile })
    await start({ listen: 'localhost:0' })
  })

  test('one sentence for what cannot be', async () => {
    await expect(start({ listen: '7070' })).rejects.toThrow(/not an address to listen on/)
    await expect(start({ listen: '127.0.0.1:70707' })).rejects.toThrow(/not an address/)
    await expect(start({ tokenFile: join(folder, 'none') })).rejects.toThrow(/cannot be read/)
    const short = join(folder, 'short')
    await writeFile(short, 'abc')
    await expect(start({ tokenFile: short })).rejects.toThrow(/at least 16/)
    const first = await start()
    await expect(start({ listen: `127.0.0.1:${first.port}` })).rejects.toThrow(/taken by another process/)
  })
})

describe('the token', () => {
  test('is the first line of its file that is no comment, as it is for the client', async () => {
    const commented = join(folder, 'commented')
    await writeFile(commented, `# ours\n\n${token}\n`)
    const api = await start({ tokenFile: commented })
    await expect(createClient({ server: api.url, token }).version()).resolves.toBeDefined()
    await expect(createClient({ server: api.url, token }).hosts()).resolves.toEqual([])
    await expect(createClient({ server: api.url, token: `# ours` }).hosts()).rejects.toThrow(ApiProblem)
  })

  test('is asked for everywhere but where nothing is told', async () => {
    const { url } = await start({ tokenFile })
    const status = async (path: string, authorization?: string) =>
      (await fetch(url + path, authorization === undefined ? {} : { headers: { authorization } })).status
    expect(await status('/v1/hosts')).toBe(401)
    expect(await status('/v1/hosts', 'Bearer wrong')).toBe(401)
    expect(await status('/v1/hosts', token)).toBe(401)
    expect(await status('/v1/hosts', `Bearer ${token}x`)).toBe(401)
    expect(await status(`/v1/hosts?token=${token}`)).toBe(401)
    expect(await status('/metrics')).toBe(401)
    expect(await status('/nothing')).toBe(401)
    expect(await status('/v1/hosts', `Bearer ${token}`)).toBe(200)
    expect(await status('/livez')).toBe(200)
    const client = createClient({ server: url, token })
    expect((await client.cluster()).name).toBe('test')
    await expect(createClient({ server: url }).hosts()).rejects.toThrow(ApiProblem)
  })

  test('without one, a web page may neither change anything nor come under a name of its own', async () => {
    const { port } = await start()
    const post = (headers: string) =>
      raw(
        port,
        `POST /v1/hosts/h1/cordon HTTP/1.1\r\n${headers}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`,
      )
    expect(await post(`Host: 127.0.0.1:${port}\r\nOrigin: http://evil.example`)).toMatch(/^HTTP\/1.1 403/)
    expect(await post(`Host: evil.example:${port}\r\nOrigin: http://evil.example:${port}`)).toMatch(
      /^HTTP\/1.1 403/,
    )
    for (const host of ['evil', '', 'evil.example@127.0.0.1', '127.0.0.1.', 'localhost.evil'])
      expect(await post(`Host: ${host}`), host).toMatch(/^HTTP\/1.1 403/)
    for (const host of [`127.0.0.1:${port}`, 'localhost', `LocalHost:${port}`, '[::1]:7070'])
      expect(await post(`Host: ${host}`), host).toMatch(/^HTTP\/1.1 404/)
  })
})

test('the client tells a server that is not there from one that refuses', async () => {
  const { port, close } = await start()
  await close()
  const client = createClient({ server: `http://127.0.0.1:${port}` })
  await expect(client.hosts()).rejects.toThrow(ApiUnreachable)
  await expect(client.hosts()).rejects.toThrow(/ECONNREFUSED/)
})

/** Sends bytes and reads until the server closes or is silent. */
function raw(port: number, bytes: string, ms = 3_000): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes, 'latin1'))
    let answer = ''
    const timer = setTimeout(() => socket.destroy(), ms)
    socket.on('data', chunk => {
      answer += chunk.toString('latin1')
    })
    socket.on('error', reject)
    socket.on('close', () => {
      clearTimeout(timer)
      resolve(answer)
    })
  })
}

describe('framing', () => {
  const cases: readonly [string, string, RegExp][] = [
    [
      'two Host headers',
      'GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n',
      /^HTTP\/1.1 400/,
    ],
    [
      'an expectation that is not known',
      'PUT /v1/projects/a/services/b HTTP/1.1\r\nHost: localhost\r\nExpect: x\r\nContent-Length: 2\r\n\r\n{}',
      /^HTTP\/1.1 417/,
    ],
    ['TRACE', 'TRACE / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n', /^HTTP\/1.1 405/],
    ['CONNECT', 'CONNECT a:1 HTTP/1.1\r\nHost: localhost\r\n\r\n', /^HTTP\/1.1 405/],
    ['no Host header', 'GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n', /^HTTP\/1.1 400/],
    [
      'both lengths',
      'POST /v1/plans HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
      /^HTTP\/1.1 400/,
    ],
    [
      'two lengths',
      'POST /v1/plans HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}',
      /^HTTP\/1.1 400/,
    ],
    [
      'a length with a sign',
      'POST /v1/plans HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n{}',
      /^HTTP\/1.1 400/,
    ],
    ['bare line feeds', 'GET /livez HTTP/1.1\nHost: a\n\n', /^HTTP\/1.1 400/],
    ['a space before the colon', 'GET /livez HTTP/1.1\r\nHost : a\r\n\r\n', /^HTTP\/1.1 400/],
    ['a header without a name', 'GET /livez HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n', /^HTTP\/1.1 400/],
    ['a NUL in a header', 'GET /livez HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n', /^HTTP\/1.1 400/],
    ['HTTP/0.9', 'GET /livez\r\n\r\n', /^HTTP\/1.1 400/],
    ['no HTTP at all', '\x16\x03\x01\x02\x00\x01\x00', /^HTTP\/1.1 400/],
    [
      'headers of 17 KB',
      `GET /livez HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(17_000)}\r\n\r\n`,
      /^HTTP\/1.1 431/,
    ],
    [
      'a fragment',
      'GET /livez#x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n',
      /^HTTP\/1.1 (?:400|404|200)/,
    ],
  ]
  test.each(cases)('%s', async (_, bytes, expected) => {
    const { port } = await start()
    const answer = await raw(port, bytes)
    expect(answer).toMatch(expected)
    expect(answer.match(/^HTTP\//gm), 'never two answers to one request').toHaveLength(1)
    if (answer.startsWith('HTTP/1.1 200')) return
    const status = Number(answer.slice(9, 12))
    expect(problemView.parse(JSON.parse(answer.split('\r\n\r\n')[1] ?? ''))).toMatchObject({ status })
  })

  test('what follows a whole request in a broken form never gets into its answer', async () => {
    const { port } = await start()
    const answer = await new Promise<string>((resolve, reject) => {
      const socket = connect(port, '127.0.0.1', () =>
        socket.write('GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n'),
      )
      let heard = ''
      socket.on('data', chunk => {
        heard += chunk.toString('latin1')
        if (heard.includes('retry: 1000')) socket.write('\0\0garbage\r\n\r\n')
      })
      socket.on('error', reject)
      socket.on('close', () => resolve(heard))
    })
    expect(answer).toMatch(/^HTTP\/1.1 200/)
    expect(answer).not.toContain('problem')
  })

  test('the fault of a body that still arrives is told', async () => {
    const { port } = await start()
    const answer = await raw(
      port,
      'POST /v1/plans HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n',
    )
    expect(answer).toMatch(/^HTTP\/1.1 400/)
    expect(answer).toContain('unreadable-request')
  })

  test('pipelined requests are answered in order, one each', async () => {
    const { port } = await start()
    const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n`
    const answer = await raw(
      port,
      `${get('/livez')}\r\n${get('/nothing')}\r\n${get('/version')}Connection: close\r\n\r\n`,
    )
    expect(answer.match(/HTTP\/1.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 404', 'HTTP/1.1 200'])
  })

  test('headers that never end are given up', async () => {
    const { port } = await start()
    const from = performance.now()
    const answer = await raw(port, 'GET /livez HTTP/1.1\r\nHost: a\r\n', 12_000)
    expect(answer).toMatch(/^HTTP\/1.1 408/)
    expect(performance.now() - from).toBeLessThan(9_000)
  }, 15_000)
})

describe('the description', () => {
  const document = z.looseObject({
    openapi: z.string(),
    paths: z.record(
      z.string(),
      z.record(z.string(), z.looseObject({ responses: z.record(z.string(), z.unknown()) })),
    ),
    components: z.looseObject({ schemas: z.record(z.string(), z.unknown()) }),
  })

  const content = z.record(
    z.string(),
    z.object({
      schema: z.looseObject({
        required: z.array(z.string()).optional(),
        properties: z.record(z.string(), z.unknown()).default({}),
      }),
    }),
  )
  const operations = z.looseObject({
    paths: z.record(
      z.string(),
      z.record(
        z.string(),
        z.object({
          parameters: z.array(z.looseObject({ in: z.string(), name: z.string() })).default([]),
          requestBody: z.object({ required: z.boolean(), content }).optional(),
          responses: z.record(z.string(), z.looseObject({ content: content.optional() })),
          security: z.array(z.unknown()).optional(),
        }),
      ),
    ),
  })

  test('is OpenAPI 3.1, with every route and no reference to nowhere', async () => {
    const { url } = await start()
    const text = await (await fetch(`${url}/openapi.json`)).text()
    const { openapi, paths, components } = document.parse(JSON.parse(text))
    expect(openapi).toBe('3.1.0')
    expect(Object.keys(paths)).toEqual(
      expect.arrayContaining([
        '/v1/projects/{project}/services/{name}',
        '/v1/projects/{project}/services/{name}/instances/{generation}/{slot}/logs',
        '/v1/hosts/{id}/drain',
        '/v1/events',
        '/v1/plans',
      ]),
    )
    const known = new Set(Object.keys(components.schemas))
    for (const [, name] of text.matchAll(/"#\/components\/schemas\/([^"]+)"/g)) expect(known).toContain(name)
    expect(text).toContain('"replicas"')
  })

  test('says what is true of requests and answers', async () => {
    const { url } = await start()
    const { paths } = operations.parse(await (await fetch(`${url}/openapi.json`)).json())
    const text = JSON.stringify(paths)
    expect([text.includes('"readOnly":true'), text.includes('x-optional')]).toEqual([false, false])
    const service = paths['/v1/projects/{project}/services/{name}']
    const spec = service?.['put']?.requestBody?.content['application/json']?.schema
    expect(spec?.required).toEqual(['image'])
    expect(spec?.properties['routes']).toMatchObject({
      items: { anyOf: [{ required: ['port', 'listen'] }, { required: ['port', 'listen', 'protocol'] }] },
    })
    expect(spec?.properties['env']).toMatchObject({ maxProperties: 1000 })
    expect(Object.keys(service?.['patch']?.requestBody?.content ?? {})).toContain(
      'application/merge-patch+json',
    )

    const headersOf = (path: string, method: string) =>
      (paths[path]?.[method]?.parameters ?? []).filter(p => p.in === 'header').map(p => p.name)
    const conditions = ['If-Match', 'If-None-Match', 'Idempotency-Key', 'Boxcar-Actor']
    for (const method of ['put', 'patch', 'delete'])
      expect(headersOf('/v1/projects/{project}/services/{name}', method)).toEqual(conditions)
    expect(headersOf('/v1/projects/{project}/services/{name}/undo', 'post')).toEqual(conditions)
    expect(headersOf('/v1/hosts/{id}/cordon', 'post')).toEqual(['Boxcar-Actor'])
    expect(headersOf('/v1/events', 'get')).toEqual(['Last-Event-ID'])

    for (const path of ['undo', 'rollout/abort'])
      expect(paths[`/v1/projects/{project}/services/{name}/${path}`]?.['post']?.requestBody?.required).toBe(
        false,
      )
    for (const verb of ['cordon', 'uncordon', 'drain'])
      expect(paths[`/v1/hosts/{id}/${verb}`]?.['post']?.requestBody?.required).toBe(false)
    expect(service?.['put']?.requestBody?.required).toBe(true)

    const typesOf = (path: string, status = '200') =>
      Object.keys(paths[path]?.['get']?.responses[status]?.content ?? {})
    expect(typesOf('/metrics')).toEqual(['text/plain'])
    expect(typesOf('/docs')).toEqual(['text/html'])
    expect(typesOf('/v1/projects/{project}/services/{name}/logs')).toEqual([
      'text/plain',
      'application/jsonl',
    ])
    expect(paths['/readyz']?.['get']?.responses['503']?.content?.['application/problem+json']).toMatchObject({
      schema: { required: expect.arrayContaining(['code', 'checks']) },
    })
    expect(paths['/livez']?.['get']?.security).toEqual([])
  })
})
