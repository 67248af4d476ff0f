/** Answers that a real engine gives rarely, from a server that speaks as one on a Unix socket. */
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { EngineFault, EngineUnavailable, isContainerId, labels } from '../engine/engine.ts'
import { DockerEngine } from './docker-engine.ts'

type Handler = (request: IncomingMessage, response: ServerResponse, body: string) => void

let dir: string
let server: Server
let seen: { readonly method: string; readonly url: string; readonly body: string }[]
let answer: Handler

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'boxcar-engine-'))
  seen = []
  server = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    seen.push({ method: request.method ?? '', url: request.url ?? '', body })
    answer(request, response, body)
  })
  server.listen(join(dir, 'engine.sock'))
  await once(server, 'listening')
})

afterEach(async () => {
  server.closeAllConnections()
  server.close()
  await rm(dir, { recursive: true })
})

const times = { callMs: 300, startMs: 300, stopMs: 300, pullIdleMs: 300, pullMs: 1000 }
const open = () =>
  new DockerEngine({ address: `unix://${join(dir, 'engine.sock')}`, cluster: 'blue', host: 'h1', times })

const json = (response: ServerResponse, status: number, value: unknown) => {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
}

const id = 'ab'.repeat(32)
if (!isContainerId(id)) throw new Error('not an id')
const own = { [labels.cluster]: 'blue', [labels.host]: 'h1', 'boxcar.instance': 'shop/web/1/0' }
const listed = {
  Id: id,
  Names: ['/web'],
  Labels: own,
  State: 'running',
  Image: 'x',
  ImageID: 'sha256:1',
  Created: 1,
}
const spec = {
  name: 'web',
  image: 'x',
  labels: { 'boxcar.instance': 'shop/web/1/0' },
  env: {},
  resources: {},
  ports: [],
}

test('an answer that is cut after its headers, that never comes, or that is no JSON', async () => {
  answer = (_, response) => {
    response.writeHead(200, { 'content-length': '1000' })
    response.write('{"half":')
    setTimeout(() => response.destroy(), 20)
  }
  await expect(open().info()).rejects.toThrow(EngineUnavailable)
  answer = (_, response) => {
    response.writeHead(200, { 'content-length': '1000' })
    response.write('{"half":')
  }
  await expect(open().info()).rejects.toThrow('did not answer GET /info within 300 ms')
  answer = (_, response) => response.end('<html>hello</html>')
  await expect(open().info()).rejects.toThrow('is not JSON')
  answer = (_, response) => json(response, 200, { NCPU: 'two' })
  await expect(open().info()).rejects.toThrow('cannot be read')
  answer = (_, response) => json(response, 200, {})
  await expect(open().list()).rejects.toThrow(EngineUnavailable)
  answer = (_, response) => json(response, 500, { message: 'no room' })
  await expect(open().list()).rejects.toThrow(EngineFault)
  await expect(open().list()).rejects.toThrow('no room')
})

test('one container with something odd in it makes no list that cannot be read, and is in it', async () => {
  const odd = { Id: 'cd'.repeat(32), Names: 7, Labels: own, State: 'hibernating', Image: null, Created: '?' }
  answer = (_, response) => json(response, 200, [odd, listed])
  expect(await open().list()).toMatchObject([
    // A process may run in it.
    { id: odd.Id, name: '', state: 'running', labels: own },
    { id, name: 'web', state: 'running' },
  ])
})

test('no socket: one clear sentence', async () => {
  const engine = new DockerEngine({ address: `unix://${dir}/nothing.sock`, cluster: 'blue', host: 'h1' })
  await expect(engine.info()).rejects.toThrow(
    `the Docker engine at unix://${dir}/nothing.sock is away: there is no such socket`,
  )
  expect(() => new DockerEngine({ address: '/var/run/docker.sock', cluster: 'blue', host: 'h1' })).toThrow(
    'unix:///path',
  )
})

test('a signal of the caller ends a call with its reason', async () => {
  answer = () => undefined
  await expect(open().info(AbortSignal.timeout(20))).rejects.toThrow('timeout')
  await expect(open().list(AbortSignal.abort(new Error('enough')))).rejects.toThrow('enough')
})

