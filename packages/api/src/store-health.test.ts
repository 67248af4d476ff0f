/** What a server says of its store and of the leader: `/v1/cluster`, `/readyz`, `/metrics`, hosts and reasons. */
import type { Instant, WallTime } from '@boxcar/core/model/clock'
import type { HostId } from '@boxcar/core/model/ids'
import { put, remove } from '@boxcar/store/collection'
import { clusters, hosts, leaders, presences } from '@boxcar/store/keys'
import type { Key, Store } from '@boxcar/store/store'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { buildApp } from './app.ts'
import type { App } from './routes/route.ts'
import { type TestServer, testServer } from './testing.ts'
import { clusterView, hostView, problemView, readyView, whyView } from './views.ts'

let server: TestServer
const apps: App[] = []
beforeEach(async () => {
  server = await testServer()
})
afterEach(async () => {
  for (const app of apps.splice(0)) await app.close()
  await server.close()
})

const get = async (url: string, app = server.app) => (await app.inject({ url })).json()
const cluster = async (app = server.app) => clusterView.parse(await get('/v1/cluster', app))
const ready = async () => readyView.parse(await get('/readyz?verbose'))
const check = async (name: string) => (await ready()).checks.find(it => it.name === name)
const metric = async (name: string) =>
  new RegExp(`^${name} (.*)$`, 'm').exec((await server.app.inject({ url: '/metrics' })).body)?.[1]

/** The same server, some time later. */
async function later(ms: number, heard: 'heard' | 'silent'): Promise<App> {
  const { clock, mirror } = server.deps
  const moved = {
    ...clock,
    now: () => (clock.now() + ms) as Instant,
    wall: () => (clock.wall() + ms) as WallTime,
  }
  if (heard === 'heard') Object.defineProperty(mirror, 'lastHeard', { value: () => moved.now() })
  const app = await buildApp({ ...server.deps, clock: moved })
  apps.push(app)
  return app
}

describe('the leader', () => {
  const copied = put(leaders, 'self', { address: 'http://old:7070', token: 'old' })

  test('is named while its record lives by a lease', async () => {
    expect(await cluster()).toMatchObject({ leader: { address: '127.0.0.1:7071' } })
    expect((await cluster()).leaderless).toBeUndefined()
    expect(await metric('boxcar_leader_known')).toBe('1')
    expect(await check('leader')).toMatchObject({ ok: true })
  })

  test.each([
    ['has no lease', copied, /has no lease/],
    ['was removed', remove(leaders, 'self'), /^no scheduler leads$/],
    [
      'cannot be read',
      { kind: 'put', key: 'leader/self' as Key, json: '{"a', lease: undefined } as const,
      /cannot be read: not JSON/,
    ],
  ])('is nobody whose record %s, and since when is told', async (_, write, reason) => {
    const before = Date.now()
    await server.write(write)
    const view = await cluster()
    expect(view.leader).toBeUndefined()
    expect(view.leaderless?.reason).toMatch(reason)
    expect(view.leaderless?.since).toBeGreaterThanOrEqual(before)
    expect(view.leaderless?.since).toBeLessThanOrEqual(Date.now())
    expect(await metric('boxcar_leader_known')).toBe('0')
    expect(Number(await metric('boxcar_leaderless_seconds'))).toBeGreaterThanOrEqual(0)
    expect(await check('leader')).toMatchObject({ ok: false, message: expect.stringMatching(reason) })
  })

  test('is not named from what was read before the store fell silent', async () => {
    const { leader, leaderless } = await cluster(await later(30_000, 'silent'))
    expect(leader).toBeUndefined()
    expect(leaderless?.reason).toMatch(/not heard for 3\d s; the scheduler at 127\.0\.0\.1:7071 led then/)
  })
})

