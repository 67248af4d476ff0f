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
 * The services that a table cannot be served with, each with why: by itself, or together with those that stand before it. Each is
 * found as the last of the shortest part, from the first on, that cannot be served without it. None where nothing can be had even
 * without any route. Where too many are refused only together, it is not one of them that is at fault, but how many there are: those
 * are left out.
 */
export async function findInvalidServices(
  services: readonly ServiceName[],
  whyNot: WhyNot,
): Promise<ReadonlyMap<ServiceName, string>> {
  const found = new Map<ServiceName, string>()
  if ((await whyNot([])) !== undefined) return found
  const together = new Set<ServiceName>()
  let valid: readonly ServiceName[] = []
  let rest = services
  while (together.size <= mostTogether) {
    const invalid = await firstInvalid(valid, rest, whyNot)
    if (invalid === undefined) return found
    const { at, service, why } = invalid
    const alone = at + valid.length === 0 ? why : await whyNot([service])
    found.set(service, alone ?? why)
    if (alone === undefined) together.add(service)
    valid = [...valid, ...rest.slice(0, at)]
    rest = rest.slice(at + 1)
  }
  for (const service of together) found.delete(service)
  return found
}

/** The first of the rest with which, and with all before it, the valid ones cannot be served; found by halving. */
async function firstInvalid(valid: readonly ServiceName[], rest: readonly ServiceName[], whyNot: WhyNot) {
  const whyWith = (count: number) => whyNot([...valid, ...rest.slice(0, count)])
  let why = rest.length === 0 ? undefined : await whyWith(rest.length)
  if (why === undefined) return undefined
  let [served, refused] = [0, rest.length]
  while (refused - served > 1) {
    const middle = Math.floor((served + refused) / 2)
    const whyMiddle = await whyWith(middle)
    if (whyMiddle === undefined) served = middle
    else [refused, why] = [middle, whyMiddle]
  }
  const service = rest[served]
  return service === undefined ? undefined : { at: served, service, why }
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

  /**
   * Tries those that are due again, each together with all that is served; whether one is no longer set aside, or not asked for
   * any more.
   */
  async retry(
    asked: ReadonlyMap<ServiceName, Route>,
    served: ReadonlyMap<ServiceName, Route>,
    whyNot: (routes: ReadonlyMap<ServiceName, Route>) => Promise<string | undefined>,
    now: Instant,
  ): Promise<boolean> {
    let isFree = false
    let valid = served
    for (const service of this.#due(now)) {
      const route = asked.get(service)
      const tried = route && new Map(valid).set(service, route)
      const why = tried && (await whyNot(tried))
      if (route !== undefined && why !== undefined) this.add(service, route, why, now)
      else {
        this.#services.delete(service)
        valid = tried ?? valid
        isFree = true
      }
    }
    return isFree
  }

  #due(now: Instant): readonly ServiceName[] {
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
      if (next === undefined || !isSameRoute(next, route)) this.#services.delete(service)
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

  names(): readonly ServiceName[] {
    return [...this.#services.keys()]
  }

  faults(): readonly ProxyFault[] {
    return [...this.#services].flatMap(([service, { route, why }]) =>
      [...new Set(route.listeners.map(({ listen }) => listen))].map(
        (listen): ProxyFault => ({ kind: 'listener', service, listen, reason: 'refused', why }),
      ),
    )
  }
}

/** Read again it is another object. */
export const isSameRoute = (a: Route, b: Route): boolean => a === b || JSON.stringify(a) === JSON.stringify(b)

/** What no proxy can be told: its commands and lines have an end, and names of ports are in them. */
export function unfitRoute({ listeners }: Route): string | undefined {
  const long = listeners.find(({ port }) => Buffer.byteLength(port) > longestPortName)
  return long && `the name of a port has at most ${longestPortName} bytes: ${long.port.slice(0, 32)}…`
}

/** Above what a spec may say. */
const longestPortName = 64
/** A table that is refused for so many that are valid by themselves is refused for their number. */
const mostTogether = 8
const firstPauseMs = 10_000
const longestPauseMs = 10 * 60_000
