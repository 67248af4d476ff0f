/** What people ask of a rollout. The leader acts on it; the call waits for that. */

import { elapsed } from '@boxcar/core/model/clock'
import { type GenerationNumber, type ServiceName, serviceParts } from '@boxcar/core/model/ids'
import type { Rollout } from '@boxcar/core/model/rollout'
import type { Intent } from '@boxcar/core/model/service'
import { type UnclearUndo, unclearUndo } from '@boxcar/core/rollout/rollout'
import { created, put, unchanged } from '@boxcar/store/collection'
import { generations, intents, rollouts, specs } from '@boxcar/store/keys'
import { compareRevisions, noRevision, type Revision } from '@boxcar/store/store'
import { z } from 'zod'
import { noService } from './absent.ts'
import type { ApiDeps } from './deps.ts'
import { Keeper } from './idempotency.ts'
import type { Picture } from './picture.ts'
import type { Refusal } from './refusal.ts'
import { refuseUnread } from './unread.ts'
import type { RolloutView } from './views.ts'
import { holds, type Tried, type WriteContext, writing } from './writing.ts'

export type IntentAsk =
  | { readonly kind: 'undo'; readonly to: number | undefined }
  | { readonly kind: 'abort' }

export type IntentOutcome =
  /** The leader has acted. */
  | { readonly kind: 'done'; readonly rollout: RolloutView }
  /** It has not yet; the intent stands. */
  | { readonly kind: 'asked'; readonly rollout: RolloutView }
  | Refusal

interface Written {
  readonly kind: 'written'
  readonly intent: string
  readonly revision: Revision
}
const keptAnswer = z.object({ intent: z.string() })

/** How long a call waits for the leader. */
const actMs = 10_000

export class Intents {
  readonly #deps: ApiDeps
  readonly #picture: Picture
  readonly #keeper: Keeper

  constructor(deps: ApiDeps, picture: Picture) {
    this.#deps = deps
    this.#picture = picture
    this.#keeper = new Keeper(deps)
  }

