/**
 * What the leader told this host, and whether what the store says now may be believed. An agent obeys the newest order of
 * the right store: a store of another cluster, or one that is behind what was seen before, is refused, and the orders stay
 * as they were. So does an order that cannot be read: a newer leader may have written it.
 */

import type { Failure, Order } from '@boxcar/core/instance/converge'
import { attempt } from '@boxcar/core/model/attempt'
import type { Instant } from '@boxcar/core/model/clock'
import { type ClusterName, type InstanceId, instanceId } from '@boxcar/core/model/ids'
import { type Placement, placement } from '@boxcar/core/model/placement'
import {
  type ClusterRecord,
  clusterRecord,
  clusters,
  type HostInstance,
  placements,
} from '@boxcar/store/keys'
import {
  type Change,
  compareRevisions,
  type FollowStep,
  noRevision,
  type Revision,
  type Unreadable,
} from '@boxcar/store/store'
import { z } from 'zod'

export interface PlacedOrder extends Order {
  readonly placed: Placement
  /** The mod revision of the order that is obeyed. */
  readonly revision: Revision
}

export type Taken = Believed | Refused

export interface Believed {
  readonly kind: 'changed' | 'same'
  /** Placements that could not be taken up, by what was thrown; each counts as one that cannot be read. */
  readonly failures?: readonly Failure[]
}

/** Saved orders that are not taken up. */
export interface Unusable {
  /** foreign: of another cluster, as is what lies beside them. */
  readonly is: 'unreadable' | 'foreign'
  /** In one sentence. */
  readonly problem: string
}

export interface Refused {
  readonly kind: 'refused'
  /** foreign: another cluster's store, and nothing is written there. behind: ours, as it was some time ago. */
  readonly store: 'foreign' | 'behind'
  /** In one sentence. */
  readonly reason: string
}

const revision = z
  .string()
  .regex(/^\d+$/)
  .transform(text => text as Revision)

const savedOrders = z.object({
  format: z.literal(1),
  /** Of the cluster; files of before this was written have none. */
  name: z.string().optional(),
  cluster: clusterRecord,
  head: revision,
  orders: z.array(z.unknown()),
})
const savedOrder = z.object({ created: revision, revision, placed: placement })
export type SavedOrders = z.input<typeof savedOrders>

/** How an order makes its container, as one text: it is a label of the container. */
export function printOf(placed: Pick<Placement, 'image' | 'ports'>): string {
  const ports = Object.entries(placed.ports).sort(([a], [b]) => (a < b ? -1 : 1))
  return [...ports.map(([name, port]) => `${name}=${port}`), placed.image].join(' ')
}

export class Orders {
  #cluster: ClusterRecord | undefined
  #head: Revision = noRevision
  #orders = new Map<InstanceId, PlacedOrder>()
  /** Instances whose placement stands in the store and cannot be read. */
  readonly #unreadable = new Set<InstanceId>()
  #heardAt: Instant | undefined
  #refused: Refused | undefined
  /** Of the store that is followed now: until it shows that it is the one that was seen, or has a higher epoch. */
  #wasBehind = false
  #trouble: string | undefined = 'the store was not heard yet'

  /** The name of the cluster that this host is told to be of. */
  readonly #name: ClusterName

  constructor(name: ClusterName) {
    this.#name = name
  }

  /** Takes up what an earlier run saved; a problem is a sentence, and nothing is taken up then. */
  load(text: string): Unusable | undefined {
    const parsed = readSaved(text)
    if ('problem' in parsed) return parsed
    const { name } = parsed.saved
    if (name !== undefined && name !== this.#name)
      return {
        is: 'foreign',
        problem: `it is of the cluster '${name}', and this host is of '${this.#name}' now`,
      }
    this.#cluster = parsed.saved.cluster
    this.#head = parsed.saved.head
    // One that is of no use takes none of the others along: the store says it anew, and nothing is ended for want of it before.
    const read = parsed.saved.orders.map(one => savedOrder.safeParse(one).data)
    this.#orders = new Map(
      read.flatMap(one =>
        one === undefined ? [] : [[one.placed.instance, orderOf(one.placed, one.created, one.revision)]],
      ),
    )
    return undefined
  }

