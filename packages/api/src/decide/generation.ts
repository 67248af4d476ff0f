/**
 * When a deploy makes a new generation. What changes the container always does. The same content again does so where the
 * last attempt was given up (the same PUT is a new attempt) and where the image is a tag (it may have moved; the leader
 * settles without a rollout if it has not). While the same content is being rolled out, the deploy joins that rollout.
 */
import type { GenerationNumber } from '@boxcar/core/model/ids'
import type { Rollout } from '@boxcar/core/model/rollout'

/** `deploy`: a PUT, which resolves a tag again. `adjust`: a PATCH, which does not. */
export type Manner = 'deploy' | 'adjust'

export interface GenerationQuestion {
  readonly manner: Manner
  /** The generation that the spec asks for now; none: the service is new. */
  readonly asked:
    | { readonly number: GenerationNumber; readonly print: string; readonly hasHostPort: boolean }
    | undefined
  readonly next: { readonly print: string; readonly image: string; readonly hasHostPort: boolean }
  /** The leader's record, if it is of this service and not of an earlier one of the same name. */
  readonly rollout: Rollout | undefined
}

export type GenerationAnswer =
  | { readonly kind: 'first' }
  | {
      readonly kind: 'new'
      readonly because: 'content' | 'attempt' | 'tag'
    }
  | { readonly kind: 'same'; readonly because: 'joins' | 'live' | 'adjusted' | 'host-port' }
  /** Two generations cannot hold one host port side by side. */
  | { readonly kind: 'refused'; readonly because: 'host-port' }

export function nextGeneration(question: GenerationQuestion): GenerationAnswer {
  const { asked, next, rollout, manner } = question
  if (asked === undefined) return { kind: 'first' }
  const answer = without(asked, next, rollout, manner)
  // With nothing running beside it, a fixed port is free for the next attempt.
  if (answer.kind !== 'new' || !next.hasHostPort || isAlone(rollout)) return answer
  return answer.because === 'tag'
    ? { kind: 'same', because: 'host-port' }
    : { kind: 'refused', because: 'host-port' }
}

function without(
  asked: NonNullable<GenerationQuestion['asked']>,
  next: GenerationQuestion['next'],
  rollout: Rollout | undefined,
  manner: Manner,
): GenerationAnswer {
  if (next.print !== asked.print) return { kind: 'new', because: 'content' }
  if (manner === 'adjust') return { kind: 'same', because: 'adjusted' }
  switch (standing(rollout, asked.number)) {
    case 'under-way':
      return { kind: 'same', because: 'joins' }
    case 'given-up':
      return { kind: 'new', because: 'attempt' }
    case 'live':
      return isPinned(next.image) ? { kind: 'same', because: 'live' } : { kind: 'new', because: 'tag' }
  }
}

/** What became of the generation that the spec asks for. */
export type Standing = 'under-way' | 'live' | 'given-up'

export function standing(rollout: Rollout | undefined, asked: GenerationNumber): Standing {
  if (rollout === undefined || rollout.asked !== asked) return 'under-way'
  const meant = rollout.same[String(asked)] ?? asked
  const { now } = rollout
  switch (now.phase) {
    case 'resolving':
    case 'warming':
      return now.next === meant ? 'under-way' : now.stable === meant ? 'live' : 'given-up'
    case 'draining':
    case 'settled':
      return now.live === meant ? 'live' : 'given-up'
    case 'reverted':
      return now.rejected !== meant && now.stable === meant ? 'live' : 'given-up'
  }
}

/** No generation of the service runs, or only one that is being given up. */
function isAlone(rollout: Rollout | undefined): boolean {
  return rollout !== undefined && rollout.now.phase === 'reverted' && rollout.now.stable === undefined
}

export const isPinned = (image: string): boolean => image.includes('@sha256:')

/**
 * Generations that need not be kept: those beyond the newest `keep`, and those that turned out to be the same container
 * as another. Never one that the spec or the leader's record names.
 */
export function superfluous(
  kept: readonly GenerationNumber[],
  keep: number,
  asked: GenerationNumber,
  rollout: Rollout | undefined,
): readonly GenerationNumber[] {
  const used = new Set<number>([asked, ...(rollout === undefined ? [] : namedBy(rollout))])
  const doubles = new Set(Object.keys(rollout?.same ?? {}).map(Number))
  const newestFirst = kept.filter(n => n !== asked).sort((a, b) => b - a)
  const own = newestFirst.filter(n => !doubles.has(n))
  const beyond = new Set(own.slice(Math.max(keep - 1, 0)))
  return newestFirst.filter(n => !used.has(n) && (doubles.has(n) || beyond.has(n)))
}

function namedBy(rollout: Rollout): number[] {
  const phase: Readonly<Record<string, unknown>> = rollout.now
  const named = ['stable', 'next', 'live', 'old', 'warm', 'rejected'].map(key => phase[key])
  return named.filter(n => typeof n === 'number')
}
