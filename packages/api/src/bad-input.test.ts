/** Bad input, case by case: the right status, a pointer, words that help, and nothing written. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type TestServer, testServer } from './testing.ts'
import { type ProblemView, problemView } from './views.ts'

const url = '/v1/projects/shop/services/web'
const json = { 'content-type': 'application/json' }

let server: TestServer
beforeAll(async () => {
  server = await testServer()
})
afterAll(() => server.close())

/** Sends it, and sees to it that it is refused as a problem, without a trace in the store. */
async function refused(request: {
  readonly method?: 'GET' | 'PUT' | 'POST' | 'PATCH' | 'DELETE'
  readonly url?: string
  readonly payload?: string | Buffer
  readonly headers?: Record<string, string>
}): Promise<ProblemView> {
  const before = server.etcd.revision
  const answer = await server.app.inject({ method: 'PUT', url, ...request })
  expect(answer.headers['content-type'], answer.body).toContain('application/problem+json')
  const problem = problemView.parse(answer.json())
  expect(problem.status).toBe(answer.statusCode)
  expect(problem.requestId).toBe(answer.headers['boxcar-request-id'])
  expect(problem.detail.length).toBeGreaterThan(5)
  // A random id may spell anything.
  expect(answer.body.replaceAll(problem.requestId, '')).not.toMatch(
    /node_modules|zod|fastify|FST_|at file:|\.ts:/i,
  )
  expect(server.etcd.revision, 'nothing was written').toBe(before)
  return problem
}

/** So many keys with the same value. */
const many = (n: number, value: unknown) =>
  Object.fromEntries(Array.from({ length: n }, (_, i) => [`A${i}`, value]))

const spec = (part: object) => JSON.stringify({ image: 'web:1', ...part })

