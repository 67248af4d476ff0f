/** What the leader tells that belongs to no plan. Each is said once, and again when it reads differently. */
import { byId, type HostId, type ServiceName, serviceParts } from '@boxcar/core/model/ids'
import type { Term } from '@boxcar/store/election'
import type { EventText, EventWriter } from '@boxcar/store/events'
import type { Store } from '@boxcar/store/store'
import type { Unread } from './feed.ts'
import type { InternalErrors } from './internal-errors.ts'
import type { Watching } from './watchman.ts'

export interface HeraldDeps {
  readonly store: Store
  readonly events: EventWriter
}

export class Herald {
  readonly #deps: HeraldDeps
  readonly #term: Term
  readonly #errors: InternalErrors
  #held: string | undefined
  #cutOff: ReadonlySet<HostId> = new Set()
  #unread = ''
  readonly #tooLarge = new Set<ServiceName>()

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

  #tell(event: EventText): void {
    void this.#errors.containLater({ kind: 'cluster' }, { words: `telling of ${event.kind}` }, async () => {
      const { store, events } = this.#deps
      const written = events.write({ ...event, term: this.#term.id })
      await store.commit({ guards: [this.#term.guard], writes: [written] })
    })
  }
}

const heldWords: Readonly<Record<string, string>> = {
  'many-vanished': 'many hosts vanished together',
  'store-was-away': 'the store was away',
  'all-suspect': 'no host is seen alive',
}

const spelled = (text: string, names: ReadonlySet<string>): string =>
  names.size === 0 ? '' : `${text}: ${[...names].sort(byId).join(', ')}`
