/**
 * A rollout, phase by phase: the image becomes a digest (resolving), the next generation starts beside the stable one
 * (warming), traffic moves by one write (draining while the proxies apply it), the old generation stays warm for an undo
 * (settled), or the next one is given up (reverted). The record is all there is: a new leader reads it and goes on.
 *
 * It goes no further while a live host cannot serve a listener that it newly promises or would make worse (unserved.ts), and is
 * given up by its deadline. A way back is never held up by that: what was not served before may stay so.
 */
import type { GenerationNumber } from '../model/ids.ts'
import type { Evidence, Phase, Rejection, Rollout } from '../model/rollout.ts'
import type { Intent } from '../model/service.ts'
import { boundedEvidence } from './evidence.ts'
import { countedUnserved, portsBeforeRollout, type UnservedLookup, unservedAtSwitch } from './unserved.ts'

/** What a host's engine said of an image. */
export type Resolution =
  | { readonly kind: 'resolved'; readonly image: string }
  | {
      readonly kind: 'failed'
      readonly reason: string
      readonly permanent: boolean
      /** Asking threw: no host said so, it is a failure of the leader itself. */
      readonly isInternal?: boolean
    }

/** What is seen of a service when its rollout is looked at. */
export interface RolloutSeen {
  /** The generation that the spec asks for. */
  readonly asked: GenerationNumber
  readonly intent: Intent | undefined
  /** Of the generation that is being resolved. */
  readonly resolution: Resolution | undefined
  /** All instances that the generation shall have are ready. */
  readonly isReady: (generation: GenerationNumber) => boolean
  /** Every live proxy applies what this phase wants. */
  readonly applied: boolean
  /** What live hosts say they cannot serve of the service's listeners; not all of it holds up the rollout. */
  readonly unserved: UnservedLookup
  /** The ports of the stored route. */
  readonly routedPorts: readonly number[]
  /** Since this leader first saw the phase; a new leader begins afresh. */
  readonly phaseMs: number
  /** Since the phase last got further. */
  readonly stalledMs: number
  readonly evidence: (generation: GenerationNumber) => readonly Evidence[]
  /** The generation is still kept. */
  readonly exists: (generation: GenerationNumber) => boolean
  /** The same container as another generation, were it pinned to this image. */
  readonly isSame: (generation: GenerationNumber, image: string, other: GenerationNumber) => boolean
  /** By the wall, for people. */
  readonly wall: number
}

export interface RolloutPolicy {
  readonly progressDeadlineMs: number
  readonly keepWarmMs: number
}

/** Why a phase changed, or why an intent changed nothing; one sentence, for the event. */
export interface Step {
  readonly rollout: Rollout
  readonly story: readonly {
    readonly level: 'info' | 'warning' | 'error'
    readonly kind: string
    readonly message: string
  }[]
}

/** The next record given what is seen now; the same object when nothing changes. */
export function advance(rollout: Rollout, seen: RolloutSeen, policy: RolloutPolicy): Step {
  // What was asked for before an intent was said is taken up before the intent is obeyed: it may be meant.
  if (isNewlyAsked(rollout, seen)) return takeUp(rollout, seen)
  if (seen.intent !== undefined) return obey(rollout, seen.intent, seen)
  switch (rollout.now.phase) {
    case 'resolving':
      return resolving(rollout, rollout.now, seen, policy)
    case 'warming':
      return warming(rollout, rollout.now, seen, policy)
    case 'draining':
      return draining(rollout, rollout.now, seen, policy)
    case 'settled':
      return rollout.now.warm !== undefined && seen.phaseMs >= policy.keepWarmMs
        ? enter(
            rollout,
            { phase: 'settled', live: rollout.now.live },
            seen,
            'info',
            'cooled',
            `generation ${rollout.now.warm} is no longer kept warm`,
          )
        : same(rollout)
    case 'reverted':
      return same(rollout)
    default:
      return unreachable(rollout.now)
  }
}

/** Whether a generation waits to be taken up; not while traffic moves. */
export const isNewlyAsked = (rollout: Rollout, seen: Pick<RolloutSeen, 'asked' | 'exists'>): boolean =>
  seen.asked !== rollout.asked && rollout.now.phase !== 'draining' && seen.exists(seen.asked)

/** A live proxy that does not take a new route for so long holds up no rollout any more; nothing it uses is stopped. */
export const patienceMs = 60_000

/** The record of a service that nobody has looked at yet. */
export function begin(
  service: Rollout['service'],
  uid: string,
  asked: GenerationNumber,
  wall: number,
): Rollout {
  return {
    service,
    uid,
    term: '',
    asked,
    now: { phase: 'resolving', next: asked },
    images: {},
    rejections: [],
    same: {},
    since: wall,
  }
}

