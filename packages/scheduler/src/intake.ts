/** What the mirror holds and hears, into the leader's world; a record that cannot be taken in concerns its own service and host alone. */
import { attempt } from '@boxcar/core/model/attempt'
import type { Clock, Instant } from '@boxcar/core/model/clock'
import type { HostId, ServiceName } from '@boxcar/core/model/ids'
import type { World, WorldChange } from '@boxcar/core/model/world'
import { keyOf } from '@boxcar/store/collection'
import { routeAcks } from '@boxcar/store/keys'
import type { Mirror } from '@boxcar/store/mirror'
import type { Change } from '@boxcar/store/store'
import {
  followed,
  nothingUnread,
  ownersOf,
  type Unread,
  unreadableChanges,
  unreadableInstead,
  unreadOf,
  worldChange,
} from './feed.ts'
import type { Doing, InternalErrors } from './internal-errors.ts'

export interface IntakeDeps {
  readonly mirror: Mirror
  readonly clock: Clock
  readonly world: World
  readonly errors: InternalErrors
  /** The world has changed. */
  readonly changed: () => void
}

export class Intake {
  readonly #deps: IntakeDeps
  /** What could not be read when that was last looked at, and the mirror's count of it then. */
  #unread: Unread = nothingUnread
  #looked: number | undefined

  constructor(deps: IntakeDeps) {
    this.#deps = deps
  }

  /** Fills the world and keeps it fed; call what it returns to stop. */
  open(): () => void {
    const { mirror, clock, world, changed } = this.#deps
    const now = clock.now()
    for (const collection of followed)
      for (const entry of mirror.of(collection).values()) this.#take({ kind: 'put', collection, entry }, now)
    for (const change of unreadableChanges(mirror.unreadable.keys())) this.#apply(change, now)
    world.revision = mirror.revision
    changed() // a new leader acts at once
    return mirror.onChange((changes, revision) => {
      const at = clock.now()
      for (const change of changes) this.#take(change, at)
      world.revision = revision
      changed()
    })
  }

  /** Whom records concern that do not parse; the world was told of each as it came. */
  unread(): Unread {
    const { unreadable, unreadableChanges } = this.#deps.mirror
    if (this.#looked === unreadableChanges) return this.#unread
    const before = this.#unread
    this.#unread = unreadOf(unreadable.values())
    this.#looked = unreadableChanges
    for (const [key, reason] of this.#unread.records) this.#noteUnread(key, reason, true)
    for (const key of before.records.keys()) if (!this.#unread.records.has(key)) this.#noteRead(key)
    return this.#unread
  }

  /** Services of which something cannot be read: they are left as they are. */
  unreadServices(): ReadonlySet<ServiceName> {
    return new Set(this.#deps.errors.servicesFailingAt(readingWords))
  }

  /** What its proxy acknowledged was taken in, and throws where it is used; until it acknowledges anew. */
  noteAck(host: HostId, error: unknown): void {
    this.#noteUnread(keyOf(routeAcks, host), error)
  }

  /** What makes the world throw counts as unreadable. */
  #take(change: Change, now: Instant): void {
    const { mirror, errors } = this.#deps
    const key = keyOf(change.collection, change.kind === 'put' ? change.entry.id : change.id)
    const taken = attempt(() => this.#apply(worldChange(change, mirror.unreadable), now))
    if ('value' in taken) return this.#noteRead(key)
    this.#noteUnread(key, taken.error)
    for (const owner of ownersOf(key).slice(0, 1))
      errors.contain(owner, leavingOut(key), () => this.#apply(unreadableInstead(change), now))
  }

  #apply(change: WorldChange | undefined, now: Instant): void {
    if (change !== undefined) this.#deps.world.apply(change, now)
  }

  #noteUnread(key: string, error: unknown, isTold = false): void {
    for (const owner of ownersOf(key)) this.#deps.errors.note(owner, reading(key, isTold), error)
  }

  #noteRead(key: string): void {
    for (const owner of ownersOf(key))
      for (const doing of [reading(key), leavingOut(key)]) this.#deps.errors.clear(owner, doing)
  }
}

const readingWords = 'reading its records'
/** What does not parse has an event of its own. */
const reading = (key: string, isTold = false): Doing => ({ words: readingWords, key, isTold })
const leavingOut = (key: string): Doing => ({
  words: 'leaving out what cannot be read',
  key: `${key} left out`,
})
