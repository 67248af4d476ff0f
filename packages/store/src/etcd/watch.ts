/**
 * One connection's worth of watching: whole revisions of some ranges, in order, from a revision on. It ends with an error and
 * is then begun anew by follow.ts from the last revision delivered; the client's own watcher loses events when it is cut, so
 * only its raw stream is used.
 *
 * Several ranges come as several watches on one stream, and etcd keeps order within a watch only. A revision is delivered when
 * every range is known to be complete up to it: by its own later event, by a progress answer where the server's are exact, and
 * else by a look at the range as of that revision (nothing newer in it than we have, and as many keys as we count).
 *
 * Nothing is lost in silence: an event that comes after its revision was given out as complete, and a range that holds another
 * number of keys than we count, end the watch as history lost, and everything is read again.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Clock } from '@boxcar/core/model/clock'
import type { IDuplexStream, IEvent, IWatchRequest, IWatchResponse } from 'etcd3'
import { Bell } from '../bell.ts'
import { compareRevisions, type Revision, StoreUnavailable } from '../store.ts'
import { isCompacted, textOf } from './errors.ts'
import { callMs, hasLeader, type Member, within } from './members.ts'
import { next, type Range } from './ranges.ts'

/** History between what was delivered and now is not to be had, or another history began. */
export class HistoryLost extends Error {
  override readonly name = 'HistoryLost'
  readonly oldest: Revision
  /** The store is not the one that it was: its revisions mean something else. */
  readonly isAnother: boolean

  constructor(oldest: Revision, reason: string, { isAnother = false } = {}) {
    super(reason)
    this.oldest = oldest
    this.isAnother = isAnother
  }
}

export interface WatchOptions {
  readonly member: Member
  readonly ranges: readonly Range[]
  readonly after: Revision
  /** How many keys each range holds as of `after`. */
  readonly counts: readonly number[]
  /** Whether this member's progress answers promise that all events before them were sent. */
  readonly exactProgress: boolean
  readonly clock: Clock
  readonly signal: AbortSignal
}

export interface Batch {
  /** All events up to here are delivered with this batch. */
  readonly revision: Revision
  /** By revision. Empty: nothing happened. */
  readonly events: readonly IEvent[]
  /** How many keys each range holds as of `revision`. */
  readonly counts: readonly number[]
}

/**
 * A progress request is sent this often, and a stream without any answer for the time after it is dead. To a member whose
 * answers are inexact the next one goes only this long after an answer: one that was paused answers all that wait in a row.
 */
const askMs = 1000
const deadMs = 2500
/** What the store's head was this long ago must be delivered by now, else the watch is stuck. */
const behindMs = 10_000
/** The ranges are counted this often. */
const countMs = 60_000
/** In a range of up to so many keys the store also looks for one newer than our newest event; it reads all values for it. */
const fewKeys = 500
/** While a revision waits for the other ranges to be known complete. */
const completeMs = 15
/** Messages in hand before the stream is told to wait. */
const mostInHand = 256

