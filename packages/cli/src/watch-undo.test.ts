import type { RolloutView } from '@boxcar/api/views'
import { expect, test } from 'vitest'
import { type UndoAsk, undoStanding } from './watch-undo.ts'

const view = (phase: RolloutView['phase'], rest: Partial<RolloutView> = {}): RolloutView => ({
  service: 'default/web',
  words: '',
  outcome: 'live',
  asked: 2,
  shares: [],
  counts: [],
  images: {},
  since: 1,
  phase,
  ...rest,
})

const settled = view('settled', { live: 2, warm: 1 })
const moving = view('warming', { live: 2, next: 3, asked: 3 })
const givenUp = view('reverted', { live: 2, asked: 3 })

const rows: readonly {
  readonly name: string
  readonly ask: UndoAsk
  readonly now: RolloutView
  readonly is: ReturnType<typeof undoStanding>
}[] = [
  {
    name: 'traffic is being moved back',
    ask: { before: settled, acted: 'done', to: undefined },
    now: view('draining', { live: 1, old: 2, since: 2 }),
    is: 'under-way',
  },
  {
    name: 'the warm generation answers',
    ask: { before: settled, acted: 'done', to: undefined },
    now: view('settled', { live: 1, warm: 2, since: 3 }),
    is: 'undone',
  },
  {
    name: 'the named generation answers, after a cold start',
    ask: { before: settled, acted: 'done', to: 1 },
    now: view('settled', { live: 1, since: 3 }),
    is: 'undone',
  },
  {
    name: 'the named generation never got ready',
    ask: { before: settled, acted: 'done', to: 1 },
    now: view('reverted', { live: 2, since: 3 }),
    is: 'reverted',
  },
  {
    name: 'a rollout that was under way is given up: that was asked for',
    ask: { before: moving, acted: 'done', to: undefined },
    now: view('reverted', { live: 2, asked: 3, since: 3 }),
    is: 'undone',
  },
  {
    name: 'the same, where the stable generation was named',
    ask: { before: moving, acted: 'done', to: 2 },
    now: view('reverted', { live: 2, asked: 3, since: 3 }),
    is: 'undone',
  },
  {
    name: 'an earlier generation than the stable one was named, and never got ready',
    ask: { before: moving, acted: 'done', to: 1 },
    now: view('reverted', { live: 2, asked: 3, since: 3 }),
    is: 'reverted',
  },
  {
    name: 'given up long before: says nothing while the leader has not acted',
    ask: { before: givenUp, acted: 'asked', to: 1 },
    now: givenUp,
    is: 'under-way',
  },
  {
    name: 'given up before, and again now',
    ask: { before: givenUp, acted: 'asked', to: 1 },
    now: { ...givenUp, since: 3 },
    is: 'reverted',
  },
  {
    name: 'settled as before: the leader has not acted',
    ask: { before: settled, acted: 'asked', to: undefined },
    now: settled,
    is: 'under-way',
  },
  {
    name: 'somebody deployed in between',
    ask: { before: settled, acted: 'done', to: 1 },
    now: view('settled', { live: 3, asked: 3, since: 3 }),
    is: 'elsewhere',
  },
]

test.each(rows)('$name: $is', ({ ask, now, is }) => {
  expect(undoStanding(now, ask)).toBe(is)
})