  async ask(name: ServiceName, ask: IntentAsk, context: WriteContext): Promise<IntentOutcome> {
    const { store, chance, clock, events } = this.#deps
    const id = chance.id()
    const asked = await writing<Written>(this.#deps, async (n): Promise<Tried<Written>> => {
      const known = await this.#keeper.look(context.key, n)
      if (known.kind === 'reused') return { kind: 'answer', answer: { kind: 'key-reused' } }
      if (known.kind === 'known') {
        // Waits for the same intent once more.
        const { intent } = keptAnswer.parse(known.body)
        return { kind: 'answer', answer: { kind: 'written', intent, revision: known.revision } }
      }
      const [spec, rollout] = await Promise.all([store.get(specs, name), store.get(rollouts, name)])
      const unread =
        spec === undefined ? refuseUnread(this.#deps.mirror, specs, name, `the spec of ${name}`) : undefined
      if (unread !== undefined) return { kind: 'answer', answer: unread }
      if (!holds(context.condition, spec?.modified))
        return { kind: 'answer', answer: { kind: 'differs', revision: spec?.modified } }
      if (spec === undefined) return { kind: 'answer', answer: noService(this.#picture, name) }
      const kept = await store.list(generations, name)
      const record = rollout?.value.uid === spec.value.uid ? rollout.value : undefined
      const numbers = kept.entries.filter(g => g.value.uid === spec.value.uid).map(g => g.value.number)
      const refusal = impossible(name, ask, record, spec.value.generation, numbers)
      if (refusal !== undefined) return { kind: 'answer', answer: refusal }
      const intent: Intent = {
        id,
        uid: spec.value.uid,
        kind: ask.kind,
        ...(ask.kind === 'undo' && ask.to !== undefined ? { to: ask.to as GenerationNumber } : {}),
        by: context.actor,
        at: clock.wall(),
        requestId: context.requestId,
      }
      const keep = await this.#keeper.write(context.key, { status: 200, body: { intent: id } })
      return {
        kind: 'commit',
        transaction: {
          guards: [
            context.condition.kind === 'revision'
              ? unchanged(specs, name, spec.modified)
              : created(specs, name, spec.created),
            ...(keep === undefined ? [] : [keep.guard]),
          ],
          writes: [
            ...(keep === undefined ? [] : [keep.write]),
            put(intents, { service: name, id }, intent),
            events.write({
              kind: `${ask.kind}-asked`,
              message: `${context.actor} asked to ${wordsOf(ask)} of ${name}`,
              actor: context.actor,
              requestId: context.requestId,
              project: serviceParts(name).project,
              service: name,
            }),
          ],
        },
        done: revision => ({ kind: 'written', intent: id, revision }),
        wasDone: async () => (await store.get(intents, { service: name, id }))?.modified,
      }
    })
    return asked.kind === 'written' ? this.#wait(name, asked.intent, asked.revision) : asked
  }

  async #wait(name: ServiceName, id: string, written: Revision): Promise<IntentOutcome> {
    const { mirror, clock, signal } = this.#deps
    const from = clock.now()
    for (;;) {
      const { changes } = mirror
      // Only a mirror that has seen the intent can tell that it is gone.
      const isShown = mirror.caughtUp && compareRevisions(mirror.revision, written) >= 0
      const acted = isShown && !mirror.of(intents).has(intents.spell({ service: name, id }))
      const rollout = this.#picture.rollout(name)
      if (rollout === undefined && isShown) return noService(this.#picture, name)
      if (acted && rollout !== undefined)
        return compareRevisions(mirror.get(rollouts, name)?.modified ?? noRevision, written) <= 0
          ? {
              kind: 'wrong-state',
              words: `the leader found nothing to do: ${rollout.words}`,
              next: `boxcar events ${name}`,
            }
          : { kind: 'done', rollout }
      const left = actMs - elapsed(from, clock.now())
      if (left <= 0 || signal.aborted)
        return rollout === undefined ? { kind: 'away', done: 'perhaps' } : { kind: 'asked', rollout }
      await mirror.changedSince(changes, left, signal)
    }
  }
}

/** What can be said at once; the leader has the last word. */
function impossible(
  name: ServiceName,
  ask: IntentAsk,
  rollout: Rollout | undefined,
  asked: GenerationNumber,
  kept: readonly GenerationNumber[],
): Refusal | undefined {
  const phase = rollout?.now
  const moving =
    phase === undefined ||
    phase.phase === 'resolving' ||
    phase.phase === 'warming' ||
    rollout?.asked !== asked
  if (ask.kind === 'abort')
    return moving && phase?.phase !== 'draining'
      ? undefined
      : {
          kind: 'wrong-state',
          words: `no rollout of ${name} is under way`,
          next: `boxcar rollout status ${name}`,
        }
  if (ask.to !== undefined && !kept.includes(ask.to as GenerationNumber))
    return {
      kind: 'wrong-body',
      faults: [
        {
          pointer: '/to',
          code: 'not_found',
          message: `no generation ${ask.to} of ${name} is kept`,
          got: String(ask.to),
          allowed: [...kept].sort((a, b) => a - b).map(String),
        },
      ],
    }
  if (ask.to === undefined && rollout !== undefined) {
    const unclear = unclearUndo(rollout, asked)
    if (unclear !== undefined) return unclearRefusal(name, unclear, rollout)
  }
  if (moving)
    return ask.to !== undefined &&
      rollout?.asked === asked &&
      phase !== undefined &&
      'next' in phase &&
      ask.to === phase.next
      ? {
          kind: 'wrong-state',
          words: `generation ${ask.to} of ${name} is being started already`,
          next: `boxcar rollout status ${name}`,
        }
      : undefined
  if (ask.to !== undefined && ask.to === liveIn(phase))
    return { kind: 'wrong-state', words: `generation ${ask.to} of ${name} answers already` }
  return undefined
}

function unclearRefusal(name: ServiceName, unclear: UnclearUndo, { now }: Rollout): Refusal {
  const watch = `boxcar rollout status ${name}`
  switch (unclear.kind) {
    case 'under-way':
      return { kind: 'wrong-state', words: `an undo of ${name} is under way already`, next: watch }
    case 'newer-asked':
      return {
        kind: 'wrong-state',
        words: `generation ${unclear.asked} of ${name} is about to be rolled out; undo it then, or name a generation`,
        next: watch,
      }
    case 'given-up':
      // Going back once more would take away what answers well.
      return unclear.stable === undefined
        ? { kind: 'wrong-state', words: `no generation of ${name} answers, so there is nothing to undo` }
        : {
            kind: 'wrong-state',
            words: `generation ${unclear.rejected} of ${name} was given up already, and generation ${unclear.stable} answers`,
            next: `boxcar undo ${name} --to N, for an earlier one`,
          }
    case 'undone':
      return {
        kind: 'wrong-state',
        words: `generation ${unclear.warm} of ${name} was undone already, and generation ${liveIn(now)} answers`,
        next: `boxcar undo ${name} --to N, for ${unclear.warm} or an earlier one`,
      }
  }
}

const liveIn = (phase: Rollout['now']) =>
  phase.phase === 'settled' || phase.phase === 'draining' ? phase.live : phase.stable

const wordsOf = (ask: IntentAsk) =>
  ask.kind === 'abort'
    ? 'abort the rollout'
    : ask.to === undefined
      ? 'undo the last deploy'
      : `go back to generation ${ask.to}`