export interface Share {
  readonly generation: GenerationNumber
  /** Tenths of a percent. */
  readonly share: number
}

/** Read from the phase, so it cannot disagree with it. Generations with share 0 are known to the proxies ahead, or kept for an undo. */
export function trafficShares(phase: Phase): readonly Share[] {
  const shares = (all: GenerationNumber | undefined, none: GenerationNumber | undefined): Share[] => [
    ...(all === undefined ? [] : [{ generation: all, share: 1000 }]),
    ...(none === undefined ? [] : [{ generation: none, share: 0 }]),
  ]
  switch (phase.phase) {
    case 'resolving':
      return shares(phase.stable, phase.warm)
    case 'warming':
      return shares(phase.stable, phase.next)
    case 'draining':
      return shares(phase.live, phase.old)
    case 'settled':
      return shares(phase.live, phase.warm)
    case 'reverted':
      return shares(phase.stable, undefined)
    default:
      return unreachable(phase)
  }
}

/** full: all its instances, the missing ones are placed. keep: what still runs goes on, nothing is placed. */
export interface Wanted {
  readonly generation: GenerationNumber
  readonly fill: 'full' | 'keep'
}

/** The generations that the phase names; instances of any other are not wanted. */
export function wantedGenerations(phase: Phase): readonly Wanted[] {
  const list = (full: readonly (GenerationNumber | undefined)[], keep?: GenerationNumber): Wanted[] => [
    ...full.filter(g => g !== undefined).map(generation => ({ generation, fill: 'full' as const })),
    ...(keep === undefined ? [] : [{ generation: keep, fill: 'keep' as const }]),
  ]
  switch (phase.phase) {
    case 'resolving':
      return list([phase.stable], phase.warm)
    case 'warming':
      return list([phase.stable, phase.next])
    case 'draining':
      return list([phase.live], phase.old)
    case 'settled':
      return list([phase.live], phase.warm)
    case 'reverted':
      return list([phase.stable])
    default:
      return unreachable(phase)
  }
}

/** What keeps an undo that names no generation from meaning one thing. */
export type UnclearUndo =
  | { readonly kind: 'under-way' }
  | { readonly kind: 'newer-asked'; readonly asked: GenerationNumber }
  | {
      readonly kind: 'given-up'
      readonly rejected: GenerationNumber
      readonly stable: GenerationNumber | undefined
    }
  | { readonly kind: 'undone'; readonly warm: GenerationNumber }

/** Why an undo that names no generation could mean two things; then nothing is done. One rule for the API and the leader. */
export function unclearUndo(rollout: Rollout, asked: GenerationNumber): UnclearUndo | undefined {
  const { now } = rollout
  if (now.phase === 'draining' && now.undo) return { kind: 'under-way' }
  if (now.phase === 'draining' && asked !== rollout.asked) return { kind: 'newer-asked', asked }
  // A newer generation is taken up first, and the undo is then an abort of it.
  if (asked !== rollout.asked) return undefined
  if (isInProgress(now)) return now.undo === true ? { kind: 'under-way' } : undefined
  if (now.phase === 'reverted') return { kind: 'given-up', rejected: now.rejected, stable: now.stable }
  const warm = now.phase === 'settled' ? now.warm : undefined
  return warm !== undefined && rollout.rejections.some(r => r.generation === warm)
    ? { kind: 'undone', warm }
    : undefined
}

function unclearWords(unclear: UnclearUndo): string {
  switch (unclear.kind) {
    case 'under-way':
      return 'an undo is under way already'
    case 'newer-asked':
      return `generation ${unclear.asked} is about to be rolled out; undo it then, or name a generation`
    case 'given-up':
      return 'the last rollout was given up already; name the generation to go back to'
    case 'undone':
      return `generation ${unclear.warm} was undone; name it to go back to it`
  }
}

/** The generation that answers users now. */
export const liveGeneration = (phase: Phase): GenerationNumber | undefined =>
  trafficShares(phase).find(s => s.share > 0)?.generation

function obey(rollout: Rollout, intent: Intent, seen: RolloutSeen): Step {
  const now = rollout.now
  if (!isInProgress(now))
    return intent.kind === 'undo'
      ? undo(rollout, intent, seen)
      : refused(rollout, 'there is no rollout to abort')
  if (intent.kind === 'undo') {
    if (intent.to === now.next) return refused(rollout, `generation ${now.next} is being started already`)
    if (intent.to !== undefined && intent.to !== now.stable) return turnTo(rollout, now, intent, seen)
    const unclear = intent.to === undefined ? unclearUndo(rollout, seen.asked) : undefined
    if (unclear !== undefined) return refused(rollout, unclearWords(unclear))
  }
  return abort(rollout, now, intent, seen)
}

