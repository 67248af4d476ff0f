/**
 * What the probes of one running container said so far, and when each is due. Startup first: until it passes, the others
 * wait. Then readiness moves traffic only, and liveness ends the run only. Until the container is ready for the first time it
 * is asked quickly, whatever its spec says, since every rollout waits for just that; failures are then counted by time.
 */
import { after, elapsed, type Instant } from '../model/clock.ts'

export type ProbeKind = 'startup' | 'readiness' | 'liveness'

export interface ProbeTiming {
  /** Milliseconds. */
  readonly every: number
  /** Failures in a row that count as one verdict. */
  readonly failures: number
  /** Whether asking costs so little that it is done quickly until the first time ready. */
  readonly pace: 'quick' | 'as-told'
}

export interface ProbePlan {
  readonly startup: ProbeTiming | undefined
  /** started: ready as soon as the startup probe passed, or at once where there is none. */
  readonly readiness: ProbeTiming | 'started'
  readonly liveness: ProbeTiming | undefined
}

export type ProbeAnswer =
  | { readonly kind: 'passed' }
  | ({ readonly kind: 'failed' } & Said)
  /** Nothing was learnt: the engine has no verdict yet, or whoever asked could not hear. Everything stays as it was. */
  | { readonly kind: 'undecided' }

/** What a probe that failed was told. */
export interface Said {
  readonly output: string
  /** It was told nothing in time. A refusal is the instance's own word; silence may be a machine that is too busy. */
  readonly silent: boolean
}

export interface ProbeFailure extends Said {
  readonly kind: ProbeKind
}

export interface ProbeState {
  readonly since: Instant
  readonly started: boolean
  readonly ready: boolean
  readonly everReady: boolean
  /** Answers of this kind in a row that failed. */
  readonly failed: Readonly<Record<ProbeKind, number>>
  readonly asked: Readonly<Record<ProbeKind, number>>
  readonly dueAt: Readonly<Record<ProbeKind, Instant | undefined>>
  /** What was said last by each kind whose last answer failed. */
  readonly failing: Readonly<Partial<Record<ProbeKind, Said>>>
  /** The run is to be ended. Final. */
  readonly ended: ProbeFailure | undefined
}

/** The steps before the usual pace: most processes listen within a few dozen milliseconds. */
const quickSteps = [25, 50, 100]
export const quickMs = 200

/** `was`: what an earlier look at the same run knew, so that an agent's restart moves no traffic. */
export function beginProbes(plan: ProbePlan, was: 'new' | 'ready', now: Instant): ProbeState {
  const ready = was === 'ready' || (plan.startup === undefined && plan.readiness === 'started')
  const started = was === 'ready' || plan.startup === undefined
  return {
    since: now,
    started,
    ready,
    everReady: ready,
    failed: { startup: 0, readiness: 0, liveness: 0 },
    asked: { startup: 0, readiness: 0, liveness: 0 },
    dueAt: {
      startup: started ? undefined : now,
      readiness: started && plan.readiness !== 'started' ? now : undefined,
      liveness: started && plan.liveness !== undefined ? after(now, plan.liveness.every) : undefined,
    },
    failing: {},
    ended: undefined,
  }
}

const kinds: readonly ProbeKind[] = ['startup', 'readiness', 'liveness']

/** The failure that explains the state best: what ended the run, else what keeps it from being ready. */
export function standingFailure(state: ProbeState): ProbeFailure | undefined {
  if (state.ended !== undefined) return state.ended
  for (const kind of kinds) {
    const said = state.failing[kind]
    if (said !== undefined) return { kind, ...said }
  }
  return undefined
}

/** The probes to ask now. */
export const dueProbes = (state: ProbeState, now: Instant): readonly ProbeKind[] =>
  state.ended === undefined
    ? kinds.filter(kind => (state.dueAt[kind] ?? Number.POSITIVE_INFINITY) <= now)
    : []