/** Yields batches until the signal is aborted; throws StoreUnavailable or HistoryLost. */
export async function* watchRanges(options: WatchOptions): AsyncGenerator<Batch, void, void> {
  const { member, ranges, clock, signal, exactProgress } = options
  const inbox = await Inbox.open(member, clock)
  const lanes = new Lanes(options)
  try {
    for (const [i, range] of ranges.entries())
      inbox.send({ create_request: createRequest(range, i, options.after) })
    let nextAsk = clock.now() + askMs
    let nextLook = clock.now() + behindMs
    let nextCount = clock.now() + countMs
    let head: Promise<Revision | undefined> | undefined
    /** The revision of the last progress answer, while no event has come since. */
    let answered: Revision | undefined
    let isAsked = false
    while (!signal.aborted) {
      const wait = lanes.areIncomplete ? completeMs : Math.max(0, nextAsk - clock.now())
      await inbox.arrival(wait, signal)
      if (signal.aborted) return
      let progress: Revision | undefined
      for (const message of inbox.take()) {
        refuseCancelled(message)
        if (message.events.length > 0) {
          lanes.add(message)
          answered = undefined
          progress = undefined
        } else if (!message.created) {
          progress = message.header.revision as Revision
          isAsked = false
          if (!exactProgress) nextAsk = clock.now() + askMs
        }
      }
      if (progress !== undefined) {
        // An inexact answer may overtake events. One second of silence after it, proven by the next answer, settles it.
        const settled = exactProgress ? progress : answered
        answered = progress
        if (settled !== undefined) lanes.completeUpTo(settled)
      }
      if (lanes.areIncomplete) {
        if (exactProgress) inbox.send({ progress_request: {} })
        else if (await areComplete(member, lanes)) lanes.completeUpTo(lanes.newest)
      }
      const batch = lanes.release()
      if (batch !== undefined) yield batch
      else if (progress !== undefined && !lanes.areIncomplete) yield lanes.quiet()
      if (clock.now() >= nextAsk) {
        // Where nothing was asked, it was we who slept.
        if (isAsked) await inbox.assertAlive()
        // An exact member does not answer while it has events to send, and must be asked again.
        if (exactProgress || !isAsked) inbox.send({ progress_request: {} })
        isAsked = true
        nextAsk = clock.now() + askMs
      }
      if (clock.now() >= nextLook) {
        const before = await head
        if (before !== undefined && compareRevisions(lanes.delivered, before) < 0)
          throw new StoreUnavailable(`the watch stays behind revision ${before}`)
        head = readHead(member)
        nextLook = clock.now() + behindMs
      }
      if (clock.now() >= nextCount) {
        await assertNoneMissing(member, lanes)
        nextCount = clock.now() + countMs
      }
    }
  } finally {
    inbox.close()
  }
}

const createRequest = (
  range: Range,
  index: number,
  after: Revision,
): NonNullable<IWatchRequest['create_request']> => ({
  ...range,
  // Not the next one: newer members answer no progress request before the revision that a watch begins at is there, and in a
  // quiet store it would not be. What is delivered already is dropped when it comes again.
  start_revision: after,
  watch_id: String(index + 1),
})

function refuseCancelled(message: IWatchResponse): void {
  if (message.compact_revision !== '0' && message.compact_revision !== '')
    throw new HistoryLost(message.compact_revision as Revision, 'the revisions asked for were compacted')
  if (message.canceled)
    throw new StoreUnavailable(`the watch was ended: ${message.cancel_reason || 'no reason given'}`)
}

/** The newest revision of the whole store, or nothing where that cannot be told just now; never rejects. */
async function readHead(member: Member): Promise<Revision | undefined> {
  try {
    const { header } = await member.calls.kv.range(
      { key: Buffer.from('/'), count_only: true },
      within(callMs),
    )
    return header.revision as Revision
  } catch {
    return undefined
  }
}

/** Whether every range that has not itself reached the newest revision holds, as of it, just what we have of it. */
async function areComplete(member: Member, lanes: Lanes): Promise<boolean> {
  const behind = lanes.behind()
  try {
    const { responses } = await member.calls.kv.txn(
      {
        success: behind.map(lane => ({
          request_range: {
            ...lane.range,
            revision: lanes.newest,
            min_mod_revision: next(lane.known),
            limit: 1,
            keys_only: true,
          },
        })),
      },
      within(callMs),
    )
    return behind.every((lane, i) => {
      const found = responses[i]?.response_range
      return found !== undefined && found.kvs.length === 0 && Number(found.count) === lane.count
    })
  } catch (error) {
    if (isCompacted(error)) return false
    throw new StoreUnavailable(textOf(error))
  }
}

/**
 * What no watch tells of: events that the store never sent. Compared as of what was delivered, so that nothing under way
 * matters. No answer says nothing: it is asked again next time. Throws HistoryLost.
 */
