import { describe, expect, test } from 'vitest'
import type { HostId } from '../model/ids.ts'
import { explain, nearest, nearestFix } from './explain.ts'
import { ask, columnsOf, host, id, load } from './fixture.ts'
import type { Obstacle } from './obstacle.ts'
import { parseWhere } from './where.ts'
import { obstacleWords } from './words.ts'

const rows: readonly (readonly [Obstacle, string, string])[] = [
  [
    { kind: 'suspect' },
    'does not report just now; the leader asks it',
    'wait until host h2 answers, or add a host',
  ],
  [{ kind: 'lost' }, 'is lost', 'bring host h2 back, or add a host'],
  [
    { kind: 'cordoned', why: 'disk swap' },
    'is cordoned: disk swap',
    'uncordon host h2: boxcar host uncordon h2',
  ],
  [{ kind: 'cordoned', why: '' }, 'is cordoned', 'uncordon host h2: boxcar host uncordon h2'],
  [{ kind: 'draining' }, 'is being drained', 'end the drain of host h2: boxcar host drain h2 --cancel'],
  [
    { kind: 'engine-down', reason: 'no answer' },
    'its Docker engine does not answer: no answer',
    'start the Docker engine on host h2',
  ],
  [
    { kind: 'orders-refused', reason: 'the store is behind' },
    'refuses orders: the store is behind',
    'mend the store, or raise its epoch (docs/three-machines.md): host h2 refuses its orders',
  ],
  [
    { kind: 'cpus', needMilli: 1500, freeMilli: 500, totalMilli: 4000 },
    'needs 1.5 cores, 0.5 of 4 are free',
    'free 1 core on host h2, lower /resources/reservations/cpus to 0.5, or add a host',
  ],
  [
    { kind: 'cpus', needMilli: 500, freeMilli: -250, totalMilli: 4000 },
    'needs 0.5 cores, 0.25 more than its 4 are taken',
    'free 0.75 cores on host h2, or add a host',
  ],
  [
    { kind: 'cpus', needMilli: 6000, freeMilli: 500, totalMilli: 4000 },
    'needs 6 cores, 0.5 of 4 are free',
    'lower /resources/reservations/cpus to at most 4 (host h2 has no more), or add a larger host',
  ],
  [
    { kind: 'memory', needMiB: 512, freeMiB: 128, totalMiB: 2048 },
    'needs 512 MiB of memory, 128 of 2048 MiB are free',
    'free 384 MiB on host h2, lower /resources/reservations/memory to 128MiB, or add a host',
  ],
  [
    { kind: 'memory', needMiB: 512, freeMiB: -1, totalMiB: 2048 },
    'needs 512 MiB of memory, 1 MiB more than its 2048 MiB are taken',
    'free 513 MiB on host h2, or add a host',
  ],
  [
    { kind: 'memory', needMiB: 4096, freeMiB: 128, totalMiB: 2048 },
    'needs 4096 MiB of memory, 128 of 2048 MiB are free',
    'lower /resources/reservations/memory to at most 2048MiB (host h2 has no more), or add a larger host',
  ],
  [
    { kind: 'port', port: 53, heldBy: 'p/dns/1/0' },
    'port 53 is held by p/dns/1/0',
    'leave out the fixed hostPort 53, or add a host where it is free',
  ],
  [
    { kind: 'no-free-port', from: 100, to: 109 },
    'no host port from 100 to 109 is free; one that was released rests for ten minutes',
    'give host h2 a wider range of ports',
  ],
  [
    { kind: 'no-free-port', from: 1, to: 0 },
    'has no ports to hand out',
    'give host h2 a wider range of ports',
  ],
  [
    { kind: 'label', want: 'disk = ssd', have: 'disk = hdd' },
    "wants 'disk = ssd', has disk = hdd",
    "label a host so that 'disk = ssd' holds: boxcar host label h2 disk=ssd, or change /placement/where",
  ],
  [
    { kind: 'label', want: 'zone in (a, b)', have: 'no label zone' },
    "wants 'zone in (a, b)', has no label zone",
    "label a host so that 'zone in (a, b)' holds: boxcar host label h2 zone=a, or change /placement/where",
  ],
  [
    { kind: 'label', want: '!gpu', have: 'gpu = a100' },
    "wants '!gpu', has gpu = a100",
    "label a host so that '!gpu' holds: boxcar host label h2 …, or change /placement/where",
  ],
  [
    { kind: 'max-per-host', max: 2, have: 2 },
    'runs 2 already, and maxPerHost is 2',
    'raise /placement/maxPerHost above 2, or add a host',
  ],
  [
    { kind: 'failed-here', forMs: 59_001 },
    'it kept failing there; tried again in 60 s',
    'wait 60 s until host h2 is tried again',
  ],
]

