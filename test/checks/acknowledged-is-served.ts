/**
 * Invariant T8: after a host acknowledged a revision, a connection to each of its listeners at that revision is answered by the
 * application, or the acknowledgement names the listener, the reason and who holds it; a rollout settles only when every live host
 * serves every listener, and nothing that a person is shown says otherwise. It may settle where the generation before was not
 * served either: on a port that is not new, and that the host did not serve when traffic was moved (ADR 19).
 */
import { type Rollout, rollout } from '@boxcar/core/model/rollout'
import { type Listener, type Route, type RouteAck, route, routeAck } from '@boxcar/core/model/route'
import { type Change, compareRevisions } from '@boxcar/store/store'

/** A connection to a listener of a host, begun at `at`; `application`: its own answer came. */
export interface Call {
  readonly at: number
  readonly host: string
  readonly service: string
  readonly listen: number
  readonly answer: 'application' | (string & {})
}

/** What a person was shown of a service at one moment. */
export interface Shown {
  readonly at: number
  readonly service: string
  /** The screen, for the text of a violation. */
  readonly screen: string
  /** It says that every host serves the service. */
  readonly saysServed: boolean
}

export interface ServedHistory {
  /** In revision order; the times are those of one clock. */
  readonly changes: readonly { readonly at: number; readonly change: Change }[]
  readonly calls: readonly Call[]
  readonly shown: readonly Shown[]
}

export interface ServedLimits {
  /** An answer that is on its way when an acknowledgement comes may still be of before. */
  readonly slackMs: number
  /** How long a proxy may take to notice that a port which it served was taken from it. */
  readonly noticeMs: number
}

export interface ServedReport {
  readonly violations: readonly string[]
  /** How much was there to check: calls to acknowledged listeners, named faults, settled rollouts, screens. */
  readonly checked: {
    readonly calls: number
    readonly named: number
    readonly settled: number
    readonly shown: number
  }
}

export function checkAcknowledgedIsServed(
  history: ServedHistory,
  { slackMs, noticeMs }: ServedLimits,
): ServedReport {
  const violations: string[] = []
  const checked = { calls: 0, named: 0, settled: 0, shown: 0 }

  const before = new State()
  for (const { at, change } of history.changes) {
    const settled = before.settles(change)
    if (settled !== undefined) {
      checked.settled++
      for (const missed of before.notServingSince(settled))
        violations.push(`T8: ${settled.service} settled at ${at} ms while ${missed}`)
    }
    before.apply(change)
  }

  for (const call of history.calls) {
    const state = stateAt(history, call.at - slackMs)
    const ack = state.acks.get(call.host)
    if (ack === undefined || !state.isAcknowledged(call, ack)) continue
    const named = state.nameOf(call, ack)
    if (named !== undefined) {
      checked.named++
      if (!named.isWhole) violations.push(`T8: ${call.host} names port ${call.listen} without who holds it`)
      continue
    }
    checked.calls++
    if (call.answer === 'application') continue
    // It was taken away, or given back, a moment ago: the host says so soon, or just did, or says nothing any more.
    const isKnown = statesWithin(history, call.at - slackMs, call.at + noticeMs).some(moment => {
      const said = moment.acks.get(call.host)
      return said === undefined || moment.nameOf(call, said) !== undefined
    })
    // A route that has just moved to another port, or is on its way back, promises nothing of this one.
    const isMoving = statesWithin(history, call.at - slackMs, call.at + slackMs).some(moment => {
      const said = moment.acks.get(call.host)
      return said !== undefined && !moment.isAcknowledged(call, said)
    })
    if (isKnown || isMoving) continue
    violations.push(
      `T8: ${call.host} acknowledged port ${call.listen} of ${call.service}, and at ${call.at} ms it answered: ${call.answer}`,
    )
  }

  for (const shown of history.shown) {
    checked.shown++
    if (!shown.saysServed) continue
    // A screen may be a moment behind the history, or know a change before that heard of it: wrong is what was so all the while.
    const moments = statesWithin(history, shown.at - slackMs, shown.at + slackMs).map(state =>
      state.notServing(shown),
    )
    const wrong = moments[0]?.filter(host => moments.every(missed => missed.includes(host))) ?? []
    for (const host of wrong)
      violations.push(
        `T8: ${shown.screen} said at ${shown.at} ms that ${shown.service} is served while ${host}`,
      )
  }
  return { violations, checked }
}

interface Address {
  readonly service: string
  readonly listen: number
}

/** The records at one moment. */
class State {
  readonly routes: Map<string, { readonly value: Route; readonly modified: string }>
  readonly acks: Map<string, RouteAck>
  readonly rollouts: Map<string, Rollout>
  /** The ports of a service's route when its last settled generation was about to be followed by another. */
  readonly portsBefore: Map<string, readonly number[]>
  /** `host port` that was served when the traffic of a service began to move away from an earlier generation. */
  readonly servedAtSwitch: Map<string, ReadonlySet<string>>

  constructor(before?: State) {
    this.portsBefore = new Map(before?.portsBefore)
    this.servedAtSwitch = new Map(before?.servedAtSwitch)
    this.routes = new Map(before?.routes)
    this.acks = new Map(before?.acks)
    this.rollouts = new Map(before?.rollouts)
  }

