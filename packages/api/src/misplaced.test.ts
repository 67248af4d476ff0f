/** What is said of running instances that could not be placed where they stand now. */
import type { GenerationNumber, HostId, ServiceName } from '@boxcar/core/model/ids'
import { remove } from '@boxcar/store/collection'
import { presences } from '@boxcar/store/keys'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type TestServer, testServer } from './testing.ts'
import { clusterView, hostView, instanceView, planView, savedView, serviceView, whyView } from './views.ts'

const web = 'shop/web' as ServiceName
const url = '/v1/projects/shop/services/web'
const image = `web@sha256:${'a'.repeat(64)}`
const g = (n: number) => n as GenerationNumber

let server: TestServer
beforeEach(async () => {
  server = await testServer()
  for (const host of ['h1', 'h2']) await server.addHost(host, { labels: { zone: 'b' } })
  await server.app.inject({ method: 'PUT', url, payload: { image, replicas: 2 } })
  await server.roll(web, { phase: 'settled', live: g(1) })
  await ready('shop/web/1/0', 'h1')
  await ready('shop/web/1/1', 'h2')
})
afterEach(() => server.close())

const get = async (at: string) => (await server.app.inject({ url: at })).json()
const patch = (payload: object, at = url) => server.app.inject({ method: 'PATCH', url: at, payload })
const service = async () => serviceView.parse(await get(url))
const ready = (id: string, host: string) => server.place(id, host, 'ready', { cpuMilli: 1500 })

const noZoneA = { kind: 'label', want: 'zone = a', have: 'zone = b', words: "wants 'zone = a', has zone = b" }

test('a condition changed in place to what no host has: every view says which, where, why and what next', async () => {
  expect((await service()).status).toBe('ready')
  const answer = await patch({ placement: { where: ['zone = a'] } })
  const next =
    "label a host so that 'zone = a' holds: boxcar host label h1 zone=a, or change /placement/where"
  const said = {
    status: 'misplaced',
    available: true,
    ready: 2,
    misplaced: 2,
    reason:
      "2 of 2 instances are ready; 2 instances stand where they could not be placed now: shop/web/1/0 on h1 wants 'zone = a', has zone = b (and 1 more)",
    next,
  }
  expect(savedView.parse(answer.json()).service).toMatchObject(said)
  expect(await service()).toMatchObject(said)
  const why = whyView.parse(await get(`${url}/why`))
  expect(why.summary).toBe(`shop/web: ${said.reason}`)
  expect(why.misplaced).toEqual([
    { instance: 'shop/web/1/0', host: 'h1', obstacles: [noZoneA] },
    { instance: 'shop/web/1/1', host: 'h2', obstacles: [noZoneA] },
  ])
  expect(why.fix).toBe(next)
  expect(instanceView.parse(await get(`${url}/instances/1/0`)).misplaced).toEqual([noZoneA])
  expect(hostView.parse(await get('/v1/hosts/h2')).misplaced).toEqual(['shop/web/1/1'])
  const { counts } = clusterView.parse(await get('/v1/cluster'))
  expect(counts).toMatchObject({ servicesReady: 1, instancesReady: 2, instancesMisplaced: 2 })
  const { body } = await server.app.inject({ url: '/metrics' })
  expect(body).toMatch(/^boxcar_services_ready 1$/m)
  expect(body).toMatch(/^boxcar_instances_misplaced 2$/m)
})

test('a label that an operator takes away, and gives back', async () => {
  await patch({ labels: { zone: 'a' } }, '/v1/hosts/h1')
  await patch({ labels: { zone: 'a' } }, '/v1/hosts/h2')
  await patch({ placement: { where: ['zone = a'] } })
  expect(await service()).toMatchObject({ status: 'ready', misplaced: 0 })
  const less = hostView.parse((await patch({ labels: { zone: null } }, '/v1/hosts/h2')).json())
  expect(less.misplaced).toEqual(['shop/web/1/1'])
  expect(await service()).toMatchObject({ status: 'misplaced', misplaced: 1 })
  expect((await service()).next).toMatch(/boxcar host drain h2 moves everything on h2/)
  await patch({ labels: { zone: 'a' } }, '/v1/hosts/h2')
  const again = await service()
  expect(again).toMatchObject({ status: 'ready', misplaced: 0 })
  expect(again.next).toBeUndefined()
})

