import type { Instant } from '@boxcar/core/model/clock'
import type { GenerationNumber, HostId, InstanceId, ServiceName } from '@boxcar/core/model/ids'
import type { Phase, Rejection, Rollout } from '@boxcar/core/model/rollout'
import { put as putEntry, remove } from '@boxcar/store/collection'
import { claims, generations, intents, pendings, placements, rollouts, specs } from '@boxcar/store/keys'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { buildApp } from './app.ts'
import { type TestServer, testServer } from './testing.ts'
import {
  actedView,
  deletedView,
  generationView,
  instanceView,
  planView,
  problemView,
  type SavedView,
  savedView,
  serviceView,
  whyView,
} from './views.ts'

const web = 'shop/web' as ServiceName
const url = '/v1/projects/shop/services/web'
const digest = `web@sha256:${'a'.repeat(64)}`
const g = (n: number) => n as GenerationNumber

let server: TestServer
beforeEach(async () => {
  server = await testServer()
})
afterEach(() => server.close())

const put = (payload: object, headers: Record<string, string> = {}, at = url) =>
  server.app.inject({ method: 'PUT', url: at, payload, headers })
const patch = (payload: object, headers: Record<string, string> = {}) =>
  server.app.inject({ method: 'PATCH', url, payload, headers })
const get = async (at: string) => (await server.app.inject({ url: at })).json()

/** Everybody who comes waits until so many have come; whoever comes later does not wait. */
function meeting(size: number): () => Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  let come = 0
  return () => {
    come += 1
    if (come === size) resolve()
    return promise
  }
}

async function saved(answer: ReturnType<typeof put>): Promise<SavedView> {
  const { statusCode, body } = await answer
  expect([200, 201], body).toContain(statusCode)
  return savedView.parse(JSON.parse(body))
}

