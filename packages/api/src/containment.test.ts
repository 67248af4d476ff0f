/**
 * One record that cannot be read, or whose view throws, is shown by its name with why, and everything else as it is (invariant L11):
 * in every list, in the counts and figures, in the event stream and in the logs of many instances.
 */
import type { GenerationNumber, HostId, InstanceId, ServiceName } from '@boxcar/core/model/ids'
import { type AnyCollection, keyOf, put, remove } from '@boxcar/store/collection'
import {
  events,
  generations,
  hostSettingsOf,
  hosts,
  intents,
  pendings,
  placements,
  presences,
  reports,
  rollouts,
  routeAcks,
  routes,
  specs,
} from '@boxcar/store/keys'
import type { Change, FollowStep, Store, Write } from '@boxcar/store/store'
import { afterEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { Agents } from './agents.ts'
import { type TestOptions, type TestServer, testServer } from './testing.ts'
import {
  clusterView,
  eventView,
  generationView,
  hostView,
  instanceView,
  planView,
  problemView,
  projectView,
  rolloutView,
  routeView,
  serviceView,
  whyView,
} from './views.ts'

const [good, bad] = ['shop/good' as ServiceName, 'shop/bad' as ServiceName]
const [goodHost, badHost] = ['h1' as HostId, 'h2' as HostId]
const one = 1 as GenerationNumber
const badPlace = { host: badHost, instance: `${bad}/1/0` as InstanceId }
const image = `web@sha256:${'a'.repeat(64)}`

const servers: TestServer[] = []
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close()
})

/** Two services with an instance each on a host of its own, both live. */
async function world(options: TestOptions = {}): Promise<TestServer> {
  const server = await testServer(options)
  servers.push(server)
  for (const [service, host, listen] of [
    [good, goodHost, 80],
    [bad, badHost, 81],
  ] as const) {
    const name = service.slice('shop/'.length)
    const uid = `uid-${name}`
    const instance = `${service}/1/0` as InstanceId
    const listener = {
      protocol: 'http' as const,
      listen,
      hostnames: [`${name}.example`],
      path: '/',
      expose: 'public' as const,
      port: 'http',
    }
    const template = { image, ports: [{ name: 'http', container: 8080 }] }
    const record = { service, uid, at: 0, by: 'test' }
    const text = { name, ...template, routes: [listener] }
    await server.addHost(host)
    await server.write(
      put(specs, service, { ...record, text, replicas: 1, generation: one }),
      put(generations, { service, number: one }, { ...record, text: template, number: one }),
      put(
        placements,
        { host, instance },
        {
          instance,
          service,
          generation: one,
          slot: 0,
          host,
          uid,
          term: '1',
          desired: 'run',
          because: 'missing',
          cpuMilli: 100,
          memoryMiB: 64,
          ports: { http: 20_000 },
          image,
        },
      ),
      put(reports, { host, instance }, { instance, uid, state: 'ready', attempt: 1, restarts: 0, since: 0 }),
      put(routes, service, {
        service,
        uid,
        term: '1',
        listeners: [listener],
        backings: [{ generation: one, share: 1000, endpoints: [] }],
        drainMs: 0,
      }),
    )
    await server.roll(service, { phase: 'settled', live: one })
  }
  return server
}

const raw = (collection: AnyCollection, id: unknown, json: string): Write => ({
  kind: 'put',
  key: keyOf(collection, id),
  json,
  lease: undefined,
})

/** A store that tells, of one entry, another value than it holds: nothing of it is as it should be. */
const telling =
  (collection: AnyCollection, id: unknown, value: unknown, as: unknown = id) =>
  (base: Store): Store => {
    const odd = (change: Change): Change =>
      change.kind === 'put' &&
      change.collection.name === collection.name &&
      collection.spell(change.entry.id) === collection.spell(id)
        ? { ...change, entry: { ...change.entry, id: as, value } }
        : change
    const oddStep = (step: FollowStep): FollowStep => {
      if (step.kind === 'snapshot') return { ...step, entries: step.entries.map(odd) }
      return step.kind === 'changes' ? { ...step, changes: step.changes.map(odd) } : step
    }
    return {
      get: (of, at) => base.get(of, at),
      list: (of, within) => base.list(of, within),
      commit: transaction => base.commit(transaction),
      follow: async function* (scopes, options) {
        for await (const step of base.follow(scopes, options)) yield oddStep(step)
      },
      grant: ms => base.grant(ms),
      status: () => base.status(),
      close: () => base.close(),
    }
  }

