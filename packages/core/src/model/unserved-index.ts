/**
 * What hosts said that they cannot serve, found by listener: what it costs to ask for one service follows what is found, not how
 * many hosts say anything. With thousands of hosts that each name a few, a walk over all of them for every service takes seconds.
 */
import type { HostId, ServiceName } from './ids.ts'
import type { Listening, Unserved } from './unserved.ts'

export interface UnservedOn {
  readonly host: HostId
  readonly one: Unserved
}

export class UnservedIndex {
  readonly #byListener = new Map<string, Said[]>()
  #size = 0

  /** What one host said; its entries come after those of the hosts before. Where reading one throws, none is added. */
  add(host: HostId, unserved: readonly Unserved[]): void {
    const keyed = unserved.map(one => ({ one, keys: keysOf(one) }))
    for (const { one, keys } of keyed) {
      const said = { host, one, at: this.#size++ }
      for (const key of keys) {
        const known = this.#byListener.get(key)
        if (known === undefined) this.#byListener.set(key, [said])
        else known.push(said)
      }
    }
  }

  /** What concerns the listeners of a service, in the order it was added; the first so many of it. */
  of(
    service: ServiceName,
    listeners: readonly Listening[],
    most = Number.POSITIVE_INFINITY,
  ): readonly UnservedOn[] {
    const found = new Set<Said>()
    for (const { listen, expose } of listeners)
      for (const key of [keyOf(listen, expose), keyOf(listen, expose, service)])
        for (const said of this.#byListener.get(key)?.slice(0, most) ?? []) found.add(said)
    return [...found].sort((a, b) => a.at - b.at).slice(0, most)
  }
}

interface Said extends UnservedOn {
  readonly at: number
}

/** The listeners that it is about, as `concerns` in unserved.ts says it. */
const keysOf = ({ listen, service, only }: Unserved): readonly string[] =>
  only === undefined
    ? [keyOf(listen, 'public', service), keyOf(listen, 'private', service)]
    : [keyOf(listen, only, service)]

const keyOf = (listen: number, expose: Listening['expose'], service = ''): string =>
  `${listen} ${expose} ${service}`
