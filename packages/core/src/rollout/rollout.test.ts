import { describe, expect, test } from 'vitest'
import type { GenerationNumber, ServiceName } from '../model/ids.ts'
import type { Phase, Rollout } from '../model/rollout.ts'
import type { Intent } from '../model/service.ts'
import {
  advance,
  begin,
  liveGeneration,
  type RolloutSeen,
  trafficShares,
  wantedGenerations,
} from './rollout.ts'
import type { UnservedLookup, UnservedOnHost } from './unserved.ts'

const g = (n: number) => n as GenerationNumber
const policy = { progressDeadlineMs: 60_000, keepWarmMs: 600_000 }
const web = 'shop/web' as ServiceName

const seen = (changes: Partial<RolloutSeen> = {}): RolloutSeen => ({
  asked: g(2),
  intent: undefined,
  resolution: undefined,
  isReady: () => false,
  applied: false,
  unserved: () => [],
  routedPorts: [],
  phaseMs: 0,
  stalledMs: 0,
  evidence: () => [{ what: 'exit 1' }],
  exists: () => true,
  isSame: () => false,
  wall: 1,
  ...changes,
})

const at = (now: Phase, changes: Partial<Rollout> = {}): Rollout => ({
  ...begin(web, 'u1', g(2), 0),
  now,
  images: { 1: 'app@sha256:1', 2: 'app@sha256:2' },
  ...changes,
})

const intent = (kind: 'undo' | 'abort', to?: number): Intent => ({
  id: 'i1',
  uid: 'u1',
  kind,
  by: 'ann',
  at: 0,
  ...(to === undefined ? {} : { to: g(to) }),
})

const evidence = { host: 'h1', what: 'port 7071 is held by process 812 (sshd)' }
const heldOn: UnservedOnHost = { ...evidence, ports: [7071], isNewHost: false }
const lookup =
  (...unserved: readonly UnservedOnHost[]): UnservedLookup =>
  ({ isAsked = () => true, most } = {}) =>
    unserved.filter(({ ports }) => ports.some(isAsked)).slice(0, most)
const held = lookup(heldOn)
const heldOnNewHost = lookup({ ...heldOn, isNewHost: true })

const resolving: Phase = { phase: 'resolving', stable: g(1), next: g(2) }
const warming: Phase = { phase: 'warming', stable: g(1), next: g(2) }
const draining: Phase = { phase: 'draining', live: g(2), old: g(1), undo: false }
const undoing: Phase = { phase: 'warming', stable: g(2), next: g(1), undo: true }
const settled: Phase = { phase: 'settled', live: g(2), warm: g(1) }