  apply(change: Change): void {
    const id = change.kind === 'put' ? String(change.entry.id) : String(change.id)
    switch (change.collection.name) {
      case 'routes':
        if (change.kind === 'put')
          this.routes.set(id, { value: route.parse(change.entry.value), modified: change.entry.modified })
        else this.routes.delete(id)
        return
      case 'route-acks':
        if (change.kind === 'put') this.acks.set(id, routeAck.parse(change.entry.value))
        else this.acks.delete(id)
        return
      case 'rollouts':
        if (change.kind === 'put') this.#enter(id, rollout.parse(change.entry.value))
        else this.rollouts.delete(id)
    }
  }

  #enter(service: string, next: Rollout): void {
    const last = this.rollouts.get(service)
    const ports = this.routes.get(service)?.value.listeners.map(({ listen }) => listen) ?? []
    const live = last?.now.phase === 'settled' ? last.now.live : undefined
    const isBegun = live !== undefined && next.now.phase === 'resolving'
    if (isBegun && (last?.same[last.asked] ?? last?.asked) === live) this.portsBefore.set(service, ports)
    if (last?.now.phase !== 'draining' && next.now.phase === 'draining') {
      const served = [...this.acks].flatMap(([host, ack]) =>
        ports
          .filter(listen => this.nameOf({ service, listen }, ack) === undefined)
          .map(at => `${host} ${at}`),
      )
      this.servedAtSwitch.set(service, new Set(served))
    }
    this.rollouts.set(service, next)
  }

  /** The rollout that this change settles, if it does; one on its way back is no promise, and one that moved nothing is none either. */
  settles(change: Change): Rollout | undefined {
    if (change.collection.name !== 'rollouts' || change.kind !== 'put') return undefined
    const now = this.rollouts.get(String(change.entry.id))?.now
    const next = rollout.parse(change.entry.value)
    return now?.phase === 'draining' && !now.undo && next.now.phase === 'settled' ? next : undefined
  }

  /** Each host that acknowledges anything and does not serve all of a service, in words. */
  notServing({ service }: { readonly service: string }): readonly string[] {
    return this.#missing(service, () => true)
  }

  /** The same, without what was not served of the generation that it follows. */
  notServingSince({ service }: Rollout): readonly string[] {
    const now = this.rollouts.get(service)?.now
    const isFirst = now?.phase !== 'draining' || now.old === undefined
    const isOld = (port: number) => this.portsBefore.get(service)?.includes(port) === true
    const wasServed = (host: string, port: number) =>
      this.servedAtSwitch.get(service)?.has(`${host} ${port}`) === true
    return this.#missing(service, (host, port) => isFirst || !isOld(port) || wasServed(host, port))
  }

  #missing(service: string, counts: (host: string, port: number) => boolean): readonly string[] {
    const known = this.routes.get(service)
    if (known === undefined) return []
    return [...this.acks].flatMap(([host, ack]) => {
      if (compareRevisions(ack.revision, known.modified) < 0) return [`${host} had not applied its route`]
      const missed = known.value.listeners.filter(
        listener => namedIn(ack, service, listener) !== undefined && counts(host, listener.listen),
      )
      return missed.map(({ listen }) => `${host} could not serve port ${listen}`)
    })
  }

  isAcknowledged({ service, listen }: Address, ack: RouteAck): boolean {
    const known = this.routes.get(service)
    const answers = known?.value.backings.some(({ share, endpoints }) => share > 0 && endpoints.length > 0)
    return (
      known !== undefined &&
      answers === true &&
      this.#listener({ service, listen }) !== undefined &&
      compareRevisions(ack.revision, known.modified) >= 0
    )
  }

  /** How the acknowledgement names a listener, if it does; `isWhole`: with who holds it, where somebody does. */
  nameOf(address: Address, ack: RouteAck): { readonly isWhole: boolean } | undefined {
    const listener = this.#listener(address)
    const named = listener === undefined ? undefined : namedIn(ack, address.service, listener)
    if (named === undefined) return undefined
    const isHeld = named.reason === 'held' || named.reason === 'shared'
    return { isWhole: isHeld ? named.holder !== undefined : true }
  }

  #listener({ service, listen }: Address): Listener | undefined {
    return this.routes.get(service)?.value.listeners.find(one => one.listen === listen)
  }
}

const stateAt = (history: ServedHistory, at: number): State => statesWithin(history, at, at)[0] ?? new State()

/** The state at one time, and each that followed until another one. */
function statesWithin({ changes }: ServedHistory, from: number, to: number): readonly State[] {
  const states = [new State()]
  for (const { at, change } of changes) {
    if (at > to) break
    const next = at > from ? new State(states.at(-1)) : (states[0] ?? new State())
    next.apply(change)
    if (at > from) states.push(next)
  }
  return states
}

const namedIn = ({ unserved = [] }: RouteAck, service: string, { listen, expose }: Listener) =>
  unserved.find(
    one =>
      one.listen === listen &&
      (one.service ?? service) === service &&
      (one.only !== 'public' || expose === 'public'),
  )