test('a maximum lowered below what a host runs', async () => {
  await ready('shop/web/1/2', 'h1')
  await patch({ replicas: 3, placement: { maxPerHost: 1 } })
  expect(whyView.parse(await get(`${url}/why`)).misplaced).toMatchObject([
    { instance: 'shop/web/1/2', host: 'h1', obstacles: [{ kind: 'max-per-host', max: 1, have: 2 }] },
  ])
})

test('a host that shrank below what runs there: the instance that was placed last', async () => {
  await ready('shop/web/1/2', 'h1')
  await patch({ replicas: 3 })
  expect((await service()).status).toBe('ready')
  await server.addHost('h1', { labels: { zone: 'b' }, capacity: { cpuMilli: 2000, memoryMiB: 8192 } })
  expect(whyView.parse(await get(`${url}/why`)).misplaced).toMatchObject([
    {
      instance: 'shop/web/1/2',
      host: 'h1',
      obstacles: [{ kind: 'cpus', words: 'needs 1.5 cores, 1 more than its 2 are taken' }],
    },
  ])
})

test('a cordon, silence and a host that was removed are no misplacement', async () => {
  await server.app.inject({ method: 'POST', url: '/v1/hosts/h1/cordon' })
  expect(await service()).toMatchObject({ status: 'ready', misplaced: 0 })
  await patch({ placement: { where: ['zone = a'] } })
  await server.write(remove(presences, 'h2' as HostId))
  await server.app.inject({ method: 'DELETE', url: '/v1/hosts/h2' })
  expect(whyView.parse(await get(`${url}/why`)).misplaced.map(it => it.host)).toEqual(['h1'])
})

test('while the next generation is on its way, the old one is no matter; once it is live, nothing is left to say', async () => {
  await patch({ env: { A: '1' }, placement: { where: ['zone = a'] } })
  await server.addHost('h3', { labels: { zone: 'a' } })
  await server.roll(web, { phase: 'warming', stable: g(1), next: g(2) }, { asked: g(2) })
  expect((await service()).status).toBe('rolling-out')
  await ready('shop/web/2/0', 'h3')
  await ready('shop/web/2/1', 'h3')
  await server.roll(web, { phase: 'settled', live: g(2), warm: g(1) }, { asked: g(2) })
  expect(await service()).toMatchObject({ status: 'ready', misplaced: 0 })
})

test('a plan says which instances would stand outside, from when on a change counts, and writes nothing', async () => {
  const plan = async (spec: object) => {
    const payload = { project: 'shop', services: [{ name: 'web', image, replicas: 2, ...spec }] }
    const answer = await server.app.inject({ method: 'POST', url: '/v1/plans', payload })
    return planView.parse(answer.json()).services[0]
  }
  const placement = { where: ['zone = a'] }
  expect(await plan({ placement })).toMatchObject({
    change: 'in-place',
    because: 'it takes effect in place, without a new generation',
    differences: [{ pointer: '/placement', from: expect.stringMatching(/^for what is placed from now on/) }],
    misplaced: [
      { instance: 'shop/web/1/0', host: 'h1', obstacles: [noZoneA] },
      { instance: 'shop/web/1/1', host: 'h2', obstacles: [noZoneA] },
    ],
    next: expect.stringContaining('boxcar host label h1 zone=a'),
  })
  expect(await plan({ restart: { backoff: { cap: '5m' } } })).toMatchObject({
    differences: [{ pointer: '/restart', from: expect.stringMatching(/^from the next failures on/) }],
    misplaced: [],
  })
  expect((await plan({ replicas: 3 }))?.differences[0]?.from).toBeUndefined()
  expect(await plan({ placement, env: { A: '1' } })).toMatchObject({
    change: 'new-generation',
    misplaced: [],
  })
  expect((await service()).misplaced).toBe(0)
})
