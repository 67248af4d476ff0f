import type { Instant } from '../model/clock.ts'
import { byId, type HostId, type InstanceId } from '../model/ids.ts'
import type { Obstacle } from './obstacle.ts'

/** How long a released port is left alone, so that a proxy cut off with old routes never reaches another service. */
export const portRestMs = 10 * 60_000

export interface PortRange {
  /** Both ends included. */
  readonly from: number
  readonly to: number
}

export interface PortAsk {
  readonly dynamicPorts: readonly string[]
  readonly fixedPorts: readonly { readonly name: string; readonly port: number }[]
}

/**
 * The host ports of one host. A port is held by an instance, resting after its release, or free. Dynamic ports are
 * handed out by a cursor that goes round the range, so the one used longest ago comes next; fixed ports need only
 * not be held, since a service that stops first must get its own port back at once.
 */
export class HostPorts {
  #range: PortRange = { from: 1, to: 0 }
  readonly #held = new Map<number, InstanceId>()
  /** Further claims on a held port. Never written by a sound leader, but counted honestly when read. */
  readonly #alsoHeld = new Map<number, readonly InstanceId[]>()
  /** When each was released, longest ago first: instants only rise here, and a port released again moves to the end. */
  readonly #resting = new Map<number, Instant>()
  /** Ports of the range that are held or resting. */
  #busy = 0
  /** The next port to try; undefined until the first is handed out. */
  #cursor: number | undefined