describe('PUT', () => {
  test('creates a service, its first generation and an event, and shows it at once', async () => {
    const answer = await put({ image: 'web:1', replicas: 3 }, { 'boxcar-actor': 'ada' })
    expect(answer.statusCode, answer.body).toBe(201)
    const view = savedView.parse(answer.json())
    expect(view).toMatchObject({
      generation: 1,
      changed: 'created',
      service: { service: 'shop/web', replicas: 3, status: 'rolling-out', by: 'ada', spec: { name: 'web' } },
    })
    expect(view.warnings.map(w => w.code)).toEqual(['no-reservation'])
    expect(answer.headers.etag).toBe(`"${view.service.revision}"`)
    expect(serviceView.parse(await get(url)).uid).toBe(view.service.uid)
    const kept = await server.store.get(generations, { service: web, number: g(1) })
    expect(kept?.value).toMatchObject({ text: { image: 'web:1' }, by: 'ada', uid: view.service.uid })
    const events = await server.app.inject({ url: '/v1/events?tail=10&follow=false' })
    expect(events.body).toContain('ada created shop/web: generation 1, image web:1, 3 instances')
  })

  test('keeps the text as written, and shows it again', async () => {
    const spec = { name: 'web', image: 'web:1', rollout: { drain: '5s' } }
    await saved(put(spec))
    expect(serviceView.parse(await get(url)).spec).toEqual(spec)
  })

  const settled: Phase = { phase: 'settled', live: g(1) }
  const rejection: Rejection = { generation: g(1), because: 'undone', evidence: [], at: 0 }
  const rules: readonly {
    readonly name: string
    readonly first?: object
    readonly now?: Phase
    readonly rest?: Partial<Rollout>
    readonly sent: object
    readonly expected: readonly [SavedView['changed'], number]
  }[] = [
    {
      name: 'other content',
      now: settled,
      sent: { image: digest, env: { A: '1' } },
      expected: ['new-generation', 2],
    },
    { name: 'the same digest, live', now: settled, sent: { image: digest }, expected: ['unchanged', 1] },
    {
      name: 'a default written out',
      now: settled,
      sent: { image: digest, init: false },
      expected: ['in-place', 1],
    },
    { name: 'more replicas', now: settled, sent: { image: digest, replicas: 4 }, expected: ['in-place', 1] },
    {
      name: 'other placement',
      now: settled,
      sent: { image: digest, placement: { maxPerHost: 1 } },
      expected: ['in-place', 1],
    },
    {
      name: 'a tag, live',
      first: { image: 'web:1' },
      now: settled,
      sent: { image: 'web:1' },
      expected: ['new-generation', 2],
    },
    {
      name: 'a tag, not taken up yet',
      first: { image: 'web:1' },
      sent: { image: 'web:1' },
      expected: ['unchanged', 1],
    },
    {
      name: 'a tag, resolving',
      first: { image: 'web:1' },
      now: { phase: 'resolving', next: g(1) },
      sent: { image: 'web:1' },
      expected: ['unchanged', 1],
    },
    {
      name: 'a tag, warming',
      first: { image: 'web:1' },
      now: { phase: 'warming', next: g(1) },
      sent: { image: 'web:1' },
      expected: ['unchanged', 1],
    },
    {
      name: 'other content while warming',
      now: { phase: 'warming', next: g(1) },
      sent: { image: digest, env: { A: '1' } },
      expected: ['new-generation', 2],
    },
    {
      name: 'the same again after it was given up',
      now: { phase: 'reverted', rejected: g(1) },
      sent: { image: digest },
      expected: ['new-generation', 2],
    },
    {
      name: 'the same again after an undo',
      now: { phase: 'settled', live: g(9), warm: g(1) },
      rest: { rejections: [rejection] },
      sent: { image: digest },
      expected: ['new-generation', 2],
    },
    {
      name: 'the same as another one, live',
      now: { phase: 'settled', live: g(9) },
      rest: { same: { 1: g(9) } },
      sent: { image: digest },
      expected: ['unchanged', 1],
    },
    {
      name: 'a host port, given up with nothing beside it',
      first: { image: digest, ports: [{ name: 'a', container: 1, hostPort: 9 }] },
      now: { phase: 'reverted', rejected: g(1) },
      sent: { image: digest, ports: [{ name: 'a', container: 1, hostPort: 9 }] },
      expected: ['new-generation', 2],
    },
    {
      name: 'a host port and a tag',
      first: { image: 'web:1', ports: [{ name: 'a', container: 1, hostPort: 9 }] },
      now: settled,
      sent: { image: 'web:1', ports: [{ name: 'a', container: 1, hostPort: 9 }] },
      expected: ['unchanged', 1],
    },
  ]
  test.each(rules)('$name: $expected', async ({ first, now, rest, sent, expected }) => {
    await saved(put(first ?? { image: digest }))
    if (now !== undefined) await server.roll(web, now, rest)
    const view = await saved(put(sent))
    expect([view.changed, view.generation]).toEqual(expected)
    expect(serviceView.parse(await get(url)).generation).toBe(expected[1])
  })

  test('a host port with other content is refused, with the reason', async () => {
    const ports = [{ name: 'a', container: 1, hostPort: 9 }]
    await saved(put({ image: digest, ports }))
    await server.roll(web, { phase: 'settled', live: g(1) })
    const before = server.etcd.revision
    const answer = await put({ image: digest, ports, env: { A: '1' } })
    expect(answer.statusCode).toBe(422)
    expect(problemView.parse(answer.json()).errors[0]).toMatchObject({
      pointer: '/ports/0/hostPort',
      code: 'not_supported',
    })
    expect(server.etcd.revision).toBe(before)
  })

  test('replicas left out stay as they were scaled to', async () => {
    await saved(put({ image: digest }))
    expect((await saved(patch({ replicas: 5 }))).service.replicas).toBe(5)
    const view = await saved(put({ image: digest, env: { A: '1' } }))
    expect(view.service.replicas).toBe(5)
    expect(view.service.spec['replicas']).toBeUndefined()
  })

  test('a recreated service has another uid and begins at generation 1', async () => {
    const first = await saved(put({ image: digest }))
    await saved(put({ image: digest, env: { A: '1' } }))
    await server.app.inject({ method: 'DELETE', url })
    const again = await saved(put({ image: 'web:9' }))
    expect(again.generation).toBe(1)
    expect(again.service.uid).not.toBe(first.service.uid)
    expect(
      generationView
        .array()
        .parse(await get(`${url}/generations`))
        .map(x => x.image),
    ).toEqual(['web:9'])
  })

  test('keeps so many generations as the spec says, and those in use', async () => {
    for (let n = 1; n <= 6; n += 1) {
      await saved(put({ image: digest, env: { N: String(n) }, keepGenerations: 3 }))
      await server.roll(web, { phase: 'settled', live: g(1), warm: g(2) }, { asked: g(n) })
    }
    await saved(put({ image: digest, env: { N: '7' }, keepGenerations: 3 }))
    const kept = generationView.array().parse(await get(`${url}/generations`))
    expect(kept.map(x => x.generation)).toEqual([7, 6, 5, 2, 1])
  })

  test('generations that were the same as another are dropped', async () => {
    await saved(put({ image: 'web:1' }))
    await server.roll(web, { phase: 'settled', live: g(1) })
    await saved(put({ image: 'web:1' }))
    await server.roll(web, { phase: 'settled', live: g(1) }, { asked: g(2), same: { 2: g(1) } })
    const view = await saved(put({ image: 'web:1' }))
    expect(view).toMatchObject({ changed: 'new-generation', generation: 3, previousImage: 'web:1' })
    expect(
      generationView
        .array()
        .parse(await get(`${url}/generations`))
        .map(x => x.generation),
    ).toEqual([3, 1])
  })
})