describe('a spec that is wrong is 422, with a pointer for each fault', () => {
  const cases: readonly [string, object | string | number | null, string, string, RegExp][] = [
    ['nothing', null, '', 'type', /an object/],
    ['a list', [], '', 'type', /an object/],
    ['a number', 3, '', 'type', /an object/],
    ['text', 'web:1', '', 'type', /an object/],
    ['no image', {}, '/image', 'required', /is missing/],
    ['image null', { image: null }, '/image', 'type', /text/],
    ['image a number', { image: 3 }, '/image', 'type', /text/],
    ['image empty', { image: '' }, '/image', 'format', /image reference/],
    ['image in upper case', { image: 'Shop:1' }, '/image', 'format', /image reference/],
    ['image a url', { image: 'https://shop/x' }, '/image', 'format', /image reference/],
    ['image with dots', { image: '../shop' }, '/image', 'format', /image reference/],
    ['short digest', { image: 'shop@sha256:abc' }, '/image', 'format', /image reference/],
    ['replicas null', { image: 'a', replicas: null }, '/replicas', 'type', /0 to 10000/],
    ['replicas true', { image: 'a', replicas: true }, '/replicas', 'type', /0 to 10000/],
    ['replicas text', { image: 'a', replicas: '3' }, '/replicas', 'type', /0 to 10000/],
    ['replicas a list', { image: 'a', replicas: [3] }, '/replicas', 'type', /0 to 10000/],
    ['replicas an object', { image: 'a', replicas: {} }, '/replicas', 'type', /0 to 10000/],
    ['replicas a part', { image: 'a', replicas: 1.5 }, '/replicas', 'range', /whole/],
    ['replicas below', { image: 'a', replicas: -1 }, '/replicas', 'range', /0 to 10000/],
    ['replicas above', { image: 'a', replicas: 10_001 }, '/replicas', 'range', /0 to 10000/],
    ['replicas far above', { image: 'a', replicas: 2 ** 53 }, '/replicas', 'range', /10000/],
    ['replica', { image: 'a', replica: 3 }, '/replica', 'unknown_field', /did you mean 'replicas'/],
    ['Image', { image: 'a', Image: 'b' }, '/Image', 'unknown_field', /did you mean 'image'/],
    ['healthchek', { image: 'a', healthchek: {} }, '/healthchek', 'unknown_field', /did you mean 'health'/],
    ['environment', { image: 'a', environment: {} }, '/environment', 'unknown_field', /did you mean 'env'/],
    ['privileged', { image: 'a', privileged: true }, '/privileged', 'unknown_field', /unknown key/],
    ['constructor', { image: 'a', constructor: {} }, '/constructor', 'unknown_field', /unknown key/],
    ['status', { image: 'a', status: 'ready' }, '/status', 'read_only', /cannot be set/],
    ['uid', { image: 'a', uid: 'x' }, '/uid', 'read_only', /cannot be set/],
    [
      'a nested unknown key',
      { image: 'a', stop: { grase: '1s' } },
      '/stop/grase',
      'unknown_field',
      /'grace'/,
    ],
    [
      'an unknown key in a list',
      { image: 'a', ports: [{ name: 'http', container: 1, hostport: 2 }] },
      '/ports/0/hostport',
      'unknown_field',
      /'hostPort'/,
    ],
    [
      'an unknown key in a route without protocol',
      { image: 'a', routes: [{ port: 'http', listen: 80, hostname: [] }] },
      '/routes/0/hostname',
      'unknown_field',
      /'hostnames'/,
    ],
    [
      'an unknown limit',
      { image: 'a', ulimits: { nofil: { soft: 1, hard: 1 } } },
      '/ulimits/nofil',
      'unknown_field',
      /nofil/,
    ],
    [
      'memory in Mi',
      { image: 'a', resources: { limits: { memory: '512Mi' } } },
      '/resources/limits/memory',
      'format',
      /512MiB/,
    ],
    [
      'memory in MB',
      { image: 'a', resources: { limits: { memory: '512MB' } } },
      '/resources/limits/memory',
      'format',
      /512MiB/,
    ],
    [
      'memory without unit',
      { image: 'a', resources: { limits: { memory: '512' } } },
      '/resources/limits/memory',
      'format',
      /512MiB/,
    ],
    [
      'memory as a number',
      { image: 'a', resources: { limits: { memory: 512 } } },
      '/resources/limits/memory',
      'type',
      /256MiB/,
    ],
    [
      'memory too small',
      { image: 'a', resources: { limits: { memory: '1KiB' } } },
      '/resources/limits/memory',
      'range',
      /6MiB/,
    ],
    [
      'cpus as in Kubernetes',
      { image: 'a', resources: { limits: { cpus: '500m' } } },
      '/resources/limits/cpus',
      'type',
      /did you mean 0.5/,
    ],
    [
      'cpus 0',
      { image: 'a', resources: { limits: { cpus: 0 } } },
      '/resources/limits/cpus',
      'range',
      /0.001/,
    ],
    ['a time without unit', { image: 'a', rollout: { drain: '30' } }, '/rollout/drain', 'format', /unit/],
    ['a time as a number', { image: 'a', rollout: { drain: 30 } }, '/rollout/drain', 'type', /500ms/],
    ['a time too long', { image: 'a', rollout: { drain: '2h' } }, '/rollout/drain', 'range', /1h/],
    [
      'canary',
      { image: 'a', rollout: { strategy: 'canary' } },
      '/rollout/strategy',
      'not_supported',
      /supported yet/,
    ],
    ['volumes', { image: 'a', volumes: [] }, '/volumes', 'not_supported', /not supported yet/],
    ['exclusive', { image: 'a', exclusive: {} }, '/exclusive', 'not_supported', /not supported yet/],
    ['mode global', { image: 'a', mode: 'global' }, '/mode', 'not_supported', /supported yet/],
    [
      'port 0',
      { image: 'a', ports: [{ name: 'a', container: 0 }] },
      '/ports/0/container',
      'range',
      /1 to 65535/,
    ],
    [
      'port 65536',
      { image: 'a', ports: [{ name: 'a', container: 65_536 }] },
      '/ports/0/container',
      'range',
      /65535/,
    ],
    [
      'port name',
      { image: 'a', ports: [{ name: 'HTTP', container: 1 }] },
      '/ports/0/name',
      'format',
      /lower-case/,
    ],
    [
      'two ports of one name',
      {
        image: 'a',
        ports: [
          { name: 'a', container: 1 },
          { name: 'a', container: 2 },
        ],
      },
      '/ports/1/name',
      'conflict_in_spec',
      /twice/,
    ],
    [
      'a probe that runs nothing',
      { image: 'a', health: { readiness: { exec: [] } } },
      '/health/readiness/exec',
      'length',
      /at least one word/,
    ],
    [
      'a route to no port',
      { image: 'a', routes: [{ port: 'x', listen: 80 }] },
      '/routes/0/port',
      'conflict_in_spec',
      /no port/,
    ],
    [
      'a protocol of its own',
      { image: 'a', routes: [{ port: 'x', listen: 80, protocol: 'udp' }] },
      '/routes/0/protocol',
      'value',
      /kind/,
    ],
    [
      'one address twice',
      {
        image: 'a',
        ports: [{ name: 'a', container: 1 }],
        routes: [
          { port: 'a', listen: 80, path: '/x' },
          { port: 'a', listen: 80, path: '/x/' },
        ],
      },
      '/routes/1',
      'conflict_in_spec',
      /\/routes\/0/,
    ],
    [
      'a line break in a path',
      {
        image: 'a',
        ports: [{ name: 'a', container: 1 }],
        routes: [{ port: 'a', listen: 80, path: '/x\n server evil' }],
      },
      '/routes/0/path',
      'format',
      /plain path/,
    ],
    [
      'a host name with a port',
      {
        image: 'a',
        ports: [{ name: 'a', container: 1 }],
        routes: [{ port: 'a', listen: 80, hostnames: ['a:80'] }],
      },
      '/routes/0/hostnames/0',
      'format',
      /host name/,
    ],
    [
      'a probe of two kinds',
      { image: 'a', ports: [{ name: 'a', container: 1 }], health: { readiness: { http: '/', tcp: true } } },
      '/health/readiness',
      'format',
      /exactly one/,
    ],
    [
      'a probe elsewhere',
      { image: 'a', ports: [{ name: 'a', container: 1 }], health: { readiness: { http: '//evil/' } } },
      '/health/readiness/http',
      'format',
      /not start/,
    ],
    ['a variable name', { image: 'a', env: { '1A': 'x' } }, '/env/1A', 'name', /variable name/],
    ['a label that is a number', { image: 'a', labels: { a: 1.1 } }, '/labels/a', 'type', /text/],
    ['an x- key, which only files have', { image: 'a', 'x-a': {} }, '/x-a', 'unknown_field', /unknown key/],
    ['a merge key, which only files have', { image: 'a', '<<': {} }, '/<<', 'unknown_field', /unknown key/],
    ['a variable null', { image: 'a', env: { A: null } }, '/env/A', 'type', /text, a number/],
    [
      'our own label',
      { image: 'a', labels: { 'boxcar.x': 'y' } },
      '/labels/boxcar.x',
      'name',
      /belong to Boxcar/,
    ],
    ['a NUL', { image: 'a', env: { A: 'a\0b' } }, '/env/A', 'format', /NUL/],
    ['an address', { image: 'a', extraHosts: { a: 'b' } }, '/extraHosts/a', 'value', /IP address/],
    [
      'reservation above limit',
      { image: 'a', resources: { reservations: { memory: '2GiB' }, limits: { memory: '1GiB' } } },
      '/resources/reservations/memory',
      'conflict_in_spec',
      /limits/,
    ],
    ['where', { image: 'a', placement: { where: ['zone ~ a'] } }, '/placement/where/0', 'format', /key/],
    [
      'a host port that is its own listen',
      {
        image: 'a',
        ports: [{ name: 'a', container: 1, hostPort: 81 }],
        routes: [{ port: 'a', listen: 81 }],
      },
      '/ports/0/hostPort',
      'conflict_in_spec',
      /\/routes\/0\/listen/,
    ],
    [
      'a soft limit above the hard one',
      { image: 'a', ulimits: { nofile: { soft: 10, hard: 5 } } },
      '/ulimits/nofile/soft',
      'conflict_in_spec',
      /\/ulimits\/nofile\/hard/,
    ],
    [
      'a soft limit without limit',
      { image: 'a', ulimits: { nofile: { soft: -1, hard: 5 } } },
      '/ulimits/nofile/soft',
      'conflict_in_spec',
      /without limit/,
    ],
    [
      'a first wait above the cap',
      { image: 'a', restart: { backoff: { first: '2m' } } },
      '/restart/backoff/first',
      'conflict_in_spec',
      /\/restart\/backoff\/cap/,
    ],
    [
      'a later wait above the cap',
      // biome-ignore lint/suspicious/noThenProperty: the spec's own word
      { image: 'a', restart: { backoff: { then: '3s', cap: '2s' } } },
      '/restart/backoff/then',
      'conflict_in_spec',
      /\/restart\/backoff\/cap/,
    ],
    ['tmpfs on all', { image: 'a', tmpfs: ['/'] }, '/tmpfs/0', 'format', /below \//],
    ['tmpfs around', { image: 'a', tmpfs: ['/t', '/x/../proc'] }, '/tmpfs/1', 'format', /segments/],
    ['tmpfs in /proc', { image: 'a', tmpfs: ['/proc/x'] }, '/tmpfs/0', 'format', /\/proc/],
    ['a number with too many digits', { image: 'a', env: { A: 2 ** 53 } }, '/env/A', 'format', /quote it/],
    ['10,001 variables', { image: 'a', env: many(10_001, '1') }, '/env', 'too_many', /1000/],
    ['1,001 variables', { image: 'a', env: many(1_001, '1') }, '/env', 'too_many', /1000/],
    ['257 labels', { image: 'a', labels: many(257, '1') }, '/labels', 'too_many', /256/],
    ['257 hosts', { image: 'a', extraHosts: many(257, '::1') }, '/extraHosts', 'too_many', /256/],
    [
      '33 headers',
      {
        image: 'a',
        ports: [{ name: 'a', container: 1 }],
        health: { liveness: { http: '/', headers: many(33, 'x') } },
      },
      '/health/liveness/headers',
      'too_many',
      /32/,
    ],
    ['100,000 words', { image: 'a', command: Array(100_000).fill(1) }, '/command', 'too_many', /1000/],
    ['1,001 keys', { image: 'a', ...many(1_000, 1) }, '', 'too_many', /1000/],
    [
      'more values than are looked at',
      { image: 'a', routes: Array(64).fill({ hostnames: Array(900).fill(1) }) },
      '',
      'too_many',
      /20000/,
    ],
    ['more than is stored', { image: 'a', env: many(60, 'x'.repeat(1024)) }, '', 'too_large', /61440/],
    ['a tag of 513 characters', { image: 'a'.repeat(513) }, '/image', 'length', /512/],
    ['another name', { image: 'a', name: 'api' }, '/name', 'conflict_in_spec', /'web'/],
    ['a name that is no name', { image: 'a', name: 3 }, '/name', 'type', /text/],
  ]

  test.each(cases)('%s', async (_, body, pointer, code, words) => {
    const problem = await refused({ payload: JSON.stringify(body), headers: json })
    expect(problem.status).toBe(422)
    const fault = problem.errors.find(e => e.pointer === pointer)
    expect(fault, JSON.stringify(problem.errors)).toMatchObject({ code })
    expect(fault?.message).toMatch(words)
  })

  test('all faults at once, at most 20', async () => {
    const some = await refused({
      payload: spec({
        replicas: '3',
        replica: 3,
        resources: { limits: { memory: '1Gi' } },
        ports: [{ name: 'A' }],
      }),
      headers: json,
    })
    expect(some.errors.map(e => e.pointer).sort()).toEqual([
      '/ports/0/container',
      '/ports/0/name',
      '/replica',
      '/replicas',
      '/resources/limits/memory',
    ])
    const many = await refused({
      payload: spec(Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`x${i}`, i]))),
      headers: json,
    })
    expect(many.errors).toHaveLength(20)
  })

  test('what was read is compared, whatever else is wrong', async () => {
    const problem = await refused({
      payload: JSON.stringify({
        image: 'A',
        name: 'api',
        replicas: '3',
        replica: 3,
        health: { liveness: { http: '/' } },
        restart: { backoff: { first: '2m' } },
        routes: [{ port: 'x', listen: 80 }],
      }),
      headers: json,
    })
    expect(problem.errors.map(e => e.pointer).sort()).toEqual([
      '/health/liveness',
      '/image',
      '/name',
      '/replica',
      '/replicas',
      '/restart/backoff/first',
      '/routes/0/port',
    ])
  })

  test('what was not read is not compared', async () => {
    const problem = await refused({
      payload: spec({ ports: [{ name: 'HTTP', container: 1 }], routes: [{ port: 'http', listen: 80 }] }),
      headers: json,
    })
    expect(problem.errors.map(e => e.pointer)).toEqual(['/ports/0/name'])
  })

  test('a key is shown short and harmless', async () => {
    const key = `\u001b[31m\u202e${'k'.repeat(3_000)}`
    for (const payload of [
      spec({ [key]: 1 }),
      spec({ env: { [key]: '1' } }),
      spec({ x: { [key]: 1 } }),
      `{${JSON.stringify(key)}:1,${JSON.stringify(key)}:1}`,
    ]) {
      const { detail } = await refused({ payload, headers: json })
      expect(detail.length).toBeLessThan(400)
      // biome-ignore lint/suspicious/noControlCharactersInRegex: that none is left is what is tested
      expect(detail).not.toMatch(/[\u0000-\u001f\u202e]/)
    }
  })

  test('nothing grows beyond what is stored', async () => {
    const url = '/v1/projects/shop/services/grown'
    expect((await server.app.inject({ method: 'PUT', url, payload: { image: 'a' } })).statusCode).toBe(201)
    const patch = (env: object) => ({
      method: 'PATCH' as const,
      url,
      payload: JSON.stringify({ env }),
      headers: json,
    })
    const first = await server.app.inject(patch(many(50, 'x'.repeat(1000))))
    expect(first.statusCode).toBe(200)
    const more = Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`B${i}`, 'x'.repeat(1000)]))
    expect((await refused(patch(more))).errors).toMatchObject([{ pointer: '', code: 'too_large' }])
  })

  test('what was there is shown short and harmless', async () => {
    const problem = await refused({
      payload: JSON.stringify({ image: `\u202e\u0007\n${'x'.repeat(5000)}` }),
      headers: json,
    })
    const [fault] = problem.errors
    expect(fault?.got?.length).toBeLessThanOrEqual(64)
    // biome-ignore lint/suspicious/noControlCharactersInRegex: that none is left is what is tested
    expect(problem.detail).not.toMatch(/[\u0000-\u001f\u202e]/)
  })

  test('a patch says the same of the whole, and null takes no count away', async () => {
    const url = '/v1/projects/shop/services/patched'
    expect((await server.app.inject({ method: 'PUT', url, payload: { image: 'a' } })).statusCode).toBe(201)
    const patch = (payload: string) => refused({ method: 'PATCH', url, payload, headers: json })
    expect((await patch('{"replicas":"3"}')).errors[0]?.pointer).toBe('/replicas')
    expect((await patch('{"replicas":null}')).errors[0]?.pointer).toBe('/replicas')
    expect((await patch('{"image":null}')).errors[0]).toMatchObject({ pointer: '/image', code: 'required' })
    expect((await patch('[]')).errors[0]).toMatchObject({ pointer: '', code: 'type' })
  })
})