/** When the next one is due, of those that are not being asked just now; nothing where none ever is. */
export function nextDue(state: ProbeState, asking: ReadonlySet<ProbeKind> = noneAsked): Instant | undefined {
  if (state.ended !== undefined) return undefined
  let next: Instant | undefined
  for (const kind of kinds) {
    const at = asking.has(kind) ? undefined : state.dueAt[kind]
    if (at !== undefined && (next === undefined || at < next)) next = at
  }
  return next
}

const noneAsked: ReadonlySet<ProbeKind> = new Set()

/** Brings a probe forward: something happened that makes its answer likely to have changed. */
export function pokeProbe(state: ProbeState, kind: ProbeKind, now: Instant): ProbeState {
  const at = state.dueAt[kind]
  return at === undefined || at <= now ? state : { ...state, dueAt: { ...state.dueAt, [kind]: now } }
}

/** The state after an answer that was heard now. Answers to a run that is to be ended change nothing. */
export function heardProbe(
  state: ProbeState,
  plan: ProbePlan,
  kind: ProbeKind,
  answer: ProbeAnswer,
  now: Instant,
): ProbeState {
  if (state.ended !== undefined || state.dueAt[kind] === undefined) return state
  const timing = timingOf(plan, kind)
  if (timing === undefined) return state
  if (answer.kind === 'undecided') {
    const soon = after(now, Math.min(timing.every, undecidedMs))
    return { ...state, dueAt: { ...state.dueAt, [kind]: soon } }
  }
  const counted = count(state, kind, answer)
  const judged = judge(counted, plan, kind, timing, answer, now)
  return { ...judged, dueAt: { ...judged.dueAt, [kind]: nextOf(judged, kind, timing, now) } }
}

/** What told nothing is asked again so soon, or as its spec says where that is sooner. */
const undecidedMs = 1000

type Verdict = Exclude<ProbeAnswer, { readonly kind: 'undecided' }>

const timingOf = (plan: ProbePlan, kind: ProbeKind): ProbeTiming | undefined =>
  kind === 'readiness' ? (plan.readiness === 'started' ? undefined : plan.readiness) : plan[kind]

function count(state: ProbeState, kind: ProbeKind, answer: Verdict): ProbeState {
  const passed = answer.kind === 'passed'
  const { [kind]: _, ...others } = state.failing
  const failing = passed ? others : { ...others, [kind]: { output: answer.output, silent: answer.silent } }
  return {
    ...state,
    asked: { ...state.asked, [kind]: state.asked[kind] + 1 },
    failed: { ...state.failed, [kind]: passed ? 0 : state.failed[kind] + 1 },
    failing,
  }
}

function judge(
  state: ProbeState,
  plan: ProbePlan,
  kind: ProbeKind,
  timing: ProbeTiming,
  answer: Verdict,
  now: Instant,
): ProbeState {
  const passed = answer.kind === 'passed'
  const failure = passed ? undefined : { kind, output: answer.output, silent: answer.silent }
  switch (kind) {
    case 'startup':
      if (passed) return begun(state, plan, now)
      // By time and not by count: it is asked more often than `every` says.
      return elapsed(state.since, now) >= timing.every * timing.failures
        ? { ...state, ended: failure }
        : state
    case 'readiness':
      if (passed) return { ...state, ready: true, everReady: true }
      return state.failed.readiness >= timing.failures ? { ...state, ready: false } : state
    case 'liveness':
      return state.failed.liveness >= timing.failures ? { ...state, ready: false, ended: failure } : state
  }
}

function begun(state: ProbeState, plan: ProbePlan, now: Instant): ProbeState {
  const ready = plan.readiness === 'started'
  return {
    ...state,
    started: true,
    ready,
    everReady: ready,
    dueAt: {
      startup: undefined,
      readiness: ready ? undefined : now,
      liveness: plan.liveness === undefined ? undefined : after(now, plan.liveness.every),
    },
  }
}

function nextOf(state: ProbeState, kind: ProbeKind, timing: ProbeTiming, now: Instant): Instant | undefined {
  if (kind === 'startup' && state.started) return undefined
  const quick = kind !== 'liveness' && !state.everReady && timing.pace === 'quick'
  if (!quick) return after(now, timing.every)
  return after(now, Math.min(timing.every, quickSteps[state.asked[kind] - 1] ?? quickMs))
}