function abort(rollout: Rollout, now: InProgress, intent: Intent, seen: RolloutSeen): Step {
  const what =
    now.undo === true ? `the undo to generation ${now.next}` : `the rollout of generation ${now.next}`
  return revert(rollout, now, seen, 'aborted', [], `${intent.by} aborted ${what}`)
}

/** An undo that names neither the stable nor the next generation: an abort, and on from there; both or none. */
function turnTo(rollout: Rollout, now: InProgress, intent: Intent, seen: RolloutSeen): Step {
  const aborted = abort(rollout, now, intent, seen)
  const undone = undo(aborted.rollout, intent, seen)
  return undone.rollout === aborted.rollout
    ? { rollout, story: undone.story }
    : { rollout: undone.rollout, story: [...aborted.story, ...undone.story] }
}

function undo(rollout: Rollout, intent: Intent, seen: RolloutSeen): Step {
  const now = rollout.now
  if (intent.to === undefined) {
    const unclear = unclearUndo(rollout, seen.asked)
    if (unclear !== undefined) return refused(rollout, unclearWords(unclear))
  }
  if (
    now.phase === 'draining' &&
    now.old !== undefined &&
    (intent.to ?? now.old) === now.old &&
    seen.isReady(now.old)
  )
    return turnBack(rollout, now.live, now.old, intent, seen)
  if (
    now.phase === 'settled' &&
    now.warm !== undefined &&
    (intent.to ?? now.warm) === now.warm &&
    seen.isReady(now.warm)
  )
    return turnBack(rollout, now.live, now.warm, intent, seen)
  const live = liveGeneration(now)
  const target = intent.to ?? before(rollout, live, seen)
  if (live === undefined || target === undefined || target === live || !seen.exists(target))
    return refused(
      rollout,
      target === undefined
        ? 'there is no earlier generation to go back to'
        : `generation ${target} cannot be gone back to`,
    )
  if (now.phase === 'draining') return refused(rollout, 'traffic is just being moved; try again in a moment')
  const phase: Phase =
    rollout.images[target] === undefined
      ? { phase: 'resolving', stable: live, next: target, undo: true }
      : { phase: 'warming', stable: live, next: target, undo: true }
  return enter(
    rollout,
    phase,
    seen,
    'info',
    'undo',
    `${intent.by} asked to go back from generation ${live} to ${target}, which is started again first`,
  )
}

/** The old generation still runs: one write of the phase and the routes, and traffic is back. */
function turnBack(
  rollout: Rollout,
  from: GenerationNumber,
  to: GenerationNumber,
  intent: Intent,
  seen: RolloutSeen,
): Step {
  const rejected = reject(rollout, from, 'undone', [], seen)
  return enter(
    rejected,
    { phase: 'draining', live: to, old: from, undo: true },
    seen,
    'info',
    'undo',
    `${intent.by} moved traffic back from generation ${from} to ${to}`,
  )
}

/** The newest kept generation below the live one that was not given up. */
function before(
  rollout: Rollout,
  live: GenerationNumber | undefined,
  seen: RolloutSeen,
): GenerationNumber | undefined {
  if (rollout.now.phase === 'settled' && rollout.now.warm !== undefined) return rollout.now.warm
  if (live === undefined) return undefined
  const rejected = new Set(rollout.rejections.map(r => r.generation))
  for (let n = live - 1; n > 0; n--) {
    const generation = n as GenerationNumber
    if (
      seen.exists(generation) &&
      !rejected.has(generation) &&
      rollout.same[n] === undefined &&
      rollout.images[n] !== undefined
    )
      return generation
  }
  return undefined
}

function takeUp(rollout: Rollout, seen: RolloutSeen): Step {
  const now = rollout.now
  const given = isInProgress(now) ? giveUp(rollout, now, 'superseded', [], seen) : rollout
  const stable = stableOf(now)
  const warm = now.phase === 'settled' || now.phase === 'resolving' ? now.warm : undefined
  const next: Phase = {
    phase: 'resolving',
    next: seen.asked,
    ...(stable === undefined ? {} : { stable }),
    ...(warm === undefined ? {} : { warm }),
  }
  const { portsBefore: _earlier, ...kept } = given
  const portsBefore = portsBeforeRollout(rollout, stable, seen.routedPorts)
  return enter(
    { ...kept, asked: seen.asked, ...(portsBefore === undefined ? {} : { portsBefore }) },
    next,
    seen,
    'info',
    'rollout-began',
    `the rollout of generation ${seen.asked} began`,
  )
}