async function read<Schema extends z.ZodType>(
  server: TestServer,
  url: string,
  schema: Schema,
): Promise<z.output<Schema>> {
  const answer = await server.app.inject(url)
  expect(answer.statusCode, `${url}: ${answer.body}`).toBe(200)
  return schema.parse(answer.json())
}

/** Every list and every page, as a client reads them. */
async function everything(server: TestServer) {
  const list = <Schema extends z.ZodType>(url: string, schema: Schema) => read(server, url, z.array(schema))
  const of = '/v1/projects/shop/services/bad'
  return {
    projects: await list('/v1/projects', projectView),
    services: await list('/v1/services', serviceView),
    ofProject: await list('/v1/projects/shop/services', serviceView),
    rollouts: await list('/v1/rollouts', rolloutView),
    instances: await list('/v1/projects/shop/instances', instanceView),
    hosts: await list('/v1/hosts', hostView),
    routes: await list('/v1/routes', routeView),
    cluster: await read(server, '/v1/cluster', clusterView),
    bad: {
      service: await read(server, of, serviceView),
      why: await read(server, `${of}/why`, whyView),
      rollout: await read(server, `${of}/rollout`, rolloutView),
      instances: await list(`${of}/instances`, instanceView),
      generations: await list(`${of}/generations`, generationView),
      host: await read(server, `/v1/hosts/${badHost}`, hostView),
    },
  }
}
type Everything = Awaited<ReturnType<typeof everything>>

/** What all of it says of the things that are well, but for what counts the others too. */
const ofTheGood = (seen: Everything) => ({
  projects: seen.projects.map(({ name, services }) => ({ name, services })),
  services: [...seen.services, ...seen.ofProject]
    .filter(({ service }) => service === good)
    .map(({ serving: _, ...service }) => service),
  rollouts: seen.rollouts.filter(({ service }) => service === good),
  instances: seen.instances.filter(({ service }) => service === good),
  hosts: seen.hosts.filter(({ id }) => id === goodHost),
  routes: seen.routes
    .filter(({ service }) => service === good)
    .map(({ addresses: _, applied: __, unserved: ___, ...route }) => route),
})

type Part = 'service' | 'rollout' | 'instance' | 'host' | 'route' | 'generation'
const problemOf = (seen: Everything, part: Part) => {
  switch (part) {
    case 'service':
      return seen.services.find(({ service }) => service === bad)?.problem
    case 'rollout':
      return seen.rollouts.find(({ service }) => service === bad)?.problem
    case 'instance':
      return seen.instances.find(({ id }) => id === badPlace.instance)?.problem
    case 'host':
      return seen.hosts.find(({ id }) => id === badHost)?.problem
    case 'route':
      return seen.routes.find(({ service }) => service === bad)?.problem
    case 'generation':
      return seen.bad.generations.find(({ generation }) => generation === 1)?.problem
  }
}

const records: readonly [string, AnyCollection, unknown, readonly Part[]][] = [
  ['spec', specs, bad, ['service', 'rollout']],
  ['generation', generations, { service: bad, number: 1 }, ['service', 'generation']],
  ['rollout', rollouts, bad, ['service', 'rollout']],
  ['placement', placements, badPlace, ['service', 'instance']],
  ['report', reports, badPlace, ['service', 'instance']],
  ['route', routes, bad, ['service', 'route']],
  ['pending record', pendings, bad, ['service']],
  ['intent', intents, { service: bad, id: 'i1' }, ['service']],
  ['host record', hosts, badHost, ['host']],
  ['host settings', hostSettingsOf, badHost, ['host']],
  ['presence', presences, badHost, ['host']],
  ['acknowledgement', routeAcks, badHost, ['host']],
]

