import { describe, expect, test } from 'vitest'
import type { GenerationNumber, HostId, InstanceId } from '../model/ids.ts'
import { id, instance } from './fixture.ts'
import { beyondCapacity, type HostFacts, misplaced, nextStep, type PlacementRules } from './misplaced.ts'
import type { Obstacle } from './obstacle.ts'

/** `web/1/0@h1` */
const standing = (text: string) => {
  const [name = '', host = ''] = text.split('@')
  const [, generation, slot] = name.split('/')
  return {
    instance: instance(name),
    generation: Number(generation) as GenerationNumber,
    slot: Number(slot),
    host: id(host),
  }
}
const facts = (labels: HostFacts['labels'], beyond: readonly [string, Obstacle][] = []): HostFacts => ({
  labels,
  beyond: new Map(beyond.map(([name, obstacle]): [InstanceId, Obstacle[]] => [instance(name), [obstacle]])),
})
const hostFacts = (of: Readonly<Record<string, HostFacts>>) =>
  new Map(Object.entries(of).map(([host, each]): [HostId, HostFacts] => [id(host), each]))

const noCpus: Obstacle = { kind: 'cpus', needMilli: 500, freeMilli: -500, totalMilli: 1000 }

interface Case {
  readonly name: string
  readonly rules: PlacementRules
  readonly running: readonly string[]
  readonly hosts: Readonly<Record<string, HostFacts>>
  /** Instance and host, and its obstacles. */
  readonly found: Readonly<Record<string, readonly Obstacle[]>>
}

const cases: readonly Case[] = [
  {
    name: 'no rule, room enough',
    rules: { where: [] },
    running: ['web/1/0@h1'],
    hosts: { h1: facts({}) },
    found: {},
  },
  {
    name: 'a label that the host has',
    rules: { where: ['zone = a'] },
    running: ['web/1/0@h1'],
    hosts: { h1: facts({ zone: 'a' }) },
    found: {},
  },
  {
    name: 'a label that one host lacks and another has with another value, every rule told',
    rules: { where: ['zone = a', '!gpu'] },
    running: ['web/1/0@h1', 'web/1/1@h2', 'web/1/2@h3'],
    hosts: { h1: facts({}), h2: facts({ zone: 'b', gpu: 'x' }), h3: facts({ zone: 'a' }) },
    found: {
      'web/1/0@h1': [{ kind: 'label', want: 'zone = a', have: 'no label zone' }],
      'web/1/1@h2': [
        { kind: 'label', want: 'zone = a', have: 'zone = b' },
        { kind: 'label', want: '!gpu', have: 'gpu = x' },
      ],
    },
  },
  {
    name: 'a maximum lowered below what runs: the highest slots are beyond it',
    rules: { where: [], maxPerHost: 1 },
    running: ['web/1/2@h1', 'web/1/0@h1', 'web/1/1@h1', 'web/1/3@h2'],
    hosts: { h1: facts({}), h2: facts({}) },
    found: {
      'web/1/2@h1': [{ kind: 'max-per-host', max: 1, have: 3 }],
      'web/1/1@h1': [{ kind: 'max-per-host', max: 1, have: 3 }],
    },
  },
  {
    name: 'the maximum is one generation’s own',
    rules: { where: [], maxPerHost: 1 },
    running: ['web/1/0@h1', 'web/2/0@h1'],
    hosts: { h1: facts({}) },
    found: {},
  },
  {
    name: 'what the host has no room for, beside a label',
    rules: { where: ['zone'] },
    running: ['web/1/0@h1', 'web/1/1@h1'],
    hosts: { h1: facts({}, [['web/1/1', noCpus]]) },
    found: {
      'web/1/0@h1': [{ kind: 'label', want: 'zone', have: 'no label zone' }],
      'web/1/1@h1': [{ kind: 'label', want: 'zone', have: 'no label zone' }, noCpus],
    },
  },
  {
    name: 'nothing of a host that is not known',
    rules: { where: ['zone'], maxPerHost: 1 },
    running: ['web/1/0@h9', 'web/1/1@h9'],
    hosts: {},
    found: {},
  },
]

test.each(cases)('$name', ({ rules, running, hosts, found }) => {
  const seen = misplaced(rules, running.map(standing), hostFacts(hosts))
  expect(Object.fromEntries(seen.map(it => [`${it.instance}@${it.host}`, it.obstacles]))).toEqual(found)
})

describe('beyond the capacity of a host', () => {
  const placed = (name: string, cpuMilli: number, memoryMiB: number) => ({
    instance: instance(name),
    cpuMilli,
    memoryMiB,
  })

  test.each([
    { name: 'all of it fits exactly', cpuMilli: 1000, memoryMiB: 300, beyond: {} },
    {
      name: 'cores are short: those placed last, what still fits stays',
      cpuMilli: 700,
      memoryMiB: 300,
      beyond: { b: [{ kind: 'cpus', needMilli: 400, freeMilli: -300, totalMilli: 700 }] },
    },
    {
      name: 'memory is short',
      cpuMilli: 1000,
      memoryMiB: 250,
      beyond: { c: [{ kind: 'memory', needMiB: 100, freeMiB: -50, totalMiB: 250 }] },
    },
    {
      name: 'both are short',
      cpuMilli: 500,
      memoryMiB: 100,
      beyond: {
        b: [
          { kind: 'cpus', needMilli: 400, freeMilli: -500, totalMilli: 500 },
          { kind: 'memory', needMiB: 100, freeMiB: -200, totalMiB: 100 },
        ],
        c: [
          { kind: 'cpus', needMilli: 100, freeMilli: -500, totalMilli: 500 },
          { kind: 'memory', needMiB: 100, freeMiB: -200, totalMiB: 100 },
        ],
      },
    },
  ])('$name', ({ cpuMilli, memoryMiB, beyond }) => {
    const running = [placed('a', 500, 100), placed('b', 400, 100), placed('c', 100, 100)]
    const seen = beyondCapacity({ cpuMilli, memoryMiB }, running)
    expect(Object.fromEntries(seen)).toEqual(beyond)
  })
})

describe('the next step', () => {
  const stands = (...hosts: readonly string[]) =>
    hosts.map((host, i) => ({ instance: instance(`web/1/${i}`), host: id(host), obstacles: [noCpus] }))
  const hosts = (of: Readonly<Record<string, HostFacts['labels']>>) =>
    Object.entries(of).map(([host, labels]) => ({ host: id(host), labels }))

  test('nothing is misplaced: there is none', () => {
    expect(nextStep([], { where: ['zone = a'] }, hosts({ h1: {} }))).toBeUndefined()
  })

  test('no host meets the conditions: the nearest label', () => {
    expect(nextStep(stands('h2'), { where: ['zone = a'] }, hosts({ h1: {}, h2: {} }))).toBe(
      "label a host so that 'zone = a' holds: boxcar host label h1 zone=a, or change /placement/where",
    )
  })

  test('a host meets them: what replaces the instances, on the host with most of them', () => {
    const step = nextStep(
      stands('h1', 'h2', 'h2'),
      { where: ['zone = a'] },
      hosts({ h2: {}, h3: { zone: 'a' } }),
    )
    expect(step).toMatch(/deploy a change that makes a new generation, or boxcar host drain h2 moves/)
  })
})
