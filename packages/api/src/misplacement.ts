/** Which running instances could not be placed where they stand (core/placement/misplaced.ts), from the mirror. */
import type { HostId, ServiceName } from '@boxcar/core/model/ids'
import type { Placement } from '@boxcar/core/model/placement'
import type { SpecRecord } from '@boxcar/core/model/service'
import {
  beyondCapacity,
  type HostFacts,
  type Misplaced,
  misplaced,
  nextStep,
} from '@boxcar/core/placement/misplaced'
import { obstacleWords } from '@boxcar/core/placement/words'
import { wantedGenerations } from '@boxcar/core/rollout/rollout'
import { type HostInstance, hostSettingsOf, hosts, rollouts } from '@boxcar/store/keys'
import type { Mirror } from '@boxcar/store/mirror'
import { compareRevisions, type Entry } from '@boxcar/store/store'
import type { Grouped } from './grouped.ts'
import type { MisplacedView } from './views.ts'

export interface Misplacement {
  readonly found: readonly Misplaced[]
  /** The same by host and instance: `h1 shop/web/7/2`. */
  readonly at: ReadonlyMap<string, Misplaced>
  /** What to do about it; none where nothing was found. */
  readonly next: string | undefined
}

type AskedFor = Pick<SpecRecord, 'uid' | 'spec'>

interface Known {
  /** The mirror's counter of changes. */
  readonly changes: number
  readonly hostFacts: Map<HostId, HostFacts | undefined>
  readonly judged: WeakMap<AskedFor, Misplacement>
}

export interface Placed {
  readonly byService: Grouped<HostInstance, Placement, ServiceName>
  readonly byHost: Grouped<HostInstance, Placement, HostId>
}

export class Misplacements {
  readonly #mirror: Mirror
  readonly #placed: Placed
  /** What was worked out since the mirror changed last: a list of services looks at one host many times. */
  #known: Known = { changes: Number.NaN, hostFacts: new Map(), judged: new WeakMap() }

  constructor(mirror: Mirror, placed: Placed) {
    this.#mirror = mirror
    this.#placed = placed
  }

  /** Of the instances that the rollout wants, by a spec that may not be stored yet. */
  of(name: ServiceName, record: AskedFor): Misplacement {
    const { changes } = this.#mirror
    if (this.#known.changes !== changes)
      this.#known = { changes, hostFacts: new Map(), judged: new WeakMap() }
    const known = this.#known.judged.get(record)
    if (known !== undefined) return known
    const judged = this.#judge(name, record)
    this.#known.judged.set(record, judged)
    return judged
  }

  #judge(name: ServiceName, { uid, spec }: AskedFor): Misplacement {
    const wanted = this.#wanted(name, uid)
    const running = this.#placed.byService
      .of(name)
      .map(({ value }) => value)
      .filter(it => it.uid === uid && it.desired === 'run' && (wanted?.has(it.generation) ?? true))
      .sort((a, b) => a.generation - b.generation || a.slot - b.slot)
    const hostFacts = new Map<HostId, HostFacts>()
    for (const { host } of running) {
      const facts = this.#factsOf(host)
      if (facts !== undefined) hostFacts.set(host, facts)
    }
    const found = misplaced(spec.placement, running, hostFacts)
    return {
      found,
      at: new Map(found.map(it => [`${it.host} ${it.instance}`, it])),
      next: found.length === 0 ? undefined : nextStep(found, spec.placement, this.#labels()),
    }
  }

  /** The generations that shall have all of their instances; undefined before the leader has taken the service up. */
  #wanted(name: ServiceName, uid: string): ReadonlySet<number> | undefined {
    const record = this.#mirror.of(rollouts).get(name)?.value
    if (record?.uid !== uid) return undefined
    return new Set(
      wantedGenerations(record.now)
        .filter(({ fill }) => fill === 'full')
        .map(({ generation }) => generation),
    )
  }

  #factsOf(id: HostId): HostFacts | undefined {
    const { hostFacts } = this.#known
    if (!hostFacts.has(id)) hostFacts.set(id, this.#look(id))
    return hostFacts.get(id)
  }

  #look(id: HostId): HostFacts | undefined {
    const record = this.#mirror.of(hosts).get(id)?.value
    if (record === undefined) return undefined
    const running = this.#placed.byHost
      .of(id)
      .filter(({ value }) => value.desired === 'run')
      .sort(firstPlacedFirst)
      .map(({ value }) => value)
    return { labels: this.#labelsOf(id, record.labels), beyond: beyondCapacity(record.capacity, running) }
  }

  #labels() {
    return [...this.#mirror.of(hosts).values()].map(({ id, value }) => ({
      host: id,
      labels: this.#labelsOf(id, value.labels),
    }))
  }

  #labelsOf(id: HostId, own: HostFacts['labels']): HostFacts['labels'] {
    return { ...own, ...this.#mirror.of(hostSettingsOf).get(id)?.value.labels }
  }
}

/** Entries of one service and uid are in the order of their keys, which settles what was placed by one write. */
const firstPlacedFirst = (a: Entry<HostInstance, Placement>, b: Entry<HostInstance, Placement>): number =>
  compareRevisions(a.created, b.created)

export const misplacedViews = (found: readonly Misplaced[]): MisplacedView[] =>
  found.map(({ instance, host, obstacles }) => ({ instance, host, obstacles: inWords(obstacles) }))

export const inWords = (obstacles: Misplaced['obstacles']): MisplacedView['obstacles'] =>
  obstacles.map(obstacle => ({ ...obstacle, words: obstacleWords(obstacle) }))
