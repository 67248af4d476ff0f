/**
 * Many small changes in few transactions. A change that must be done as a whole is a group; whole groups are packed into
 * transactions up to the store's limits, and several are in flight, since unbatched writes are what slows a store down.
 */
import { errorText } from '@boxcar/core/model/attempt'
import { batchBytes, bytesOf, comparesOf, guardBytes, keysWrittenTwice, maxOperations } from './limits.ts'
import type { CommitOutcome, Guard, Store, Write } from './store.ts'

/** Writes that are done together or not at all, if their guards hold. */
export interface Group<Tag> {
  readonly guards: readonly Guard[]
  readonly writes: readonly Write[]
  /** Tells its outcome from the others'. */
  readonly tag: Tag
  /** In a transaction of its own, after the others: it failed before, and whatever shares its transaction would fail with it. */
  readonly alone?: boolean
}

export interface GroupOutcome<Tag> {
  readonly tag: Tag
  /** That of its transaction; where one of several groups was refused, each was tried again by itself. */
  readonly outcome: CommitOutcome | InvalidGroup
  /** Whether its transaction was sent at all: an unknown outcome of one that was not is no fault of the group. */
  readonly sent: boolean
}

/** No store would take it: it writes a key twice, or one that another group writes as well; or the store threw. */
export interface InvalidGroup {
  readonly kind: 'invalid'
  readonly reason: string
}

export interface CommitAllOptions {
  /** Guards of every transaction: the term. */
  readonly always?: readonly Guard[]
  /** Transactions under way at once; 16 unless told. */
  readonly inFlight?: number
}

/**
 * Commits groups in batches; outcomes in the order of the groups. No key may be written by two groups, since batches are not
 * ordered among each other: groups that share one are invalid, all of them, and the others are committed. After an unknown
 * outcome no further batch is sent: the store is probably away, and the rest is reported as unknown and not sent. Never throws.
 */
export async function commitAll<Tag>(
  store: Store,
  groups: readonly Group<Tag>[],
  { always = [], inFlight = 16 }: CommitAllOptions = {},
): Promise<readonly GroupOutcome<Tag>[]> {
  const outcomes = new Array<Outcome>(groups.length)
  const sent = new Array<boolean>(groups.length).fill(false)
  let silence: string | undefined
  for (const [key, writers] of keysWrittenTwice(groups))
    for (const index of writers) outcomes[index] = { kind: 'invalid', reason: `${key} is written twice` }
  const valid = groups.map((_, index) => index).filter(index => outcomes[index] === undefined)
  /** Sends the batches, several under way at once; gives the groups that a refused neighbour may have held up. */
  const send = async (batches: readonly Batch[]): Promise<readonly number[]> => {
    const heldUp: number[] = []
    let next = 0
    const worker = async (): Promise<void> => {
      for (let batch = batches[next++]; batch !== undefined; batch = batches[next++]) {
        const isSent = silence === undefined
        const outcome = await commitBatch(store, batch, silence)
        if (outcome.kind === 'unknown') silence ??= outcome.reason
        for (const index of batch.groups) {
          outcomes[index] = outcome
          sent[index] = isSent
        }
        const isRefused = outcome.kind === 'stale' || outcome.kind === 'invalid'
        if (isRefused && batch.groups.length > 1) heldUp.push(...batch.groups)
      }
    }
    await Promise.all(Array.from({ length: Math.min(inFlight, batches.length) }, worker))
    return heldUp
  }
  const isAlone = (index: number): boolean => groups[index]?.alone === true
  const heldUp = await send(
    pack(
      groups,
      valid.filter(index => !isAlone(index)),
      always,
    ),
  )
  await send([...heldUp, ...valid.filter(isAlone)].flatMap(index => pack(groups, [index], always)))
  return groups.map(({ tag }, i) => ({
    tag,
    outcome: outcomes[i] ?? { kind: 'too-large' },
    sent: sent[i] ?? false,
  }))
}

type Outcome = CommitOutcome | InvalidGroup

/** A transaction in the making, with the groups that go with it. */
interface Batch {
  readonly guards: Map<string, Guard>
  /** The same ones, by object: groups of one plan mostly share theirs. */
  readonly known: Set<Guard>
  readonly writes: Write[]
  readonly groups: number[]
  compares: number
  bytes: number
}

async function commitBatch(store: Store, batch: Batch, silence: string | undefined): Promise<Outcome> {
  if (silence !== undefined) return { kind: 'unknown', reason: `not sent: ${silence}` }
  if (batch.writes.length === 0 && batch.guards.size === 0) return { kind: 'too-large' }
  try {
    return await store.commit({ guards: [...batch.guards.values()], writes: batch.writes })
  } catch (error) {
    // A store never throws for what became of a transaction, only for one that it cannot send.
    return { kind: 'invalid', reason: errorText(error) }
  }
}

/** Some of the groups, by index, in as few batches as they fit into; those that fit no transaction at all are left out. */
function pack(
  groups: readonly Group<unknown>[],
  indexes: readonly number[],
  always: readonly Guard[],
): readonly Batch[] {
  const batches: Batch[] = []
  let open = emptyBatch(always)
  for (const index of indexes) {
    const group = groups[index]
    if (group === undefined || addTo(open, group, index)) continue
    const fresh = emptyBatch(always)
    if (!addTo(fresh, group, index)) continue
    if (open.groups.length > 0) batches.push(open)
    open = fresh
  }
  if (open.groups.length > 0) batches.push(open)
  return batches
}

function emptyBatch(always: readonly Guard[]): Batch {
  const batch: Batch = { guards: new Map(), known: new Set(), writes: [], groups: [], compares: 0, bytes: 0 }
  for (const guard of always) addGuard(batch, guard)
  return batch
}

/** Adds a group where it fits; says whether it did. */
function addTo(batch: Batch, group: Group<unknown>, index: number): boolean {
  let { compares, bytes } = batch
  for (const guard of group.guards) {
    if (batch.known.has(guard) || batch.guards.has(printOf(guard))) continue
    compares += comparesOf(guard)
    bytes += guardBytes(guard)
  }
  for (const write of group.writes) bytes += bytesOf(write)
  if (
    compares > maxOperations ||
    batch.writes.length + group.writes.length > maxOperations ||
    bytes > batchBytes
  )
    return false
  for (const guard of group.guards) addGuard(batch, guard)
  for (const write of group.writes) batch.writes.push(write)
  batch.groups.push(index)
  batch.bytes = bytes
  return true
}

function addGuard(batch: Batch, guard: Guard): void {
  if (batch.known.has(guard)) return
  batch.known.add(guard)
  const print = printOf(guard)
  if (batch.guards.has(print)) return
  batch.guards.set(print, guard)
  batch.compares += comparesOf(guard)
  batch.bytes += guardBytes(guard)
}

/** Equal for equal guards. */
function printOf(guard: Guard): string {
  switch (guard.kind) {
    case 'absent':
      return `a ${guard.key}`
    case 'unleased':
      return `l ${guard.key}`
    case 'created':
      return `c ${guard.at} ${guard.key}`
    case 'unchanged':
      return `u ${guard.since} ${guard.key}`
    case 'collection-unchanged':
      return `s ${guard.since} ${guard.collection.name}`
  }
}
