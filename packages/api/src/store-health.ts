/** How the store is, for all who ask: its members are asked at most every two seconds, and only while somebody wants to know. */
import { type Clock, elapsed, type Instant } from '@boxcar/core/model/clock'
import { recordProblem } from '@boxcar/store/cluster'
import { keyOf } from '@boxcar/store/collection'
import { clusters } from '@boxcar/store/keys'
import { type StoreProblem, storeProblems } from '@boxcar/store/problems'
import type { StoreStatus } from '@boxcar/store/store'
import type { ApiDeps } from './deps.ts'

interface Health {
  readonly status: StoreStatus
  /** Also of the cluster's record in it, as the mirror has it. */
  readonly problems: readonly StoreProblem[]
}

const freshMs = 2_000
/** What was told so long ago is not told any more. */
const keptMs = 60_000
const silence: StoreStatus = { kind: 'etcd', endpoints: [], members: [] }

type HealthDeps = Pick<ApiDeps, 'store' | 'mirror' | 'clock' | 'log' | 'cluster' | 'clusterName'>

export class StoreHealth {
  readonly #deps: HealthDeps
  readonly #clock: Clock
  #told: { readonly at: Instant; readonly status: StoreStatus } | undefined
  #asking: Promise<StoreStatus> | undefined
  #logged = ''

  constructor(deps: HealthDeps) {
    this.#deps = deps
    this.#clock = deps.clock
  }

  /** At most two seconds old. Never throws. */
  async current(): Promise<Health> {
    const age = this.#ageMs()
    return this.#healthOf(this.#told !== undefined && age <= freshMs ? this.#told.status : await this.#ask())
  }

  /** What was told last, without waiting for it; asks anew for the next time. */
  known(): Health {
    if (this.#ageMs() > freshMs) void this.#ask()
    return this.#healthOf(this.#told !== undefined && this.#ageMs() <= keptMs ? this.#told.status : silence)
  }

  /** Why all agents refuse the store's orders, in one sentence. */
  whyNoOrders(): string | undefined {
    const problem = this.#recordProblem(this.#told?.status.endpoints ?? [])
    return problem?.kind === 'cluster-record' ? problem.message : undefined
  }

  #recordProblem(endpoints: readonly string[]): StoreProblem | undefined {
    const { mirror, cluster, clusterName } = this.#deps
    if (!mirror.caughtUp) return undefined
    return recordProblem(
      {
        record: mirror.get(clusters, 'self')?.value,
        unreadable: mirror.unreadable.get(keyOf(clusters, 'self'))?.reason,
      },
      { name: clusterName, endpoints, expected: cluster },
    )
  }

  #healthOf(status: StoreStatus): Health {
    const record = this.#recordProblem(status.endpoints)
    return { status, problems: [...(record === undefined ? [] : [record]), ...storeProblems(status)] }
  }

  #ageMs(): number {
    return this.#told === undefined ? Number.POSITIVE_INFINITY : elapsed(this.#told.at, this.#clock.now())
  }

  #ask(): Promise<StoreStatus> {
    this.#asking ??= this.#askOnce().finally(() => {
      this.#asking = undefined
    })
    return this.#asking
  }

  async #askOnce(): Promise<StoreStatus> {
    const { store, log } = this.#deps
    try {
      const status = await store.status()
      this.#told = { at: this.#clock.now(), status }
      this.#log(status)
      return status
    } catch (error) {
      // Shown: the store is not reachable in `/v1/cluster`, `status` and `doctor`.
      log.warn({ error: error instanceof Error ? error.message : String(error) }, 'the store told no status')
      return silence
    }
  }

  /** Once for each problem that comes. */
  #log(status: StoreStatus): void {
    const found = storeProblems(status).filter(it => it.level !== 'advice')
    const text = found.map(it => `${it.kind} ${it.endpoint ?? ''}`).join()
    if (text === this.#logged) return
    this.#logged = text
    // Shown: the problems in `/v1/cluster`, `status` and `doctor`.
    for (const { message, next } of found) this.#deps.log.warn({ next }, message)
  }
}
