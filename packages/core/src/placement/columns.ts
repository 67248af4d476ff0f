/**
 * All hosts as columns of numbers, so that placing thousands of replicas walks typed arrays and not objects. A host has a
 * slot, its index into every column, for as long as it is known; order among hosts is by id and never by slot.
 */
import type { Instant } from '../model/clock.ts'
import { byId, type HostId, type InstanceId } from '../model/ids.ts'
import { LabelClasses } from './classes.ts'
import type { Obstacle } from './obstacle.ts'
import { HostPorts, type PortAsk } from './ports.ts'

export interface HostView {
  readonly id: HostId
  /** Why it takes no work at present (suspect, lost, cordoned, draining, engine-down, orders-refused); undefined: it takes work. */
  readonly accepts: Obstacle | undefined
  readonly labels: Readonly<Record<string, string>>
  readonly cpuMilli: number
  readonly memoryMiB: number
  /** Host ports to hand out, both ends included. */
  readonly ports: { readonly from: number; readonly to: number }
}

/** What an instance counts against its host. */
export interface Load {
  readonly instance: InstanceId
  readonly cpuMilli: number
  readonly memoryMiB: number
  /** Host port by port name. */
  readonly ports: Readonly<Record<string, number>>
}

/** Numbers of all hosts, each array indexed by slot. Arrays are replaced as they grow: not to be kept. */
export interface Numbers {
  /** 1 where the host takes work; 0 also in slots without a host. */
  readonly takesWork: Uint8Array
  readonly cpuTotal: Float64Array
  readonly cpuUsed: Float64Array
  readonly memoryTotal: Float64Array
  readonly memoryUsed: Float64Array
  readonly labelClass: Int32Array
  readonly portsFree: Int32Array
  /** The host's place in the order of ids. */
  readonly rank: Int32Array
}

export class HostColumns {
  /** Meant for the constraints and scores of this folder. */
  numbers: Numbers = emptyNumbers(64)
  readonly classes = new LabelClasses()

  /** By slot; undefined where a slot waits to be used again. */
  readonly #rows: (Row | undefined)[] = []
  readonly #slots = new Map<HostId, number>()
  readonly #unused: number[] = []
  /** Slots of hosts that were deleted or not yet seen, but have load or resting ports. */
  readonly #hidden = new Set<number>()
  /** Those of them that only wait for their ports to have rested. */
  readonly #leaving = new Set<number>()
  /** When the next resting port of a slot becomes free. */
  #portsFreeAt: Float64Array = new Float64Array(64).fill(Number.POSITIVE_INFINITY)
  #order: Int32Array | undefined
  #now = Number.NEGATIVE_INFINITY as Instant

  /** Slots ever used: loops over columns end here. */
  get slots(): number {
    return this.#rows.length
  }

  /** Hosts that are known. */
  get size(): number {
    return this.#slots.size - this.#hidden.size
  }

  upsert(host: HostView): void {
    const slot = this.#slots.get(host.id) ?? this.#open(host.id)
    const row = this.#row(slot)
    const { numbers } = this
    if (row.view === undefined) {
      this.#hidden.delete(slot)
      this.#leaving.delete(slot)
      this.#order = undefined
      numbers.labelClass[slot] = this.classes.join(host.labels)
    } else if (row.view.labels !== host.labels) {
      const before = numbers.labelClass[slot] ?? 0
      numbers.labelClass[slot] = this.classes.join(host.labels)
      this.classes.leave(before)
    }
    row.view = host
    row.ports.setRange(host.ports)
    numbers.takesWork[slot] = host.accepts === undefined ? 1 : 0
    numbers.cpuTotal[slot] = host.cpuMilli
    numbers.memoryTotal[slot] = host.memoryMiB
    this.#notePorts(slot, row)
  }

  /** Forgets the host. What it still holds is counted until it is given back, should the host return before. */
  delete(id: HostId): void {
    const slot = this.#slots.get(id)
    if (slot === undefined) return
    const row = this.#row(slot)
    if (row.view === undefined) return
    row.view = undefined
    this.#order = undefined
    this.numbers.takesWork[slot] = 0
    this.classes.leave(this.numbers.labelClass[slot] ?? 0)
    this.#hidden.add(slot)
    this.#closeIfIdle(slot, row)
  }