  saved(): string | undefined {
    if (this.#cluster === undefined) return undefined
    const orders = [...this.#orders.values()].map(order => ({
      created: order.placement,
      revision: order.revision,
      placed: order.placed,
    }))
    const saved: SavedOrders = {
      format: 1,
      name: this.#name,
      cluster: this.#cluster,
      head: this.#head,
      orders,
    }
    return JSON.stringify(saved)
  }

  get orders(): ReadonlyMap<InstanceId, PlacedOrder> {
    return this.#orders
  }
  /** Instances that are asked for in words that are not understood; whatever they have is left as it is. */
  get unreadable(): ReadonlySet<InstanceId> {
    return this.#unreadable
  }
  get cluster(): ClusterRecord | undefined {
    return this.#cluster
  }

  /** Whether the store was heard a short while ago and is believed. */
  areFresh(now: Instant): boolean {
    return (
      this.#refused === undefined &&
      this.#trouble === undefined &&
      this.#heardAt !== undefined &&
      now - this.#heardAt <= freshMs
    )
  }

  /** Whether the store was found to be the right one. */
  get believed(): boolean {
    return this.#heardAt !== undefined && this.#refused === undefined
  }

  /** Whether reports may be written: never into another cluster's store. */
  get mayReport(): boolean {
    return this.#refused === undefined ? this.#heardAt !== undefined : this.#refused.store === 'behind'
  }

  /** The stream is in trouble until it is heard again. Says whether that is news. */
  lost(reason: string): 'news' | 'known' {
    const before = this.#trouble
    this.#trouble = reason
    return before === undefined ? 'news' : 'known'
  }

  take(step: FollowStep, now: Instant): Taken {
    const taken = this.#take(step)
    this.#refused = taken.kind === 'refused' ? taken : undefined
    if (taken.kind === 'refused') this.#wasBehind ||= taken.store === 'behind'
    else if (step.kind === 'snapshot') this.#wasBehind = false
    if (taken.kind !== 'refused') {
      this.#heardAt = now
      this.#trouble = undefined
    }
    return taken
  }

  #take(step: FollowStep): Taken {
    switch (step.kind) {
      case 'compacted':
        return { kind: 'same' }
      case 'quiet':
        this.#advance(step.revision)
        return { kind: 'same' }
      case 'snapshot':
        return this.#takeSnapshot(step)
      case 'changes': {
        const unreadable = new Set(step.unreadable.map(one => one.key))
        const failures: Failure[] = []
        let changed = false
        for (const change of step.changes) {
          if (change.collection === clusters) {
            const outcome = this.#takeCluster(change, step)
            if (outcome.kind === 'refused') return outcome
            changed ||= outcome.kind === 'changed'
          }
          if (change.collection === placements)
            changed = this.#tryPlacement(change, unreadable, failures) || changed
        }
        this.#noteUnreadable(step.unreadable)
        for (const { instance } of failures) this.#unreadable.add(instance)
        this.#advance(step.revision)
        return believed(changed, failures)
      }
    }
  }

  #takeSnapshot(step: Extract<FollowStep, { kind: 'snapshot' }>): Taken {
    const record = step.entries.find(entry => entry.kind === 'put' && entry.collection === clusters)
    if (record === undefined)
      return refuse(
        'foreign',
        unreadableRecord(step.unreadable) ??
          'the store holds no record of the cluster: it is a new one, or not ours',
      )
    const outcome = this.#takeCluster(record, step)
    if (outcome.kind === 'refused') return outcome
    if (this.#wasBehind && !this.#showsWhatWasSeen(step))
      return this.#behind(
        'the store was behind what was seen of it, and holds none of the placements seen then: it was copied or restored',
      )
    const unreadable = new Set(step.unreadable.map(one => one.key))
    const standing = new Set<InstanceId>()
    const failures: Failure[] = []
    let changed = outcome.kind === 'changed'
    for (const entry of step.entries) {
      if (entry.collection !== placements || entry.kind !== 'put') continue
      standing.add(instanceOf(entry))
      changed = this.#tryPlacement(entry, unreadable, failures) || changed
    }
    for (const [instance, order] of this.#orders) {
      if (standing.has(instance) || isUnreadable(order, unreadable)) continue
      this.#orders.delete(instance)
      changed = true
    }
    this.#unreadable.clear()
    this.#noteUnreadable(step.unreadable)
    for (const { instance } of failures) this.#unreadable.add(instance)
    this.#advance(step.revision)
    return believed(changed, failures)
  }

  /** Whether this store is the one whose orders were obeyed so far. */
  #takeCluster(
    change: Change,
    { revision: at, unreadable }: { readonly revision: Revision; readonly unreadable: readonly Unreadable[] },
  ): Taken {
    if (change.kind === 'removed')
      return refuse(
        'foreign',
        unreadableRecord(unreadable) ?? 'the record of the cluster was taken out of the store',
      )
    const record = clusterRecord.parse(change.entry.value)
    const known = this.#cluster
    if (known !== undefined) {
      if (record.uid !== known.uid)
        return refuse(
          'foreign',
          `the store belongs to another cluster of this name (uid ${record.uid}, this host obeys ${known.uid})`,
        )
      if (record.epoch < known.epoch)
        return this.#behind(
          `the store is older than the one obeyed so far (epoch ${record.epoch}, seen ${known.epoch})`,
        )
      if (record.epoch === known.epoch && compareRevisions(at, this.#head) < 0)
        return this.#behind(
          `the store is behind what was seen of it (revision ${at}, seen ${this.#head}): it was copied or restored`,
        )
      // A restore says so by its epoch: its revisions count anew, and what they order is the newest there is.
      if (record.epoch > known.epoch) this.#startAfresh()
    }
    const changed = JSON.stringify(known) !== JSON.stringify(record)
    this.#cluster = record
    return { kind: changed ? 'changed' : 'same' }
  }

  /** With what lets a copy that is meant to be obeyed be obeyed. */
  #behind(reason: string): Refused {
    const epoch = (this.#cluster?.epoch ?? 0) + 1
    return refuse(
      'behind',
      `${reason}; next: if this store is to be obeyed, set the epoch in cluster/self to ${epoch} or higher (docs/three-machines.md)`,
    )
  }

  /** A store of another history counts its revisions on like any other, our own writes among them: that it caught up proves nothing. */
  #showsWhatWasSeen({ entries }: Extract<FollowStep, { kind: 'snapshot' }>): boolean {
    if (this.#orders.size === 0) return true
    return entries.some(entry => {
      if (entry.kind !== 'put' || entry.collection !== placements) return false
      const { instance } = entry.entry.id as HostInstance // the id of `placements`
      return this.#orders.get(instance)?.placement === entry.entry.created
    })
  }

  #startAfresh(): void {
    this.#wasBehind = false
    this.#head = noRevision
    for (const [instance, order] of this.#orders)
      this.#orders.set(instance, { ...order, revision: noRevision, placement: noRevision })
  }

  #noteUnreadable(unreadable: readonly Unreadable[]): void {
    for (const { collection, key } of unreadable) {
      if (collection !== placements.name) continue
      const id = placements.read(key.slice(placements.name.length + 1))
      if (id !== undefined) this.#unreadable.add(id.instance)
    }
  }

  /** One that throws holds up none of the others: what it ordered before stands. */
  #tryPlacement(change: Change, unreadable: ReadonlySet<string>, failures: Failure[]): boolean {
    const taken = attempt(() => this.#takePlacement(change, unreadable))
    if ('value' in taken) return taken.value
    failures.push({ instance: instanceOf(change), error: taken.error })
    return false
  }

  #takePlacement(change: Change, unreadable: ReadonlySet<string>): boolean {
    const instance = instanceOf(change)
    this.#unreadable.delete(instance)
    if (change.kind === 'removed') {
      const order = this.#orders.get(instance)
      if (order === undefined || isUnreadable(order, unreadable)) return false
      if (compareRevisions(change.revision, order.revision) <= 0) return false
      return this.#orders.delete(instance)
    }
    const placed = placement.parse(change.entry.value)
    // Or it would order something of another instance, or of the same one on another host.
    const { host } = change.entry.id as HostInstance // the id of `placements`
    if (placed.instance !== instance || placed.host !== host || instanceId(placed) !== instance)
      throw new Error(`it says that it is of ${placed.instance.slice(0, 200)} on ${placed.host}`)
    const known = this.#orders.get(placed.instance)
    if (known !== undefined && compareRevisions(change.entry.modified, known.revision) <= 0) return false
    this.#orders.set(placed.instance, orderOf(placed, change.entry.created, change.entry.modified))
    return true
  }

  #advance(to: Revision): void {
    if (compareRevisions(to, this.#head) > 0) this.#head = to
  }
}

