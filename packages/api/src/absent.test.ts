import type { ServiceName } from '@boxcar/core/model/ids'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type TestServer, testServer } from './testing.ts'
import { problemView } from './views.ts'

let server: TestServer
beforeEach(async () => {
  server = await testServer()
  await server.addHost('h1')
  for (const url of ['/v1/projects/default/services/web', '/v1/projects/shop/services/cart'])
    await server.app.inject({ method: 'PUT', url, payload: { image: 'web:1' } })
})
afterEach(() => server.close())

const service = (name: string) => `/v1/projects/default/services/${name}`

const cases: readonly {
  readonly name: string
  readonly method?: 'GET' | 'PATCH' | 'DELETE' | 'POST'
  readonly url: string
  readonly detail: string
  readonly next?: string
}[] = [
  {
    name: 'a service with a misspelt name',
    url: service('wbe'),
    detail: 'there is no service wbe in project default; did you mean web?',
  },
  {
    name: 'a service of another project',
    url: service('cart'),
    detail: 'there is no service cart in project default; did you mean shop/cart?',
  },
  {
    name: 'a service like no other',
    url: service('payments'),
    detail: 'there is no service payments in project default',
  },
  ...(
    [
      ['GET', 'wbe/why'],
      ['GET', 'wbe/rollout'],
      ['GET', 'wbe/generations'],
      ['GET', 'wbe/generations/1'],
      ['GET', 'wbe/instances'],
      ['GET', 'wbe/instances/1/0'],
      ['GET', 'wbe/logs'],
      ['POST', 'wbe/undo'],
      ['POST', 'wbe/rollout/abort'],
      ['POST', 'wbe/rollout/pause'],
      ['PATCH', 'wbe'],
      ['DELETE', 'wbe'],
    ] as const
  ).map(([method, path]) => ({
    name: `${method} of ${path}`,
    method,
    url: service(path),
    detail: 'there is no service wbe in project default; did you mean web?',
  })),
  {
    name: 'a generation',
    url: service('web/generations/9'),
    detail: 'there is no generation 9 of service default/web; kept are 1',
    next: 'boxcar get generations default/web',
  },
  {
    name: 'an instance',
    url: service('web/instances/1/7'),
    detail: 'there is no instance default/web/1/7',
    next: 'boxcar get instances default/web',
  },
  {
    name: 'the logs of an instance',
    url: service('web/instances/1/7/logs'),
    detail: 'there is no instance default/web/1/7',
    next: 'boxcar get instances default/web',
  },
  {
    name: 'a host',
    url: '/v1/hosts/h11',
    detail: 'there is no host h11; did you mean h1?',
    next: 'boxcar get hosts',
  },
  {
    name: 'a host that is to be forgotten',
    method: 'DELETE',
    url: '/v1/hosts/zeus',
    detail: 'there is no host zeus',
    next: 'boxcar get hosts',
  },
  {
    name: 'an address',
    url: '/v1/servces',
    detail: 'there is nothing at /v1/servces',
    next: 'GET /openapi.json',
  },
]

test.each(cases)('$name is named', async ({ method = 'GET', url, detail, next }) => {
  const payload = method === 'POST' || method === 'PATCH' ? { payload: {} } : {}
  const answer = await server.app.inject({ method, url, ...payload })
  const problem = problemView.parse(answer.json())
  expect(problem).toMatchObject({ status: 404, code: 'not-found', title: 'Not found', detail })
  expect(problem.next).toBe(next)
})

test('a service that is being deleted is there until its last instance is gone', async () => {
  await server.roll('default/web' as ServiceName, { phase: 'settled', live: 1 as never })
  await server.app.inject({ method: 'DELETE', url: service('web') })
  const answer = await server.app.inject({ url: service('web/generations/9') })
  expect(problemView.parse(answer.json()).detail).toBe(
    'there is no generation 9 of service default/web; kept are 1',
  )
})