  /** Counts an instance on a host; counting it again replaces what it counted. The host need not be known yet. */
  take(id: HostId, load: Load): void {
    let slot = this.#slots.get(id)
    if (slot === undefined) {
      slot = this.#open(id)
      this.#hidden.add(slot)
    }
    const row = this.#row(slot)
    const before = row.loads.get(load.instance)
    if (before === load) return
    row.loads.set(load.instance, load)
    this.#leaving.delete(slot)
    for (const port of Object.values(load.ports)) row.ports.hold(port, load.instance)
    if (before !== undefined) {
      const kept = new Set(Object.values(load.ports))
      for (const port of Object.values(before.ports))
        if (!kept.has(port)) row.ports.release(port, load.instance, this.#now)
    }
    this.#count(slot, load.cpuMilli - (before?.cpuMilli ?? 0), load.memoryMiB - (before?.memoryMiB ?? 0))
    this.#notePorts(slot, row)
  }

  /** Takes an instance off a host; its ports rest from `now`. Nothing happens where it was not counted. */
  give(id: HostId, instance: InstanceId, now: Instant): void {
    this.advance(now)
    this.#drop(id, instance, (ports, port) => ports.release(port, instance, this.#now))
  }

  /** Takes back a count of something that never came to be: its ports need no rest. */
  untake(id: HostId, instance: InstanceId): void {
    this.#drop(id, instance, (ports, port) => ports.unhold(port, instance, this.#now))
  }

  #drop(id: HostId, instance: InstanceId, letGo: (ports: HostPorts, port: number) => void): void {
    const slot = this.#slots.get(id)
    if (slot === undefined) return
    const row = this.#row(slot)
    const load = row.loads.get(instance)
    if (load === undefined) return
    row.loads.delete(instance)
    for (const port of Object.values(load.ports)) letGo(row.ports, port)
    this.#count(slot, -load.cpuMilli, -load.memoryMiB)
    this.#notePorts(slot, row)
    if (row.view === undefined) this.#closeIfIdle(slot, row)
  }

