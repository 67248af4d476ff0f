import { EventEmitter } from 'node:events'
import type { Clock, Instant } from '@boxcar/core/model/clock'
import type { IRangeRequest, IWatchRequest, IWatchResponse } from 'etcd3'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { VirtualClock } from '../memory/virtual-clock.ts'
import type { Revision } from '../store.ts'
import type { Member } from './members.ts'
import { type Batch, HistoryLost, watchRanges } from './watch.ts'

const start = '10' as Revision
const range = { key: Buffer.from('/boxcar/c/v1/'), range_end: Buffer.from('/boxcar/c/v10') }

/**
 * One member's side of a watch, as etcd's sources have it: a new watch is caught up by a loop of its own, which the answers to
 * progress requests overtake where they are inexact; exact ones are left out until the watch has reached its first revision.
 */
class FakeMember extends EventEmitter {
  readonly #exact: boolean
  readonly #waiting: IWatchRequest[] = []
  #paused = false
  head = 10
  /** Keys in the range as of any revision asked for. */
  count = 0
  startsAt = Number.POSITIVE_INFINITY
  asked = 0

  constructor(exact: boolean) {
    super()
    this.#exact = exact
  }

  get member(): Member {
    const range = async ({ min_mod_revision: least }: IRangeRequest) => ({
      header: { revision: String(this.head) },
      count: String(this.count),
      kvs: Number(least ?? this.head + 1) > this.head ? [] : [{}],
    })
    const txn = async ({ success }: { success: { request_range: IRangeRequest }[] }) => ({
      responses: await Promise.all(
        success.map(async one => ({ response_range: await range(one.request_range) })),
      ),
    })
    // What watchRanges uses of the client.
    return {
      watches: { watchClient: { watch: async () => this } },
      calls: { kv: { range, txn } },
    } as unknown as Member
  }

  write(request: IWatchRequest): void {
    if (request.progress_request !== undefined) this.asked += 1
    if (this.#paused) this.#waiting.push(request)
    else this.#take(request)
  }
  end(): void {}
  cancel(): void {}

  pauseMember(): void {
    this.#paused = true
  }
  resumeMember(): void {
    this.#paused = false
    for (const request of this.#waiting.splice(0)) this.#take(request)
  }

  /** The loop that catches up, or a live event. */
  sendPut(revision: number, version = 1): void {
    const kv = {
      key: Buffer.from('/boxcar/c/v1/presence/h1'),
      value: Buffer.from('{}'),
      mod_revision: String(revision),
      create_revision: String(revision),
      version: String(version),
      lease: '0',
    }
    this.#send({ watch_id: '1', events: [{ type: 'Put', kv }] })
  }

  #take(request: IWatchRequest): void {
    if (request.create_request !== undefined) {
      this.startsAt = Number(request.create_request.start_revision)
      this.#send({ watch_id: '1', created: true })
    } else if (!this.#exact || this.head >= this.startsAt) this.#send({ watch_id: '-1' })
  }

  #send(message: Partial<Record<keyof IWatchResponse, unknown>>): void {
    this.emit('data', {
      ...{ header: { revision: String(this.head) }, compact_revision: '0' },
      ...{ created: false, canceled: false, fragment: false, events: [] },
      ...message,
    })
  }
}

interface Followed {
  readonly batches: Batch[]
  ended: unknown
}

describe('one watch', () => {
  let clock: VirtualClock
  let stop: AbortController

  beforeEach(() => {
    clock = new VirtualClock()
    stop = new AbortController()
  })
  afterEach(async () => {
    stop.abort()
    await clock.advance(100)
  })

  /** Under way when it resolves. */
  async function follow(
    fake: FakeMember,
    exactProgress: boolean,
    count = 0,
    by: Clock = clock,
  ): Promise<Followed> {
    const options = { member: fake.member, ranges: [range], after: start, counts: [count], clock: by }
    const followed: Followed = { batches: [], ended: undefined }
    void (async () => {
      try {
        for await (const batch of watchRanges({ ...options, exactProgress, signal: stop.signal }))
          followed.batches.push(batch)
        followed.ended = 'stopped'
      } catch (error) {
        followed.ended = error
      }
    })()
    await clock.settle()
    return followed
  }
  const delivered = ({ batches }: Followed): number => batches.flatMap(({ events }) => events).length

  test('a member paused right after the watch was made answers before it catches up, and nothing is lost', async () => {
    const fake = new FakeMember(false)
    fake.pauseMember()
    const seen = await follow(fake, false)
    fake.head = 20
    await clock.advance(2200)
    fake.resumeMember()
    await clock.advance(50)
    fake.sendPut(15)
    await clock.advance(100)
    expect(seen.ended).toBeUndefined()
    expect(delivered(seen)).toBe(1)
    expect(fake.asked).toBe(1)
    await clock.advance(3000)
    expect(seen.batches.at(-1)).toMatchObject({ revision: '20', counts: [1] })
  })

  test('an event that comes after its revision was said to be complete is history lost, not passed over', async () => {
    const fake = new FakeMember(false)
    const seen = await follow(fake, false)
    fake.head = 20
    await clock.advance(5000)
    expect(seen.batches.at(-1)?.revision).toBe('20')
    fake.sendPut(15)
    await clock.advance(10)
    expect(seen.ended).toBeInstanceOf(HistoryLost)
  })

  test('what was delivered before is passed over when it comes again', async () => {
    const fake = new FakeMember(false)
    const seen = await follow(fake, false)
    fake.sendPut(10)
    fake.sendPut(11)
    fake.sendPut(11)
    await clock.advance(10)
    expect(seen.ended).toBeUndefined()
    expect(delivered(seen)).toBe(1)
    expect(seen.batches.at(-1)?.counts).toEqual([1])
  })

  test.each([true, false])('a quiet store is heard each second (exact: %s)', async exact => {
    const fake = new FakeMember(exact)
    const seen = await follow(fake, exact)
    await clock.advance(30_500)
    expect(seen.ended).toBeUndefined()
    expect(seen.batches.length).toBeGreaterThanOrEqual(29)
  })

  test.each([true, false])('a member that falls silent is left (exact: %s)', async exact => {
    const fake = new FakeMember(exact)
    const seen = await follow(fake, exact)
    await clock.advance(10_500)
    fake.pauseMember()
    await clock.advanceUntil(() => seen.ended !== undefined, 4000)
    expect(seen.ended).toMatchObject({ name: 'StoreUnavailable' })
  })

  test.each([true, false])('a member that nobody asked for a while is not dead (exact: %s)', async exact => {
    const fake = new FakeMember(exact)
    let sleptMs = 0
    const ours: Clock = {
      now: () => (clock.now() + sleptMs) as Instant,
      wall: () => clock.wall(),
      sleep: (ms, signal) => clock.sleep(ms, signal),
    }
    const seen = await follow(fake, exact, 0, ours)
    await clock.advance(5500)
    sleptMs += 20_000
    await clock.advanceUntil(() => seen.ended !== undefined, 5000)
    expect(seen.ended).toBeUndefined()
  })

  test.each([
    ['a key more than was told of', 3, 10],
    ['a key fewer than was told of', 1, 10],
    ['a change that was not told of', 2, 11],
  ])('%s is found within a minute', async (_, count, head) => {
    const fake = new FakeMember(false)
    fake.count = 2
    const seen = await follow(fake, false, 2)
    await clock.advance(61_000)
    expect(seen.ended).toBeUndefined()
    fake.count = count
    fake.head = head
    await clock.advance(61_000)
    expect(seen.ended).toBeInstanceOf(HistoryLost)
  })
})