async function assertNoneMissing(member: Member, lanes: Lanes): Promise<void> {
  const { revision, counts } = lanes.quiet()
  const ranges = lanes.all.map(({ range, heard }, i) => ({
    ...range,
    revision,
    ...((counts[i] ?? 0) > fewKeys
      ? { count_only: true }
      : { min_mod_revision: next(heard), limit: 1, keys_only: true }),
  }))
  let found: readonly { readonly count: number; readonly newer: number }[]
  try {
    const { responses } = await member.calls.kv.txn(
      { success: ranges.map(request_range => ({ request_range })) },
      within(callMs),
    )
    found = responses.map(({ response_range: { count, kvs } }) => ({
      count: Number(count),
      newer: kvs.length,
    }))
  } catch {
    return
  }
  found.forEach(({ count, newer }, i) => {
    if (count !== counts[i] || newer > 0)
      throw new HistoryLost(revision, `events were lost: ${count} keys as of ${revision}, not ${counts[i]}`)
  })
}

interface Lane {
  readonly range: Range
  /** All its events up to here are in hand. */
  known: Revision
  /** The revision of its newest event, or where it began. */
  heard: Revision
  /** Keys as of `known`. */
  count: number
  waiting: IEvent[]
}

/** What came of each range, and up to where it may be delivered. */
class Lanes {
  readonly all: readonly Lane[]
  /** Up to where batches were given out. */
  delivered: Revision
  /** The revision of the newest event in hand. */
  newest: Revision

  constructor({ ranges, after, counts }: WatchOptions) {
    this.all = ranges.map((range, i) => ({
      range,
      known: after,
      heard: after,
      count: counts[i] ?? 0,
      waiting: [],
    }))
    this.delivered = after
    this.newest = after
  }

  /** Events in hand wait until other ranges are known to be as far. */
  get areIncomplete(): boolean {
    return (
      this.all.some(lane => lane.waiting.length > 0) &&
      this.all.some(lane => compareRevisions(lane.known, this.newest) < 0)
    )
  }

  add(message: IWatchResponse): void {
    const lane = this.all[Number(message.watch_id) - 1]
    if (lane === undefined)
      throw new StoreUnavailable(`etcd answered for an unknown watch ${message.watch_id}`)
    const { known, heard } = lane
    for (const event of message.events) {
      const revision = event.kv.mod_revision as Revision
      if (compareRevisions(revision, heard) <= 0) continue // sent again
      if (compareRevisions(revision, known) <= 0)
        throw new HistoryLost(known, `an event of revision ${revision} came after ${known} was complete`)
      lane.waiting.push(event)
      if (event.type === 'Delete') lane.count -= 1
      else if (event.kv.version === '1') lane.count += 1
      // A revision that was split over several messages is known only with the last of them.
      if (!message.fragment) {
        lane.known = revision
        lane.heard = revision
      }
    }
    if (compareRevisions(lane.known, this.newest) > 0) this.newest = lane.known
  }

  behind(): readonly Lane[] {
    return this.all.filter(lane => compareRevisions(lane.known, this.newest) < 0)
  }

  completeUpTo(revision: Revision): void {
    for (const lane of this.all) if (compareRevisions(revision, lane.known) > 0) lane.known = revision
    if (compareRevisions(revision, this.newest) > 0) this.newest = revision
  }

  quiet(): Batch {
    return { revision: this.delivered, events: [], counts: this.#counts() }
  }

  /** What all ranges are known up to, where that is further than before. */
  release(): Batch | undefined {
    let complete = this.newest
    for (const { known } of this.all) if (compareRevisions(known, complete) < 0) complete = known
    if (compareRevisions(complete, this.delivered) <= 0) return undefined
    const events = this.#takeUpTo(complete)
    this.delivered = complete
    return { revision: complete, events, counts: this.#counts() }
  }

  #counts(): readonly number[] {
    return this.all.map(lane => lane.count - arrivals(lane.waiting))
  }

  #takeUpTo(revision: Revision): readonly IEvent[] {
    const taken: IEvent[] = []
    for (const lane of this.all) {
      const end = lane.waiting.findIndex(event => compareRevisions(event.kv.mod_revision, revision) > 0)
      taken.push(...lane.waiting.splice(0, end < 0 ? lane.waiting.length : end))
    }
    return taken.sort((a, b) => compareRevisions(a.kv.mod_revision, b.kv.mod_revision))
  }
}

