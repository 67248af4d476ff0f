/**
 * The store on etcd; this folder is the only importer of its client. Of the client only raw calls are used, each with a
 * deadline of ours: its retries repeat writes, its watcher loses events, its election overlaps.
 */
import { randomInt } from 'node:crypto'
import type { Clock } from '@boxcar/core/model/clock'
import type { ICompare, IRequestOp, IStatusResponse } from 'etcd3'
import { type Collection, keyOf } from '../collection.ts'
import { readEntry, scopePrefix } from '../decode.ts'
import { assertDistinctKeys, fits } from '../limits.ts'
import { type Log, silent } from '../log.ts'
import {
  type CommitOutcome,
  compareRevisions,
  type Entry,
  type FollowStep,
  type Guard,
  type LeaseId,
  type Listing,
  noRevision,
  type Revision,
  type Scope,
  type Store,
  StoreFull,
  type StoreLease,
  type StoreMember,
  type StoreStatus,
  StoreUnavailable,
  type Transaction,
  type Unreadable,
  type Write,
} from '../store.ts'
import { failureOf, isNoAnswer, textOf } from './errors.ts'
import { follow } from './follow.ts'
import { callMs, hasLeader, type Member, Members, type TlsFiles, within } from './members.ts'
import { readRange } from './pages.ts'
import { Quotas } from './quota.ts'
import { next, rangeOf, rawEntry } from './ranges.ts'

export interface EtcdOptions {
  /** `http://127.0.0.1:2379`, one for each member. */
  readonly endpoints: readonly string[]
  /** The cluster's name: several may live in one etcd. */
  readonly cluster: string
  readonly tls?: TlsFiles
  readonly clock: Clock
  readonly log?: Log
}

/** A store on etcd. Connects when first used; nothing fails here for a store that is away. */
export function openEtcdStore(options: EtcdOptions): Store {
  return new EtcdStore(options)
}

class EtcdStore implements Store {
  readonly #members: Members
  readonly #quotas: Quotas
  readonly #clock: Clock
  readonly #log: Log
  readonly #endpoints: readonly string[]
  readonly #prefix: string
  readonly #closed = new AbortController()
  /** The newest revision that any answer has told. */
  #head: Revision = noRevision

  constructor({ endpoints, cluster, tls, clock, log = silent }: EtcdOptions) {
    // Each process starts at a member of its own choice, so that they share the load.
    this.#members = new Members(endpoints, tls, clock, randomInt(endpoints.length || 1))
    this.#quotas = new Quotas(tls, clock)
    this.#clock = clock
    this.#log = log
    this.#endpoints = endpoints
    this.#prefix = `/boxcar/${cluster}/v1/`
  }