describe('a stored record that cannot be read', () => {
  test.each(records)(
    '%s: its name and why are shown, and the others as they are',
    async (_, collection, id, parts) => {
      const server = await world()
      const before = await everything(server)
      await server.write(raw(collection, id, '"what it should not be"'))
      const after = await everything(server)
      for (const part of parts) {
        expect(problemOf(after, part), part).toMatchObject({ kind: 'unreadable' })
        expect(problemOf(after, part)?.reason, part).toMatch(/cannot be read: /)
      }
      expect(ofTheGood(after)).toEqual(ofTheGood(before))
      expect(after.cluster.counts).toMatchObject({ services: 2 })
      expect((await server.app.inject('/metrics')).statusCode).toBe(200)
    },
  )

  test('a spec: the service is not called deleted, and nothing is written over it', async () => {
    const server = await world()
    await server.write(raw(specs, bad, '{'))
    const service = await read(server, '/v1/projects/shop/services/bad', serviceView)
    expect(service).toMatchObject({ status: 'unknown', rollout: { phase: 'unknown' } })
    expect(service.reason).toMatch(/^its spec cannot be read: not JSON/)
    const why = await read(server, '/v1/projects/shop/services/bad/why', whyView)
    expect(why.summary).toMatch(/its spec cannot be read/)
    const url = '/v1/projects/shop/services/bad'
    const spec = { name: 'bad', image }
    for (const ask of [
      { method: 'PUT', url, payload: spec },
      { method: 'PATCH', url, payload: { replicas: 2 } },
      { method: 'DELETE', url },
      { method: 'POST', url: `${url}/undo`, payload: {} },
      { method: 'POST', url: '/v1/plans', payload: { project: 'shop', services: [spec] } },
    ] as const) {
      const answer = await server.app.inject(ask)
      expect(answer.statusCode, ask.method).toBe(409)
      expect(problemView.parse(answer.json()).detail).toMatch(
        /^the spec of shop\/bad cannot be read in the store/,
      )
    }
    // Others are planned all the same.
    const plan = await server.app.inject({
      method: 'POST',
      url: '/v1/plans',
      payload: { project: 'shop', services: [{ name: 'good', image }] },
    })
    expect(planView.parse(plan.json()).services).toMatchObject([{ name: 'good' }])
  })

  test('of a host: it is not called absent, and nothing is written over it', async () => {
    const server = await world()
    await server.write(raw(hosts, badHost, '[]'))
    expect((await read(server, `/v1/hosts/${badHost}`, hostView)).state).toBe('unknown')
    for (const ask of [
      { method: 'POST', url: `/v1/hosts/${badHost}/cordon`, payload: {} },
      { method: 'DELETE', url: `/v1/hosts/${badHost}` },
    ] as const)
      expect((await server.app.inject(ask)).statusCode).toBe(409)
  })

  test('of what operators set for a host: nothing is written over it, and it goes with the host', async () => {
    const server = await world()
    const url = `/v1/hosts/${badHost}`
    await server.write(raw(hostSettingsOf, badHost, '[]'), remove(presences, badHost))
    const cordon = await server.app.inject({ method: 'POST', url: `${url}/cordon`, payload: {} })
    expect(cordon.statusCode).toBe(409)
    const removed = await server.app.inject({ method: 'DELETE', url })
    expect(removed.statusCode, removed.body).toBe(204)
    expect(await server.store.get(hosts, badHost)).toBeUndefined()
    expect((await server.store.list(hostSettingsOf)).unreadable).toEqual([])
  })
})

describe('a record whose view throws', () => {
  test.each<[string, AnyCollection, unknown, unknown, readonly Part[]]>([
    ['spec', specs, bad, { uid: 'uid-bad', generation: 1, replicas: 1 }, ['service']],
    ['generation', generations, { service: bad, number: 1 }, { uid: 'uid-bad' }, ['generation']],
    ['rollout', rollouts, bad, { uid: 'uid-bad', asked: 1 }, ['service', 'rollout']],
    ['placement', placements, badPlace, null, ['service', 'instance']],
    ['host record', hosts, badHost, { id: badHost }, ['host']],
    ['route', routes, bad, { uid: 'uid-bad', backings: [] }, ['route']],
  ])(
    '%s: its name and why are shown, and the others as they are',
    async (_, collection, id, value, parts) => {
      const before = await everything(await world())
      const server = await world({ heard: telling(collection, id, value) })
      const after = await everything(server)
      for (const part of parts) {
        expect(problemOf(after, part), part).toMatchObject({ kind: 'internal-error' })
        expect(problemOf(after, part)?.reason, part).toMatch(/^internal error: /)
      }
      const steady = (seen: Everything) =>
        JSON.stringify(ofTheGood(seen)).replaceAll(/"(?:revision|since)":(?:"\d+"|[\d.]+)/g, '')
      expect(steady(after)).toBe(steady(before))
      expect(after.cluster.counts).toMatchObject({ services: 2, servicesReady: expect.any(Number) })
      expect((await server.app.inject('/metrics')).statusCode).toBe(200)
    },
  )
})

