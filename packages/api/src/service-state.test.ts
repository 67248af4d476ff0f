import type { HostId, InstanceId } from '@boxcar/core/model/ids'
import type { Misplaced } from '@boxcar/core/placement/misplaced'
import { expect, test } from 'vitest'
import { type ServiceFacts, type ServiceState, serviceState } from './service-state.ts'

type RolloutFacts = ServiceFacts['rollout']

const settled: RolloutFacts = {
  phase: 'settled',
  words: 'generation 1 answers',
  outcome: 'live',
  asked: 1,
  live: 1,
}
const rejected = (because: string): NonNullable<RolloutFacts['rejection']> => ({
  generation: 2,
  because,
  words: `generation 2: ${because}`,
  evidence: [],
  at: 0,
})
/** Generation 2 is asked for and was given up; 1 answers. */
const backAt1 = (phase: RolloutFacts['phase'], because: string): RolloutFacts => ({
  ...settled,
  phase,
  outcome: 'rejected',
  asked: 2,
  rejection: rejected(because),
})
const misplacedInstance: Misplaced = {
  instance: 'shop/web/1/0' as InstanceId,
  host: 'h1' as HostId,
  obstacles: [{ kind: 'label', want: 'zone = a', have: 'no label zone' }],
}

interface Case {
  readonly name: string
  readonly facts: Partial<ServiceFacts>
  readonly is: ServiceState
}

const one = '1 of 1 instances are ready'
const cases: readonly Case[] = [
  { name: 'as it was asked for', facts: {}, is: { available: true, status: 'ready', reason: one } },
  {
    name: 'scaled to 0',
    facts: { replicas: 0, ready: 0 },
    is: { available: true, status: 'ready', reason: 'scaled to 0' },
  },
  {
    name: 'an instance is not ready',
    facts: { replicas: 2 },
    is: { available: false, status: 'degraded', reason: '1 of 2 instances are ready' },
  },
  {
    name: 'undone by a person',
    facts: { rollout: backAt1('settled', 'undone') },
    is: {
      available: true,
      status: 'ready',
      reason: `${one}; generation 1 answers after an undo, the spec asks for generation 2`,
    },
  },
  {
    name: 'undone, to a generation that was started again first',
    facts: { rollout: { ...settled, outcome: 'rejected', asked: 2 } },
    is: {
      available: true,
      status: 'ready',
      reason: `${one}; generation 1 answers after an undo, the spec asks for generation 2`,
    },
  },
  {
    name: 'undone, and an instance is not ready',
    facts: { rollout: backAt1('settled', 'undone'), ready: 0 },
    is: {
      available: false,
      status: 'degraded',
      reason:
        '0 of 1 instances are ready; generation 1 answers after an undo, the spec asks for generation 2',
    },
  },
  {
    name: 'undone, while the proxies take it up',
    facts: { rollout: { ...backAt1('draining', 'undone'), words: 'generation 1 answers; …' } },
    is: { available: true, status: 'rolling-out', reason: 'generation 1 answers; …' },
  },
  {
    name: 'undone, while the generation starts again',
    facts: { rollout: { ...settled, phase: 'warming', words: 'generation 1 starts again' } },
    is: { available: true, status: 'rolling-out', reason: 'generation 1 starts again' },
  },
  {
    name: 'aborted by a person',
    facts: { rollout: backAt1('reverted', 'aborted') },
    is: {
      available: true,
      status: 'ready',
      reason: `${one}; generation 1 answers after an abort, the spec asks for generation 2`,
    },
  },
  {
    name: 'the first generation was aborted: nothing answers',
    facts: {
      rollout: {
        phase: 'reverted',
        words: '',
        outcome: 'rejected',
        asked: 2,
        rejection: rejected('aborted'),
      },
      ready: 0,
    },
    is: { available: false, status: 'reverted', reason: 'generation 2: aborted; nothing answers' },
  },
  {
    name: 'the deploy failed, and the old generation serves in full',
    facts: { rollout: backAt1('reverted', 'not-ready-by-deadline') },
    is: {
      available: true,
      status: 'reverted',
      reason: 'generation 2: not-ready-by-deadline; generation 1 answers',
    },
  },
  {
    name: 'the deploy failed, and the old generation does not serve in full',
    facts: { rollout: backAt1('reverted', 'not-ready-by-deadline'), ready: 0 },
    is: {
      available: false,
      status: 'reverted',
      reason: 'generation 2: not-ready-by-deadline; generation 1 answers; 0 of 1 instances are ready',
    },
  },
  {
    name: 'the next generation starts beside one that serves in full',
    facts: {
      rollout: { ...settled, phase: 'warming', outcome: 'under-way', asked: 2, words: 'generation 2 starts' },
    },
    is: { available: true, status: 'rolling-out', reason: 'generation 2 starts' },
  },
  {
    name: 'the first generation starts',
    facts: {
      rollout: { phase: 'warming', words: 'generation 1 starts', outcome: 'under-way', asked: 1 },
      ready: 0,
    },
    is: { available: false, status: 'rolling-out', reason: 'generation 1 starts' },
  },
  {
    name: 'the first generation of none',
    facts: {
      rollout: { phase: 'accepted', words: 'accepted', outcome: 'under-way', asked: 1 },
      replicas: 0,
      ready: 0,
    },
    is: { available: false, status: 'rolling-out', reason: 'accepted' },
  },
  {
    name: 'instances wait',
    facts: { replicas: 3, pending: { count: 1 } },
    is: { available: false, status: 'waiting', reason: '1 instance cannot be placed on any host' },
  },
  {
    name: 'a host does not serve a route',
    facts: {
      unserved: [
        { host: 'h1', reason: 'proxy-failing', words: 'its proxy fails: it died', next: 'see its log' },
      ],
    },
    is: { available: false, status: 'degraded', reason: `${one}; h1: its proxy fails: it died` },
  },
  {
    name: 'the leader fails at it',
    facts: {
      pending: {
        count: 0,
        obstacles: [{ kind: 'internal-error', doing: 'planning it', error: 'out of slots' }],
      },
    },
    is: {
      available: true,
      status: 'waiting',
      reason: 'internal error: the leader fails at planning it and tries again: out of slots',
    },
  },
  {
    name: 'all ready, one stands where it could not be placed now',
    facts: { misplaced: [misplacedInstance] },
    is: {
      available: true,
      status: 'misplaced',
      reason: `${one}; 1 instance stands where it could not be placed now: shop/web/1/0 on h1 wants 'zone = a', has no label zone`,
    },
  },
  {
    name: 'one of two such is not ready',
    facts: { replicas: 2, misplaced: [misplacedInstance, misplacedInstance] },
    is: {
      available: false,
      status: 'degraded',
      reason:
        "1 of 2 instances are ready; 2 instances stand where they could not be placed now: shop/web/1/0 on h1 wants 'zone = a', has no label zone (and 1 more)",
    },
  },
  {
    name: 'of what is about to be replaced nothing is said',
    facts: {
      rollout: { ...settled, phase: 'warming', outcome: 'under-way', asked: 2, words: 'generation 2 starts' },
      misplaced: [misplacedInstance],
    },
    is: { available: true, status: 'rolling-out', reason: 'generation 2 starts' },
  },
]

test.each(cases)('$name', ({ facts, is }) => {
  expect(
    serviceState({
      rollout: settled,
      replicas: 1,
      ready: 1,
      pending: undefined,
      unserved: [],
      misplaced: [],
      ...facts,
    }),
  ).toEqual(is)
})