describe('what cannot be read is 400', () => {
  const deep = (n: number) => `${'['.repeat(n)}${']'.repeat(n)}`
  const cases: readonly [string, string | Buffer, string, string][] = [
    ['nothing', '', '', 'invalid_json'],
    ['spaces', '  \n', '', 'invalid_json'],
    ['half an object', '{', '', 'invalid_json'],
    ['a comma too many', '{"image":"a",}', '', 'invalid_json'],
    ['a comment', '{"image":"a"} // x', '', 'invalid_json'],
    ['NaN', '{"replicas":NaN}', '/replicas', 'invalid_json'],
    ['single quotes', "{'image':'a'}", '', 'invalid_json'],
    ['two documents', '{"image":"a"}{}', '', 'invalid_json'],
    ['a control character', '{"image":"a\u0000"}', '/image', 'invalid_json'],
    ['half a surrogate pair', '{"image":"\\ud800"}', '/image', 'invalid_json'],
    ['a bad escape', '{"image":"\\x41"}', '/image', 'invalid_json'],
    ['hexadecimal', '{"replicas":0x10}', '/replicas', 'invalid_json'],
    ['grouped digits', '{"replicas":1_000}', '/replicas', 'invalid_json'],
    ['a leading zero', '{"replicas":03}', '/replicas', 'invalid_json'],
    ['a number too large', '{"replicas":1e309}', '/replicas', 'invalid_json'],
    ['-0', '{"replicas":-0}', '/replicas', 'invalid_json'],
    ['a byte order mark', '\uFEFF{"image":"a"}', '', 'invalid_json'],
    ['UTF-16', Buffer.from('{"image":"a"}', 'utf16le'), '', 'invalid_json'],
    ['bytes that are not UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), '', 'invalid_json'],
    ['a key twice', '{"replicas":3,"replicas":0}', '/replicas', 'duplicate_key'],
    ['a key twice, once escaped', '{"replicas":3,"\\u0072eplicas":0}', '/replicas', 'duplicate_key'],
    ['a nested key twice', '{"env":{"A":"1","A":"2"}}', '/env/A', 'duplicate_key'],
    ['__proto__', '{"__proto__":{"replicas":3}}', '/__proto__', 'forbidden_key'],
    ['33 levels', deep(33), '/0'.repeat(32), 'too_deep'],
    ['5,000 levels', deep(5_000), '/0'.repeat(32), 'too_deep'],
    ['100,000 open brackets', '['.repeat(100_000), '/0'.repeat(32), 'too_deep'],
  ]
  test.each(cases)('%s', async (_, payload, pointer, code) => {
    const problem = await refused({ payload, headers: json })
    expect(problem).toMatchObject({ status: 400, code: 'invalid-json' })
    expect(problem.errors[0]).toMatchObject({ pointer, code })
  })

  test('32 levels and 1e2 are read', async () => {
    const problem = await refused({ payload: deep(32), headers: json })
    expect(problem.status).toBe(422)
    const url = '/v1/projects/shop/services/hundred'
    const answer = await server.app.inject({
      method: 'PUT',
      url,
      payload: '{"image":"a","replicas":1e2}',
      headers: json,
    })
    expect(answer.json()).toMatchObject({ service: { replicas: 100 } })
  })
})

describe('how it is sent', () => {
  test.each([
    ['no body at all', undefined, {}, 400],
    ['a form', 'image=a', { 'content-type': 'application/x-www-form-urlencoded' }, 415],
    ['text', '{"image":"a"}', { 'content-type': 'text/plain' }, 415],
    ['another charset', '{"image":"a"}', { 'content-type': 'application/json; charset=latin1' }, 415],
    ['compressed', '{"image":"a"}', { ...json, 'content-encoding': 'gzip' }, 415],
    ['too large', `{"image":"${'a'.repeat(256 * 1024)}"}`, json, 413],
    ['If-Match that is no ETag', spec({}), { ...json, 'if-match': 'abc' }, 400],
    ['Idempotency-Key with a line', spec({}), { ...json, 'idempotency-key': 'a b' }, 400],
  ] satisfies [string, string | undefined, Record<string, string>, number][])(
    '%s',
    async (_, payload, headers, status) => {
      const problem = await refused({ ...(payload === undefined ? {} : { payload }), headers })
      expect(problem.status).toBe(status)
    },
  )
})

describe('addresses', () => {
  test.each([
    ['GET', '/v1/projects/..%2f..%2fetc%2fpasswd/services', 400],
    ['GET', '/v1/projects/%00/services', 400],
    ['GET', '/v1/projects/a%0d%0aX/services', 400],
    ['GET', '/v1/projects/%zz/services', 400],
    ['GET', '/v1/projects/Shop/services', 400],
    ['GET', '/v1/projects/shop/services/__proto__', 400],
    ['GET', `/v1/projects/shop/services/${'a'.repeat(41)}`, 400],
    ['GET', `/v1/projects/shop/services/${'a'.repeat(101)}`, 414],
    ['GET', '/v1/projects/shop/services/web/', 404],
    ['GET', '/v1//projects', 404],
    ['GET', '/v1/projects?limit=-1', 400],
    ['GET', '/v1/projects?a[b]=c', 400],
    ['GET', '/v1/hosts/..', 404],
    ['GET', '/v1/hosts/-h', 400],
    ['GET', `${url}/generations/0`, 400],
    ['GET', `${url}/generations/01`, 400],
    ['GET', `${url}/generations/1e9`, 400],
    ['GET', `${url}/instances/1/-1`, 400],
    ['GET', `${url}/logs?tail=1&tail=2`, 400],
    ['GET', `${url}/logs?follow=maybe`, 400],
    ['GET', '/v1/events?service=../x', 400],
    ['DELETE', '/v1/hosts', 405],
    ['PATCH', '/v1/plans', 405],
    ['GET', '/V1/hosts', 404],
    ['POST', `${url}/undo`, 404],
    ['POST', `${url}/rollout/promote`, 404],
    ['GET', `${url}/why`, 404],
  ] satisfies ['GET' | 'POST' | 'PATCH' | 'DELETE', string, number][])(
    '%s %s',
    async (method, url, status) => {
      expect((await refused({ method, url })).status).toBe(status)
    },
  )

  test.each([
    ['POST', '/v1/plans', '{"services":[{"image":"a","name":"b","replicas":"3"}]}', '/services/0/replicas'],
    ['POST', '/v1/plans', '{"services":[]}', '/services'],
    ['POST', '/v1/plans', '{"servces":[]}', '/servces'],
    ['POST', '/v1/hosts/h1/cordon', '{"wy":"x"}', '/wy'],
    ['POST', '/v1/hosts/h1/cordon', '{"why":"a\\nb"}', '/why'],
    ['PATCH', '/v1/hosts/h1', '{"labels":{"a":3}}', '/labels/a'],
    ['POST', `${url}/undo`, '{"to":"3"}', '/to'],
  ] satisfies ['POST' | 'PATCH', string, string, string][])(
    '%s %s %s',
    async (method, url, payload, pointer) => {
      const problem = await refused({ method, url, payload, headers: json })
      expect(problem.status).toBe(422)
      expect(problem.errors.map(e => e.pointer)).toContain(pointer)
    },
  )
})
