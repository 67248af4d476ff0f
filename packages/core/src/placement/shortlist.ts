/**
 * The hosts that can come into question for a group, and which of them is next.
 *
 * A host's key is (step, score, id), least first. Spread: the step is how many of the generation are there, the score
 * how full the host would be. Pack: the step is the same for all, and the fuller, the less the score; so the fullest
 * host comes first and, fuller still, stays first while it has room. Hosts to avoid come behind all others.
 *
 * Only the `count` hosts with the least keys can be chosen: as long as fewer have been, one of these has not been
 * touched, and its key is below that of every host outside. So one walk over all hosts keeps these few.
 */
import type { Ask } from './choose.ts'
import type { HostColumns } from './columns.ts'
import { score } from './score.ts'

export class Shortlist {
  /** Slots, as a binary heap; the first `#size` count. */
  #heap = new Int32Array(0)
  #size = 0
  /** The parts of the keys, by slot. */
  #step = new Int32Array(0)
  #score = new Float64Array(0)
  #rank: Int32Array = new Int32Array(0)
  /** Replicas given to hosts of the list, by slot. */
  #given = new Int32Array(0)

  /** Finds the hosts with the least keys among those with room, for `count` replicas. */
  fill(columns: HostColumns, ask: Ask, room: Int32Array, count: number): void {
    const order = columns.inIdOrder()
    const { numbers } = columns
    const most = Math.min(count, order.length)
    this.#prepare(columns, ask, most)
    const [heap, step, scores] = [this.#heap, this.#step, this.#score]
    let size = 0
    // Once the list is full its greatest key is on top, and who comes in must be below it. The walk is in the order of
    // ids, so a host with the same step and score is above.
    let topStep = Number.POSITIVE_INFINITY
    let topScore = 0
    for (let i = 0; i < order.length; i++) {
      const slot = order[i] ?? 0
      if ((room[slot] ?? 0) < 1) continue
      const itsStep = step[slot] ?? 0
      if (itsStep > topStep) continue
      const itsScore = score(numbers, slot, ask, 1)
      if (itsStep === topStep && itsScore >= topScore) continue
      scores[slot] = itsScore
      if (size < most) {
        heap[size++] = slot
        if (size < most) continue
        this.#size = size
        this.#order('greatest')
      } else {
        heap[0] = slot
        this.#sink(0, 'greatest')
      }
      const top = heap[0] ?? 0
      topStep = step[top] ?? 0
      topScore = scores[top] ?? 0
    }
    this.#size = size
    this.#order('least')
  }

  /** Gives a replica to the next host and says its slot; -1 where no host has room. */
  take({ numbers }: HostColumns, ask: Ask, room: Int32Array): number {
    if (this.#size === 0) return -1
    const slot = this.#heap[0] ?? 0
    const given = (this.#given[slot] ?? 0) + 1
    this.#given[slot] = given
    if (given < (room[slot] ?? 0)) {
      if (ask.strategy === 'spread') this.#step[slot] = (this.#step[slot] ?? 0) + 1
      this.#score[slot] = score(numbers, slot, ask, given + 1)
    } else {
      this.#size--
      this.#heap[0] = this.#heap[this.#size] ?? 0
    }
    this.#sink(0, 'least')
    return slot
  }

  /** Makes the arrays long enough, and sets the steps. */
  #prepare(columns: HostColumns, ask: Ask, most: number): void {
    const { slots } = columns
    if (this.#step.length < slots) {
      this.#step = new Int32Array(2 * slots)
      this.#score = new Float64Array(2 * slots)
      this.#given = new Int32Array(2 * slots)
    }
    if (this.#heap.length < most) this.#heap = new Int32Array(2 * most)
    this.#rank = columns.numbers.rank
    this.#size = 0
    this.#given.fill(0, 0, slots)
    const step = this.#step.fill(0, 0, slots)
    if (ask.strategy === 'spread')
      for (const [id, count] of ask.have) {
        const slot = columns.slotOf(id)
        if (slot !== undefined) step[slot] = count
      }
    for (const id of ask.avoid.keys()) {
      const slot = columns.slotOf(id)
      if (slot !== undefined) step[slot] = (step[slot] ?? 0) + behindAllOthers
    }
  }

  #order(first: 'least' | 'greatest'): void {
    for (let at = (this.#size >> 1) - 1; at >= 0; at--) this.#sink(at, first)
  }

  /** Lets the entry at `at` sink below those that come first. */
  #sink(from: number, first: 'least' | 'greatest'): void {
    const heap = this.#heap
    const size = this.#size
    const slot = heap[from] ?? 0
    let at = from
    for (;;) {
      let child = 2 * at + 1
      if (child >= size) break
      if (child + 1 < size && this.#comesFirst(heap[child + 1] ?? 0, heap[child] ?? 0, first)) child++
      const below = heap[child] ?? 0
      if (!this.#comesFirst(below, slot, first)) break
      heap[at] = below
      at = child
    }
    heap[at] = slot
  }

  #comesFirst(a: number, b: number, first: 'least' | 'greatest'): boolean {
    return first === 'least' ? this.#isLess(a, b) : this.#isLess(b, a)
  }

  #isLess(a: number, b: number): boolean {
    const steps = (this.#step[a] ?? 0) - (this.#step[b] ?? 0)
    if (steps !== 0) return steps < 0
    const scores = (this.#score[a] ?? 0) - (this.#score[b] ?? 0)
    if (scores !== 0) return scores < 0
    return (this.#rank[a] ?? 0) < (this.#rank[b] ?? 0)
  }
}

/** Above any number of instances on one host. */
const behindAllOthers = 1 << 30
