/**
 * The law that traffic moves before a process stops, for tests: given every plan of a stage before it is done, it knows which routes
 * each proxy may still have, and throws for what a plan stops although one of them sends it traffic.
 */
import type { HostId, ServiceName } from '../model/ids.ts'
import type { Placement } from '../model/placement.ts'
import { compareRevisions, noRevision, type Revision } from '../model/revision.ts'
import type { Endpoint, Route } from '../model/route.ts'
import type { HostState, Seen } from '../model/world.ts'
import type { Plan } from './plan.ts'
import type { Stage } from './stage.ts'

export class TrafficFirst {
  readonly #stage: Stage
  /** Every route of a service that stands, oldest first, since the service began. */
  readonly #routes = new Map<ServiceName, Seen<Route>[]>()
  readonly #hostsAt = new Map<string, HostId>()

  constructor(stage: Stage) {
    this.#stage = stage
  }

  check(plan: Plan): void {
    this.#look()
    for (const { service, actions } of plan.services)
      for (const action of actions) {
        // What stood on a lost host is no concern of this law: nobody knows what runs there.
        if (action.kind !== 'release' || action.placement.because === 'host-lost') continue
        for (const host of this.#stage.world.hosts.values())
          for (const { modified } of this.#sendingTo(host, service, action.placement))
            throw new Error(
              `${action.placement.instance} on ${action.placement.host} stops, and the proxy of ${host.id} may have route ${modified}`,
            )
      }
  }

  #look(): void {
    const { world } = this.#stage
    for (const host of world.hosts.keys()) this.#hostsAt.set(this.#stage.addressOf(host) ?? '', host)
    for (const name of this.#routes.keys())
      if (world.services.get(name)?.route === undefined) this.#routes.delete(name)
    for (const { name, route } of world.services.values()) {
      if (route === undefined) continue
      const known = this.#routes.get(name) ?? []
      this.#routes.set(name, known.at(-1)?.modified === route.modified ? known : [...known, route])
    }
  }

  /** The routes with this placement in them that a proxy has, or may have by now: the one it acknowledged, and all that came later. */
  #sendingTo(host: HostState, service: ServiceName, placement: Placement): readonly Seen<Route>[] {
    const applied = appliedBy(host)
    const routes = this.#routes.get(service) ?? []
    if (applied === undefined) return []
    const from = routes.findLastIndex(({ modified }) => compareRevisions(modified, applied) <= 0)
    return routes
      .slice(Math.max(from, 0))
      .filter(({ value }) =>
        value.backings.some(({ endpoints }) => endpoints.some(it => this.#leadsTo(it, placement))),
      )
  }

  #leadsTo(endpoint: Endpoint, { host, instance, ports }: Placement): boolean {
    return (
      endpoint.instance === instance &&
      this.#hostsAt.get(endpoint.address) === host &&
      JSON.stringify(endpoint.ports) === JSON.stringify(ports)
    )
  }
}

/** Undefined: nobody waits for its proxy. One that acknowledged nothing may have any route. */
function appliedBy({ health, ack, record }: HostState): Revision | undefined {
  if (health === 'lost') return undefined
  if (ack !== undefined) return ack.value.revision as Revision
  return record?.proxy.state === 'up' ? noRevision : undefined
}
