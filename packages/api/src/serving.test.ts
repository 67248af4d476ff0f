/** What is shown of a service that is not served everywhere: by every answer that tells of it, and nothing says otherwise. */
import type { GenerationNumber, HostId, ServiceName } from '@boxcar/core/model/ids'
import { listenersOf, type RouteAck } from '@boxcar/core/model/route'
import type { Unserved } from '@boxcar/core/model/unserved'
import { put as putEntry, remove } from '@boxcar/store/collection'
import { routeAcks, routes, specs } from '@boxcar/store/keys'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { type TestServer, testServer } from './testing.ts'
import { hostView, routeView, serviceView, whyView } from './views.ts'

const web = 'shop/web' as ServiceName
const url = '/v1/projects/shop/services/web'
const g = (n: number) => n as GenerationNumber

let server: TestServer
beforeEach(async () => {
  server = await testServer()
  for (const [i, host] of ['h1', 'h2', 'h3'].entries())
    await server.addHost(host, { address: `10.0.0.${i + 1}`, ports: { from: 20_000, to: 20_999 } })
  const payload = {
    image: `web@sha256:${'a'.repeat(64)}`,
    replicas: 0,
    ports: [{ name: 'http', container: 80 }],
    routes: [{ port: 'http', listen: 81 }],
  }
  await server.app.inject({ method: 'PUT', url, payload })
  await server.roll(web, { phase: 'settled', live: g(1) })
  await route()
})
afterEach(() => server.close())

/** What the leader writes; acknowledged by nobody yet. */
async function route(listen?: number): Promise<void> {
  const spec = await server.store.get(specs, web)
  const listeners = listenersOf(spec?.value.spec.routes ?? []).map(one => ({
    ...one,
    listen: listen ?? one.listen,
  }))
  const backings = [{ generation: g(1), share: 1000, endpoints: [] }]
  const uid = spec?.value.uid ?? ''
  await server.write(putEntry(routes, web, { service: web, uid, term: '1', listeners, backings, drainMs: 1 }))
}

async function acknowledge(host: string, unserved: readonly Unserved[] = [], more: Partial<RouteAck> = {}) {
  const revision = (await server.store.get(routes, web))?.modified ?? ''
  const list = unserved.length === 0 ? {} : { unserved }
  await server.write(
    putEntry(routeAcks, host as HostId, { revision, draining: [], ...list, ...more }, server.lease),
  )
}

const get = async (at: string) => (await server.app.inject({ url: at })).json()
const service = async () => serviceView.parse(await get(url))
const why = async () => whyView.parse(await get(`${url}/why`))
const shownRoutes = async () => z.array(routeView).parse(await get('/v1/routes'))

const held: Unserved = { listen: 81, address: '0.0.0.0', reason: 'held', holder: 'process 812 (sshd)' }
const words = 'port 81 at 0.0.0.0 is held by process 812 (sshd)'

test('served everywhere: ready, and nothing is missed', async () => {
  for (const host of ['h1', 'h2', 'h3']) await acknowledge(host)
  expect(await service()).toMatchObject({ status: 'ready', serving: { hosts: 3, of: 3, unserved: [] } })
  expect(await shownRoutes()).toMatchObject([
    { applied: { hosts: 3, of: 3 }, unserved: [], addresses: { length: 3 } },
  ])
  expect((await why()).summary).toMatch(/as it was asked for/)
})

test('a port that is held on one host is in every answer, with host, reason, holder and what to do', async () => {
  await acknowledge('h1', [held])
  await acknowledge('h2')
  await acknowledge('h3')
  const missed = {
    host: 'h1',
    listen: 81,
    reason: 'held',
    holder: 'process 812 (sshd)',
    words,
    next: "free port 81 on h1 ('ss -ltnp' there shows who has it), or give the route another port",
  }
  const seen = await service()
  expect(seen).toMatchObject({ status: 'degraded', serving: { hosts: 2, of: 3, unserved: [missed] } })
  expect(seen.reason).toBe(`0 of 0 instances are ready; h1: ${words}`)
  expect(seen.rollout.words).toBe(`generation 1 answers, but not everywhere: h1: ${words}`)
  const [shown] = await shownRoutes()
  expect(shown).toMatchObject({ applied: { hosts: 2, of: 3 }, unserved: [missed] })
  expect(shown?.addresses).toEqual(['http://10.0.0.2:81/', 'http://10.0.0.3:81/'])
  expect(await why()).toMatchObject({
    summary: `shop/web: ${seen.reason}`,
    unserved: [missed],
    fix: missed.next,
  })
  expect(hostView.parse(await get('/v1/hosts/h1')).unserved).toMatchObject([missed])
  const counts = z.object({ counts: z.object({ servicesReady: z.int() }) }).parse(await get('/v1/cluster'))
  expect(counts.counts.servicesReady).toBe(0)
})

