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
  isDecisive,
  ownersOf,
  type Unread,
  unreadableChanges,
  unreadableInstead,
  unreadOf,
  worldChange,
} from './feed.ts'
import type { Doing, InternalErrors, Owner } from './internal-errors.ts'

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
  /** Keys of records that did not parse when they were last looked at. */
  #unparsed: ReadonlySet<string> = new Set()

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
    const { unreadable } = this.#deps.mirror
    const unparsed = new Set<string>()
    for (const [key, { reason }] of unreadable)
      if (isDecisive(key)) {
        unparsed.add(key)
        this.#noteUnread(key, reason, true)
      }
    for (const key of this.#unparsed) if (!unparsed.has(key)) this.#noteRead(key)
    this.#unparsed = unparsed
    return unreadOf(unreadable.keys())
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
    const leavingOut = { words: 'leaving out what cannot be read', key: `${key} left out` }
    for (const owner of listedOwners(key).slice(0, 1))
      errors.contain(owner, leavingOut, () => this.#apply(unreadableInstead(change), now))
  }

  #apply(change: WorldChange | undefined, now: Instant): void {
    if (change !== undefined) this.#deps.world.apply(change, now)
  }

  #noteUnread(key: string, error: unknown, isTold = false): void {
    for (const owner of listedOwners(key)) this.#deps.errors.note(owner, reading(key, isTold), error)
  }

  #noteRead(key: string): void {
    for (const owner of listedOwners(key)) this.#deps.errors.clear(owner, reading(key))
  }
}

const readingWords = 'reading its records'
/** What does not parse has an event of its own. */
const reading = (key: string, isTold = false): Doing => ({ words: readingWords, key, isTold })

/** Whom a record concerns. */
function listedOwners(key: string): readonly Owner[] {
  const { service, host } = ownersOf(key)
  return [
    ...(service === undefined ? [] : [{ kind: 'service' as const, service }]),
    ...(host === undefined ? [] : [{ kind: 'host' as const, host }]),
  ]
}