  async get<Id, Value>(collection: Collection<Id, Value>, id: Id): Promise<Entry<Id, Value> | undefined> {
    const key = Buffer.from(this.#prefix + keyOf(collection, id))
    const { kvs, header } = await this.#read(member => member.calls.kv.range({ key }, within(callMs)))
    this.#noteHead(header.revision)
    const kv = kvs[0]
    if (kv === undefined) return undefined
    const read = readEntry(collection, rawEntry(kv, this.#prefix.length))
    if ('entry' in read) return read.entry as Entry<Id, Value> // parsed by this very collection
    // Shown: servers read the same into their mirror, and give it as the `problem` of what it is a record of.
    this.#log.warn(read.unreadable, 'a stored value cannot be read')
    return undefined
  }

  async list<Id, Value>(collection: Collection<Id, Value>, within?: string): Promise<Listing<Id, Value>> {
    const scope: Scope = { collection, ...(within === undefined ? {} : { within }) }
    const entries: Entry<Id, Value>[] = []
    const unreadable: Unreadable[] = []
    const range = rangeOf(this.#prefix + scopePrefix(scope))
    const { revision } = await readRange(this.#members, range, undefined, kv => {
      const read = readEntry(collection, rawEntry(kv, this.#prefix.length))
      if ('entry' in read)
        entries.push(read.entry as Entry<Id, Value>) // parsed by this very collection
      else unreadable.push(read.unreadable)
    })
    this.#noteHead(revision)
    return { revision, entries, unreadable }
  }

  async commit(transaction: Transaction): Promise<CommitOutcome> {
    assertDistinctKeys(transaction)
    if (!fits(transaction)) return { kind: 'too-large' }
    const request = {
      compare: transaction.guards.flatMap(guard => this.#compares(guard)),
      success: transaction.writes.map(write => this.#operation(write)),
    }
    try {
      const answer = await this.#members.once(member => member.calls.kv.txn(request, within(callMs)))
      this.#noteHead(answer.header.revision)
      return { kind: answer.succeeded ? 'committed' : 'stale', revision: answer.header.revision as Revision }
    } catch (error) {
      const failure = failureOf(error)
      // A put under a lease that is gone: the lease is one more thing that had to hold.
      if (failure === 'lease-gone') return { kind: 'stale', revision: this.#head }
      return failure === 'unknown' ? { kind: 'unknown', reason: textOf(error) } : { kind: failure }
    }
  }

  follow(
    scopes: readonly Scope[],
    options: {
      readonly since?: Revision
      readonly signal: AbortSignal
      readonly onTrouble?: (reason: string) => void
    },
  ): AsyncIterable<FollowStep> {
    return follow({
      scopes,
      members: this.#members,
      clock: this.#clock,
      prefix: this.#prefix,
      log: this.#log,
      since: options.since,
      onTrouble: options.onTrouble ?? (() => {}),
      signal: AbortSignal.any([options.signal, this.#closed.signal]),
    })
  }

  async grant(ttlMs: number): Promise<StoreLease> {
    const TTL = Math.max(2, Math.ceil(ttlMs / 1000))
    // A lease that was granted in a lost answer holds nothing and ends by itself, so this may be repeated.
    const granted = await this.#read(member => member.leases.leaseClient.leaseGrant({ TTL }, within(callMs)))
    const id = granted.ID as LeaseId
    return {
      id,
      ttlMs: Number(granted.TTL) * 1000,
      renew: timeoutMs => this.#renew(id, timeoutMs),
      revoke: async () => {
        try {
          await this.#members.once(member =>
            member.leases.leaseClient.leaseRevoke({ ID: id }, within(callMs)),
          )
        } catch (error) {
          if (failureOf(error) !== 'lease-gone')
            this.#log.info({ lease: id, error: textOf(error) }, 'a lease was not revoked and will run out')
        }
      },
    }
  }

  async status(): Promise<StoreStatus> {
    const answers = await Promise.all(this.#members.all.map(member => this.#ask(member)))
    const members = answers.map(({ endpoint, status, quotaBytes }) => memberOf(endpoint, status, quotaBytes))
    const told = answers.flatMap(({ status }) => status ?? [])
    const endpointOf = (id: string) =>
      answers.find(({ status }) => status?.header.member_id === id)?.endpoint ?? `member ${id}`
    const [newest] = told.map(it => it.header.revision as Revision).sort((a, b) => compareRevisions(b, a))
    return {
      kind: 'etcd',
      endpoints: this.#endpoints,
      members,
      alarms: alarmsIn(told).map(({ kind, member }) => ({ kind, endpoint: endpointOf(member) })),
      ...(newest === undefined ? {} : { revision: newest }),
    }
  }

  async #ask({ endpoint, calls }: Member): Promise<Answer> {
    try {
      const status = await calls.maintenance.status(within(callMs))
      return { endpoint, status, quotaBytes: await this.#quotas.of(endpoint) }
    } catch {
      return { endpoint, status: undefined, quotaBytes: undefined }
    }
  }

  async close(): Promise<void> {
    this.#closed.abort()
    this.#members.close()
  }

  /** One keep-alive on a stream of its own: the client's long stream may hang with a member and lose the lease. */
  async #renew(id: LeaseId, timeoutMs: number): Promise<'renewed' | 'gone'> {
    const member = this.#members.pick()
    try {
      const stream = await member.leases.leaseClient.leaseKeepAlive({
        ...within(timeoutMs),
        interceptors: [hasLeader],
      })
      const answer = await new Promise<{ readonly TTL: string }>((resolve, reject) => {
        stream.on('data', resolve)
        stream.on('error', reject)
        stream.on('end', () => reject(new StoreUnavailable('the stream ended without an answer')))
        stream.write({ ID: id })
      })
      stream.end()
      return Number(answer.TTL) > 0 ? 'renewed' : 'gone'
    } catch (error) {
      if (failureOf(error) === 'lease-gone') return 'gone'
      if (isNoAnswer(error) || hasNoAnswerCode(error)) this.#members.failed(member)
      throw new StoreUnavailable(textOf(error))
    }
  }

  async #read<T>(call: (member: Member) => Promise<T>): Promise<T> {
    try {
      return await this.#members.read(call)
    } catch (error) {
      if (error instanceof StoreUnavailable) throw error
      throw failureOf(error) === 'full' ? new StoreFull(textOf(error)) : new StoreUnavailable(textOf(error))
    }
  }

  #noteHead(revision: string): void {
    if (compareRevisions(revision, this.#head) > 0) this.#head = revision as Revision
  }

  #compares(guard: Guard): readonly ICompare[] {
    if (guard.kind === 'collection-unchanged')
      return [
        {
          ...rangeOf(`${this.#prefix}${guard.collection.name}/`),
          target: 'Mod',
          result: 'Less',
          mod_revision: next(guard.since),
        },
      ]
    const key = Buffer.from(this.#prefix + guard.key)
    switch (guard.kind) {
      case 'absent':
        return [{ key, target: 'Create', result: 'Equal', create_revision: '0' }]
      case 'unleased':
        // A key that is not there has lease 0 as well.
        return [{ key, target: 'Lease', result: 'Equal', lease: '0' }]
      case 'created':
        return [{ key, target: 'Create', result: 'Equal', create_revision: guard.at }]
      case 'unchanged':
        // A key that is gone has revision 0 and would pass the first compare.
        return [
          { key, target: 'Mod', result: 'Less', mod_revision: next(guard.since) },
          { key, target: 'Create', result: 'Greater', create_revision: '0' },
        ]
    }
  }

  #operation(write: Write): IRequestOp {
    const key = Buffer.from(this.#prefix + write.key)
    if (write.kind === 'remove') return { request_delete_range: { key } }
    return {
      request_put: {
        key,
        value: Buffer.from(write.json),
        ...(write.lease === undefined ? {} : { lease: write.lease }),
      },
    }
  }
}

/** Errors of a raw stream come as gRPC made them. */
const hasNoAnswerCode = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && (error.code === 1 || error.code === 4 || error.code === 14)

interface Answer {
  readonly endpoint: string
  readonly status: IStatusResponse | undefined
  readonly quotaBytes: number | undefined
}

function memberOf(
  endpoint: string,
  status: IStatusResponse | undefined,
  quotaBytes: number | undefined,
): StoreMember {
  if (status === undefined) return { endpoint, version: '', reachable: false, leader: false, dbBytes: 0 }
  return {
    endpoint,
    version: status.version,
    reachable: true,
    leader: status.leader !== '0' && status.leader === status.header.member_id,
    dbBytes: Number(status.dbSize),
    cluster: status.header.cluster_id,
    dbBytesInUse: Number(status.dbSizeInUse),
    ...(quotaBytes === undefined ? {} : { quotaBytes }),
    raftIndex: Number(status.raftIndex),
    raftAppliedIndex: Number(status.raftAppliedIndex),
    hasLeader: status.leader !== '0',
    learner: status.isLearner,
  }
}

/** Each member lists all alarms among its errors: `memberID:10501334649042878790 alarm:NOSPACE `. Listing them is a proposal. */
export function alarmsIn(
  statuses: readonly Pick<IStatusResponse, 'errors'>[],
): readonly { readonly kind: string; readonly member: string }[] {
  const found = new Map<string, { readonly kind: string; readonly member: string }>()
  for (const error of statuses.flatMap(it => it.errors)) {
    const [, member = '', kind = ''] = /memberID:(\d+)\s+alarm:(\w+)/.exec(error) ?? []
    if (kind !== '') found.set(`${kind} ${member}`, { kind, member })
  }
  return [...found.values()]
}