describe('the next phase', () => {
  const rows: readonly [string, Phase, Partial<RolloutSeen>, Phase | 'stays'][] = [
    ['resolving waits for an answer', resolving, {}, 'stays'],
    [
      'resolving → warming with a digest',
      resolving,
      { resolution: { kind: 'resolved', image: 'app@sha256:2' } },
      warming,
    ],
    [
      'resolving → settled where nothing changed',
      resolving,
      { resolution: { kind: 'resolved', image: 'app@sha256:1' }, isSame: () => true },
      { phase: 'settled', live: g(1) },
    ],
    [
      'a passing failure to resolve waits',
      resolving,
      { resolution: { kind: 'failed', reason: 'registry away', permanent: false } },
      'stays',
    ],
    [
      'resolving → reverted where there is no such image',
      resolving,
      { resolution: { kind: 'failed', reason: 'no such manifest', permanent: true } },
      { phase: 'reverted', stable: g(1), rejected: g(2) },
    ],
    [
      'resolving → reverted at the deadline',
      resolving,
      { stalledMs: 60_000 },
      { phase: 'reverted', stable: g(1), rejected: g(2) },
    ],
    ['warming waits for the last instance', warming, {}, 'stays'],
    ['warming → draining when all are ready', warming, { isReady: n => n === 2 }, draining],
    [
      'a late but complete generation is taken',
      warming,
      { isReady: () => true, stalledMs: 90_000 },
      draining,
    ],
    [
      'warming → reverted at the deadline',
      warming,
      { stalledMs: 60_000 },
      { phase: 'reverted', stable: g(1), rejected: g(2) },
    ],
    [
      'warming makes room for a newer one',
      warming,
      { asked: g(3) },
      { phase: 'resolving', stable: g(1), next: g(3) },
    ],
    ['draining waits for the proxies', draining, { asked: g(3) }, 'stays'],
    ['draining → settled, the old one warm', draining, { applied: true }, settled],
    ['settled keeps warm for its time', settled, { phaseMs: 599_999 }, 'stays'],
    ['settled lets the warm one go', settled, { phaseMs: 600_000 }, { phase: 'settled', live: g(2) }],
    [
      'settled → resolving for a newer one, the warm one still there',
      settled,
      { asked: g(3) },
      { phase: 'resolving', stable: g(2), next: g(3), warm: g(1) },
    ],
    [
      'nothing changed: the warm one stays warm',
      { phase: 'resolving', stable: g(2), next: g(3), warm: g(1) },
      { asked: g(2), resolution: { kind: 'resolved', image: 'app@sha256:2' }, isSame: () => true },
      { phase: 'settled', live: g(2), warm: g(1) },
    ],
    [
      'something changes: the warm one makes room',
      { phase: 'resolving', stable: g(2), next: g(3), warm: g(1) },
      { asked: g(2), resolution: { kind: 'resolved', image: 'app@sha256:3' } },
      { phase: 'warming', stable: g(2), next: g(3) },
    ],
    ['a live proxy that takes no route holds up no rollout for ever', draining, { phaseMs: 60_000 }, settled],
    [
      'no traffic moves while a live host cannot serve a listener of a first generation',
      { phase: 'warming', next: g(2) },
      { isReady: () => true, unserved: held },
      'stays',
    ],
    [
      'warming → reverted at the deadline where all are ready and a listener is not served',
      { phase: 'warming', next: g(2) },
      { isReady: () => true, unserved: held, stalledMs: 60_000 },
      { phase: 'reverted', rejected: g(2) },
    ],
    [
      'what a host did not serve of the generation before is not waited for, and is kept while traffic moves',
      warming,
      { isReady: () => true, unserved: held },
      { ...draining, unserved: [{ port: 7071, host: 'h1' }] },
    ],
    [
      'nor does it keep that generation from settling',
      { ...draining, unserved: [{ port: 7071, host: 'h1' }] },
      { applied: true, unserved: held },
      settled,
    ],
    [
      'as a port of many hosts does not',
      { ...draining, unserved: [{ port: 7071 }] },
      { applied: true, unserved: held },
      settled,
    ],
    [
      'nor a host that came while traffic moved',
      draining,
      { applied: true, unserved: heldOnNewHost },
      settled,
    ],
    [
      'another port of that host does',
      { ...draining, unserved: [{ port: 80, host: 'h1' }] },
      { applied: true, unserved: held },
      'stays',
    ],
    [
      'nor does it settle while that is so, though every proxy applied the routes',
      draining,
      { applied: true, unserved: held, phaseMs: 59_999 },
      'stays',
    ],
    [
      'and at the deadline traffic moves back',
      draining,
      { applied: true, unserved: held, phaseMs: 60_000, isReady: n => n === 1 },
      { phase: 'draining', live: g(1), old: g(2), undo: true },
    ],
    [
      'to one that lost instances only when it has them again',
      draining,
      { applied: true, unserved: held, phaseMs: 60_000 },
      undoing,
    ],
    [
      'a first generation that was switched to is given up',
      { phase: 'draining', live: g(2), undo: false },
      { applied: true, unserved: held, phaseMs: 60_000, isReady: () => true },
      { phase: 'reverted', rejected: g(2) },
    ],
    [
      'an undo is not held up by a listener that is not served',
      settled,
      { unserved: held, intent: intent('undo'), isReady: n => n === 1 },
      { phase: 'draining', live: g(1), old: g(2), undo: true },
    ],
    [
      'nor while traffic waits to settle for that very reason',
      draining,
      { unserved: held, intent: intent('undo'), isReady: n => n === 1 },
      { phase: 'draining', live: g(1), old: g(2), undo: true },
    ],
    [
      'nor does it wait to settle',
      { phase: 'draining', live: g(1), old: g(2), undo: true },
      { applied: true, unserved: held },
      { phase: 'settled', live: g(1), warm: g(2) },
    ],
    [
      'nor does one that starts instances first wait to switch',
      undoing,
      { isReady: () => true, unserved: held },
      { phase: 'draining', live: g(1), old: g(2), undo: true },
    ],
    [
      'an undo pressed after a PUT means that PUT: it is taken up first',
      settled,
      { asked: g(3), intent: intent('undo'), isReady: () => true },
      { phase: 'resolving', stable: g(2), next: g(3), warm: g(1) },
    ],
    [
      'an undo while a newer one waits for its turn could mean either',
      draining,
      { asked: g(3), intent: intent('undo'), isReady: () => true },
      'stays',
    ],
    [
      'a second undo does not undo the first',
      { phase: 'draining', live: g(1), old: g(2), undo: true },
      { intent: intent('undo'), isReady: () => true },
      'stays',
    ],
    [
      'a second undo after an abort goes no further back',
      { phase: 'reverted', stable: g(1), rejected: g(2) },
      { intent: intent('undo') },
      'stays',
    ],
    [
      'an asked generation that is not there yet waits',
      settled,
      { asked: g(3), exists: () => false },
      'stays',
    ],
    [
      'undo while warm is one step',
      settled,
      { intent: intent('undo'), isReady: n => n === 1 },
      { phase: 'draining', live: g(1), old: g(2), undo: true },
    ],
    [
      'undo of a warm one that lost instances starts them first',
      settled,
      { intent: intent('undo') },
      undoing,
    ],
    [
      'undo while traffic moves turns it back',
      draining,
      { intent: intent('undo'), isReady: n => n === 1 },
      { phase: 'draining', live: g(1), old: g(2), undo: true },
    ],
    ['undo to an old generation that lost instances waits', draining, { intent: intent('undo') }, 'stays'],
    [
      'undo during a rollout aborts it',
      warming,
      { intent: intent('undo') },
      { phase: 'reverted', stable: g(1), rejected: g(2) },
    ],
    [
      'an undo that starts the old generation again first says that it is one',
      { phase: 'settled', live: g(2) },
      { intent: intent('undo') },
      undoing,
    ],
    ['the same undo again changes nothing', undoing, { intent: intent('undo') }, 'stays'],
    [
      'nor does it while the image is looked up',
      { phase: 'resolving', stable: g(2), next: g(1), undo: true },
      { intent: intent('undo') },
      'stays',
    ],
    ['nor one that names what is being started', undoing, { intent: intent('undo', 1) }, 'stays'],
    [
      'the digest known, it stays an undo',
      { phase: 'resolving', stable: g(2), next: g(1), undo: true },
      { resolution: { kind: 'resolved', image: 'app@sha256:1' } },
      undoing,
    ],
    [
      'and at the switch',
      undoing,
      { isReady: n => n === 1 },
      { phase: 'draining', live: g(1), old: g(2), undo: true },
    ],
    [
      'naming the stable generation calls it off',
      undoing,
      { intent: intent('undo', 2) },
      { phase: 'reverted', stable: g(2), rejected: g(1) },
    ],
    [
      'an undo to a third generation aborts and goes there',
      warming,
      { intent: intent('undo', 3) },
      { phase: 'resolving', stable: g(1), next: g(3), undo: true },
    ],
    [
      'an undo to a third generation that is gone changes nothing',
      warming,
      { intent: intent('undo', 3), exists: n => n !== 3 },
      'stays',
    ],
    ['abort', resolving, { intent: intent('abort') }, { phase: 'reverted', stable: g(1), rejected: g(2) }],
    ['abort of nothing changes nothing', settled, { intent: intent('abort') }, 'stays'],
    [
      'undo of the first generation changes nothing',
      { phase: 'settled', live: g(1) },
      { asked: g(2), intent: intent('undo') },
      'stays',
    ],
    [
      'undo to a generation that is gone changes nothing',
      settled,
      { intent: intent('undo', 7), exists: () => false },
      'stays',
    ],
    [
      'a reverted generation is not tried again by itself',
      { phase: 'reverted', stable: g(1), rejected: g(2) },
      {},
      'stays',
    ],
    [
      'a new PUT is a new attempt',
      { phase: 'reverted', stable: g(1), rejected: g(2) },
      { asked: g(3) },
      { phase: 'resolving', stable: g(1), next: g(3) },
    ],
  ]
  test.each(rows)('%s', (_, phase, changes, expected) => {
    const before = at(phase)
    const { rollout } = advance(before, seen(changes), policy)
    if (expected === 'stays') expect(rollout).toBe(before)
    else expect(rollout.now).toEqual(expected)
  })
})