describe('PATCH', () => {
  test('scales in place, also where the text says a number', async () => {
    await saved(put({ image: 'web:1', replicas: 2 }))
    await server.roll(web, { phase: 'settled', live: g(1) })
    const view = await saved(patch({ replicas: 7 }))
    expect(view).toMatchObject({
      changed: 'in-place',
      generation: 1,
      service: { replicas: 7, spec: { replicas: 7 } },
    })
  })

  test('does not look a tag up again, and makes a generation where the container changes', async () => {
    await saved(put({ image: 'web:1', env: { A: '1', B: '2' } }))
    await server.roll(web, { phase: 'settled', live: g(1) })
    expect(await saved(patch({ placement: { maxPerHost: 2 } }))).toMatchObject({
      changed: 'in-place',
      generation: 1,
    })
    const view = await saved(patch({ env: { B: null } }))
    expect(view).toMatchObject({
      changed: 'new-generation',
      generation: 2,
      service: { spec: { env: { A: '1' } } },
    })
  })

  test('of nothing is 404', async () => {
    expect((await patch({ replicas: 1 })).statusCode).toBe(404)
  })
})

describe('addresses', () => {
  const ports = [{ name: 'http', container: 80 }]
  const route = (part: object) => ({ image: digest, ports, routes: [{ port: 'http', listen: 80, ...part }] })
  const api = '/v1/projects/shop/services/api'

  test('belong to one service; the other is named; they are free after a change or a delete', async () => {
    await saved(put(route({ hostnames: ['shop.example', 'www.shop.example'] })))
    const before = server.etcd.revision
    const taken = await put(route({ hostnames: ['www.shop.example'] }), {}, api)
    expect(taken.statusCode).toBe(409)
    expect(problemView.parse(taken.json())).toMatchObject({
      code: 'address-claimed',
      errors: [{ pointer: '/routes/0', message: 'www.shop.example:80/ belongs to service shop/web' }],
    })
    expect(server.etcd.revision).toBe(before)
    await saved(put(route({ hostnames: ['www.shop.example'], path: '/api' }), {}, api))
    await saved(put(route({ hostnames: ['shop.example'] })))
    await saved(put(route({ hostnames: ['www.shop.example'] }), {}, api))
    await server.app.inject({ method: 'DELETE', url })
    await saved(put(route({ hostnames: ['shop.example'] }), {}, api))
    expect((await server.store.list(claims)).entries.map(e => e.value.service)).toEqual(['shop/api'])
  })

  test('a TCP route has its port for itself', async () => {
    await saved(put(route({ protocol: 'tcp' })))
    expect((await put(route({ hostnames: ['a.example'] }), {}, api)).statusCode).toBe(409)
    expect((await put(route({ listen: 81 }), {}, api)).statusCode).toBe(201)
    expect((await put(route({ protocol: 'tcp', listen: 81 }))).statusCode).toBe(409)
  })

  test('two servers cannot give one address to two services at the same moment', async () => {
    const both = await Promise.all([put(route({})), put(route({}), {}, api)])
    expect(both.map(a => a.statusCode).sort()).toEqual([201, 409])
  })

  test.each([
    ['one address', { hostnames: ['a.example'] }, { hostnames: ['a.example'] }],
    ['HTTP and TCP on one port', { hostnames: ['a.example'] }, { protocol: 'tcp' }],
    ['TCP and TCP on one port', { protocol: 'tcp' }, { protocol: 'tcp' }],
    ['HTTP for all names and TCP', {}, { protocol: 'tcp' }],
  ])('of two servers that looked at the same moment, one gets it: %s', async (_, one, other) => {
    const beside = await testServer({ etcd: server.etcd })
    // Both have looked before either writes, whatever order they look in.
    const met = meeting(2)
    for (const { store } of [server, beside]) {
      const commit = store.commit.bind(store)
      store.commit = async transaction => {
        await met()
        return commit(transaction)
      }
    }
    const payload = route(other)
    const both = await Promise.all([put(route(one)), beside.app.inject({ method: 'PUT', url: api, payload })])
    expect(both.map(a => a.statusCode).sort()).toEqual([201, 409])
    expect(both.map(a => a.json().code)).toContain('address-claimed')
    await beside.close()
  })

  test('services on different addresses do not stand in each other’s way', async () => {
    const met = meeting(40)
    const commit = server.store.commit.bind(server.store)
    let commits = 0
    server.store.commit = async transaction => {
      commits += 1
      await met()
      return commit(transaction)
    }
    const all = await Promise.all(
      Array.from({ length: 40 }, (_, i) => put(route({ path: `/p${i}` }), {}, `${api}${i}`)),
    )
    expect(all.map(a => a.statusCode)).toEqual(Array(40).fill(201))
    expect(commits, 'none was decided twice').toBe(40)
  })

  test('a port changes from TCP to HTTP and back, within one service', async () => {
    await saved(put(route({ protocol: 'tcp' })))
    await saved(put(route({ hostnames: ['a.example'] })))
    await saved(put(route({ hostnames: ['b.example'] }), {}, api))
    expect((await put(route({ protocol: 'tcp' }))).statusCode).toBe(409)
    await server.app.inject({ method: 'DELETE', url: api })
    await saved(put(route({ protocol: 'tcp' })))
    expect((await server.store.list(claims)).entries).toHaveLength(1)
  })

  test('a plan sees what its own services claim and give up', async () => {
    const plan = (services: object[]) =>
      server.app.inject({ method: 'POST', url: '/v1/plans', payload: { project: 'shop', services } })
    const refused = await plan([
      { name: 'x', ...route({}) },
      { name: 'y', ...route({}) },
    ])
    expect(refused.statusCode).toBe(409)
    expect(problemView.parse(refused.json()).errors).toMatchObject([
      { pointer: '/services/1/routes/0', message: '*:80/ belongs to service shop/x' },
    ])
    await saved(put(route({})))
    const swap = await plan([
      { name: 'web', ...route({ listen: 81 }) },
      { name: 'api', ...route({}) },
    ])
    expect(swap.statusCode).toBe(200)
    expect((await plan([{ name: 'api', ...route({}) }])).statusCode).toBe(409)
  })
})

