/**
 * Failures of the leader itself, each contained to the one service or host that it concerns: what throws there is noted here, and the
 * loop goes on with the others (invariant L11). An error stands until the same thing succeeds, and is told once; one that comes back
 * is told again, though not at short intervals.
 */
import { errorText } from '@boxcar/core/model/attempt'
import { type Clock, elapsed, type Instant } from '@boxcar/core/model/clock'
import { byId, type HostId, type ServiceName } from '@boxcar/core/model/ids'
import { cutText } from '@boxcar/core/model/text'
import type { Obstacle } from '@boxcar/core/placement/obstacle'
import type { Log } from '@boxcar/store/log'

export type Owner =
  | { readonly kind: 'service'; readonly service: ServiceName }
  | { readonly kind: 'host'; readonly host: HostId }
  /** Nobody's in particular, like a remark on several hosts. */
  | { readonly kind: 'cluster' }

export type InternalError = Extract<Obstacle, { kind: 'internal-error' }>

/** What the leader was at, in words after "fails at"; `key` tells things of one owner apart that read alike. */
export interface Doing {
  readonly words: string
  readonly key?: string
  /** It is told and logged elsewhere. */
  readonly isTold?: boolean
}

/** What the leader fails at for one owner. */
export interface Failing {
  readonly owner: Owner
  /** All that stand and read differently, at most a few. */
  readonly standing: readonly InternalError[]
  /** Those that no event tells of yet. */
  readonly untold: readonly InternalError[]
}

interface Entry {
  readonly owner: Owner
  readonly standing: Map<string, InternalError>
  untold: readonly InternalError[]
}

const mostErrorBytes = 1024
/** Shown of one owner; a record must stay small. */
const mostShown = 5
/** Texts remembered as told; beyond that some are told again. */
const mostTold = 10_000
/** An error that comes and goes is told no more often. */
const tellAgainMs = 600_000

export class InternalErrors {
  readonly #clock: Clock
  readonly #log: Log
  readonly #onHost: (host: HostId, standing: InternalError | undefined) => void
  readonly #entries = new Map<string, Entry>()
  /** When each was told last. */
  readonly #told = new Map<string, Instant>()

  /** `onHost` hears what stands of a host whenever that changes. */
  constructor(clock: Clock, log: Log, onHost: (host: HostId, standing: InternalError | undefined) => void) {
    this.#clock = clock
    this.#log = log
    this.#onHost = onHost
  }

  /** Does something for one owner. What it throws is noted, and nothing comes of it. */
  contain<Value>(owner: Owner, doing: Doing, run: () => Value): Value | undefined {
    try {
      const value = run()
      this.clear(owner, doing)
      return value
    } catch (error) {
      this.note(owner, doing, error)
      return undefined
    }
  }

  /** The same for what takes time. Never rejects. */
  async containLater<Value>(
    owner: Owner,
    doing: Doing,
    run: () => Promise<Value>,
  ): Promise<Value | undefined> {
    try {
      const value = await run()
      this.clear(owner, doing)
      return value
    } catch (error) {
      this.note(owner, doing, error)
      return undefined
    }
  }

  note(owner: Owner, doing: Doing, thrown: unknown): void {
    const error: InternalError = {
      kind: 'internal-error',
      doing: doing.words,
      error: cutText(errorText(thrown), mostErrorBytes),
    }
    const entry = this.#entryOf(owner)
    const before = entry.standing.get(keyOf(doing))
    if (before?.error === error.error && before.doing === error.doing) return
    entry.standing.set(keyOf(doing), error)
    const print = `${printOf(owner)} ${error.doing} ${error.error}`
    const now = this.#clock.now()
    const told = this.#told.get(print)
    if (told === undefined || elapsed(told, now) >= tellAgainMs) {
      if (doing.isTold !== true) {
        // Shown: an obstacle of the service or host, and an event `internal-error`.
        this.#log.error({ err: thrown, ...owner, doing: doing.words }, 'internal error: this is a bug')
        entry.untold = [...entry.untold, error].slice(-mostShown)
      }
      if (this.#told.size >= mostTold) this.#told.clear()
      this.#told.set(print, now)
    }
    this.#tellHost(entry)
  }

  /** It succeeded, or is no more. */
  clear(owner: Owner, doing: Doing): void {
    if (this.#entries.size === 0) return
    const entry = this.#entries.get(printOf(owner))
    if (entry?.standing.delete(keyOf(doing)) !== true) return
    this.#forgetEmpty(entry)
    this.#tellHost(entry)
  }

  /** Services with an error of this kind. */
  servicesFailingAt(words: string): readonly ServiceName[] {
    return [...this.#entries.values()].flatMap(({ owner, standing }) =>
      owner.kind === 'service' && [...standing.values()].some(({ doing }) => doing === words)
        ? [owner.service]
        : [],
    )
  }

  /** Everybody with errors that stand or were not told, in the order of the names. */
  failing(): readonly Failing[] {
    return [...this.#entries]
      .sort(([a], [b]) => byId(a, b))
      .map(([, { owner, standing, untold }]) => ({
        owner,
        standing: distinct(standing.values()).slice(0, mostShown),
        untold,
      }))
  }

  /** Its events were written, or cannot be. */
  told({ owner, untold }: Failing): void {
    const entry = this.#entries.get(printOf(owner))
    if (entry === undefined) return
    entry.untold = entry.untold.filter(error => !untold.includes(error))
    this.#forgetEmpty(entry)
  }

  #entryOf(owner: Owner): Entry {
    const print = printOf(owner)
    const known = this.#entries.get(print)
    if (known !== undefined) return known
    const entry: Entry = { owner, standing: new Map(), untold: [] }
    this.#entries.set(print, entry)
    return entry
  }

  #forgetEmpty({ owner, standing, untold }: Entry): void {
    if (standing.size + untold.length === 0) this.#entries.delete(printOf(owner))
  }

  #tellHost({ owner, standing }: Entry): void {
    if (owner.kind !== 'host') return
    const [first] = standing.values()
    try {
      this.#onHost(owner.host, first)
    } catch (error) {
      // Shown: the event of the error itself; only the mark on the host is missing.
      this.#log.error({ err: error, host: owner.host }, 'a host that the leader fails at cannot be marked')
    }
  }
}

/** Several records may fail for the same reason: people read it once. */
const distinct = (errors: Iterable<InternalError>): readonly InternalError[] => [
  ...new Map([...errors].map(error => [`${error.doing}: ${error.error}`, error])).values(),
]

const keyOf = ({ words, key = words }: Doing): string => key

function printOf(owner: Owner): string {
  switch (owner.kind) {
    case 'service':
      return `service ${owner.service}`
    case 'host':
      return `host ${owner.host}`
    case 'cluster':
      return 'cluster'
  }
}
