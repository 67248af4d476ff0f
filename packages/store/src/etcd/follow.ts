/**
 * Following for ever: a listing at one revision, then a watch from the next one on; when the watch ends, another one from the
 * last revision delivered; when history is lost, a listing again. Before each watch the member is asked for a linearizable
 * read, so that one that lags or stands alone is not believed.
 */
import type { Clock } from '@boxcar/core/model/clock'
import type { IKeyValue } from 'etcd3'
import { Decoder, distinctScopes, readEntry, scopePrefix } from '../decode.ts'
import { clusters } from '../keys.ts'
import type { Log } from '../log.ts'
import {
  type Change,
  compareRevisions,
  type FollowStep,
  noRevision,
  type Revision,
  type Scope,
  StoreUnavailable,
  type Unreadable,
} from '../store.ts'
import { isCompacted, textOf } from './errors.ts'
import { callMs, type Member, type Members, within } from './members.ts'
import { CompactedWhileReading, readRange } from './pages.ts'
import { type Range, rangeOf, rawEntry } from './ranges.ts'
import { type Batch, HistoryLost, watchRanges } from './watch.ts'

export interface FollowOptions {
  readonly scopes: readonly Scope[]
  readonly members: Members
  readonly clock: Clock
  /** The cluster's. */
  readonly prefix: string
  readonly since: Revision | undefined
  readonly signal: AbortSignal
  readonly onTrouble: (reason: string) => void
  readonly log: Log
}

/** From so many whole collections on, one watch over all the cluster's keys is cheaper than one each. */
const manyScopes = 4
/** Further behind, reading everything is quicker than being told of each change, and kinder to the store. */
const longestCatchUp = 50_000n
/** An etcd without anything in it stands here. */
const firstRevision = '1' as Revision
const firstPauseMs = 50
const longestPauseMs = 500

/** Up to where steps were delivered, and what must be so for the history to be the same one still. */
interface Place {
  readonly revision: Revision
  /** Keys in each range as of the revision. */
  readonly counts: readonly number[]
  /** The cluster record with its revision, spelt; empty where there is none. Another one means another history, or a restore. */
  readonly record: string
}

export async function* follow(options: FollowOptions): AsyncGenerator<FollowStep, void, void> {
  const { members, clock, signal, onTrouble } = options
  const scopes = distinctScopes(options.scopes)
  const ranges = rangesOf(scopes, options.prefix)
  const decoder = new Decoder(scopes)
  let place: Place | undefined
  // To etcd, no revision is the newest one.
  let from = options.since === noRevision ? firstRevision : options.since
  let anotherHistory = false
  let pauseMs = firstPauseMs
  while (!signal.aborted) {
    const member = members.pick()
    try {
      if (place === undefined && from === undefined) {
        const read = await snapshot(options, scopes)
        place = await placeAt(options, ranges, read.revision)
        yield anotherHistory ? { ...read, anotherHistory } : read
        anotherHistory = false
        pauseMs = firstPauseMs
        if (signal.aborted) return
      }
      place ??= await placeAt(options, ranges, from)
      const { exactProgress, head } = await meet(member, options.prefix, place)
      if (options.since === undefined && BigInt(head) - BigInt(place.revision) > longestCatchUp)
        throw new HistoryLost(head, `the store is at revision ${head}, far from ${place.revision}`)
      const watch = watchRanges({
        member,
        ranges,
        after: place.revision,
        counts: place.counts,
        exactProgress,
        clock,
        signal,
      })
      for await (const batch of watch) {
        pauseMs = firstPauseMs
        const step = decode(decoder, batch, options.prefix.length)
        place = { ...batch, record: recordIn(batch, options.prefix) ?? place.record }
        yield step
      }
    } catch (error) {
      if (signal.aborted) return
      if (error instanceof HistoryLost) {
        if (options.since !== undefined) {
          yield { kind: 'compacted', oldest: error.oldest }
          return
        }
        options.log.info({ reason: error.message }, 'history was lost; reading everything again')
        place = undefined
        from = undefined
        anotherHistory ||= error.isAnother
        continue
      }
      if (!(error instanceof StoreUnavailable)) throw error
      if (error instanceof CompactedWhileReading) continue
      members.failed(member)
      onTrouble(error.message)
      await clock.sleep(pauseMs, signal)
      pauseMs = Math.min(pauseMs * 2, longestPauseMs)
    }
  }
}

function rangesOf(scopes: readonly Scope[], prefix: string): readonly Range[] {
  return scopes.filter(scope => scope.within === undefined).length >= manyScopes
    ? [rangeOf(prefix)]
    : scopes.map(scope => rangeOf(prefix + scopePrefix(scope)))
}