test('a placement of no service is left out of every list, and the others are as they are', async () => {
  const before = await everything(await world())
  const nowhere = { host: badHost, instance: 'nowhere' }
  const server = await world({ heard: telling(placements, badPlace, null, nowhere) })
  // And a server that finds it there when it starts.
  const second = await testServer({ etcd: server.etcd, heard: telling(placements, badPlace, null, nowhere) })
  servers.push(second)
  for (const one of [server, second]) {
    const after = await everything(one)
    expect(after.instances.map(({ id }) => id)).toEqual([`${good}/1/0`])
    expect(after.services.map(({ service }) => service)).toEqual(
      before.services.map(({ service }) => service),
    )
  }
})

describe('an event that cannot be shown', () => {
  const told = (message: string) => ({ at: 1, kind: 'test', message, level: 'info' as const, writer: 'w' })

  test('is replaced in the stream by one that says so, and the ids stay', async () => {
    const id = (n: number) => ({ writer: 'w', id: `000${n}` })
    const three = [1, 2, 3].map(n => put(events, id(n), told(`event ${n}`)))
    const ofStream = async (options: TestOptions) => {
      const server = await testServer(options)
      servers.push(server)
      await server.write(...three)
      const { body } = await server.app.inject('/v1/events?tail=10&follow=false')
      return body
        .split('\n\n')
        .flatMap(message => /^data: (.*)$/m.exec(message)?.[1] ?? [])
        .map(data => eventView.parse(JSON.parse(data)))
    }
    const before = await ofStream({})
    const listed = (base: Store): Store => {
      const heard = telling(events, id(2), null)(base)
      return {
        ...heard,
        list: async (of, within) => {
          const listing = await base.list(of, within)
          const entries = listing.entries.map(entry =>
            of.name === events.name && of.spell(entry.id) === 'w/0002'
              ? { ...entry, value: null as never }
              : entry,
          )
          return { ...listing, entries }
        },
      }
    }
    const after = await ofStream({ heard: listed })
    const place = (event: { readonly id: string }) => event.id.split('.')[1]
    expect(after.map(place)).toEqual(before.map(place))
    expect(after.map(({ kind }) => kind)).toEqual(['test', 'internal-error', 'test'])
    expect(after[1]?.message).toMatch(/^an event of w is here: internal error: /)
  })
})

describe('the logs of many instances', () => {
  const lines = async function* () {
    yield { at: 1, stream: 'stdout' as const, line: 'hello' }
  }

  test('come from the others where asking one host throws', async () => {
    const agents: Agents = {
      logs: (host, instance) => {
        if (instance.endsWith('/1')) throw new TypeError(`no address of ${host.id}`)
        return Promise.resolve({ kind: 'lines', lines: lines() })
      },
    }
    const server = await world({ agents })
    const placed = server.deps.mirror.of(placements).get(`${goodHost}/${good}/1/0`)?.value
    if (placed === undefined) throw new Error('it was placed')
    const second = `${good}/1/1` as InstanceId
    await server.write(
      put(
        placements,
        { host: badHost, instance: second },
        { ...placed, instance: second, slot: 1, host: badHost },
      ),
    )
    const answer = await server.app.inject('/v1/projects/shop/services/good/logs')
    expect(answer.statusCode).toBe(200)
    expect(answer.headers['boxcar-missing']).toBe(second)
    expect(answer.body).toBe('1/0 | hello\n')
  })
})
