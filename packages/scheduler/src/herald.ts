/** What the leader tells that belongs to no plan. Each is said once, and again when it reads differently; it is kept until it is written. */
import { after, type Clock, type Instant } from '@boxcar/core/model/clock'
import { byId, type HostId, type ServiceName, serviceParts } from '@boxcar/core/model/ids'
import type { Term } from '@boxcar/store/election'
import type { EventText, EventWriter, ToldEvent } from '@boxcar/store/events'
import type { Store } from '@boxcar/store/store'
import type { Unread } from './feed.ts'
import type { Doing, InternalErrors } from './internal-errors.ts'
import type { Watching } from './watchman.ts'

export interface HeraldDeps {
  readonly store: Store
  readonly events: EventWriter
  readonly clock: Clock
}

/** A store that does not take what is told is asked again after so long. */
const retryMs = 1000
/** Kept at most until it is written; beyond that the oldest are dropped. */
const mostKept = 100
const mostAtOnce = 20

export class Herald {
  readonly #deps: HeraldDeps
  readonly #term: Term
  readonly #errors: InternalErrors
  #held: string | undefined
  #cutOff: ReadonlySet<HostId> = new Set()
  #unread = ''
  readonly #tooLarge = new Set<ServiceName>()
  #unwritten: readonly ToldEvent[] = []
  #isWriting = false
  #writeAt: Instant | undefined

  constructor(deps: HeraldDeps, term: Term, errors: InternalErrors) {
    this.#deps = deps
    this.#term = term
    this.#errors = errors
  }

  tellOfHosts({ held, cutOff }: Watching): void {
    const waiting =
      held === undefined
        ? undefined
        : `evictions wait (${heldWords[held.because] ?? held.because}); hosts: ${held.hosts.join(', ')}`
    if (waiting !== undefined && waiting !== this.#held)
      this.#tell({ kind: 'brake', level: 'warning', message: waiting })
    this.#held = waiting
    const fresh = cutOff.filter(host => !this.#cutOff.has(host))
    this.#cutOff = new Set(cutOff)
    if (fresh.length === 0) return
    const message = `these hosts have not reached the store for a minute and are not called lost: what runs there stays, and nothing waits for their proxies any more: ${fresh.join(', ')}`
    this.#tell({ kind: 'host-cut-off', level: 'warning', message })
  }

  tellUnread({ services, hosts }: Unread): void {
    const parts = [
      spelled('these services are left as they are, since a record of theirs cannot be read', services),
      spelled('these hosts take no new work, since their records cannot be read', hosts),
    ]
    const message = parts.filter(part => part !== '').join('; ')
    if (message !== '' && message !== this.#unread)
      this.#tell({ kind: 'unreadable', level: 'error', message })
    this.#unread = message
  }

  /** A service's plan fits into no write of the store. */
  tellTooLarge(service: ServiceName): void {
    if (this.#tooLarge.has(service)) return
    this.#tooLarge.add(service)
    const { project, short } = serviceParts(service)
    const message = `what ${service} needs does not fit into one write of the store, so nothing of it is done: make its spec smaller`
    this.#tell({ kind: 'too-large', level: 'error', message, project, service: short })
  }

  /** It was committed: the next time is told again. */
  fits(service: ServiceName): void {
    this.#tooLarge.delete(service)
  }

  /** Writes what was told and is not written yet; an event keeps its id, so that one of which nobody knows is not doubled. */
  async write(): Promise<void> {
    const { store, events, clock } = this.#deps
    const some = this.#unwritten.slice(0, mostAtOnce)
    const isEarly = this.#writeAt !== undefined && clock.now() < this.#writeAt
    if (some.length === 0 || this.#isWriting || isEarly) return
    this.#isWriting = true
    const isWritten = await this.#errors.containLater({ kind: 'cluster' }, writing, async () => {
      const writes = some.map(event => events.writeTold(event))
      const { kind } = await store.commit({ guards: [this.#term.guard], writes })
      if (kind === 'stale') await events.check()
      return kind === 'committed'
    })
    this.#isWriting = false
    if (isWritten === true) this.#unwritten = this.#unwritten.filter(event => !some.includes(event))
    else this.#writeAt = after(clock.now(), retryMs)
    if (isWritten === true) await this.write() // what was told meanwhile
  }

  #tell(event: EventText): void {
    const telling = { words: `telling of ${event.kind}` }
    const told = this.#errors.contain({ kind: 'cluster' }, telling, () =>
      this.#deps.events.told({ ...event, term: this.#term.id }),
    )
    if (told === undefined) return
    this.#unwritten = [...this.#unwritten, told].slice(-mostKept)
    void this.write()
  }
}

const writing: Doing = { words: 'writing down what it told' }

const heldWords: Readonly<Record<string, string>> = {
  'many-vanished': 'many hosts vanished together',
  'store-was-away': 'the store was away',
  'all-suspect': 'no host is seen alive',
}

const spelled = (text: string, names: ReadonlySet<string>): string =>
  names.size === 0 ? '' : `${text}: ${[...names].sort(byId).join(', ')}`