test.each(rows)('%j', (obstacle, words, fix) => {
  expect(obstacleWords(obstacle)).toBe(words)
  expect(nearestFix([{ host: id('h2'), obstacles: [obstacle] }])).toBe(fix)
})

describe('explain', () => {
  test('tells all obstacles of all hosts, by id, and leaves out who could take it', () => {
    const columns = columnsOf(
      host('h3', { accepts: { kind: 'cordoned', why: 'test' }, memoryMiB: 1000 }),
      host('h1'),
      host('h2', { labels: { disk: 'ssd' } }),
    )
    columns.take(id('h1'), load('a', { cpuMilli: 3900, memoryMiB: 0 }))
    expect(explain(columns, ask({ where: [parseWhere('disk = ssd')], memoryMiB: 2000 }))).toEqual([
      {
        host: 'h1',
        obstacles: [
          { kind: 'label', want: 'disk = ssd', have: 'no label disk' },
          { kind: 'cpus', needMilli: 1000, freeMilli: 100, totalMilli: 4000 },
        ],
      },
      {
        host: 'h3',
        obstacles: [
          { kind: 'cordoned', why: 'test' },
          { kind: 'label', want: 'disk = ssd', have: 'no label disk' },
          { kind: 'memory', needMiB: 2000, freeMiB: 1000, totalMiB: 1000 },
        ],
      },
    ])
  })

  test('having failed on a host is an obstacle beside a better host', () => {
    const columns = columnsOf(host('h1'), host('h2'))
    const avoid = new Map([[id('h1'), 5000]])
    expect(explain(columns, ask({ avoid }))).toEqual([
      { host: 'h1', obstacles: [{ kind: 'failed-here', forMs: 5000 }] },
    ])
    columns.upsert(host('h2', { accepts: { kind: 'lost' } }))
    expect(explain(columns, ask({ avoid }))).toEqual([{ host: 'h2', obstacles: [{ kind: 'lost' }] }])
    columns.upsert(host('h1', { accepts: { kind: 'draining' } }))
    expect(explain(columns, ask({ avoid }))[0]).toEqual({
      host: 'h1',
      obstacles: [{ kind: 'draining' }, { kind: 'failed-here', forMs: 5000 }],
    })
  })
})

describe('the nearest fix', () => {
  const short = (freeMiB: number): Obstacle => ({ kind: 'memory', needMiB: 512, freeMiB, totalMiB: 2048 })

  test('changes one thing rather than two', () => {
    const explained = [
      { host: id('h1'), obstacles: [{ kind: 'suspect' } satisfies Obstacle, short(500)] },
      { host: id('h2'), obstacles: [short(128)] },
    ]
    expect(nearestFix(explained)).toMatch(/^free 384 MiB on host h2/)
  })

  test('frees the least', () => {
    const explained = [100, 400, 300].map((free, i) => ({ host: id(`h${i}`), obstacles: [short(free)] }))
    expect(nearestFix(explained)).toMatch(/^free 112 MiB on host h1/)
    expect(nearest(explained, 2).map(each => each.host)).toEqual(['h1', 'h2'])
  })

  test('is that of the largest host where none is large enough', () => {
    const tooSmall = [1024, 4096, 2048].map((totalMiB, i): { host: HostId; obstacles: Obstacle[] } => ({
      host: id(`h${i}`),
      obstacles: [{ kind: 'memory', needMiB: 8192, freeMiB: totalMiB, totalMiB }],
    }))
    expect(nearestFix(tooSmall)).toContain('to at most 4096MiB (host h1')
  })

  test('names all that one host needs', () => {
    const obstacles = [{ kind: 'cordoned', why: '' } satisfies Obstacle, short(0)]
    expect(nearestFix([{ host: id('h1'), obstacles }])).toBe(
      'uncordon host h1: boxcar host uncordon h1; then free 512 MiB on host h1, or add a host',
    )
  })

  test('is nothing where nothing is explained', () => {
    expect(nearestFix([])).toBeUndefined()
  })
})
