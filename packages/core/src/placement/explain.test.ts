import { describe, expect, test } from 'vitest'
import { explain, nearest, nearestFix, sentence } from './explain.ts'
import { ask, columnsOf, host, id, load } from './fixture.ts'
import type { Obstacle } from './obstacle.ts'
import { parseWhere } from './where.ts'

const rows: readonly (readonly [Obstacle, string, string])[] = [
  [{ kind: 'suspect' }, 'suspect: not heard of for a moment, being asked', 'wait until h2 answers'],
  [{ kind: 'lost' }, 'lost: the host does not answer', 'bring h2 back'],
  [{ kind: 'cordoned', why: 'disk swap' }, 'cordoned: disk swap', 'uncordon h2'],
  [{ kind: 'cordoned', why: '' }, 'cordoned', 'uncordon h2'],
  [{ kind: 'draining' }, 'draining: instances are being moved away', 'cancel the drain of h2'],
  [
    { kind: 'engine-down', reason: 'no answer' },
    'engine down: no answer',
    'bring the engine of h2 up (no answer)',
  ],
  [
    { kind: 'cpus', needMilli: 1500, freeMilli: 500, totalMilli: 4000 },
    'cpus: needs 1.5, 0.5 of 4 free',
    'free 1 cpu on h2',
  ],
  [
    { kind: 'cpus', needMilli: 500, freeMilli: -250, totalMilli: 4000 },
    "cpus: needs 0.5, 0.25 over the host's 4",
    'free 0.75 cpus on h2',
  ],
  [
    { kind: 'cpus', needMilli: 6000, freeMilli: 500, totalMilli: 4000 },
    'cpus: needs 6, 0.5 of 4 free',
    'add a host with at least 6 cpus',
  ],
  [
    { kind: 'memory', needMiB: 512, freeMiB: 128, totalMiB: 2048 },
    'memory: needs 512 MiB, 128 of 2048 MiB free',
    'free 384 MiB on h2',
  ],
  [
    { kind: 'memory', needMiB: 512, freeMiB: -1, totalMiB: 2048 },
    "memory: needs 512 MiB, 1 MiB over the host's 2048 MiB",
    'free 513 MiB on h2',
  ],
  [
    { kind: 'memory', needMiB: 4096, freeMiB: 128, totalMiB: 2048 },
    'memory: needs 4096 MiB, 128 of 2048 MiB free',
    'add a host with at least 4096 MiB of memory',
  ],
  [
    { kind: 'port', port: 53, heldBy: 'p/dns/1/0' },
    'port: 53 is held by p/dns/1/0',
    'free port 53 on h2, held by p/dns/1/0',
  ],
  [
    { kind: 'no-free-port', from: 100, to: 109 },
    'port: none of 100 to 109 is free, or released ten minutes ago',
    'give h2 a wider port range than 100 to 109',
  ],
  [
    { kind: 'no-free-port', from: 1, to: 0 },
    'port: the host has no ports to hand out',
    'give h2 a range of ports to hand out',
  ],
  [
    { kind: 'label', want: 'disk = ssd', have: 'disk = hdd' },
    'label: wants disk = ssd, has disk = hdd',
    'label a host disk=ssd',
  ],
  [
    { kind: 'label', want: 'zone in (a, b)', have: 'no label zone' },
    'label: wants zone in (a, b), has no label zone',
    'label a host zone=a',
  ],
  [
    { kind: 'label', want: 'gpu', have: 'no label gpu' },
    'label: wants gpu, has no label gpu',
    'label a host gpu',
  ],
  [
    { kind: 'label', want: '!gpu', have: 'gpu = a100' },
    'label: wants !gpu, has gpu = a100',
    'remove the label gpu from a host',
  ],
  [
    { kind: 'label', want: 'disk != hdd', have: 'disk = hdd' },
    'label: wants disk != hdd, has disk = hdd',
    'label a host so that disk != hdd',
  ],
  [
    { kind: 'max-per-host', max: 2, have: 2 },
    'max per host: 2 there, at most 2 allowed',
    'raise maxPerHost to 3',
  ],
  [
    { kind: 'still-stopping', instance: 'p/web/1/0' },
    'still stopping: an earlier p/web/1/0 has not ended there yet',
    'wait until p/web/1/0 has stopped on h2',
  ],
  [
    { kind: 'failed-here', forMs: 59_001 },
    'failed here: kept failing on this host, avoided for 60 s more',
    'wait 60 s for h2 to be tried again',
  ],
]

test.each(rows)('%j', (obstacle, words, fix) => {
  expect(sentence(obstacle)).toBe(words)
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
    expect(nearestFix(explained)).toBe('free 384 MiB on h2')
  })

  test('frees the least', () => {
    const explained = [100, 400, 300].map((free, i) => ({ host: id(`h${i}`), obstacles: [short(free)] }))
    expect(nearestFix(explained)).toBe('free 112 MiB on h1')
    expect(nearest(explained, 2).map(each => each.host)).toEqual(['h1', 'h2'])
  })

  test('names all that one host needs', () => {
    const obstacles = [{ kind: 'cordoned', why: '' } satisfies Obstacle, short(0)]
    expect(nearestFix([{ host: id('h1'), obstacles }])).toBe('uncordon h1 and free 512 MiB on h1')
  })

  test('is nothing where nothing is explained', () => {
    expect(nearestFix([])).toBeUndefined()
  })
})