describe('conditions', () => {
  test('If-Match with the ETag, with an old one, and with none to match', async () => {
    const first = await put({ image: digest })
    const etag = String(first.headers.etag)
    const second = await put({ image: digest, replicas: 2 }, { 'if-match': etag })
    expect(second.statusCode).toBe(200)
    const stale = await put({ image: digest, replicas: 3 }, { 'if-match': etag })
    expect(stale.statusCode).toBe(412)
    expect(`"${problemView.parse(stale.json()).revision}"`).toBe(second.headers.etag)
    expect((await patch({ replicas: 3 }, { 'if-match': etag })).statusCode).toBe(412)
    expect(
      (await server.app.inject({ method: 'DELETE', url, headers: { 'if-match': etag } })).statusCode,
    ).toBe(412)
    expect((await put({ image: digest }, { 'if-match': '*' }, `${url}2`)).statusCode).toBe(412)
    expect((await put({ image: digest }, { 'if-none-match': '*' })).statusCode).toBe(412)
    expect((await put({ image: digest }, { 'if-none-match': '*' }, `${url}2`)).statusCode).toBe(201)
  })

  test('of many at once with one ETag, one is done', async () => {
    const etag = String((await put({ image: digest })).headers.etag)
    const all = await Promise.all([2, 3, 4, 5].map(replicas => patch({ replicas }, { 'if-match': etag })))
    expect(all.map(a => a.statusCode).sort()).toEqual([200, 412, 412, 412])
  })

  test('without one, all are done', async () => {
    await put({ image: digest })
    const all = await Promise.all([2, 3, 4].map(replicas => patch({ replicas })))
    expect(all.map(a => a.statusCode)).toEqual([200, 200, 200])
  })
})

describe('Idempotency-Key', () => {
  const key = { 'idempotency-key': 'deploy-1' }

  test('the same request again is done once and answered alike; another one is refused', async () => {
    const first = await put({ image: 'web:1' }, key)
    await server.roll(web, { phase: 'settled', live: g(1) })
    const before = server.etcd.revision
    const again = await put({ image: 'web:1' }, key)
    expect(again.headers.etag).toBe(first.headers.etag)
    expect(again.json()).toMatchObject({ changed: 'created', generation: 1 })
    expect(server.etcd.revision).toBe(before)
    const other = await put({ image: 'web:2' }, key)
    expect(other.statusCode).toBe(422)
    expect(other.json()).toMatchObject({ code: 'idempotency-key-reused' })
  })

  test('two at the same moment are done once', async () => {
    const both = await Promise.all([put({ image: 'web:1' }, key), put({ image: 'web:1' }, key)])
    expect(both.map(a => a.json().generation)).toEqual([1, 1])
    expect((await server.store.list(generations)).entries).toHaveLength(1)
  })
})