type PhaseOf<Name extends Phase['phase']> = Extract<Phase, { phase: Name }>
/** A generation is on its way and has no traffic yet. */
type InProgress = PhaseOf<'resolving' | 'warming'>

const isInProgress = (now: Phase): now is InProgress => now.phase === 'resolving' || now.phase === 'warming'

function resolving(
  rollout: Rollout,
  now: PhaseOf<'resolving'>,
  seen: RolloutSeen,
  policy: RolloutPolicy,
): Step {
  const answer = seen.resolution
  if (answer?.kind === 'resolved') {
    const images = { ...rollout.images, [now.next]: answer.image }
    if (now.stable !== undefined && seen.isSame(now.next, answer.image, now.stable)) {
      const unchanged = { ...rollout, same: { ...rollout.same, [now.next]: now.stable } }
      return enter(
        unchanged,
        now.warm === undefined
          ? { phase: 'settled', live: now.stable }
          : { phase: 'settled', live: now.stable, warm: now.warm },
        seen,
        'info',
        'unchanged',
        `generation ${now.next} is the same as generation ${now.stable}, which stays`,
      )
    }
    return enter(
      { ...rollout, images },
      {
        phase: 'warming',
        ...(now.stable === undefined ? {} : { stable: now.stable }),
        next: now.next,
        ...(now.undo === true ? { undo: true } : {}),
      },
      seen,
      'info',
      'resolved',
      `generation ${now.next} is pinned to ${answer.image}`,
    )
  }
  const late = seen.stalledMs >= policy.progressDeadlineMs
  if (answer?.kind === 'failed' && (answer.permanent || late))
    return revert(
      rollout,
      now,
      seen,
      'image-not-found',
      [{ what: answer.reason }],
      `the image of generation ${now.next} cannot be had: ${answer.reason}`,
    )
  if (late)
    return revert(
      rollout,
      now,
      seen,
      'image-not-found',
      [{ what: 'no host could be asked for the image' }],
      `no host could be asked for the image of generation ${now.next}`,
    )
  return same(rollout)
}

function warming(rollout: Rollout, now: PhaseOf<'warming'>, seen: RolloutSeen, policy: RolloutPolicy): Step {
  const isUndo = now.undo === true
  const isReady = seen.isReady(now.next)
  const counted = countedUnserved(rollout, seen.unserved)
  if (isReady && counted.length === 0) {
    const unserved = isUndo ? [] : unservedAtSwitch(seen.unserved())
    const phase: Phase = {
      phase: 'draining',
      live: now.next,
      ...(now.stable === undefined ? {} : { old: now.stable }),
      undo: isUndo,
      ...(unserved.length === 0 ? {} : { unserved }),
    }
    const left =
      isUndo && now.stable !== undefined && !isNotServed(rollout, now.stable)
        ? reject(rollout, now.stable, 'undone', [], seen)
        : rollout
    return enter(left, phase, seen, 'info', 'switched', `traffic moves to generation ${now.next}`)
  }
  if (seen.stalledMs < policy.progressDeadlineMs) return same(rollout)
  return isReady
    ? revert(rollout, now, seen, 'not-served-by-deadline', counted, notServed(now.next, counted))
    : revert(
        rollout,
        now,
        seen,
        'not-ready-by-deadline',
        [...seen.evidence(now.next), ...counted],
        `generation ${now.next} was not ready by its deadline`,
      )
}

function draining(
  rollout: Rollout,
  now: PhaseOf<'draining'>,
  seen: RolloutSeen,
  policy: RolloutPolicy,
): Step {
  const counted = countedUnserved(rollout, seen.unserved)
  if (counted.length > 0)
    return seen.phaseMs >= policy.progressDeadlineMs ? moveBack(rollout, now, seen, counted) : same(rollout)
  return seen.applied || seen.phaseMs >= patienceMs ? settle(rollout, now, seen, policy) : same(rollout)
}

/** Its traffic was moved, and a live host did not serve it by the deadline: back to the one before, where there is one. */
function moveBack(
  rollout: Rollout,
  { live, old }: PhaseOf<'draining'>,
  seen: RolloutSeen,
  counted: readonly Evidence[],
): Step {
  const phase: Phase =
    old === undefined
      ? { phase: 'reverted', rejected: live }
      : seen.isReady(old)
        ? { phase: 'draining', live: old, old: live, undo: true }
        : { phase: 'warming', stable: live, next: old, undo: true }
  const rejected = reject(rollout, live, 'not-served-by-deadline', counted, seen)
  return enter(rejected, phase, seen, 'error', 'reverted', notServed(live, counted))
}