test('a spec travels in the body, and nothing of it in the URL', async () => {
  answer = (_, response) => json(response, 201, { Id: id, Warnings: [] })
  const outcome = await open().create({ ...spec, env: { SECRET: 'hush'.repeat(1_000_000) } })
  expect(outcome).toEqual({ kind: 'created', id })
  expect(seen[0]?.url).toBe('/containers/create?name=web')
  expect(seen[0]?.body).toContain('SECRET=hushhush')
})

test('a name whose holder is on its way is asked for again', async () => {
  let lists = 0
  answer = (request, response) => {
    if (request.method === 'POST') return json(response, 409, { message: 'Conflict' })
    return json(response, 200, ++lists < 3 ? [] : [listed])
  }
  expect(await open().create(spec)).toEqual({ kind: 'exists', id, state: 'running' })
  expect(seen.filter(({ method }) => method === 'POST')).toHaveLength(3)
})

test('looks at a time are shared, and never begin before they were asked for', async () => {
  const engine = open()
  answer = (_, response) => setTimeout(() => json(response, 200, []), 20)
  await Promise.all([engine.list(), engine.list(), engine.list(), engine.list()])
  expect(seen).toHaveLength(2)
})

test('a container that is starting is not inspected before it has started', async () => {
  const engine = open()
  const order: string[] = []
  answer = (request, response) => {
    if (request.url?.endsWith('/start')) {
      setTimeout(() => {
        order.push('started')
        response.writeHead(204).end()
      }, 50)
    } else if (request.url?.startsWith(`/containers/${id}/json`)) {
      order.push('inspected')
      json(response, 404, { message: 'No such container' })
    } else json(response, 200, [listed])
  }
  await engine.list()
  const starting = engine.start(id)
  await Promise.resolve()
  await Promise.all([starting, engine.inspect(id)])
  expect(order).toEqual(['started', 'inspected'])
})

test('a removal that somebody else has begun is waited for', async () => {
  let lists = 0
  answer = (request, response) => {
    if (request.method === 'DELETE') return json(response, 409, { message: 'removal is already in progress' })
    return json(response, 200, ++lists < 4 ? [listed] : [])
  }
  await open().remove(id)
  expect(lists).toBe(4)
})

const pinned = `registry.example/web@sha256:${'c'.repeat(64)}`
const layer = { status: 'Downloading', id: 'abc', progressDetail: { current: 5, total: 10 } }

/** A pull that writes these lines, and an image that is there afterwards. */
function pulling(
  lines: readonly string[],
  after: 'ends' | 'stays silent' | 'breaks' = 'ends',
  arrives: 'arrives' | 'lacks' = 'arrives',
) {
  let pulled = false
  answer = (request, response) => {
    if (request.url?.startsWith('/images/create')) {
      pulled = true
      for (const line of lines) response.write(`${line}\r\n`)
      if (after === 'ends') setTimeout(() => response.end(), 20)
      if (after === 'breaks') setTimeout(() => response.destroy(), 20)
    } else if (pulled && arrives === 'arrives')
      json(response, 200, { Id: 'sha256:1', RepoDigests: [pinned], Config: {} })
    else json(response, 404, { message: 'No such image' })
  }
}

test('a pull tells its progress and is shared', async () => {
  const engine = open()
  pulling([JSON.stringify(layer)])
  const heard: unknown[] = []
  const outcomes = await Promise.all([
    engine.pull(pinned, { onProgress: progress => heard.push(progress) }),
    engine.pull(pinned, { onProgress: progress => heard.push(progress) }),
  ])
  expect(outcomes).toEqual(Array(2).fill({ kind: 'pulled', digest: `sha256:${'c'.repeat(64)}` }))
  expect(heard).toEqual(Array(2).fill({ status: 'Downloading', layer: 'abc', current: 5, total: 10 }))
  expect(seen.filter(({ url }) => url.startsWith('/images/create'))).toHaveLength(1)
  expect(seen.find(({ url }) => url.startsWith('/images/create'))?.url).toBe(
    `/images/create?fromImage=registry.example%2Fweb&tag=sha256%3A${'c'.repeat(64)}`,
  )
})

