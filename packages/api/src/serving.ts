/** Which hosts answer on the routes of a service, and what the others say they cannot serve; from what proxies acknowledge. */
import { attempt } from '@boxcar/core/model/attempt'
import type { HostRecord } from '@boxcar/core/model/host'
import { byId, type HostId, type ServiceName } from '@boxcar/core/model/ids'
import { pluralVerb } from '@boxcar/core/model/plural'
import { isSameAddress, type Listener, type Route, type RouteAck } from '@boxcar/core/model/route'
import { type Unserved, unservedNext, unservedWords } from '@boxcar/core/model/unserved'
import { UnservedIndex } from '@boxcar/core/model/unserved-index'
import { living } from '@boxcar/store/collection'
import { hosts, presences, routeAcks, routes } from '@boxcar/store/keys'
import type { Mirror } from '@boxcar/store/mirror'
import { compareRevisions, type Entry } from '@boxcar/store/store'
import type { ServingView, UnservedView } from './views.ts'

/** A host that is there and has a proxy. */
export interface Edge {
  readonly id: HostId
  readonly address: string
  readonly ack: RouteAck | undefined
  /** Whether its proxy fails, and what it says of itself. */
  readonly fails: boolean
  readonly reason: string | undefined
}

/** So many are shown of a service: a port that is held everywhere is told of for every host. */
const maxShown = 16

export class Serving {
  readonly #mirror: Mirror
  #seen: Look | undefined

  constructor(mirror: Mirror) {
    this.#mirror = mirror
  }

  /** In order of their ids. */
  edges(): readonly Edge[] {
    return this.#look().all
  }