test.each<[string, Partial<Rollout>, Partial<RolloutSeen>, readonly number[] | undefined]>([
  ['the ports of the route, where the last one settled', { now: settled }, {}, [80]],
  ['none for a first generation', { now: { phase: 'reverted', rejected: g(2) } }, {}, undefined],
  [
    'those of the attempt before, where that was given up',
    { now: { phase: 'reverted', stable: g(1), rejected: g(2) } },
    {},
    [79],
  ],
  ['or is superseded', { now: warming }, {}, [79]],
  ['or was switched back', { now: { phase: 'settled', live: g(1), warm: g(2) } }, {}, [79]],
  [
    'the route, where the last one turned out to be the live one',
    { now: { phase: 'settled', live: g(1) }, same: { 2: g(1) } },
    {},
    [80],
  ],
])('the ports that a rollout is measured by: %s', (_, before, changes, expected) => {
  const record = at(settled, { portsBefore: [79], ...before })
  const taken = advance(record, seen({ asked: g(3), routedPorts: [80], ...changes }), policy).rollout
  expect(taken.now).toMatchObject({ phase: 'resolving', next: 3 })
  expect(taken.portsBefore).toEqual(expected)
})

test('a port that is new in a generation is waited for on every host, also on one that came late', () => {
  const isReady = () => true
  const waits = at(warming, { portsBefore: [80] })
  const unserved = heldOnNewHost
  expect(advance(waits, seen({ isReady, unserved }), policy).rollout).toBe(waits)
  const moved = at({ ...draining, unserved: [{ port: 7071, host: 'h1' }] }, { portsBefore: [80] })
  expect(advance(moved, seen({ applied: true, unserved }), policy).rollout).toBe(moved)
  const given = advance(waits, seen({ isReady, unserved, stalledMs: 60_000 }), policy).rollout
  expect(given.rejections).toMatchObject([{ because: 'not-served-by-deadline', evidence: [evidence] }])
})

