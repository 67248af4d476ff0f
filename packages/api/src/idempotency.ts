/** The same request with the same `Idempotency-Key` is done once and answered twice. Answers are kept for a day. */
import type { Instant } from '@boxcar/core/model/clock'
import { living, put, unleased } from '@boxcar/store/collection'
import { idempotency } from '@boxcar/store/keys'
import type { Guard, LeaseId, Revision, Write } from '@boxcar/store/store'
import type { ApiDeps } from './deps.ts'

export interface RequestKey {
  readonly name: string
  /** Equal for equal requests: method, path and body. */
  readonly print: string
}

export type Known =
  | { readonly kind: 'new' }
  /** The key was used for another request. */
  | { readonly kind: 'reused' }
  | { readonly kind: 'known'; readonly body: unknown; readonly revision: Revision }

const dayMs = 24 * 60 * 60 * 1000
/** Answers of one hour share a lease, which lives a day longer than they need. */
const shareMs = 60 * 60 * 1000

export class Keeper {
  readonly #deps: Pick<ApiDeps, 'store' | 'clock'>
  #lease: { readonly id: LeaseId; readonly granted: Instant } | undefined

  constructor(deps: Pick<ApiDeps, 'store' | 'clock'>) {
    this.#deps = deps
  }

  /** `attempt` counts from 0. Throws StoreUnavailable. */
  async look(key: RequestKey | undefined, attempt: number): Promise<Known> {
    // Stale once: somebody was first. Stale again: the lease may be gone, and every write with it would be stale.
    if (attempt > 1) this.#lease = undefined
    if (key === undefined) return { kind: 'new' }
    const entry = living(await this.#deps.store.get(idempotency, key.name))
    if (entry === undefined) return { kind: 'new' }
    if (entry.value.print !== key.print) return { kind: 'reused' }
    const { body, revision } = entry.value
    // A revision of the store: `write` put it there.
    return { kind: 'known', body, revision: (revision as Revision | undefined) ?? entry.modified }
  }

  /**
   * The write that keeps an answer, and the guard that lets only one request with the key through. `revision`: that of the
   * object where the request changes nothing; else the answer's own revision is the one of the change. Throws StoreUnavailable.
   */
  async write(
    key: RequestKey | undefined,
    answer: { readonly status: number; readonly body: unknown; readonly revision?: Revision | undefined },
  ): Promise<{ readonly write: Write; readonly guard: Guard } | undefined> {
    if (key === undefined) return undefined
    const { status, body, revision } = answer
    const record = { print: key.print, status, body, ...(revision === undefined ? {} : { revision }) }
    return {
      write: put(idempotency, key.name, record, await this.#leaseFor()),
      guard: unleased(idempotency, key.name),
    }
  }

  async #leaseFor(): Promise<LeaseId> {
    const { store, clock } = this.#deps
    const now = clock.now()
    if (this.#lease === undefined || now - this.#lease.granted > shareMs) {
      const lease = await store.grant(dayMs + shareMs)
      this.#lease = { id: lease.id, granted: now }
    }
    return this.#lease.id
  }
}
