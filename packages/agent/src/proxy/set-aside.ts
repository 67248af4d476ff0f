/**
 * Routes that cannot be had, one service at a time: what a configuration is refused for, or what cannot even be drawn. Those
 * services are set aside, with what was served of them before where there is such a thing, and all others are served.
 */
import { after, type Instant } from '@boxcar/core/model/clock'
import type { ServiceName } from '@boxcar/core/model/ids'
import type { Route } from '@boxcar/core/model/route'
import type { ProxyFault } from './picture.ts'

/** Why the routes of these services cannot be served together; nothing where they can. */
export type WhyNot = (services: readonly ServiceName[]) => Promise<string | undefined>

/**
 * The services that cannot be served by themselves, with why, found by halving. None where nothing can be had even without any
 * route, or where only all of them together cannot.
 */
export async function culpritsOf(
  services: readonly ServiceName[],
  whyNot: WhyNot,
): Promise<ReadonlyMap<ServiceName, string>> {
  const found = new Map<ServiceName, string>()
  const search = async (group: readonly ServiceName[]): Promise<void> => {
    const [only] = group
    if (only === undefined) return
    const why = await whyNot(group)
    if (why === undefined) return
    if (group.length === 1) return void found.set(only, why)
    const middle = Math.ceil(group.length / 2)
    await search(group.slice(0, middle))
    await search(group.slice(middle))
  }
  if ((await whyNot([])) === undefined) await search(services)
  return found
}

interface Aside {
  readonly route: Route
  readonly why: string
  readonly times: number
  /** When it is tried again. */
  readonly until: Instant
}

/** The services that are set aside, each for as long as its route stays what it was. */
export class SetAside {
  readonly #services = new Map<ServiceName, Aside>()

  add(service: ServiceName, route: Route, why: string, now: Instant): void {
    const times = (this.#services.get(service)?.times ?? 0) + 1
    const until = after(now, Math.min(longestPauseMs, firstPauseMs * 2 ** (times - 1)))
    this.#services.set(service, { route, why, times, until })
  }

  delete(service: ServiceName): void {
    this.#services.delete(service)
  }

  due(now: Instant): readonly ServiceName[] {
    return [...this.#services].filter(([, { until }]) => until <= now).map(([service]) => service)
  }

  /** What can be served of the routes asked for. What is asked for anew is no longer set aside. */
  admit(
    asked: ReadonlyMap<ServiceName, Route>,
    served: ReadonlyMap<ServiceName, Route>,
    now: Instant,
  ): ReadonlyMap<ServiceName, Route> {
    for (const [service, { route }] of this.#services) {
      const next = asked.get(service)
      if (next === undefined || (next !== route && JSON.stringify(next) !== JSON.stringify(route)))
        this.#services.delete(service)
    }
    const admitted = new Map<ServiceName, Route>()
    for (const [service, route] of asked) {
      const unfit = this.#services.has(service) ? undefined : unfitRoute(route)
      if (unfit !== undefined) this.add(service, route, unfit, now)
      const before = served.get(service)
      if (!this.#services.has(service)) admitted.set(service, route)
      else if (before?.uid === route.uid && unfitRoute(before) === undefined) admitted.set(service, before)
    }
    return admitted
  }

  faults(): readonly ProxyFault[] {
    return [...this.#services].flatMap(([service, { route, why }]) =>
      [...new Set(route.listeners.map(({ listen }) => listen))].map(
        (listen): ProxyFault => ({ kind: 'listener', service, listen, reason: 'refused', why }),
      ),
    )
  }
}

/** What no proxy can be told: its commands and lines have an end, and names of ports are in them. */
export function unfitRoute({ listeners }: Route): string | undefined {
  const long = listeners.find(({ port }) => Buffer.byteLength(port) > longestPortName)
  return long && `the name of a port has at most ${longestPortName} bytes: ${long.port.slice(0, 32)}…`
}

/** Above what a spec may say. */
const longestPortName = 64
const firstPauseMs = 10_000
const longestPauseMs = 10 * 60_000
