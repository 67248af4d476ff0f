/** How every write of the API goes to the store: look, decide, commit under guards, look again where it was too late. */
import {
  type CommitOutcome,
  type Revision,
  StoreFull,
  StoreUnavailable,
  type Transaction,
} from '@boxcar/store/store'
import type { ApiDeps } from './deps.ts'
import type { RequestKey } from './idempotency.ts'
import type { Refusal } from './refusal.ts'

/** Who writes, as events and records tell it. */
export interface Author {
  readonly actor: string
  readonly requestId: string
}

/** What must hold of an object's revision before it is written. */
export type Condition =
  | { readonly kind: 'none' }
  | { readonly kind: 'revision'; readonly revisions: readonly string[] }
  | { readonly kind: 'exists' }
  | { readonly kind: 'absent' }

export const holds = (condition: Condition, revision: string | undefined): boolean => {
  switch (condition.kind) {
    case 'none':
      return true
    case 'exists':
      return revision !== undefined
    case 'absent':
      return revision === undefined
    case 'revision':
      return revision !== undefined && condition.revisions.includes(revision)
  }
}

export interface WriteContext extends Author {
  readonly condition: Condition
  /** The caller's `Idempotency-Key`, and a print of the whole request. */
  readonly key: RequestKey | undefined
}

export type Tried<Done> =
  | { readonly kind: 'answer'; readonly answer: Done | Refusal }
  | {
      readonly kind: 'commit'
      readonly transaction: Transaction
      /** The answer once it is done. */
      readonly done: (revision: Revision) => Done
      /** Whether the store shows that this very request was done, where its answer was lost: the revision, if so. */
      readonly wasDone: () => Promise<Revision | undefined>
    }

/** So often a write is decided anew after others were first. */
const maxAttempts = 10
/** Before that it waits a part of this, longer each time, so that those who collided do not meet again. */
const [firstPauseMs, longestPauseMs] = [10, 500]
/** How long a write waits for the mirror to show it. */
const showMs = 3_000

/** Runs `attempt`, with its number from 0, until it is answered or committed. Never throws for what the store does. */
export async function writing<Done>(
  deps: Pick<ApiDeps, 'store' | 'mirror' | 'clock' | 'chance' | 'events' | 'signal'>,
  attempt: (n: number) => Promise<Tried<Done>>,
): Promise<Done | Refusal> {
  if (!deps.events.isReady) return deps.events.isRefused ? { kind: 'full' } : { kind: 'away', done: 'no' }
  for (let n = 0; n < maxAttempts; n += 1) {
    const tried = await looking(() => attempt(n))
    if (tried === undefined) return { kind: 'away', done: 'no' }
    if (tried === 'full') return { kind: 'full' }
    if (tried.kind === 'answer') return tried.answer
    const outcome = await deps.store.commit(tried.transaction)
    switch (outcome.kind) {
      case 'committed':
        return shown(deps, tried.done, outcome.revision)
      case 'unknown': {
        const revision = await looking(tried.wasDone)
        return revision === undefined || revision === 'full'
          ? { kind: 'away', done: 'perhaps' }
          : shown(deps, tried.done, revision)
      }
      case 'stale':
        // Nothing but a lost lease of the events makes every attempt stale.
        if (n > 0) await deps.events.check()
        await deps.clock.sleep(pauseMs(n) * deps.chance.next(), deps.signal)
        continue
      default:
        return refusalOf(outcome)
    }
  }
  return { kind: 'contended' }
}

const pauseMs = (n: number) => Math.min(longestPauseMs, firstPauseMs * 2 ** n)

async function looking<Value>(look: () => Promise<Value>): Promise<Value | 'full' | undefined> {
  try {
    return await look()
  } catch (error) {
    // Only a lease is refused so: the answer of a request with an Idempotency-Key is kept by one.
    if (error instanceof StoreFull) return 'full'
    if (error instanceof StoreUnavailable) return undefined
    throw error
  }
}

/** What was written here can be read here at once. */
async function shown<Done>(
  deps: Pick<ApiDeps, 'mirror' | 'clock' | 'signal'>,
  done: (revision: Revision) => Done,
  revision: Revision,
): Promise<Done> {
  const enough = new AbortController()
  const signal = AbortSignal.any([deps.signal, enough.signal])
  await Promise.race([deps.mirror.reached(revision, signal), deps.clock.sleep(showMs, signal)])
  enough.abort()
  return done(revision)
}

function refusalOf(outcome: Extract<CommitOutcome, { kind: 'full' | 'too-large' }>): Refusal {
  return { kind: outcome.kind }
}