test('a generation that settles says where it is not served', () => {
  const moved = at({ ...draining, unserved: [{ port: 7071, host: 'h1' }] }, { portsBefore: [7071] })
  expect(advance(moved, seen({ applied: true, unserved: held }), policy).story).toEqual([
    {
      level: 'warning',
      kind: 'settled',
      message: `generation 2 answers, but not everywhere: h1: ${evidence.what}`,
    },
  ])
})

test('a generation that was not served is kept with host, port and holder, also while it answers until another one can', () => {
  const stuck = at(draining)
  const late = seen({ unserved: held, phaseMs: 60_000 })
  const back = advance(stuck, late, policy).rollout
  const expected = [{ generation: 2, because: 'not-served-by-deadline', evidence: [evidence], at: 1 }]
  expect(back.rejections).toEqual(expected)
  const moved = advance(back, { ...late, isReady: () => true }, policy).rollout
  expect(moved.now).toEqual({ phase: 'draining', live: 1, old: 2, undo: true })
  expect(moved.rejections).toEqual(expected)
})

test('a generation that did not make it is kept with its evidence', () => {
  const { rollout, story } = advance(at(warming), seen({ stalledMs: 60_000 }), policy)
  expect(rollout.rejections).toEqual([
    { generation: 2, because: 'not-ready-by-deadline', evidence: [{ what: 'exit 1' }], at: 1 },
  ])
  expect(story).toEqual([expect.objectContaining({ level: 'error', kind: 'reverted' })])
})