test('a pull fails by any error among its lines, by silence, by a break, and when nothing has arrived', async () => {
  pulling([
    JSON.stringify(layer),
    JSON.stringify({ errorDetail: { message: 'filesystem layer verification failed' }, error: 'x' }),
    JSON.stringify(layer),
  ])
  expect(await open().pull(pinned)).toEqual({
    kind: 'failed',
    reason: 'filesystem layer verification failed',
    permanent: false,
  })
  pulling([JSON.stringify({ error: 'manifest unknown' })])
  expect(await open().pull(pinned)).toMatchObject({ kind: 'failed', permanent: true })
  pulling([JSON.stringify(layer)], 'stays silent')
  expect(await open().pull(pinned)).toMatchObject({
    kind: 'failed',
    permanent: false,
    reason: expect.stringContaining('silent for 0.3 s'),
  })
  pulling([], 'stays silent')
  expect(await open().pull(pinned)).toMatchObject({
    kind: 'failed',
    permanent: false,
    reason: expect.stringContaining('silent for 0.3 s'),
  })
  pulling([JSON.stringify(layer)], 'ends', 'lacks')
  expect(await open().pull(pinned)).toMatchObject({
    kind: 'failed',
    permanent: false,
    reason: expect.stringContaining('is not there'),
  })
  pulling([JSON.stringify(layer)], 'breaks')
  await expect(open().pull(pinned)).rejects.toThrow(EngineUnavailable)
})

test('a pull that only goes on and on is given up', async () => {
  answer = (request, response) => {
    if (!request.url?.startsWith('/images/create')) return json(response, 404, { message: 'No such image' })
    const timer = setInterval(() => response.write(`${JSON.stringify(layer)}\n`), 50)
    response.once('close', () => clearInterval(timer))
  }
  expect(await open().pull(pinned)).toMatchObject({
    kind: 'failed',
    permanent: false,
    reason: expect.stringContaining('within 1 s'),
  })
})

test('a pull ends when nobody waits for it any more, and not before', async () => {
  const engine = open()
  const closed = Promise.withResolvers<void>()
  answer = (request, response) => {
    if (!request.url?.startsWith('/images/create')) return json(response, 404, { message: 'No such image' })
    const timer = setInterval(() => response.write(`${JSON.stringify(layer)}\n`), 20)
    response.once('close', () => {
      clearInterval(timer)
      closed.resolve()
    })
  }
  const first = new AbortController()
  const second = new AbortController()
  const waits = [
    engine.pull(pinned, { signal: first.signal }),
    engine.pull(pinned, { signal: second.signal }),
  ]
  setTimeout(() => first.abort(new Error('first')), 50)
  setTimeout(() => second.abort(new Error('second')), 100)
  await expect(waits[0]).rejects.toThrow('first')
  await expect(waits[1]).rejects.toThrow('second')
  await closed.promise
})

test('a registry that keeps the engine waiting is away', async () => {
  answer = (request, response) => {
    if (request.url?.startsWith('/distribution/')) return
    if (request.url === '/info')
      return json(response, 200, {
        ID: 'x',
        ServerVersion: '29.0.0',
        NCPU: 1,
        MemTotal: 1,
        DockerRootDir: '/',
        OSType: 'linux',
        Architecture: 'aarch64',
      })
    return json(response, 404, { message: 'No such image' })
  }
  expect(await open().resolve('registry.example/web:1')).toMatchObject({
    kind: 'registry-away',
    here: undefined,
  })
})

test('an image that a newer engine built and no registry has is local', async () => {
  answer = (request, response) => {
    if (request.url?.startsWith('/distribution/')) return json(response, 404, { message: 'not found' })
    return json(response, 200, {
      Id: `sha256:${'d'.repeat(64)}`,
      RepoDigests: [`web@sha256:${'d'.repeat(64)}`],
      Config: null,
    })
  }
  expect(await open().resolve('web:1')).toEqual({ kind: 'local', imageId: `sha256:${'d'.repeat(64)}` })
})

test('events in any cut; a break ends them', async () => {
  const event = JSON.stringify({ Type: 'container', Action: 'die', Actor: { ID: id, Attributes: {} } })
  answer = (_, response) => {
    response.writeHead(200).flushHeaders()
    response.write(event.slice(0, 10))
    setTimeout(() => response.write(`${event.slice(10)}\n${event}\n`), 10)
    setTimeout(() => response.destroy(), 30)
  }
  const changed = { kind: 'changed', id, action: 'die' }
  expect(await all(open().events())).toEqual([{ kind: 'listening' }, changed, changed])
})

async function all<T>(source: AsyncIterable<T>): Promise<T[]> {
  const values: T[] = []
  for await (const value of source) values.push(value)
  return values
}