test('a delete with a key is done once, also where the service is there again', async () => {
  await saved(put({ image: digest }))
  const headers = { 'idempotency-key': 'delete-1' }
  const remove = () => server.app.inject({ method: 'DELETE', url, headers })
  const first = await remove()
  expect(first.statusCode).toBe(202)
  const created = await saved(put({ image: digest }))
  const again = await remove()
  expect([again.statusCode, again.body]).toEqual([202, first.body])
  expect(serviceView.parse(await get(url)).uid).toBe(created.service.uid)
  expect((await put({ image: digest }, headers)).json()).toMatchObject({ code: 'idempotency-key-reused' })
})

test.each([
  ['POST', '/v1/hosts/h1/cordon', 'if-match'],
  ['POST', '/v1/hosts/h1/drain', 'idempotency-key'],
  ['DELETE', '/v1/hosts/h1', 'idempotency-key'],
  ['PATCH', '/v1/hosts/h1', 'if-none-match'],
  ['POST', '/v1/plans', 'if-match'],
] as const)('%s %s does not take a header that it would not keep: %s', async (method, at, header) => {
  await server.addHost('h1')
  const answer = await server.app.inject({ method, url: at, headers: { [header]: '*' } })
  expect(problemView.parse(answer.json())).toMatchObject({
    status: 400,
    errors: [{ pointer: `header/${header}`, message: 'is not kept here; leave it out' }],
  })
})

test('keyed requests go on after the lease of the kept answers was lost', async () => {
  await saved(put({ image: digest }, { 'idempotency-key': 'a' }))
  server.etcd.revokeAll()
  const keyed = { 'idempotency-key': 'b' }
  expect((await saved(put({ image: digest, replicas: 2 }, keyed))).changed).toBe('in-place')
  expect((await saved(put({ image: digest, replicas: 2 }, keyed))).changed).toBe('in-place')
})

/** The same server, not so patient with a mirror that is late. */
async function hasty(): Promise<TestServer['app']> {
  const { clock } = server.deps
  const sleep: typeof clock.sleep = (ms, signal) => clock.sleep(ms / 20, signal)
  return buildApp({ ...server.deps, clock: { ...clock, sleep } })
}

test('what was written is answered as written, also where the mirror does not show it yet', async () => {
  const app = await hasty()
  try {
    server.store.faults.holdWatches()
    const headers = { 'idempotency-key': 'late' }
    const first = await app.inject({ method: 'PUT', url, payload: { image: digest }, headers })
    expect(first.statusCode, first.body).toBe(201)
    const view = savedView.parse(first.json())
    expect(view).toMatchObject({ changed: 'created', service: { generation: 1, status: 'rolling-out' } })
    expect(first.headers.etag).toBe(`"${view.service.revision}"`)
    const again = await app.inject({ method: 'PUT', url, payload: { image: digest }, headers })
    expect(again.json()).toMatchObject({ changed: 'created', service: { uid: view.service.uid } })
    const scaled = await app.inject({ method: 'PATCH', url, payload: { replicas: 4 } })
    expect(scaled.json()).toMatchObject({ changed: 'in-place', service: { replicas: 4, generation: 1 } })
  } finally {
    server.store.faults.releaseWatches()
    await app.close()
  }
})

describe('DELETE', () => {
  test('takes the spec and the addresses, leaves generations to the leader, and shows what still stops', async () => {
    await saved(put({ image: digest }))
    await server.addHost('h1')
    await server.place('shop/web/1/0', 'h1')
    const answer = await server.app.inject({ method: 'DELETE', url })
    expect(answer.statusCode).toBe(202)
    expect(deletedView.parse(answer.json()).instances).toBe(1)
    expect(serviceView.parse(await get(url))).toMatchObject({ status: 'deleting', replicas: 0 })
    expect((await server.store.list(generations)).entries).toHaveLength(1)
    await server.write(remove(placements, { host: 'h1' as HostId, instance: 'shop/web/1/0' as InstanceId }))
    expect((await server.app.inject({ url })).statusCode).toBe(404)
    expect((await server.app.inject({ method: 'DELETE', url })).statusCode).toBe(404)
  })
})

