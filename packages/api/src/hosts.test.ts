import type { HostId, ServiceName } from '@boxcar/core/model/ids'
import { put, remove } from '@boxcar/store/collection'
import { hostSettingsOf, hosts, presences, routeAcks, routes } from '@boxcar/store/keys'
import type { Revision } from '@boxcar/store/store'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { z } from 'zod'
import { type TestServer, testServer } from './testing.ts'
import { drainView, hostView, routeView } from './views.ts'

let server: TestServer
const h1 = 'h1' as HostId
beforeEach(async () => {
  server = await testServer()
  await server.addHost('h1', { labels: { zone: 'a' } })
})
afterEach(() => server.close())

const call = (method: 'GET' | 'POST' | 'PATCH' | 'DELETE', path: string, payload?: object) =>
  server.app.inject({ method, url: `/v1/hosts/${path}`, ...(payload === undefined ? {} : { payload }) })

test('cordon, drain, and back', async () => {
  expect(hostView.parse((await call('GET', 'h1')).json())).toMatchObject({ state: 'ready', present: true })
  const cordoned = await call('POST', 'h1/cordon', { why: 'new disk' })
  expect(hostView.parse(cordoned.json())).toMatchObject({
    state: 'cordoned',
    reason: 'new disk',
    cordon: { by: 'api' },
  })
  const draining = await call('POST', 'h1/drain')
  expect(drainView.parse(draining.json())).toMatchObject({ host: { state: 'draining' }, moves: [] })
  expect(hostView.parse((await call('DELETE', 'h1/drain')).json()).state).toBe('cordoned')
  await call('POST', 'h1/drain')
  expect(hostView.parse((await call('POST', 'h1/uncordon')).json()).state).toBe('ready')
  const revision = server.etcd.revision
  await call('POST', 'h1/uncordon')
  expect(server.etcd.revision, 'said twice, written once').toBe(revision)
})

test('conditions of a host are shown, also those of a kind that is not known here', async () => {
  const conditions = [
    { kind: 'of-a-newer-agent', reason: 'something new' },
    { kind: 'state-not-saved', reason: 'the disk is full', since: 7 },
  ]
  await server.addHost('h2', { conditions })
  const [old, odd] = z.array(hostView).parse((await server.app.inject({ url: '/v1/hosts' })).json())
  expect(old, 'the record of an agent that knows of none').toMatchObject({ state: 'ready', conditions: [] })
  expect(odd).toMatchObject({ state: 'ready', conditions })
  const figures = (await server.app.inject({ url: '/metrics' })).body
  expect(figures).toMatch(/^boxcar_hosts_with_conditions 1$/m)
})

test('labels of operators win, and null takes one away', async () => {
  const labelled = await call('PATCH', 'h1', { labels: { zone: 'b', disk: 'ssd' } })
  expect(hostView.parse(labelled.json()).labels).toEqual({ zone: 'b', disk: 'ssd' })
  const less = await call('PATCH', 'h1', { labels: { zone: null } })
  expect(hostView.parse(less.json()).labels).toEqual({ zone: 'a', disk: 'ssd' })
})

test('labels do not grow without end', async () => {
  const some = (from: number, n: number) =>
    Object.fromEntries(Array.from({ length: n }, (_, i) => [`l${from + i}`, 'x']))
  expect((await call('PATCH', 'h1', { labels: some(0, 128) })).statusCode).toBe(200)
  expect((await call('PATCH', 'h1', { labels: some(128, 1) })).json()).toMatchObject({
    status: 422,
    code: 'invalid-body',
    errors: [{ pointer: '/labels', code: 'too_many' }],
  })
  expect((await call('PATCH', 'h1', { labels: { l0: null, l128: 'x' } })).statusCode).toBe(200)
})

test('a route names some of its hosts, and says how many of them apply it', async () => {
  for (let i = 2; i <= 20; i += 1) await server.addHost(`h${i}`, { address: `10.0.0.${i}` })
  const service = 'shop/web' as ServiceName
  await server.write(
    put(routes, service, {
      service,
      uid: 'u',
      term: '1',
      listeners: [
        { protocol: 'http', listen: 80, hostnames: [], path: '/', expose: 'public', port: 'http' },
        { protocol: 'tcp', listen: 81, hostnames: [], path: '/', expose: 'public', port: 'http' },
      ],
      backings: [],
      drainMs: 1,
    }),
  )
  const modified = Number((await server.store.get(routes, service))?.modified)
  const acks = [modified - 1, modified, modified + 1, 10 * modified, 1]
  await server.write(
    ...acks.map((revision, i) =>
      put(
        routeAcks,
        `h${i + 1}` as HostId,
        { revision: String(revision) as Revision, draining: [] },
        server.lease,
      ),
    ),
  )
  const shown = z.array(routeView).parse((await server.app.inject({ url: '/v1/routes' })).json())
  expect(shown.map(route => route.applied)).toEqual(Array(2).fill({ hosts: 3, of: 20 }))
  expect(shown.map(route => route.addresses.length)).toEqual([16, 16])
  expect(shown.map(route => route.addresses[1])).toEqual(['http://10.0.0.10:80/', '10.0.0.10:81'])
})

test('presence and acknowledgement without a lease, as a copied store has them, count for nothing', async () => {
  await server.write(
    put(presences, h1, { since: 1 }),
    put(routeAcks, h1, { revision: '1' as Revision, draining: [] }),
  )
  const shown = hostView.parse((await call('GET', 'h1')).json())
  expect(shown).toMatchObject({ state: 'suspect', present: false })
  expect(shown.routesApplied).toBeUndefined()
  // Nor does it keep a host that is gone from being forgotten.
  expect((await call('DELETE', 'h1')).statusCode).toBe(204)
  expect(await server.store.get(presences, h1)).toBeUndefined()
})

test('a host that is there is not forgotten; one that is gone is', async () => {
  expect((await call('DELETE', 'h1')).statusCode).toBe(409)
  await call('POST', 'h1/cordon')
  await server.write(remove(presences, h1))
  expect(hostView.parse((await call('GET', 'h1')).json())).toMatchObject({ state: 'suspect', present: false })
  expect((await call('DELETE', 'h1')).statusCode).toBe(204)
  expect((await call('GET', 'h1')).statusCode).toBe(404)
  expect(await server.store.get(hosts, h1)).toBeUndefined()
  expect(await server.store.get(hostSettingsOf, h1)).toBeUndefined()
})

test('every change has an event with who and which request', async () => {
  const answer = await server.app.inject({
    method: 'POST',
    url: '/v1/hosts/h1/cordon',
    payload: {},
    headers: { 'boxcar-actor': 'ada' },
  })
  const told = await server.app.inject({ url: '/v1/events?tail=1&follow=false' })
  expect(told.body).toContain('"message":"ada cordoned host h1"')
  expect(told.body).toContain(`"requestId":"${answer.headers['boxcar-request-id']}"`)
})