test('shares always add up to the whole, and never reach a generation that is not ready', () => {
  const phases: Phase[] = [
    resolving,
    warming,
    draining,
    settled,
    { phase: 'reverted', stable: g(1), rejected: g(2) },
  ]
  for (const phase of phases) {
    expect(trafficShares(phase).reduce((sum, s) => sum + s.share, 0)).toBe(1000)
    const named = wantedGenerations(phase).map(w => w.generation)
    for (const { generation } of trafficShares(phase)) expect(named).toContain(generation)
  }
  expect(liveGeneration(warming)).toBe(1)
  expect(liveGeneration({ phase: 'warming', next: g(1) })).toBeUndefined()
})

test('an undone generation is gone back to only by name', () => {
  const undone = { generation: g(2), because: 'undone' as const, evidence: [], at: 0 }
  const after = at({ phase: 'settled', live: g(1), warm: g(2) }, { rejections: [undone] })
  expect(advance(after, seen({ intent: intent('undo'), isReady: () => true }), policy).rollout).toBe(after)
  const named = advance(after, seen({ intent: intent('undo', 2), isReady: () => true }), policy).rollout
  expect(named.now).toEqual({ phase: 'draining', live: 2, old: 1, undo: true })
})

test('at the switch of an undo the generation that is left counts as undone', () => {
  const { rollout } = advance(at(undoing), seen({ isReady: () => true }), policy)
  expect(rollout.rejections).toEqual([{ generation: 2, because: 'undone', evidence: [], at: 1 }])
  const settledAgain = advance(rollout, seen({ applied: true }), policy).rollout
  expect(settledAgain.now).toEqual({ phase: 'settled', live: 1, warm: 2 })
  const again = seen({ intent: intent('undo'), isReady: () => true })
  expect(advance(settledAgain, again, policy).rollout).toBe(settledAgain)
})

test.each([
  ['aborted', { intent: intent('abort') }],
  ['overtaken by a deploy', { asked: g(3) }],
])('an undo that is %s leaves no mark on the generation that was to come back', (_, changes) => {
  const { rollout } = advance(at(undoing), seen(changes), policy)
  expect(rollout.now.phase).not.toBe('warming')
  expect(rollout.rejections).toEqual([])
})

test('the record does not grow with the number of deploys', () => {
  let rollout = at({ phase: 'settled', live: g(1) }, { images: { 1: 'app@sha256:1' } })
  const line = 'x'.repeat(200)
  for (let n = 3; n < 600; n++) {
    const exists = (generation: number) => generation === 1 || (generation > n - 20 && generation <= n)
    const evidence = () => [{ what: line, lastLog: Array.from({ length: 20 }, () => line) }]
    const step = (changes: Partial<RolloutSeen>) => {
      rollout = advance(rollout, seen({ asked: g(n), exists, evidence, ...changes }), policy).rollout
    }
    step({})
    step({ resolution: { kind: 'resolved', image: `registry.example/app@sha256:${'0'.repeat(64)}` } })
    step({ stalledMs: 60_000 })
    expect(rollout.now.phase).toBe('reverted')
  }
  expect(JSON.stringify(rollout).length).toBeLessThan(32_768)
})
