/** Events as a stream over a real connection: live, resumed without gap or reorder, and reset where history is gone. */
import { setTimeout as sleep } from 'node:timers/promises'
import { put } from '@boxcar/store/collection'
import { events } from '@boxcar/store/keys'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Api, createClient, type EventOptions, type EventStep } from './client.ts'
import { type TestServer, testServer } from './testing.ts'

let server: TestServer
let client: Api
beforeEach(async () => {
  server = await testServer()
  await server.app.listen({ host: '127.0.0.1', port: 0 })
  const bound = server.app.server.address()
  const port = typeof bound === 'object' && bound !== null ? bound.port : 0
  client = createClient({ server: `http://127.0.0.1:${port}` })
})
afterEach(() => server.close())

let count = 0
/** One transaction with so many events. */
async function happen(...messages: string[]): Promise<void> {
  await server.write(
    ...messages.map(message => {
      count += 1
      const id = String(count).padStart(8, '0')
      const [service] = message.split(':')
      return put(
        events,
        { writer: 'scheduler', id },
        {
          at: count,
          kind: 'test',
          message,
          level: 'info',
          writer: 'scheduler',
          ...(message.includes(':') ? { service, project: service?.split('/')[0] } : {}),
        },
      )
    }),
  )
}

/** Reads until there are so many steps. */
async function read(n: number, options: EventOptions = {}): Promise<readonly EventStep[]> {
  const stop = new AbortController()
  const steps: EventStep[] = []
  if (n === 0) return steps
  for await (const step of client.events({ ...options, signal: stop.signal })) {
    steps.push(step)
    if (steps.length >= n) break
  }
  stop.abort()
  return steps
}
const messages = (steps: readonly EventStep[]) =>
  steps.map(step => (step.kind === 'event' ? step.event.message : step.kind))
const idOf = (step: EventStep | undefined) => (step?.kind === 'event' ? step.event.id : '')

test('live, with ids of revision and place', async () => {
  const reading = read(3)
  await sleep(100)
  await happen('a')
  await happen('b', 'c')
  const steps = await reading
  expect(messages(steps)).toEqual(['a', 'b', 'c'])
  const [a, b, c] = steps.map(idOf)
  expect(a).toMatch(/^\d+\.0$/)
  expect(b?.split('.')[0]).toBe(c?.split('.')[0])
  expect([b, c].map(id => id?.split('.')[1])).toEqual(['0', '1'])
})

test('the last ones first, where asked for; and an end, where asked for', async () => {
  await happen('a', 'b')
  await happen('c')
  expect(messages(await read(2, { tail: 2, mode: 'recent' }))).toEqual(['b', 'c'])
  expect(messages(await read(9, { tail: 100, mode: 'recent' }))).toEqual(['a', 'b', 'c'])
  const reading = read(2, { tail: 1 })
  await sleep(100)
  await happen('d')
  expect(messages(await reading)).toEqual(['c', 'd'])
})

test('resumes after any event, in the middle of a revision too', async () => {
  await happen('a')
  await happen('b', 'c', 'd')
  await happen('e')
  const all = await read(5, { tail: 5 })
  for (let i = 0; i < 4; i += 1) {
    const rest = await read(4 - i, { after: idOf(all[i]) })
    expect(messages(rest)).toEqual(messages(all).slice(i + 1))
    expect(rest.map(idOf)).toEqual(all.map(idOf).slice(i + 1))
  }
})

test('to resume, or to hear only what comes, nothing that is kept is read', async () => {
  await happen('a')
  await happen('b', 'c')
  const [, b] = await read(3, { tail: 3 })
  const { store } = server.deps
  const follow = store.follow.bind(store)
  const began: unknown[] = []
  store.list = () => Promise.reject(new Error('everything was read'))
  store.follow = (scopes, options) => {
    began.push(options.since)
    return follow(scopes, options)
  }
  expect(messages(await read(1, { after: idOf(b) }))).toEqual(['c'])
  const reading = read(1)
  await expect.poll(() => began).toHaveLength(2)
  await happen('d')
  expect(messages(await reading)).toEqual(['d'])
  expect(began).not.toContain(undefined)
})

test('of one service or project', async () => {
  await happen('shop/web:1', 'shop/api:1', 'other/web:1', 'no service')
  expect(messages(await read(9, { tail: 9, mode: 'recent', service: 'shop/web' }))).toEqual(['shop/web:1'])
  expect(messages(await read(9, { tail: 9, mode: 'recent', project: 'shop', service: 'api' }))).toEqual([
    'shop/api:1',
  ])
  expect(messages(await read(9, { tail: 9, mode: 'recent', project: 'shop' }))).toEqual([
    'shop/web:1',
    'shop/api:1',
  ])
})

test('where history is gone: reset, then all that is kept', async () => {
  await happen('a')
  const [first] = await read(1, { tail: 1 })
  await happen('b')
  await happen('c')
  server.etcd.compact()
  expect(messages(await read(4, { after: idOf(first) }))).toEqual(['reset', 'a', 'b', 'c'])
})

test('a stream that only hears what comes tells where it lost something', async () => {
  await happen('a')
  const { store } = server
  const follow = store.follow.bind(store)
  const began: unknown[] = []
  store.follow = (scopes, options) => {
    began.push(options.since)
    return follow(scopes, options)
  }
  store.faults.holdWatches()
  const reading = read(4)
  await expect.poll(() => began).toHaveLength(1)
  const before = Number(server.etcd.revision)
  const happening = Promise.all([happen('b'), happen('c')])
  await expect.poll(() => Number(server.etcd.revision)).toBe(before + 2)
  server.etcd.compact()
  store.faults.releaseWatches()
  await happening
  expect(messages(await reading)).toEqual(['reset', 'a', 'b', 'c'])
})

test('a cut connection is taken up again without gap or repetition', async () => {
  const stop = new AbortController()
  const seen: string[] = []
  const reading = (async () => {
    for await (const step of client.events({ signal: stop.signal, tail: 1 })) seen.push(...messages([step]))
  })()
  for (let i = 0; i < 30; i += 1) {
    await happen(`n${i}`)
    if (i % 10 === 5) server.app.server.closeAllConnections()
    await sleep(10)
  }
  await expect.poll(() => seen.at(-1), { timeout: 5_000 }).toBe('n29')
  stop.abort()
  await reading
  const from = Number(seen[0]?.slice(1))
  expect(seen).toEqual(Array.from({ length: 30 - from }, (_, i) => `n${from + i}`))
})

test('a bad Last-Event-ID is 400', async () => {
  const answer = await server.app.inject({ url: '/v1/events', headers: { 'last-event-id': 'x' } })
  expect(answer.statusCode).toBe(400)
})