/** Whether it was given up already for what keeps it from being served; that stays the reason. */
const isNotServed = ({ rejections }: Rollout, generation: GenerationNumber): boolean => {
  const last = rejections.at(-1)
  return last?.generation === generation && last.because === 'not-served-by-deadline'
}

function notServed(generation: GenerationNumber, [first]: readonly Evidence[]): string {
  const where = first === undefined ? '' : `: ${first.host}: ${first.what}`
  return `generation ${generation} was not served on every host by its deadline${where}`
}

function settle(rollout: Rollout, now: PhaseOf<'draining'>, seen: RolloutSeen, policy: RolloutPolicy): Step {
  const warm = policy.keepWarmMs > 0 && now.old !== undefined
  const phase: Phase = warm
    ? { phase: 'settled', live: now.live, warm: now.old }
    : { phase: 'settled', live: now.live }
  const [missed] = seen.unserved({ most: 1 })
  if (missed !== undefined)
    return enter(
      rollout,
      phase,
      seen,
      'warning',
      'settled',
      `generation ${now.live} answers, but not everywhere: ${missed.host}: ${missed.what}`,
    )
  return seen.applied
    ? enter(rollout, phase, seen, 'info', 'settled', `generation ${now.live} answers on every proxy`)
    : enter(
        rollout,
        phase,
        seen,
        'warning',
        'settled',
        `generation ${now.live} answers; a live proxy has not said so`,
      )
}

function revert(
  rollout: Rollout,
  now: InProgress,
  seen: RolloutSeen,
  because: Rejection['because'],
  evidence: readonly Evidence[],
  message: string,
): Step {
  const phase: Phase =
    now.stable === undefined
      ? { phase: 'reverted', rejected: now.next }
      : { phase: 'reverted', stable: now.stable, rejected: now.next }
  return enter(
    giveUp(rollout, now, because, evidence, seen),
    phase,
    seen,
    because === 'aborted' ? 'warning' : 'error',
    'reverted',
    message,
  )
}

/** A generation that was to come back is no worse for an undo that was called off. */
function giveUp(
  rollout: Rollout,
  now: InProgress,
  because: Rejection['because'],
  evidence: readonly Evidence[],
  seen: RolloutSeen,
): Rollout {
  const calledOff = because === 'aborted' || because === 'superseded'
  return now.undo === true && calledOff ? rollout : reject(rollout, now.next, because, evidence, seen)
}

const keptRejections = 20
/** Only the newest few keep what was seen: the record must stay well under 64 KiB. */
const keptEvidence = 3

function reject(
  rollout: Rollout,
  generation: GenerationNumber,
  because: Rejection['because'],
  evidence: readonly Evidence[],
  seen: RolloutSeen,
): Rollout {
  const rejection: Rejection = { generation, because, evidence: boundedEvidence(evidence), at: seen.wall }
  const earlier = rollout.rejections.map((r, i, all) =>
    all.length - i < keptEvidence ? r : { ...r, evidence: [] },
  )
  return { ...rollout, rejections: [...earlier, rejection].slice(-keptRejections) }
}

function enter(
  rollout: Rollout,
  now: Phase,
  seen: RolloutSeen,
  level: 'info' | 'warning' | 'error',
  kind: string,
  message: string,
): Step {
  const named = new Set(wantedGenerations(now).map(w => w.generation))
  const kept = ([number]: readonly [string, unknown]) => {
    const generation = Number(number) as GenerationNumber
    return named.has(generation) || seen.exists(generation)
  }
  // What is said of generations that are no longer kept goes with them, or the record grows for ever.
  const images = Object.fromEntries(Object.entries(rollout.images).filter(kept))
  const equal = Object.fromEntries(Object.entries(rollout.same).filter(kept))
  return {
    rollout: { ...rollout, now, images, same: equal, since: seen.wall },
    story: [{ level, kind, message }],
  }
}

function stableOf(phase: Phase): GenerationNumber | undefined {
  return phase.phase === 'settled' || phase.phase === 'draining' ? phase.live : phase.stable
}

const same = (rollout: Rollout): Step => ({ rollout, story: [] })
const refused = (rollout: Rollout, message: string): Step => ({
  rollout,
  story: [{ level: 'warning', kind: 'intent-refused', message }],
})

function unreachable(phase: never): never {
  throw new Error(`a phase that nobody knows: ${JSON.stringify(phase)}`)
}