/** By how many keys events make a range grow. */
function arrivals(events: readonly IEvent[]): number {
  let sum = 0
  for (const event of events) sum += event.type === 'Delete' ? -1 : event.kv.version === '1' ? 1 : 0
  return sum
}

/** The raw stream's messages, taken when we come to it; pushes back when we are slow. */
class Inbox {
  readonly #stream: IDuplexStream<IWatchRequest, IWatchResponse>
  readonly #clock: Clock
  readonly #bell = new Bell()
  #messages: IWatchResponse[] = []
  #failure: string | undefined
  #lastHeard: number
  #paused = false

  static async open(member: Member, clock: Clock): Promise<Inbox> {
    try {
      return new Inbox(await member.watches.watchClient.watch({ interceptors: [hasLeader] }), clock)
    } catch (error) {
      throw new StoreUnavailable(textOf(error))
    }
  }

  constructor(stream: IDuplexStream<IWatchRequest, IWatchResponse>, clock: Clock) {
    this.#stream = stream
    this.#clock = clock
    this.#lastHeard = clock.now()
    stream.on('data', message => {
      this.#lastHeard = clock.now()
      this.#messages.push(message)
      if (this.#messages.length >= mostInHand) this.#pause(true)
      this.#bell.ring()
    })
    // Stays for good: an error without a listener ends the process, also after the stream was given up.
    stream.on('error', error => this.#fail(textOf(error)))
    stream.on('end', () => this.#fail('the watch stream was closed'))
  }

  send(request: IWatchRequest): void {
    if (this.#failure === undefined) this.#stream.write(request)
  }

  /** Resolves when messages are in hand, after a time, or when the signal is aborted. */
  async arrival(ms: number, signal: AbortSignal): Promise<void> {
    if (this.#messages.length > 0 || this.#failure !== undefined) return
    await this.#bell.within(this.#clock, ms, signal)
  }

  /** What is in hand; throws StoreUnavailable where nothing is and the stream has failed. */
  take(): readonly IWatchResponse[] {
    const messages = this.#messages
    this.#messages = []
    if (this.#paused) this.#pause(false)
    if (messages.length === 0 && this.#failure !== undefined) throw new StoreUnavailable(this.#failure)
    return messages
  }

  async assertAlive(): Promise<void> {
    if (!this.#isSilent()) return
    // Perhaps it was we who slept: what arrived meanwhile is read first.
    await nextTurn()
    await nextTurn()
    if (!this.#isSilent()) return
    this.#fail(`the watch was silent for ${deadMs} ms`)
    throw new StoreUnavailable(`the watch was silent for ${deadMs} ms`)
  }

  close(): void {
    // A stream given up while its end is open counts as failed with the client, which then drops the connection and with it
    // all other watches: right for a dead one only.
    if (this.#failure === undefined) this.#stream.end()
    this.#failure ??= 'closed'
    this.#stream.cancel()
  }

  #isSilent(): boolean {
    return this.#messages.length === 0 && this.#clock.now() - this.#lastHeard > deadMs
  }

  #fail(reason: string): void {
    this.#failure ??= reason
    this.#bell.ring()
  }

  #pause(paused: boolean): void {
    this.#paused = paused
    this.#lastHeard = this.#clock.now()
    // The client's type leaves out what every Node stream has.
    const stream = this.#stream as unknown as { pause(): void; resume(): void }
    if (paused) stream.pause()
    else stream.resume()
  }
}