describe('the store', () => {
  test('that is well has no problem', async () => {
    expect((await cluster()).store).toMatchObject({ reachable: true, alarms: [], problems: [] })
    expect(await ready()).toMatchObject({ ready: true })
    expect(await metric('boxcar_store_problems')).toBe('0')
  })

  test('that is full: the alarm, the commands, and no word that changes can be written', async () => {
    server.etcd.full = true
    const { store } = await cluster()
    expect(store.alarms).toEqual([{ kind: 'NOSPACE', endpoint: 'memory' }])
    expect(store.problems).toHaveLength(1)
    expect(store.problems[0]).toMatchObject({ kind: 'full', level: 'fail' })
    expect(store.problems[0]?.next.slice(0, 3)).toEqual([
      `etcdctl --endpoints=memory compact ${server.etcd.revision}`,
      'etcdctl --endpoints=memory defrag',
      'etcdctl --endpoints=memory alarm disarm',
    ])
    expect(await check('writes')).toMatchObject({
      ok: false,
      message: expect.stringMatching(/store is full/),
    })
    expect((await server.app.inject({ url: '/readyz' })).statusCode).toBe(503)
    expect(await metric('boxcar_store_problems')).toBe('1')
    expect(await metric('boxcar_store_refuses_writes')).toBe('1')
    const put = await server.app.inject({
      method: 'PUT',
      url: '/v1/projects/default/services/web',
      headers: { 'content-type': 'application/json', 'idempotency-key': 'k1' },
      body: '{"image":"a"}',
    })
    expect(problemView.parse(put.json())).toMatchObject({ code: 'store-full', status: 503 })
    expect(problemView.parse(put.json()).next).toMatch(/boxcar doctor .*\/v1\/cluster/)
  })

  test('with a member that lags serves all the same, and says so', async () => {
    server.etcd.memberSays = { learner: true, dbBytes: 1.9 * 1024 ** 3 }
    expect((await cluster()).store.problems.map(it => it.kind)).toEqual(['near-quota', 'learner'])
    expect(await ready()).toMatchObject({ ready: true })
    expect(await check('store-members')).toMatchObject({
      ok: true,
      message: expect.stringMatching(/learner/),
    })
  })

  test('is asked once for many who want to know', async () => {
    let asked = 0
    const store: Store = Object.create(server.store, {
      status: {
        value: () => {
          asked += 1
          return server.store.status()
        },
      },
    })
    const app = await buildApp({ ...server.deps, store })
    apps.push(app)
    await Promise.all(Array.from({ length: 20 }, () => app.inject({ url: '/v1/cluster' })))
    for (let i = 0; i < 20; i += 1) await app.inject({ url: '/readyz' })
    expect(asked).toBe(1)
  })
})

describe('the record of the cluster', () => {
  const h1 = 'h1' as HostId
  const host = async () => hostView.parse(await get('/v1/hosts/h1'))
  beforeEach(() => server.addHost('h1'))

  test.each([
    ['cannot be read', { kind: 'put', key: 'cluster/self' as Key, json: '{"a', lease: undefined } as const],
    ['is gone', remove(clusters, 'self')],
    ['is of another cluster', put(clusters, 'self', { uid: 'x', epoch: 1, schema: 1, secret: 's' })],
    ['has an earlier epoch', put(clusters, 'self', { uid: 'same', epoch: 0, schema: 1, secret: 's' })],
  ])('%s: the cluster, every host and every reason say so', async (_, write) => {
    expect(await host()).toMatchObject({ state: 'ready' })
    const own = server.deps.cluster
    await server.write(
      write.kind === 'put' && write.json.includes('"same"')
        ? put(clusters, 'self', { ...own, epoch: 0 })
        : write,
    )
    const [problem] = (await cluster()).store.problems
    expect(problem).toMatchObject({ kind: 'cluster-record', level: 'fail' })
    expect(problem?.next.length).toBeGreaterThan(0)
    expect(JSON.stringify(await cluster())).not.toContain(own.secret)
    expect(await host()).toMatchObject({ state: 'orders-refused', reason: problem?.message })
    expect(await check('cluster-record')).toMatchObject({ ok: false, message: problem?.message })
    await server.app.inject({
      method: 'PUT',
      url: '/v1/projects/default/services/web',
      headers: { 'content-type': 'application/json' },
      body: '{"image":"a"}',
    })
    const why = whyView.parse(await get('/v1/projects/default/services/web/why'))
    expect(why.summary).toContain(problem?.message)
    await server.write(put(clusters, 'self', own))
    expect(await host()).toMatchObject({ state: 'ready' })
  })

  test('of a newer schema is told, and keeps no host from its work', async () => {
    await server.write(put(clusters, 'self', { ...server.deps.cluster, schema: 9 }))
    expect((await cluster()).store.problems.map(it => it.kind)).toEqual(['newer-schema'])
    expect(await host()).toMatchObject({ state: 'ready' })
  })

  test('a host that refuses the orders of a copied store says so itself, present or not', async () => {
    const entry = await server.store.get(hosts, h1)
    if (entry === undefined) throw new Error('the host is there')
    const ordersRefused = 'the store is behind what was seen of it'
    await server.write(
      put(hosts, h1, { ...entry.value, conditions: [{ kind: 'orders-refused', reason: ordersRefused }] }),
    )
    expect(await host()).toMatchObject({ state: 'orders-refused', reason: ordersRefused })
    await server.write(remove(presences, h1))
    expect(await host()).toMatchObject({ state: 'suspect', reason: expect.stringContaining(ordersRefused) })
  })
})
