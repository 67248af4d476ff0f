import { describe, expect, test } from 'vitest'
import type { Instant } from '../model/clock.ts'
import {
  beginProbes,
  dueProbes,
  heardProbe,
  nextDue,
  type ProbeKind,
  type ProbePlan,
  pokeProbe,
  standingFailure,
} from './probe-state.ts'

const timing = (every: number, failures: number) => ({ every, failures, pace: 'quick' as const })
const both: ProbePlan = { startup: undefined, readiness: timing(2000, 2), liveness: timing(5000, 3) }

/** Runs probes against a container whose answers are told by time; gives what happened, and when. */
function run(
  plan: ProbePlan,
  answers: (kind: ProbeKind, at: number) => 'passed' | 'failed' | 'undecided',
  untilMs: number,
  was: 'new' | 'ready' = 'new',
) {
  let now = 0 as Instant
  let state = beginProbes(plan, was, now)
  const asked: Record<ProbeKind, number[]> = { startup: [], readiness: [], liveness: [] }
  const seen: string[] = [state.ready ? '0 ready' : '0 unready']
  for (;;) {
    for (const kind of dueProbes(state, now)) {
      asked[kind].push(now)
      const before = state
      const kindly = answers(kind, now)
      state = heardProbe(
        state,
        plan,
        kind,
        kindly === 'failed' ? { kind: 'failed', output: `${kind} no`, silent: false } : { kind: kindly },
        now,
      )
      if (before.ready !== state.ready) seen.push(`${now} ${state.ready ? 'ready' : 'unready'}`)
      if (state.ended !== undefined) seen.push(`${now} ended by ${state.ended.kind}`)
    }
    const next = nextDue(state)
    if (next === undefined || next > untilMs) return { state, asked, seen }
    now = next
  }
}

describe('the probes of a run', () => {
  test('are asked quickly until the first time ready, then as told', () => {
    const { asked, seen } = run(
      both,
      (kind, at) => (kind === 'liveness' || at >= 900 ? 'passed' : 'failed'),
      7000,
    )
    expect(asked.readiness).toEqual([0, 25, 75, 175, 375, 575, 775, 975, 2975, 4975, 6975])
    expect(asked.liveness).toEqual([5000])
    expect(seen).toEqual(['0 unready', '975 ready'])
  })

  test('readiness needs its count of failures to take traffic away, and one answer to give it back', () => {
    const { seen } = run(
      { ...both, liveness: undefined },
      (_, at) => (at >= 4000 && at < 9000 ? 'failed' : 'passed'),
      12_000,
    )
    expect(seen).toEqual(['0 unready', '0 ready', '6000 unready', '10000 ready'])
  })

  test('one failure between two answers takes nothing away', () => {
    const { seen } = run(
      { ...both, liveness: undefined },
      (_, at) => (at === 4000 ? 'failed' : 'passed'),
      9000,
    )
    expect(seen).toEqual(['0 unready', '0 ready'])
  })

  test('liveness ends the run after its count of failures in a row', () => {
    const { seen, asked } = run(both, kind => (kind === 'liveness' ? 'failed' : 'passed'), 60_000)
    expect(asked.liveness).toEqual([5000, 10_000, 15_000])
    expect(seen.slice(-2)).toEqual(['15000 unready', '15000 ended by liveness'])
  })

  test('nothing else is asked before startup passed', () => {
    const plan = { ...both, startup: timing(1000, 60) }
    const { asked, seen } = run(
      plan,
      (kind, at) => (kind !== 'startup' || at >= 400 ? 'passed' : 'failed'),
      4000,
    )
    expect(asked.startup.at(-1)).toBe(575)
    expect(asked.readiness[0]).toBe(575)
    expect(asked.liveness).toEqual([])
    expect(seen).toEqual(['0 unready', '575 ready'])
  })

  test('startup is given the time that its spec says, however often it is asked', () => {
    const { seen } = run({ ...both, startup: timing(1000, 5) }, () => 'failed', 60_000)
    expect(seen.at(-1)).toMatch(/ended by startup/)
    expect(Number.parseInt(seen.at(-1) ?? '', 10)).toBeGreaterThanOrEqual(5000)
    expect(Number.parseInt(seen.at(-1) ?? '', 10)).toBeLessThan(5300)
  })

  test('without a readiness probe it is ready once it started', () => {
    expect(
      run({ startup: undefined, readiness: 'started', liveness: undefined }, () => 'passed', 9).seen,
    ).toEqual(['0 ready'])
    const plan: ProbePlan = { startup: timing(1000, 60), readiness: 'started', liveness: undefined }
    expect(run(plan, (_, at) => (at >= 100 ? 'passed' : 'failed'), 900).seen).toEqual([
      '0 unready',
      '175 ready',
    ])
  })

  test('a run that was ready stays ready when it is taken up again', () => {
    const plan = { ...both, startup: timing(1000, 60) }
    const { seen, asked } = run(plan, () => 'passed', 2000, 'ready')
    expect(seen).toEqual(['0 ready'])
    expect(asked.startup).toEqual([])
    expect(run(plan, () => 'failed', 2000, 'ready').seen).toEqual(['0 ready', '2000 unready'])
  })

  test('the engine is asked at its own pace, and when it tells of a change', () => {
    const plan: ProbePlan = {
      startup: undefined,
      readiness: { every: 2000, failures: 2, pace: 'as-told' },
      liveness: undefined,
    }
    expect(run(plan, () => 'failed', 5000).asked.readiness).toEqual([0, 2000, 4000])
    const state = heardProbe(
      beginProbes(plan, 'new', 0 as Instant),
      plan,
      'readiness',
      { kind: 'failed', output: '', silent: false },
      0 as Instant,
    )
    expect(dueProbes(state, 500 as Instant)).toEqual([])
    expect(dueProbes(pokeProbe(state, 'readiness', 500 as Instant), 500 as Instant)).toEqual(['readiness'])
  })

  test('what is undecided moves nothing, whichever probe is asked, and is asked again within a second', () => {
    const plan = { ...both, startup: timing(1000, 3) }
    const undecided = run(plan, () => 'undecided', 60_000)
    expect(undecided.seen).toEqual(['0 unready'])
    expect(undecided.asked.startup.slice(0, 3)).toEqual([0, 1000, 2000])
    const later = run(both, (_, at) => (at < 30_000 ? 'undecided' : 'passed'), 40_000)
    expect(later.seen).toEqual(['0 unready', '30000 ready'])
    expect(run(both, () => 'undecided', 60_000, 'ready').seen).toEqual(['0 ready'])
  })

  test('what is undecided between two failures neither counts nor forgives', () => {
    const { seen } = run(
      { ...both, liveness: undefined },
      (_, at) => (at < 4000 ? 'passed' : at < 5000 || at >= 8000 ? 'failed' : 'undecided'),
      20_000,
      'ready',
    )
    expect(seen).toEqual(['0 ready', '8000 unready'])
  })

  test('what keeps it from being ready explains it before what might end it', () => {
    const { state } = run(both, () => 'failed', 6000)
    expect(standingFailure(state)).toEqual({ kind: 'readiness', output: 'readiness no', silent: false })
  })
})