  /** Dynamic ports that can be handed out now. */
  get free(): number {
    return Math.max(0, this.#range.to - this.#range.from + 1) - this.#busy
  }

  /** When the next resting port becomes free; Infinity where none rests. */
  get freeAt(): number {
    if (this.#resting.size > 0)
      for (const releasedAt of this.#resting.values()) return releasedAt + portRestMs
    return Number.POSITIVE_INFINITY
  }

  /** Nothing is held, nothing rests. */
  get isIdle(): boolean {
    return this.#held.size === 0 && this.#resting.size === 0
  }

  setRange({ from, to }: PortRange): void {
    if (from === this.#range.from && to === this.#range.to) return
    this.#range = { from, to }
    if (this.#cursor !== undefined && !this.#inRange(this.#cursor)) this.#cursor = undefined
    this.#busy = 0
    for (const port of this.#held.keys()) if (this.#inRange(port)) this.#busy++
    for (const port of this.#resting.keys()) if (this.#inRange(port)) this.#busy++
  }

  hold(port: number, instance: InstanceId): void {
    const holder = this.#held.get(port)
    if (holder === instance) return
    if (holder !== undefined) {
      // Of several claims the least id is named, whichever was read first.
      const claims = [
        holder,
        instance,
        ...(this.#alsoHeld.get(port) ?? []).filter(id => id !== instance),
      ].sort(byId)
      this.#held.set(port, claims[0] ?? instance)
      this.#alsoHeld.set(port, claims.slice(1))
      return
    }
    if (!this.#resting.delete(port) && this.#inRange(port)) this.#busy++
    this.#held.set(port, instance)
  }

  release(port: number, instance: InstanceId, now: Instant): void {
    const others = this.#alsoHeld.get(port)
    if (this.#held.get(port) !== instance) {
      const left = others?.filter(id => id !== instance) ?? []
      if (left.length === 0) this.#alsoHeld.delete(port)
      else this.#alsoHeld.set(port, left)
      return
    }
    const [heir, ...rest] = others ?? []
    if (heir !== undefined) {
      this.#held.set(port, heir)
      if (rest.length === 0) this.#alsoHeld.delete(port)
      else this.#alsoHeld.set(port, rest)
      return
    }
    this.#held.delete(port)
    this.#resting.set(port, now)
  }

  /** Takes a hold back as if it had never been: nobody used the port, so it need not rest. */
  unhold(port: number, instance: InstanceId, now: Instant): void {
    this.release(port, instance, now)
    if (!this.#held.has(port) && this.#resting.delete(port) && this.#inRange(port)) this.#busy--
  }

  /** Frees the ports that have rested long enough. */
  wake(now: Instant): void {
    for (const [port, releasedAt] of this.#resting) {
      if (releasedAt + portRestMs > now) return
      this.#resting.delete(port)
      if (this.#inRange(port)) this.#busy--
    }
  }

  /** How many replicas could get their ports. */
  room(ask: PortAsk): number {
    const { dynamicPorts, fixedPorts } = ask
    if (fixedPorts.length === 0)
      return dynamicPorts.length === 0
        ? Number.POSITIVE_INFINITY
        : Math.floor(this.free / dynamicPorts.length)
    if (fixedPorts.some((_, i) => this.#holderOf(ask, i) !== undefined)) return 0
    return dynamicPorts.length === 0 || this.#freeBeside(ask) >= dynamicPorts.length ? 1 : 0
  }

  obstacles(ask: PortAsk): readonly Obstacle[] {
    const found: Obstacle[] = []
    ask.fixedPorts.forEach(({ port }, i) => {
      const heldBy = this.#holderOf(ask, i)
      if (heldBy !== undefined) found.push({ kind: 'port', port, heldBy })
    })
    if (ask.dynamicPorts.length > 0 && this.#freeBeside(ask) < ask.dynamicPorts.length)
      found.push({ kind: 'no-free-port', ...this.#range })
    return found
  }

  /**
   * Host ports by name, or the first obstacle. Takes nothing; the same ports are not offered again before a full round.
   * Where the first round begins is drawn from `seed`, a whole number from 0.
   */
  pick(ask: PortAsk, seed = 0): { readonly ports: Record<string, number> } | { readonly obstacle: Obstacle } {
    if (this.room(ask) < 1) {
      const [obstacle] = this.obstacles(ask)
      if (obstacle !== undefined) return { obstacle }
    }
    const ports: Record<string, number> = {}
    for (const { name, port } of ask.fixedPorts) ports[name] = port
    let next = this.#cursor ?? this.#start(seed)
    for (const name of ask.dynamicPorts) {
      while (!this.#isFree(next) || ask.fixedPorts.some(({ port }) => port === next)) next = this.#after(next)
      ports[name] = next
      next = this.#after(next)
    }
    if (ask.dynamicPorts.length > 0) this.#cursor = next
    return { ports }
  }

  /** Who stands in the way of the ask's fixed port: an instance, or another port of the ask itself. */
  #holderOf({ fixedPorts }: PortAsk, index: number): string | undefined {
    const port = fixedPorts[index]?.port
    if (port === undefined) return undefined
    const twin = fixedPorts.findIndex(other => other.port === port)
    return (
      this.#held.get(port) ??
      (twin < index ? `port ${fixedPorts[twin]?.name} of the same instance` : undefined)
    )
  }

  /** Free dynamic ports once the ask's fixed ones are taken. */
  #freeBeside({ fixedPorts }: PortAsk): number {
    let free = this.free
    fixedPorts.forEach(({ port }, i) => {
      const isFirst = fixedPorts.findIndex(other => other.port === port) === i
      if (isFirst && this.#inRange(port) && this.#isFree(port)) free--
    })
    return free
  }

  #isFree(port: number): boolean {
    return !this.#held.has(port) && !this.#resting.has(port)
  }

  #inRange(port: number): boolean {
    return port >= this.#range.from && port <= this.#range.to
  }

  #after(port: number): number {
    return port >= this.#range.to ? this.#range.from : port + 1
  }

  /**
   * Where a leader that took over begins. It does not know what was released before its time; those ports lie near the
   * held ones, where the earlier leader's cursor went, so it begins past the middle of the widest gap. Each leader has
   * a seed of its own and begins elsewhere, or several in a row would all hand out the same ports first. That makes it
   * unlikely, not impossible, that a port is handed out within ten minutes of a release that an earlier leader saw:
   * certainty would take a record of every release.
   */
  #start(seed: number): number {
    const { from, to } = this.#range
    const size = to - from + 1
    const held = [...this.#held.keys()].filter(port => this.#inRange(port)).sort((a, b) => a - b)
    const first = held[0]
    if (first === undefined) return from + (seed % size)
    let [widest, start] = [0, from]
    held.forEach((port, i) => {
      const gap = (held[i + 1] ?? first + size) - port
      if (gap <= widest) return
      widest = gap
      const offset = Math.ceil(gap / 2) + (seed % Math.max(1, Math.floor(gap / 4)))
      start = from + ((port - from + offset) % size)
    })
    return start
  }
}

/** A seed for the ports of one host under one leader: the same for the same names, far apart for like ones (FNV-1a). */
export function portSeed(term: string, host: HostId): number {
  let hash = 0x811c9dc5
  for (const unit of `${term} ${host}`) hash = Math.imul(hash ^ (unit.codePointAt(0) ?? 0), 0x01000193)
  return hash >>> 0
}
