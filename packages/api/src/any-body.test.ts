/** Whatever is sent: never a 5xx, and a refusal leaves no trace. */

import { serviceSpec } from '@boxcar/core/model/spec'
import fc from 'fast-check'
import { afterAll, beforeAll, test } from 'vitest'
import { type TestServer, testServer } from './testing.ts'
import { problemView } from './views.ts'

let server: TestServer
beforeAll(async () => {
  server = await testServer()
})
afterAll(() => server.close())

const fields = [
  'image',
  'name',
  'replicas',
  'ports',
  'routes',
  'env',
  'resources',
  'health',
  'rollout',
  'placement',
  'stop',
  'command',
]
const values = fc.oneof(
  fc.jsonValue({ maxDepth: 4 }),
  fc.constantFrom(
    'web:1',
    '1',
    '512Mi',
    '10s',
    -1,
    0,
    2 ** 53,
    [],
    {},
    null,
    true,
    'constructor',
    'toString',
  ),
)
/** Objects that look like a spec in part. */
const almost = fc
  .dictionary(fc.oneof(fc.constantFrom(...fields), fc.string()), values)
  .map(part => ({ image: 'web:1', ...part }))

async function sent(method: 'PUT' | 'PATCH' | 'POST', url: string, payload: string): Promise<void> {
  const before = server.etcd.revision
  const answer = await server.app.inject({
    method,
    url,
    payload,
    headers: { 'content-type': 'application/json' },
  })
  if (answer.statusCode >= 500) throw new Error(`${answer.statusCode}: ${answer.body}`)
  if (answer.statusCode < 400) return
  const problem = problemView.parse(answer.json())
  if (problem.errors.length === 0 && problem.status === 422) throw new Error(`no pointer: ${answer.body}`)
  if (server.etcd.revision !== before) throw new Error(`written in spite of ${answer.statusCode}`)
}

test('any JSON, to every route that takes a body', async () => {
  const urls = [
    ['PUT', '/v1/projects/shop/services/web'],
    ['PATCH', '/v1/projects/shop/services/web'],
    ['POST', '/v1/plans'],
    ['POST', '/v1/hosts/h1/cordon'],
    ['PATCH', '/v1/hosts/h1'],
    ['POST', '/v1/projects/shop/services/nobody/undo'],
  ] as const
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...urls), fc.oneof(values, almost), ([method, url], body) =>
      sent(method, url, JSON.stringify(body) ?? 'null'),
    ),
    { numRuns: 1_500 },
  )
}, 60_000)

test('any text', async () => {
  await fc.assert(
    fc.asyncProperty(fc.oneof(fc.string({ unit: 'binary' }), fc.json()), text =>
      sent('PUT', '/v1/projects/shop/services/web', text),
    ),
    { numRuns: 500 },
  )
}, 60_000)

test('any path', async () => {
  await fc.assert(
    fc.asyncProperty(fc.webPath(), async path => {
      const answer = await server.app.inject({ method: 'GET', url: `/v1/projects/${path}` })
      if (answer.statusCode >= 500) throw new Error(`${answer.statusCode}: ${answer.body}`)
    }),
    { numRuns: 500 },
  )
}, 60_000)

test('a spec that was taken can be read again', () => {
  fc.assert(
    fc.property(almost, body => {
      const parsed = serviceSpec.safeParse({ name: 'web', ...body })
      return !parsed.success || typeof parsed.data.image === 'string'
    }),
    { numRuns: 300 },
  )
})