test('on all hosts, by the agent itself', async () => {
  const mine: Unserved = { ...held, holder: "this host's Boxcar agent" }
  for (const host of ['h1', 'h2', 'h3']) await acknowledge(host, [mine])
  const seen = await service()
  expect(seen.serving).toMatchObject({ hosts: 0, of: 3 })
  expect(seen.reason).toMatch(
    /h1: port 81 at 0\.0\.0\.0 is held by this host's Boxcar agent; 2 more hosts too$/,
  )
  expect((await shownRoutes())[0]?.addresses).toEqual([])
  expect((await why()).fix).toBe('give the route another port')
})

test('a rollout says what it waits for', async () => {
  await server.roll(web, { phase: 'warming', next: g(1) })
  await acknowledge('h1', [held])
  expect((await service()).rollout.words).toMatch(/; it waits for h1: port 81 at 0\.0\.0\.0 is held/)
  await server.roll(web, { phase: 'warming', stable: g(1), next: g(2) })
  expect((await service()).rollout.words).toMatch(/generation 1 answers; h1: port 81 at 0\.0\.0\.0 is held/)
  await server.roll(web, { phase: 'draining', live: g(1), undo: true })
  expect((await service()).rollout.words).toMatch(/, but not everywhere: h1: port 81/)
})

describe('nothing is missed', () => {
  test.each<[string, Unserved]>([
    ['of another port', { ...held, listen: 80 }],
    ['of another service', { ...held, service: 'shop/db' as ServiceName }],
  ])('%s', async (_, one) => {
    for (const host of ['h1', 'h2', 'h3']) await acknowledge(host, [one])
    expect(await service()).toMatchObject({ status: 'ready', serving: { hosts: 3, unserved: [] } })
  })

  test('where public addresses alone are concerned, and the route is private', async () => {
    const payload = { routes: [{ port: 'http', listen: 81, expose: 'private' }] }
    await server.app.inject({ method: 'PATCH', url, payload })
    await route()
    for (const host of ['h1', 'h2', 'h3']) await acknowledge(host, [{ ...held, only: 'public' }])
    expect(await service()).toMatchObject({ status: 'ready', serving: { hosts: 3, unserved: [] } })
  })
})

test('what a host does not name is shown of the host, and of no service', async () => {
  const others = Array.from({ length: 20 }, (_, i) => ({ ...held, listen: 1000 + i }))
  await acknowledge('h1', others, { unnamed: 64 })
  await acknowledge('h2')
  await acknowledge('h3')
  expect(await service()).toMatchObject({ status: 'ready', serving: { hosts: 3, unserved: [] } })
  const shown = hostView.parse(await get('/v1/hosts/h1')).unserved ?? []
  expect(shown).toHaveLength(17)
  expect(shown.at(-1)).toMatchObject({ host: 'h1', words: '68 more are not served' })
})

test('a host that has not taken the route up yet does not count, and is no lasting fault', async () => {
  await acknowledge('h1')
  await acknowledge('h2')
  await acknowledge('h3', [], { revision: '1' })
  expect(await service()).toMatchObject({
    status: 'ready',
    serving: { hosts: 2, of: 3, unserved: [{ host: 'h3', reason: 'not-applied' }] },
  })
  // Routes that the leader has not written yet are served nowhere.
  await acknowledge('h3')
  await route(82)
  expect((await service()).serving).toMatchObject({ hosts: 0, of: 3 })
})

test('a host whose proxy fails does not serve, and is told with what its proxy says', async () => {
  const proxy = { version: '3.0', state: 'failing', reason: 'the process died' } as const
  await server.addHost('h3', { address: '10.0.0.3', proxy })
  await acknowledge('h1')
  await acknowledge('h2')
  expect(await service()).toMatchObject({
    status: 'degraded',
    serving: {
      hosts: 2,
      of: 3,
      unserved: [{ host: 'h3', reason: 'proxy-failing', words: 'its proxy fails: the process died' }],
    },
  })
  // One that went on serving the newest routes, since it refused others, does.
  await acknowledge('h3')
  expect(await service()).toMatchObject({ status: 'ready', serving: { hosts: 3 } })
})

test('a deleted service names the hosts whose proxies may still send its instances something', async () => {
  for (const host of ['h1', 'h2', 'h3']) await acknowledge(host)
  const old = (await server.store.get(routes, web))?.modified ?? ''
  await server.app.inject({ method: 'DELETE', url })
  await route() // as the leader closes it
  await acknowledge('h1')
  await acknowledge('h2', [], { outdated: [web] })
  await acknowledge('h3', [], { revision: old })
  const serves = 'h2: its proxy serves an older route of the service'
  const isBehind = 'h3: its proxy has not taken the newest route up yet'
  expect((await service()).reason).toMatch(new RegExp(`^it was deleted; .*${serves}.*; ${isBehind}`))
  expect((await why()).unserved).toMatchObject([{ host: 'h2' }, { host: 'h3' }])
})

test('an acknowledgement of an older agent says that all is served', async () => {
  for (const host of ['h1', 'h2', 'h3']) await acknowledge(host)
  await server.write(remove(routeAcks, 'h2' as HostId))
  expect(await service()).toMatchObject({ status: 'ready', serving: { hosts: 2, of: 3 } })
})