describe('plans', () => {
  test('say field by field what a PUT would do, and write nothing', async () => {
    await saved(put({ image: digest, replicas: 2 }))
    await server.roll(web, { phase: 'settled', live: g(1) })
    const before = server.etcd.revision
    const answer = await server.app.inject({
      method: 'POST',
      url: '/v1/plans',
      payload: {
        project: 'shop',
        services: [
          { name: 'web', image: digest, replicas: 3, env: { A: '1' } },
          { name: 'api', image: 'api:1' },
        ],
      },
    })
    expect(answer.statusCode, answer.body).toBe(200)
    const { services } = planView.parse(answer.json())
    expect(services[0]).toMatchObject({
      change: 'new-generation',
      generation: 2,
      strategy: { name: 'blue-green' },
      differences: [
        { pointer: '/env', after: { A: '1' }, effect: 'generation' },
        { pointer: '/replicas', before: 2, after: 3, effect: 'in-place' },
      ],
    })
    expect(services[1]).toMatchObject({ change: 'create', generation: 1, strategy: { name: 'first' } })
    expect(server.etcd.revision).toBe(before)
  })
})

describe('undo and abort', () => {
  const post = (path: string, payload: object = {}, headers: Record<string, string> = {}) =>
    server.app.inject({ method: 'POST', url: `${url}/${path}`, payload, headers })

  async function twoGenerations(): Promise<void> {
    await saved(put({ image: digest }))
    await saved(put({ image: digest, env: { A: '1' } }))
    await server.roll(web, { phase: 'settled', live: g(2), warm: g(1) }, { asked: g(2) })
  }

  /** Acts on the next intent as the leader would: one transaction. */
  async function leaderActs(now: Phase | undefined): Promise<void> {
    for (;;) {
      const { changes } = server.deps.mirror
      const [intent] = server.deps.mirror.of(intents).values()
      if (intent === undefined) {
        await server.deps.mirror.changedSince(changes, 1_000)
        continue
      }
      const before = await server.store.get(rollouts, web)
      if (now === undefined || before === undefined) await server.write(remove(intents, intent.id))
      else await server.write(remove(intents, intent.id), putEntry(rollouts, web, { ...before.value, now }))
      return
    }
  }

  test('an intent that the mirror does not show yet does not count as acted on', async () => {
    await twoGenerations()
    const app = await hasty()
    try {
      server.store.faults.holdWatches()
      let answered = false
      const asking = app.inject({ method: 'POST', url: `${url}/undo`, payload: {} }).then(answer => {
        answered = true
        return answer
      })
      await server.deps.clock.sleep(400)
      expect(answered).toBe(false)
      server.store.faults.releaseWatches()
      const [answer] = await Promise.all([
        asking,
        leaderActs({ phase: 'draining', live: g(1), old: g(2), undo: true }),
      ])
      expect(answer.statusCode, answer.body).toBe(200)
    } finally {
      server.store.faults.releaseWatches()
      await app.close()
    }
  })

  test.each<{ readonly name: string; readonly now: Phase; readonly words: string }>([
    {
      name: 'while one is under way',
      now: { phase: 'draining', live: g(1), old: g(2), undo: true },
      words: 'an undo of shop/web is under way already',
    },
    {
      name: 'while the old generation is started for one',
      now: { phase: 'warming', stable: g(2), next: g(1), undo: true },
      words: 'an undo of shop/web is under way already',
    },
    {
      name: 'after one is done',
      now: { phase: 'settled', live: g(1), warm: g(2) },
      words: 'generation 2 of shop/web was undone already, and generation 1 answers',
    },
  ])('a second undo $name is refused at once', async ({ now, words }) => {
    await twoGenerations()
    const rejections: Rejection[] = [{ generation: g(2), because: 'undone', evidence: [], at: 0 }]
    await server.roll(web, now, { rejections })
    const answer = await post('undo')
    expect(answer.statusCode, answer.body).toBe(409)
    expect(problemView.parse(answer.json())).toMatchObject({ code: 'wrong-state', detail: words })
    expect((await server.store.list(intents)).entries).toEqual([])
  })

  test('waits for the leader and shows the rollout', async () => {
    await twoGenerations()
    const [answer] = await Promise.all([
      post('undo'),
      leaderActs({ phase: 'draining', live: g(1), old: g(2), undo: true }),
    ])
    expect(answer.statusCode, answer.body).toBe(200)
    const view = actedView.parse(answer.json())
    expect(view).toMatchObject({ outcome: 'done', rollout: { live: 1, old: 2, outcome: 'rejected' } })
  })

  test('with a key is asked once', async () => {
    await twoGenerations()
    const key = { 'idempotency-key': 'undo-1' }
    const [first] = await Promise.all([
      post('undo', {}, key),
      leaderActs({ phase: 'draining', live: g(1), old: g(2), undo: true }),
    ])
    expect(first.statusCode, first.body).toBe(200)
    // Asked anew, it would be refused: the undo is under way.
    const again = await post('undo', {}, key)
    expect([again.statusCode, again.body]).toEqual([200, first.body])
    expect((await server.store.list(intents)).entries).toEqual([])
    expect((await post('undo', { to: 1 }, key)).json()).toMatchObject({ code: 'idempotency-key-reused' })
  })

  test('keeps to a condition', async () => {
    await twoGenerations()
    const { revision } = serviceView.parse(await get(url))
    await saved(put({ image: digest, env: { A: '1' }, replicas: 2 }))
    for (const path of ['undo', 'rollout/abort']) {
      expect((await post(path, {}, { 'if-match': `"${revision}"` })).statusCode).toBe(412)
      expect((await post(path, {}, { 'if-match': 'x' })).statusCode).toBe(400)
    }
    expect((await server.store.list(intents)).entries).toEqual([])
    const now = serviceView.parse(await get(url)).revision
    const [answer] = await Promise.all([
      post('undo', {}, { 'if-match': `"${now}"` }),
      leaderActs({ phase: 'draining', live: g(1), old: g(2), undo: true }),
    ])
    expect(answer.statusCode, answer.body).toBe(200)
  })

  test('says so where the leader found nothing to do', async () => {
    await twoGenerations()
    const [answer] = await Promise.all([post('undo'), leaderActs(undefined)])
    expect(answer.statusCode).toBe(409)
    expect(answer.json()).toMatchObject({ code: 'wrong-state' })
  })

  test('shows that a generation starts again for it', async () => {
    await twoGenerations()
    await server.roll(web, { phase: 'warming', stable: g(2), next: g(1), undo: true })
    expect(serviceView.parse(await get(url)).rollout.words).toBe(
      'generation 1 starts again for an undo, 0 of 1 ready; generation 2 answers',
    )
  })

  test('does not go behind what a failed rollout left in place', async () => {
    await twoGenerations()
    await server.roll(web, { phase: 'reverted', stable: g(1), rejected: g(2) })
    const answer = await post('undo')
    expect(answer.statusCode).toBe(409)
    expect(problemView.parse(answer.json()).detail).toContain('generation 1 answers')
  })

  test('is refused at once where it cannot be', async () => {
    await twoGenerations()
    expect((await post('undo', { to: 7 })).json()).toMatchObject({
      status: 422,
      errors: [{ pointer: '/to', allowed: ['1', '2'] }],
    })
    expect((await post('undo', { to: 2 })).statusCode).toBe(409)
    await server.roll(web, { phase: 'warming', stable: g(1), next: g(2) })
    expect(problemView.parse((await post('undo', { to: 2 })).json()).detail).toBe(
      'generation 2 of shop/web is being started already',
    )
    await server.roll(web, { phase: 'settled', live: g(2), warm: g(1) })
    expect((await post('rollout/abort')).statusCode).toBe(409)
    expect((await post('rollout/pause')).json()).toMatchObject({ status: 422, code: 'not-supported-yet' })
    expect((await server.store.list(intents)).entries).toHaveLength(0)
  })
})

