import { describe, expect, test } from 'vitest'
import { fingerprint, isSameButForImage, reservationOf, serviceSpec, template, templateText } from './spec.ts'

const least = { name: 'web', image: 'registry.example/shop:1.4.2' }
const problems = (spec: unknown): readonly string[] => {
  const parsed = serviceSpec.safeParse(spec)
  return parsed.success ? [] : parsed.error.issues.map(issue => `/${issue.path.join('/')}: ${issue.message}`)
}

test('name and image are enough; everything else has a default', () => {
  const spec = serviceSpec.parse(least)
  expect(spec).toMatchObject({
    mode: 'replicated',
    env: {},
    stop: { signal: 'SIGTERM', grace: 10_000 },
    resources: { reservations: {}, limits: { pids: 4096 } },
    placement: { strategy: 'spread', where: [] },
    // biome-ignore lint/suspicious/noThenProperty: the spec's own word; its value is never a function
    restart: { policy: 'always', backoff: { first: 0, then: 1000, cap: 60_000, resetAfter: 300_000 } },
    rollout: { strategy: 'auto', progressDeadline: 300_000, drain: 30_000, keepWarm: 600_000 },
    keepGenerations: 20,
  })
  expect(spec.replicas).toBeUndefined()
  expect(reservationOf(spec)).toEqual({ cpuMilli: 100, memoryMiB: 64 })
})

test('sizes, times and cores become numbers', () => {
  const spec = serviceSpec.parse({
    ...least,
    env: { LEVEL: 'info', COUNT: 3, ON: true },
    resources: { reservations: { cpus: 0.5, memory: '256MiB' }, limits: { cpus: 1, memory: '1g' } },
    ports: [{ name: 'http', container: 8080 }],
    routes: [{ port: 'http', listen: 80 }],
    health: { readiness: { http: '/ready', every: '500ms' } },
    rollout: { keepWarm: '1h' },
  })
  expect(spec.resources).toMatchObject({
    reservations: { cpus: 500, memory: 256 },
    limits: { cpus: 1000, memory: 1024 },
  })
  expect(spec.env).toEqual({ LEVEL: 'info', COUNT: '3', ON: 'true' })
  expect(spec.routes).toEqual([
    { protocol: 'http', port: 'http', listen: 80, hostnames: [], path: '/', expose: 'public' },
  ])
  expect(spec.health.readiness).toMatchObject({ http: '/ready', every: 500, timeout: 1000, failures: 2 })
  expect(spec.rollout.keepWarm).toBe(3_600_000)
})

describe('what is wrong is said, all at once', () => {
  test.each([
    [{ ...least, replicas: null }, ['/replicas: must be a whole number from 0 to 10000']],
    [{ ...least, replicas: '3' }, ['/replicas: must be a whole number from 0 to 10000']],
    [{ ...least, replicas: [3] }, ['/replicas: must be a whole number from 0 to 10000']],
    [{ ...least, replicas: -1 }, ['/replicas: must be from 0 to 10000']],
    [
      { ...least, resources: { reservations: { memory: '256Mi' } } },
      ["/resources/reservations/memory: unit 'Mi' is not known; did you mean '256MiB'?"],
    ],
    [
      { ...least, resources: { limits: { memory: '512MB' } } },
      ["/resources/limits/memory: unit 'MB' is not known; did you mean '512MiB'?"],
    ],
    [
      { ...least, resources: { reservations: { cpus: '500m' } } },
      ['/resources/reservations/cpus: must be a number of cores; did you mean 0.5?'],
    ],
    [{ ...least, rollout: { drain: 30 } }, ['/rollout/drain: must be a time such as 500ms, 2s, 5m or 1h']],
    [
      { ...least, routes: [{ port: 'http', listen: 80 }] },
      ["/routes/0/port: no port is named 'http'; the spec has no ports"],
    ],
    [
      { ...least, health: { readiness: { http: '/a', tcp: true } }, ports: [{ name: 'a', container: 1 }] },
      ['/health/readiness: needs exactly one of http, tcp, exec, docker'],
    ],
    [
      { ...least, health: { readiness: { http: '//evil' } }, ports: [{ name: 'a', container: 1 }] },
      ['/health/readiness/http: must not start with //'],
    ],
    [
      { ...least, health: { liveness: { exec: [] } } },
      ['/health/liveness/exec: needs at least one word, the program to run'],
    ],
    [
      {
        ...least,
        ports: [
          { name: 'a', container: 1, hostPort: 8080 },
          { name: 'b', container: 2 },
          { name: 'c', container: 3, hostPort: 8080 },
        ],
      },
      [
        '/ports/0/hostPort: host port 8080 is given twice',
        '/ports/2/hostPort: host port 8080 is given twice',
      ],
    ],
    [{ ...least, volumes: [] }, ['/volumes: is not supported yet; leave it out']],
    [
      { ...least, placement: { priority: 5 } },
      ['/placement/priority: priorities are not supported yet; leave it out'],
    ],
    [{ ...least, mode: 'job' }, ["/mode: only 'replicated' is supported yet"]],
    [{ ...least, labels: { 'boxcar.host': 'h1' } }, ['/labels/boxcar.host: Invalid key in record']],
  ])('%j', (spec, expected) => {
    expect(problems(spec)).toEqual(expected)
  })

  test('several faults in one answer', () => {
    expect(problems({ name: 'Web', image: '', replicas: null })).toHaveLength(3)
  })

  test.each(['', 'r.example/Upper', 'a b', '../x', 'http://a/b', 'a@sha256:12', 'a:', 'a/../b'])(
    'the image %j is none',
    image => {
      expect(problems({ ...least, image })).toHaveLength(1)
    },
  )
  test.each([
    'a',
    'a:1',
    'docker.io/library/a:1',
    '10.77.0.1:5000/app:1',
    `a@sha256:${'0'.repeat(64)}`,
    `r.example/a/b_c:t@sha256:${'a'.repeat(64)}`,
  ])('the image %j is one', image => {
    expect(problems({ ...least, image })).toEqual([])
  })
  test.each(['/a b', '/../x', '/a/./b', '/a%2f', 'a', '/a\nb', '/{x}'])('the route path %j is none', path => {
    expect(
      problems({ ...least, ports: [{ name: 'a', container: 1 }], routes: [{ port: 'a', listen: 80, path }] }),
    ).toHaveLength(1)
  })
})

describe('what makes a generation', () => {
  const print = (spec: Record<string, unknown>) => fingerprint(templateText(spec))

  test('replicas, placement, routes, restart and the rollout block do not', () => {
    const other = {
      ...least,
      replicas: 9,
      placement: { strategy: 'pack' },
      restart: {},
      rollout: { drain: '1s' },
      keepGenerations: 3,
      routes: [],
    }
    expect(print(other)).toBe(print(least))
  })
  test('a default that is spelt out does not', () => {
    expect(print({ ...least, stop: { grace: '10s' }, init: false })).toBe(print(least))
  })
  test.each([
    { image: 'other:1' },
    { env: { A: '1' } },
    { command: ['x'] },
    { resources: { limits: { memory: '1GiB' } } },
    { ports: [{ name: 'a', container: 1 }] },
  ])('%j does', change => {
    expect(print({ ...least, ...change })).not.toBe(print(least))
  })
  test('templates are compared apart from their image', () => {
    const [a, b] = [
      template.parse({ image: 'a:1', env: { A: '1' } }),
      template.parse({ env: { A: '1' }, image: 'b:2' }),
    ]
    expect(isSameButForImage(a, b)).toBe(true)
    expect(isSameButForImage(a, template.parse({ image: 'a:1' }))).toBe(false)
  })
})
