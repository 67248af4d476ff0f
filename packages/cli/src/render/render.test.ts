import type { InstanceView, PlanView, ServiceView } from '@boxcar/api/views'
import { describe, expect, test } from 'vitest'
import { troubleLines } from '../exit.ts'
import type { Sink } from '../terminal.ts'
import { instanceColumns } from './columns.ts'
import { live } from './live.ts'
import { cut, harmless, paint, widthOf } from './paint.ts'
import { planLines } from './plan.ts'
import { fields, table } from './table.ts'
import { changeLines, tree } from './tree.ts'
import { cores, exitWords, memory, span } from './words.ts'

const plain = paint('plain')
const text = (lines: readonly string[]) => `\n${lines.join('\n')}\n`

function instance(
  id: string,
  host: string,
  state: InstanceView['state'],
  more: Partial<InstanceView> = {},
): InstanceView {
  const [project = '', name = '', generation, slot] = id.split('/')
  return {
    id,
    project,
    service: `${project}/${name}`,
    generation: Number(generation),
    slot: Number(slot),
    role: 'next',
    host,
    hostState: 'ready',
    desired: 'run',
    because: 'missing',
    state,
    attempt: 1,
    restarts: 0,
    image: 'web@sha256:1',
    cpuMilli: 500,
    memoryMiB: 256,
    ports: { http: 20001 },
    since: 60_000,
    ...more,
  }
}

const service: ServiceView = {
  cluster: 'test',
  project: 'shop',
  name: 'web',
  service: 'shop/web',
  uid: 'u',
  revision: '7',
  spec: {},
  generation: 8,
  image: 'web:2',
  replicas: 2,
  ready: 2,
  available: true,
  misplaced: 0,
  status: 'rolling-out',
  reason: 'generation 8 starts',
  by: 'ada',
  at: 0,
  rollout: {
    service: 'shop/web',
    phase: 'warming',
    words: 'generation 8 starts, 1 of 2 ready; generation 7 answers',
    outcome: 'under-way',
    asked: 8,
    live: 7,
    next: 8,
    shares: [{ generation: 7, percent: 100 }],
    counts: [
      { generation: 7, role: 'live', wanted: 2, ready: 2, starting: 0, failing: 0, stopping: 0 },
      { generation: 8, role: 'next', wanted: 2, ready: 1, starting: 0, failing: 1, stopping: 0 },
    ],
    images: {},
  },
}
const instances = [
  instance('shop/web/7/0', 'h1', 'ready', { role: 'live' }),
  instance('shop/web/7/1', 'h2', 'ready', { role: 'live' }),
  instance('shop/web/8/0', 'h3', 'ready'),
  instance('shop/web/8/1', 'h1', 'backoff', { restarts: 2, exit: { code: 137, oomKilled: true, at: 0 } }),
]
const sight = { service, instances }

describe('the live tree', () => {
  test('whole', () => {
    expect(text(tree({ sights: [sight], elapsedMs: 12_340, rows: 40 }, plain))).toBe(`
shop/web  rolling-out  12.3s  generation 8 starts, 1 of 2 ready; generation 7 answers
├ generation 7  live  100% of traffic  2/2 ready
│ ├ shop/web/7/0  h1  ready
│ └ shop/web/7/1  h2  ready
└ generation 8  next  0% of traffic  1/2 ready, 1 failing
  ├ shop/web/8/0  h3  ready
  └ shop/web/8/1  h1  backoff  restarted 2×  killed: out of memory (exit status 137)
`)
  })

  test('too high for the terminal: what is ready is only counted, then the end is cut and said to be', () => {
    expect(text(tree({ sights: [sight], elapsedMs: 0, rows: 5 }, plain))).toBe(`
shop/web  rolling-out  0.0s  generation 8 starts, 1 of 2 ready; generation 7 answers
├ generation 7  live  100% of traffic  2/2 ready
└ generation 8  next  0% of traffic  1/2 ready, 1 failing
  └ shop/web/8/1  h1  backoff  restarted 2×  killed: out of memory (exit status 137)
`)
    expect(tree({ sights: [sight], elapsedMs: 0, rows: 3 }, plain).at(-1)).toBe('… 2 more')
  })

  test('a server that is away is said below the last picture', () => {
    const frame = { sights: [sight], elapsedMs: 0, rows: 40, notice: 'no answer; trying again' }
    expect(tree(frame, plain).at(-1)).toBe('no answer; trying again')
  })
})

describe('a line for each change', () => {
  test('from nothing, from one state to the next, and nothing for no change', () => {
    const before = { service, instances: instances.slice(0, 3) }
    expect(changeLines(before, sight)).toEqual([
      'shop/web/8/1 on h1: backoff: killed: out of memory (exit status 137)',
    ])
    expect(changeLines(sight, sight)).toEqual([])
    expect(changeLines(undefined, { service, instances: [] })).toEqual([
      'shop/web: warming: generation 8 starts, 1 of 2 ready; generation 7 answers',
      'shop/web: rolling-out, 2/2 ready: generation 8 starts',
    ])
  })

  test('an instance that moves is on two hosts for a while', () => {
    const moving = {
      service,
      instances: [
        instance('shop/web/7/0', 'h1', 'stopping', { desired: 'stop' }),
        instance('shop/web/7/0', 'h2', 'starting'),
      ],
    }
    expect(changeLines({ service, instances: [instance('shop/web/7/0', 'h1', 'ready')] }, moving)).toEqual([
      'shop/web/7/0 on h1: stopping',
      'shop/web/7/0 on h2: starting',
    ])
    expect(changeLines(moving, { service, instances: [instance('shop/web/7/0', 'h2', 'ready')] })).toEqual([
      'shop/web/7/0 on h2: ready',
      'shop/web/7/0 on h1: gone',
    ])
  })
})