  /**
   * Moves time on: ports that were released long enough ago become free. `give` and `pickPorts` do it too; a planner
   * calls it once before it places, else a host whose ports all rest would be refused for ever.
   */
  advance(now: Instant): void {
    if (now > this.#now) this.#now = now
  }

  view(id: HostId): HostView | undefined {
    return this.#find(id)?.view
  }

  /** What is left on a host, below zero where it is overfull; nothing on an unknown one. */
  free(id: HostId): { readonly cpuMilli: number; readonly memoryMiB: number } {
    const used = this.used(id)
    const view = this.view(id)
    if (view === undefined) return { cpuMilli: 0, memoryMiB: 0 }
    return { cpuMilli: view.cpuMilli - used.cpuMilli, memoryMiB: view.memoryMiB - used.memoryMiB }
  }

  /** What the instances on a host count in sum. */
  used(id: HostId): { readonly cpuMilli: number; readonly memoryMiB: number } {
    const slot = this.#slots.get(id)
    if (slot === undefined) return { cpuMilli: 0, memoryMiB: 0 }
    return { cpuMilli: this.numbers.cpuUsed[slot] ?? 0, memoryMiB: this.numbers.memoryUsed[slot] ?? 0 }
  }

  /** How many instances are counted on a host. */
  instances(id: HostId): number {
    return this.#find(id)?.loads.size ?? 0
  }

  /** What an instance counts on a host. */
  load(id: HostId, instance: InstanceId): Load | undefined {
    return this.#find(id)?.loads.get(instance)
  }

  /**
   * Host ports for an ask on a host, or the obstacle. Dynamic ports least recently used, never one released less than
   * ten minutes ago; fixed ones as given. Takes nothing: `take` does. Throws where the host is not known. `seed` is the
   * leader's, for its first pick on the host.
   */
  pickPorts(
    id: HostId,
    ask: PortAsk,
    now: Instant,
    seed = 0,
  ): { readonly ports: Record<string, number> } | { readonly obstacle: Obstacle } {
    this.advance(now)
    const slot = this.#slots.get(id)
    const row = slot === undefined ? undefined : this.#rows[slot]
    if (slot === undefined || row?.view === undefined) throw new Error(`no host ${id} to pick ports on`)
    this.#wake(slot, row)
    return row.ports.pick(ask, seed)
  }

  /** Slots of the known hosts in the order of their ids. */
  inIdOrder(): Int32Array {
    if (this.#order !== undefined) return this.#order
    const known = [...this.#slots].filter(([, slot]) => !this.#hidden.has(slot))
    const order = Int32Array.from(
      known.sort(([a], [b]) => byId(a, b)),
      ([, slot]) => slot,
    )
    order.forEach((slot, rank) => {
      this.numbers.rank[slot] = rank
    })
    this.#order = order
    return order
  }

  /** The slot of a host, counted or known. */
  slotOf(id: HostId): number | undefined {
    return this.#slots.get(id)
  }

  /** The known host in a slot. */
  hostAt(slot: number): HostView | undefined {
    return this.#rows[slot]?.view
  }

  /** The ports of the host in a slot, rested ones freed. */
  portsAt(slot: number): HostPorts {
    const row = this.#row(slot)
    this.#wake(slot, row)
    return row.ports
  }

  /** When the next resting port of a host becomes free; Infinity where none rests. */
  portsFreeAt(id: HostId): number {
    const slot = this.#slots.get(id)
    return slot === undefined
      ? Number.POSITIVE_INFINITY
      : (this.#portsFreeAt[slot] ?? Number.POSITIVE_INFINITY)
  }

  /** Brings the column of free ports up to the present. */
  wakePorts(): void {
    const slots = this.#rows.length
    for (let slot = 0; slot < slots; slot++)
      if ((this.#portsFreeAt[slot] ?? 0) <= this.#now) this.#wake(slot, this.#row(slot))
  }

  #wake(slot: number, row: Row): void {
    if ((this.#portsFreeAt[slot] ?? 0) > this.#now) return
    row.ports.wake(this.#now)
    this.#notePorts(slot, row)
  }

  #notePorts(slot: number, { ports }: Row): void {
    this.numbers.portsFree[slot] = ports.free
    this.#portsFreeAt[slot] = ports.freeAt
  }

  #count(slot: number, cpuMilli: number, memoryMiB: number): void {
    const { cpuUsed, memoryUsed } = this.numbers
    cpuUsed[slot] = (cpuUsed[slot] ?? 0) + cpuMilli
    memoryUsed[slot] = (memoryUsed[slot] ?? 0) + memoryMiB
  }

  #find(id: HostId): Row | undefined {
    const slot = this.#slots.get(id)
    return slot === undefined ? undefined : this.#rows[slot]
  }

  #row(slot: number): Row {
    const row = this.#rows[slot]
    if (row === undefined) throw new Error(`no host in slot ${slot}`)
    return row
  }

  #open(id: HostId): number {
    for (const leaving of this.#leaving) this.#closeIfIdle(leaving, this.#row(leaving))
    const slot = this.#unused.pop() ?? this.#rows.length
    if (slot >= this.#portsFreeAt.length) this.#grow(2 * slot)
    this.#rows[slot] = { id, view: undefined, loads: new Map(), ports: new HostPorts() }
    this.#slots.set(id, slot)
    return slot
  }

  #closeIfIdle(slot: number, row: Row): void {
    if (row.loads.size > 0) return
    this.#leaving.add(slot)
    this.#wake(slot, row)
    if (!row.ports.isIdle) return
    this.#leaving.delete(slot)
    this.#hidden.delete(slot)
    this.#slots.delete(row.id)
    this.#rows[slot] = undefined
    this.numbers.cpuUsed[slot] = 0
    this.numbers.memoryUsed[slot] = 0
    this.numbers.portsFree[slot] = 0
    this.#portsFreeAt[slot] = Number.POSITIVE_INFINITY
    this.#unused.push(slot)
  }

  #grow(capacity: number): void {
    const [old, fresh] = [this.numbers, emptyNumbers(capacity)]
    fresh.takesWork.set(old.takesWork)
    fresh.cpuTotal.set(old.cpuTotal)
    fresh.cpuUsed.set(old.cpuUsed)
    fresh.memoryTotal.set(old.memoryTotal)
    fresh.memoryUsed.set(old.memoryUsed)
    fresh.labelClass.set(old.labelClass)
    fresh.portsFree.set(old.portsFree)
    fresh.rank.set(old.rank)
    this.numbers = fresh
    const freeAt = new Float64Array(capacity).fill(Number.POSITIVE_INFINITY)
    freeAt.set(this.#portsFreeAt)
    this.#portsFreeAt = freeAt
  }
}

interface Row {
  readonly id: HostId
  /** undefined: deleted, or not seen yet. */
  view: HostView | undefined
  readonly loads: Map<InstanceId, Load>
  readonly ports: HostPorts
}

const emptyNumbers = (capacity: number): Numbers => ({
  takesWork: new Uint8Array(capacity),
  cpuTotal: new Float64Array(capacity),
  cpuUsed: new Float64Array(capacity),
  memoryTotal: new Float64Array(capacity),
  memoryUsed: new Float64Array(capacity),
  labelClass: new Int32Array(capacity),
  portsFree: new Int32Array(capacity),
  rank: new Int32Array(capacity),
})