describe('what is shown', () => {
  test('instances with their state, why they are not ready, and what would help', async () => {
    await saved(put({ image: digest, replicas: 3 }))
    await server.addHost('h1')
    await server.roll(web, { phase: 'settled', live: g(1) })
    await server.place('shop/web/1/0', 'h1', 'ready')
    await server.place('shop/web/1/1', 'h1', 'backoff')
    expect(serviceView.parse(await get(url))).toMatchObject({
      status: 'degraded',
      ready: 1,
      reason: '1 of 3 instances are ready',
    })
    expect(
      instanceView
        .array()
        .parse(await get(`${url}/instances`))
        .map(i => [i.slot, i.state, i.role]),
    ).toEqual([
      [0, 'ready', 'live'],
      [1, 'backoff', 'live'],
    ])
    expect(instanceView.parse(await get(`${url}/instances/1/1`)).host).toBe('h1')
    const { uid } = serviceView.parse(await get(url))
    await server.write(
      putEntry(pendings, web, {
        service: web,
        uid,
        term: '1',
        count: 1,
        at: 0,
        waiting: [
          {
            instance: 'shop/web/1/2',
            hosts: [
              { host: 'h1', obstacles: [{ kind: 'memory', needMiB: 512, freeMiB: 128, totalMiB: 1024 }] },
            ],
          },
        ],
      }),
    )
    const why = whyView.parse(await get(`${url}/why`))
    expect(why.summary).toBe(
      '1 instance of shop/web cannot be placed: h1 needs 512 MiB of memory, 128 of 1024 MiB are free',
    )
    expect(why.fix).toBe(
      'free 384 MiB on host h1, lower /resources/reservations/memory to 128MiB, or add a host',
    )
    expect(why.unready.map(i => i.id)).toEqual(['shop/web/1/1'])
    expect(serviceView.parse(await get(url)).status).toBe('waiting')
  })

  test('an internal error of the leader: the service waits for it, and every view says so', async () => {
    await saved(put({ image: digest }))
    const { uid } = serviceView.parse(await get(url))
    const obstacles = [{ kind: 'internal-error' as const, doing: 'planning it', error: 'out of slots' }]
    const pending = { service: web, uid, term: '1', count: 0, at: 0, waiting: [], obstacles }
    await server.write(putEntry(pendings, web, pending))
    const words = 'internal error: the leader fails at planning it and tries again: out of slots'
    expect(serviceView.parse(await get(url))).toMatchObject({ status: 'waiting', reason: words })
    expect(whyView.parse(await get(`${url}/why`))).toMatchObject({
      summary: `shop/web: ${words}`,
      obstacles: [{ words }],
    })
    // Where its records cannot be read, the leader does not know the uid.
    await server.write(putEntry(pendings, web, { ...pending, uid: '' }))
    expect(serviceView.parse(await get(url)).reason).toBe(words)
    await server.write(putEntry(pendings, web, { ...pending, uid: 'of another one' }))
    expect(serviceView.parse(await get(url)).reason).not.toBe(words)
  })

  test('a generation that was given up, with what was seen of it', async () => {
    await saved(put({ image: digest }))
    await saved(put({ image: digest, env: { A: '1' } }))
    await server.roll(
      web,
      { phase: 'reverted', stable: g(1), rejected: g(2) },
      {
        asked: g(2),
        rejections: [
          {
            generation: g(2),
            because: 'not-ready-by-deadline',
            at: 5,
            evidence: [{ what: 'it exited', exitCode: 3 }],
          },
        ],
      },
    )
    await server.addHost('h1')
    await server.place('shop/web/1/0', 'h1', 'ready')
    const view = serviceView.parse(await get(url))
    expect(view).toMatchObject({
      status: 'reverted',
      available: true,
      rollout: { outcome: 'rejected', live: 1, rejection: { generation: 2, evidence: [{ exitCode: 3 }] } },
    })
    expect(view.reason).toBe('generation 2 was not ready by its deadline; generation 1 answers')
    const kept = generationView.array().parse(await get(`${url}/generations`))
    expect(kept.map(x => x.role)).toEqual(['rejected', 'live'])
  })
})

