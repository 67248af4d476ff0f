/**
 * What the store says, for as long as the agent lives: the cluster's record, this host's placements, and all routes, in one
 * stream, so that they are of one revision. A store that is not believed is asked again; nothing of it is taken up.
 */
import type { Clock } from '@boxcar/core/model/clock'
import type { HostId } from '@boxcar/core/model/ids'
import { clusters, placements, routes } from '@boxcar/store/keys'
import type { Log } from '@boxcar/store/log'
import type { FollowStep, Store } from '@boxcar/store/store'
import type { InternalErrors } from './internal-errors.ts'
import type { Orders, Refused } from './state/orders.ts'
import type { SavedState } from './state/saved-state.ts'

export interface FollowerOptions {
  readonly store: Store
  readonly clock: Clock
  readonly log: Log
  readonly errors: InternalErrors
  readonly host: HostId
  readonly state: SavedState
  readonly orders: Orders
  /** A step that is believed, after its orders were saved. */
  readonly onStep: (step: FollowStep) => void
  readonly onOrders: () => void
  readonly onRefused: (refused: Refused) => void
}

export const ordersFile = 'orders.json'

export async function follow(options: FollowerOptions, signal: AbortSignal): Promise<void> {
  const { clock, log, orders } = options
  while (!signal.aborted) {
    const refused = await followOnce(options, signal)
    if (signal.aborted) return
    if (refused !== undefined && orders.cluster === undefined) {
      log.info({ reason: refused.reason }, 'waiting for the first server of the cluster')
      await clock.sleep(waitForServerMs, signal)
      continue
    }
    if (refused !== undefined) options.onRefused(refused)
    orders.lost(refused?.reason ?? 'the stream of the store ended')
    await clock.sleep(againMs, signal)
  }
}

/** Follows until the stream ends or is not believed; says why then. */
async function followOnce(options: FollowerOptions, signal: AbortSignal): Promise<Refused | undefined> {
  const { store, host, orders, log, errors, clock } = options
  const once = new AbortController()
  const scopes = [{ collection: clusters }, { collection: placements, within: host }, { collection: routes }]
  const stream = store.follow(scopes, {
    signal: AbortSignal.any([signal, once.signal]),
    onTrouble: reason => {
      // Shown: the host is suspect once its presence is not renewed.
      if (orders.lost(reason) === 'news') log.warn({ reason }, 'the store is not heard; going on without it')
    },
  })
  try {
    for await (const step of stream) {
      const unreadable = step.kind === 'quiet' || step.kind === 'compacted' ? [] : step.unreadable
      for (const one of unreadable) {
        // Shown: the condition `orders-unreadable`, or an event `route-unreadable`.
        log.error(one, 'a stored value cannot be read; what it said before holds')
      }
      const taken = orders.take(step, clock.now())
      if (taken.kind === 'refused') return taken
      for (const { instance, error } of taken.failures ?? [])
        errors.note({ instance }, 'reading its placement, which stays as it was read last', error)
      // Before they are obeyed: whoever restarts us must not find older ones.
      if (taken.kind === 'changed') {
        await save(options)
        options.onOrders()
      }
      options.onStep(step)
    }
    return undefined
  } finally {
    once.abort()
  }
}

/** A full disk is no reason to stop obeying. */
async function save({ state, orders }: FollowerOptions): Promise<void> {
  const text = orders.saved()
  if (text !== undefined) await state.save(ordersFile, text)
}

const againMs = 2000
const waitForServerMs = 500