const unreadableRecord = (unreadable: readonly Unreadable[]): string | undefined => {
  const bad = unreadable.find(one => one.collection === clusters.name)
  return bad === undefined ? undefined : `${bad.key} cannot be read: ${bad.reason}`
}

const believed = (changed: boolean, failures: readonly Failure[]): Believed => ({
  kind: changed ? 'changed' : 'same',
  ...(failures.length > 0 && { failures }),
})

/** Of a placement's key. */
const instanceOf = (change: Change): InstanceId =>
  ((change.kind === 'removed' ? change.id : change.entry.id) as HostInstance).instance // the id of `placements`

const refuse = (store: Refused['store'], reason: string): Refused => ({ kind: 'refused', store, reason })

/** Quiet stores speak up about once a second; several missed ones are trouble. */
const freshMs = 5000

const isUnreadable = (order: PlacedOrder, unreadable: ReadonlySet<string>): boolean =>
  unreadable.has(
    `${placements.name}/${placements.spell({ host: order.placed.host, instance: order.instance })}`,
  )

function orderOf(placed: Placement, created: Revision, modified: Revision): PlacedOrder {
  return {
    instance: placed.instance,
    uid: placed.uid,
    desired: placed.desired,
    placement: created,
    print: printOf(placed),
    placed,
    revision: modified,
  }
}

function readSaved(text: string): { readonly saved: z.output<typeof savedOrders> } | Unusable {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (error) {
    return { is: 'unreadable', problem: error instanceof Error ? error.message : String(error) }
  }
  const parsed = savedOrders.safeParse(json)
  return parsed.success
    ? { saved: parsed.data }
    : { is: 'unreadable', problem: z.prettifyError(parsed.error) }
}