describe('while the store is away', () => {
  test('reads go on from what is known and say that they are old; writes are 503 with Retry-After', async () => {
    await saved(put({ image: digest }))
    server.store.faults.goAway()
    const answer = await put({ image: digest, replicas: 2 })
    expect(answer.statusCode).toBe(503)
    expect(answer.headers['retry-after']).toBe('2')
    expect((await server.app.inject({ url })).statusCode).toBe(200)
    server.store.faults.comeBack()
    expect((await saved(put({ image: digest, replicas: 2 }))).service.replicas).toBe(2)
  })

  test('what is older than five seconds is marked', async () => {
    await saved(put({ image: digest }))
    const { clock } = server.deps
    const later = { ...clock, now: () => (clock.now() + 7_000) as Instant }
    const app = await buildApp({ ...server.deps, clock: later })
    const answer = await app.inject({ url })
    expect(answer.headers).toMatchObject({ 'boxcar-stale': 'true', age: expect.stringMatching(/^[78]$/) })
    expect((await app.inject({ url: '/readyz?verbose' })).json()).toMatchObject({ status: 503, ready: false })
    await app.close()
    expect((await server.app.inject({ url })).headers['boxcar-stale']).toBeUndefined()
  })

  test('a lost answer is looked up: done is done', async () => {
    server.store.faults.loseAnswers(1)
    const answer = await put({ image: digest })
    expect(answer.statusCode, answer.body).toBe(201)
    expect((await server.store.get(specs, web))?.value.generation).toBe(1)
  })

  test('a lost request is 503 and says that it may have been done', async () => {
    server.store.faults.loseRequests(1)
    const answer = await put({ image: digest })
    expect(answer.statusCode).toBe(503)
    expect(problemView.parse(answer.json()).detail).toContain('may have been done')
  })

  test('a full store is 503', async () => {
    server.etcd.full = true
    expect((await put({ image: digest })).json()).toMatchObject({ status: 503, code: 'store-full' })
  })
})