test('a plan with its differences', () => {
  const plan: PlanView = {
    project: 'shop',
    services: [
      {
        name: 'web',
        service: 'shop/web',
        change: 'new-generation',
        because: 'what makes the container changes',
        generation: 8,
        differences: [
          { pointer: '/image', before: 'web:1', after: 'web:2', effect: 'generation' },
          { pointer: '/replicas', after: 4, effect: 'in-place' },
          { pointer: '/env/DEBUG', before: '1', effect: 'generation' },
        ],
        strategy: { name: 'blue-green', because: 'both fit' },
        warnings: [{ pointer: '/health', code: 'no_probe', message: 'no readiness probe' }],
        misplaced: [],
      },
      {
        name: 'api',
        service: 'shop/api',
        change: 'unchanged',
        because: '',
        generation: 3,
        differences: [],
        warnings: [],
        misplaced: [],
      },
    ],
  }
  expect(text(planLines(plan, plain))).toBe(`
↑ shop/web  new generation 8
    what makes the container changes
    ~ /image: web:1 → web:2
    + /replicas: 4  (in place)
    - /env/DEBUG: 1
    rollout: blue-green: both fit
    warning: /health: no readiness probe
= shop/api  no change
`)
})

describe('tables', () => {
  test('as wide as they need to be, nothing cut; wide has more columns', () => {
    expect(text(table(instanceColumns(120_000), instances.slice(2), plain))).toBe(`
INSTANCE      HOST  STATE    ROLE  RESTARTS  FOR  REASON
shop/web/8/0  h3    ready    next         0  60s
shop/web/8/1  h1    backoff  next         2  60s  killed: out of memory (exit status 137)
`)
    expect(table(instanceColumns(120_000), instances.slice(2, 3), plain, 'wide').at(1)).toBe(
      'shop/web/8/0  h3    ready  next         0  60s  http=20001   0.5  256MiB  -          web@sha256:1',
    )
  })

  test('one row that cannot be put into words takes none of the others along', () => {
    const columns = [
      { head: 'NAME', of: (it: { readonly name: string }) => it.name },
      { head: 'DAY', of: (it: { readonly at: number }) => new Date(it.at).toISOString().slice(0, 10) },
    ]
    const rows = [
      { name: 'a', at: 0 },
      { name: 'b', at: Number.NaN },
    ]
    expect(table(columns, rows, plain).slice(1)).toEqual([
      'a     1970-01-01',
      'b     internal error: Invalid time value',
    ])
  })

  test('colours take no room', () => {
    const colors = paint('color')
    const [, first = '', second = ''] = table(instanceColumns(0), instances.slice(2), colors)
    expect(first).toContain(colors.good('ready'))
    expect(widthOf(second)).toBe(widthOf(table(instanceColumns(0), instances.slice(2), plain)[2] ?? ''))
  })

  test('fields below each other', () => {
    expect(
      fields(
        [
          ['Host', 'h1'],
          ['Reason', undefined],
          ['Labels', 'a=1\nb=2'],
        ],
        plain,
      ),
    ).toEqual(['Host    h1', 'Labels  a=1', '        b=2'])
  })
})

test('words', () => {
  expect([memory(64), memory(1536), memory(24_105)]).toEqual(['64MiB', '1.5GiB', '23.54GiB'])
  expect([cores(500), cores(2000), cores(125)]).toEqual(['0.5', '2', '0.13'])
  expect([span(-5), span(119_000), span(120_000), span(7_200_000), span(2 * 86_400_000)]).toEqual([
    '0s',
    '119s',
    '2m',
    '2h',
    '2d',
  ])
  expect(exitWords({ code: 143, oomKilled: false })).toBe('exit status 143 (signal 15)')
})

test('an error is three lines, and further reasons stand below the first', () => {
  expect(troubleLines({ status: 1, what: 'a', why: 'b\nc', next: 'd' })).toEqual([
    'Error: a',
    '  Why: b',
    '       c',
    ' Next: d',
  ])
})

test('text from outside cannot steer the terminal', () => {
  expect(harmless('a\u001b[2Jb\rc\u0007d\te\u009b1m')).toBe('a\uFFFD[2Jb\uFFFDc\uFFFDd\te\uFFFD1m')
})

test('lines are cut to the terminal with their colours closed', () => {
  const line = `${paint('color').bad('0123456789')} end`
  expect(widthOf(cut(line, 8))).toBe(8)
  expect(cut(line, 8)).toContain('\u001b[39m')
  expect(cut('short', 8)).toBe('short')
})

test('the live part is drawn over itself, and written only where it changed', () => {
  const written: string[] = []
  const sink: Sink = {
    write: piece => void written.push(piece),
    isTerminal: true,
    columns: 20,
    rows: 10,
    color: 'plain',
  }
  const picture = live(sink)
  picture.draw(['a', 'b'])
  picture.draw(['a', 'b'])
  picture.draw(['a', 'c', 'd'])
  picture.end()
  expect(written).toHaveLength(3)
  expect(written[1]).toContain('\u001b[2A')
  expect(written.at(-1)).toBe('\u001b[?25h')
})