  /** How far the hosts serve what a service asks for; nothing where it asks for no route. */
  of(service: ServiceName, uid: string, asked: readonly Listener[]): ServingView | undefined {
    if (asked.length === 0) return undefined
    const { all } = this.#look()
    const stored = this.#mirror.of(routes).get(service)
    const stands = stored?.value.uid === uid && standsFor(stored.value, asked) ? stored : undefined
    if (stands === undefined)
      return { hosts: 0, of: all.length, unserved: [...this.#named(service, asked)].slice(0, maxShown) }
    const missing = this.missing(stands, asked)
    return {
      hosts: all.length - new Set(missing.map(one => one.host)).size,
      of: all.length,
      unserved: missing.slice(0, maxShown),
    }
  }

  /** What hosts miss of these listeners of a route: what they say, and those that have not taken the route up yet. */
  missing(
    { value, modified }: Entry<ServiceName, Route>,
    listeners: readonly Listener[],
  ): readonly UnservedView[] {
    const { all, oldest } = this.#look()
    const isBehind = (ack: RouteAck | undefined) =>
      ack === undefined || compareRevisions(ack.revision, modified) < 0
    const behind = isBehind(oldest) ? all.filter(({ ack }) => isBehind(ack)) : []
    return [...this.#named(value.service, listeners), ...behind.map(behindView)]
  }

  /** Hosts whose proxies a deleted service waits for: they may still send its instances something. */
  waitedFor(service: ServiceName): readonly UnservedView[] {
    const stored = this.#mirror.of(routes).get(service)
    if (stored === undefined) return []
    const outdated = this.#look().all.filter(
      ({ ack }) => ack?.outdated === 'all' || ack?.outdated?.includes(service) === true,
    )
    return [...outdated.map(outdatedView), ...this.missing(stored, [])].slice(0, maxShown)
  }

  /** What the proxy of one host said that it cannot serve, and how much more there is. */
  onHost(host: HostId): readonly UnservedView[] {
    const { unserved = [], unnamed = 0 } = living(this.#mirror.get(routeAcks, host))?.value ?? {}
    const shown = unserved.slice(0, maxShown).map(one => unservedView(one, host))
    const more = unserved.length - shown.length + unnamed
    return more === 0 ? shown : [...shown, moreView(more, host)]
  }

  #named(service: ServiceName, listeners: readonly Listener[]): readonly UnservedView[] {
    return this.#look()
      .unserved.of(service, listeners)
      .map(({ host, one }) => unservedView(one, host))
  }

  /** Once for each revision: a list of all services asks for each. */
  #look(): Look {
    const { revision } = this.#mirror
    if (this.#seen?.revision === revision) return this.#seen
    const all = [...this.#mirror.of(hosts).values()]
      .flatMap(host => {
        // One host of which that cannot be said keeps nobody from hearing of the others.
        const edge = attempt(() => this.#edge(host))
        return 'value' in edge ? (edge.value ?? []) : []
      })
      .sort((a, b) => byId(a.id, b.id))
    const unserved = new UnservedIndex()
    for (const { id, ack } of all) unserved.add(id, ack?.unserved ?? [])
    const [first, ...rest] = all.map(({ ack }) => ack)
    const oldest = rest.reduce((a, b) => (isOlder(a, b) ? a : b), first)
    this.#seen = { revision, all, unserved, oldest }
    return this.#seen
  }

  #edge({ id, value }: Entry<HostId, HostRecord>): Edge | undefined {
    const { state, reason } = value.proxy
    const isPresent = living(this.#mirror.get(presences, id)) !== undefined
    if (!isPresent || state === 'off') return undefined
    const ack = living(this.#mirror.get(routeAcks, id))?.value
    return { id, address: value.address, ack, fails: state === 'failing', reason }
  }
}

interface Look {
  readonly revision: string
  readonly all: readonly Edge[]
  /** What they said that they cannot serve. */
  readonly unserved: UnservedIndex
  /** The acknowledgement that is furthest behind; nothing where a host has none, or there is no host. */
  readonly oldest: RouteAck | undefined
}

const isOlder = (a: RouteAck | undefined, b: RouteAck | undefined): boolean =>
  a === undefined || (b !== undefined && compareRevisions(a.revision, b.revision) < 0)

/** What lasts until somebody acts, unlike a host that is about to take a route up. */
export const isLasting = ({ reason }: UnservedView): boolean => reason !== 'not-applied'

/** The stored route has just these addresses. */
function standsFor({ listeners }: Route, asked: readonly Listener[]): boolean {
  const isAsked = (one: Listener) =>
    asked.some(
      other => isSameAddress(one, other) && one.protocol === other.protocol && one.expose === other.expose,
    )
  return listeners.length === asked.length && listeners.every(isAsked)
}

function unservedView(one: Unserved, host: HostId): UnservedView {
  const { listen, service, address, reason, holder, detail } = one
  return {
    host,
    listen,
    ...(service === undefined ? {} : { service }),
    ...(address === undefined ? {} : { address }),
    reason,
    ...(holder === undefined ? {} : { holder }),
    ...(detail === undefined ? {} : { detail }),
    words: unservedWords(one),
    next: unservedNext(one, host),
  }
}

/** What a host cannot serve beyond what is shown of it; of which services is in its agent's log. */
const moreView = (count: number, host: HostId): UnservedView => ({
  host,
  reason: 'other',
  words: `${count} more ${pluralVerb(count, 'are', 'is')} not served`,
  next: `see the log of the agent of ${host}`,
})

const outdatedView = ({ id }: Edge): UnservedView => ({
  host: id,
  reason: 'not-applied',
  words: 'its proxy serves an older route of the service, since the newest cannot be read or had there',
  next: `see boxcar events, and the log of the agent of ${id}`,
})

function behindView({ id, fails, reason }: Edge): UnservedView {
  const detail = reason === undefined ? {} : { detail: reason }
  const more = reason === undefined ? '' : `: ${reason}`
  return fails
    ? {
        host: id,
        reason: 'proxy-failing',
        ...detail,
        words: `its proxy fails${more}`,
        next: `see the log of the agent of ${id}, and boxcar doctor there`,
      }
    : {
        host: id,
        reason: 'not-applied',
        ...detail,
        words: `its proxy has not taken the newest route up yet${more}`,
        next: `boxcar describe host ${id}`,
      }
}