async function snapshot(
  { members, prefix }: FollowOptions,
  scopes: readonly Scope[],
): Promise<Extract<FollowStep, { kind: 'snapshot' }>> {
  const entries: Change[] = []
  const unreadable: Unreadable[] = []
  let revision: Revision | undefined
  for (const scope of scopes) {
    const { collection } = scope
    const read = await readRange(members, rangeOf(prefix + scopePrefix(scope)), revision, kv => {
      const one = readEntry(collection, rawEntry(kv, prefix.length))
      if ('entry' in one) entries.push({ kind: 'put', collection, entry: one.entry })
      else unreadable.push(one.unreadable)
    })
    revision = read.revision
  }
  if (revision === undefined) throw new Error('at least one scope is followed')
  return { kind: 'snapshot', revision, entries, unreadable }
}

/** Where a follower stands that has everything up to a revision. */
async function placeAt(
  { members, prefix }: FollowOptions,
  ranges: readonly Range[],
  revision: Revision | undefined,
): Promise<Place> {
  if (revision === undefined) throw new Error('a place has a revision')
  const counting = ranges.map(range => ({ ...range, revision, count_only: true }))
  try {
    const { responses } = await members.read(({ calls }) =>
      calls.kv.txn(
        {
          success: [...counting, { key: recordKey(prefix), revision }].map(request_range => ({
            request_range,
          })),
        },
        within(callMs),
      ),
    )
    const counts = responses.slice(0, -1).map(response => Number(response.response_range.count))
    return { revision, counts, record: spellRecord(responses.at(-1)?.response_range.kvs[0]) }
  } catch (error) {
    const isAnother = textOf(error).includes('future revision')
    if (isAnother || isCompacted(error)) throw await historyLost(members, textOf(error), isAnother)
    throw error instanceof StoreUnavailable ? error : new StoreUnavailable(textOf(error))
  }
}

async function historyLost(members: Members, reason: string, isAnother: boolean): Promise<HistoryLost> {
  const { header } = await members.read(({ calls }) =>
    calls.kv.range({ key: Buffer.from('/'), count_only: true }, within(callMs)),
  )
  return new HistoryLost(header.revision as Revision, reason, { isAnother })
}

/** What a member must show before its watch is believed. */
async function meet(
  { calls }: Member,
  prefix: string,
  place: Place,
): Promise<{ readonly exactProgress: boolean; readonly head: Revision }> {
  try {
    const [self, status] = await Promise.all([
      calls.kv.range({ key: recordKey(prefix) }, within(callMs)),
      calls.maintenance.status(within(callMs)),
    ])
    const head = self.header.revision as Revision
    if (compareRevisions(head, place.revision) < 0)
      throw new HistoryLost(head, `the store stands at revision ${head}, before ${place.revision}`, {
        isAnother: true,
      })
    if (spellRecord(self.kvs[0]) !== place.record)
      throw new HistoryLost(head, 'the cluster record is another one', { isAnother: true })
    return { head, exactProgress: isProgressExact(status.version) }
  } catch (error) {
    throw error instanceof HistoryLost ? error : new StoreUnavailable(textOf(error))
  }
}

const recordKey = (prefix: string): Buffer => Buffer.from(`${prefix}${clusters.name}/self`)

/** Its value too: each new store writes its record at about the same revision. */
const spellRecord = (kv: IKeyValue | undefined): string =>
  kv === undefined ? '' : `${kv.mod_revision} ${kv.value.toString()}`

function recordIn(batch: Batch, prefix: string): string | undefined {
  const key = recordKey(prefix)
  const event = batch.events.findLast(({ kv }) => kv.key.equals(key))
  if (event === undefined) return undefined
  return event.type === 'Delete' ? '' : spellRecord(event.kv)
}

/** Before these versions a progress answer may overtake events that were still to be sent. */
export function isProgressExact(version: string): boolean {
  const [major = 0, minor = 0, patch = 0] = version.split('.').map(part => Number.parseInt(part, 10))
  if (major !== 3 || minor > 5) return major > 3 || minor > 5
  return (minor === 5 && patch >= 13) || (minor === 4 && patch >= 31)
}

function decode(decoder: Decoder, batch: Batch, prefixLength: number): FollowStep {
  const { revision } = batch
  const changes: Change[] = []
  const unreadable: Unreadable[] = []
  for (const { type, kv } of batch.events)
    decoder.event(
      type === 'Delete'
        ? {
            kind: 'removed',
            key: kv.key.toString('utf8').slice(prefixLength),
            revision: kv.mod_revision as Revision,
          }
        : { kind: 'put', entry: rawEntry(kv, prefixLength) },
      changes,
      unreadable,
    )
  return changes.length > 0 || unreadable.length > 0
    ? { kind: 'changes', revision, changes, unreadable }
    : { kind: 'quiet', revision }
}
