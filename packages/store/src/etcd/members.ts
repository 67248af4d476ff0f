/**
 * The members of an etcd, each with a client of its own, so that we decide who is asked: the same one until it fails to answer,
 * then the next. A member that failed rests for a second and is then tried again when its turn comes. Nothing here repeats a
 * write, and the client's own retries and breakers are off (they repeat writes, and shut a client down after a refusal).
 */

import type { Clock, Instant } from '@boxcar/core/model/clock'
import { after } from '@boxcar/core/model/clock'
import { type ChannelOptions, InterceptingCall, type Interceptor } from '@grpc/grpc-js'
import { noop } from 'cockatiel'
import { Etcd3 } from 'etcd3'
import { StoreUnavailable } from '../store.ts'
import { isNeverSent, isNoAnswer, textOf } from './errors.ts'

export interface TlsFiles {
  /** The contents of the files, PEM. */
  readonly ca: Buffer
  readonly cert?: Buffer
  readonly key?: Buffer
}

/**
 * One member. Calls, leases and watches have a connection each: the client drops a connection, with everything on it, after
 * any one call without an answer, and a renewal that is late must not take the leader's transactions or the watch with it.
 */
export interface Member {
  readonly endpoint: string
  readonly calls: Etcd3
  readonly leases: Etcd3
  readonly watches: Etcd3
}

/** How long a unary call may take: etcd answers in milliseconds or, while it elects, not at all. */
export const callMs = 1500
/** A page of a big listing. */
export const pageMs = 10_000
const restMs = 1000

const channelOptions: ChannelOptions = {
  // etcd drops a connection that is pinged more often than every five seconds.
  'grpc.keepalive_time_ms': 6000,
  'grpc.keepalive_timeout_ms': 1500,
  'grpc.max_receive_message_length': -1,
  'grpc.max_send_message_length': -1,
  // Back quickly: the defaults wait up to two minutes before they dial again.
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.min_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 1000,
  'grpc.enable_retries': 0,
  // Else all clients of a process share one connection.
  'grpc.use_local_subchannel_pool': 1,
}

export class Members {
  readonly all: readonly Member[]
  readonly #clock: Clock
  readonly #restsUntil = new Map<Member, Instant>()
  #current: number

  constructor(endpoints: readonly string[], tls: TlsFiles | undefined, clock: Clock, first: number) {
    if (endpoints.length === 0) throw new Error('an etcd needs at least one endpoint')
    this.#clock = clock
    this.all = endpoints.map(endpoint => ({
      endpoint,
      calls: clientFor(endpoint, tls),
      leases: clientFor(endpoint, tls),
      watches: clientFor(endpoint, tls),
    }))
    this.#current = first % endpoints.length
  }

  /** Who is asked next. */
  pick(): Member {
    const now = this.#clock.now()
    for (let step = 0; step < this.all.length; step += 1) {
      const member = this.#at(this.#current + step)
      if (now >= (this.#restsUntil.get(member) ?? Number.NEGATIVE_INFINITY)) {
        this.#current = (this.#current + step) % this.all.length
        return member
      }
    }
    return this.#at(this.#current)
  }

  /** It did not answer: the others come first for a while. With one member there is no other. */
  failed(member: Member): void {
    if (this.all.length === 1) return
    this.#restsUntil.set(member, after(this.#clock.now(), restMs))
    if (this.#at(this.#current) === member) this.#current = (this.#current + 1) % this.all.length
  }

  /** One try of a call that may not be repeated; a member that could not even be sent to is passed over. */
  async once<T>(call: (member: Member) => Promise<T>): Promise<T> {
    for (let left = this.all.length; ; left -= 1) {
      const member = this.pick()
      try {
        return await call(member)
      } catch (error) {
        if (isNoAnswer(error)) this.failed(member)
        if (left <= 1 || !isNeverSent(error)) throw error
      }
    }
  }

  /** A call that may be repeated: each member gets one try, a single one gets two. Throws StoreUnavailable. */
  async read<T>(call: (member: Member) => Promise<T>): Promise<T> {
    let last: unknown
    for (let left = Math.max(2, this.all.length); left > 0; left -= 1) {
      try {
        return await this.once(call)
      } catch (error) {
        if (!isNoAnswer(error)) throw error
        last = error
      }
    }
    throw new StoreUnavailable(textOf(last))
  }

  close(): void {
    for (const { calls, leases, watches } of this.all)
      for (const client of [calls, leases, watches]) client.close()
  }

  #at(index: number): Member {
    const member = this.all[index % this.all.length]
    if (member === undefined) throw new Error('there is at least one member')
    return member
  }
}

function clientFor(endpoint: string, tls: TlsFiles | undefined): Etcd3 {
  return new Etcd3({
    hosts: endpoint,
    faultHandling: { global: noop, host: () => noop },
    grpcOptions: channelOptions,
    ...(tls === undefined
      ? {}
      : {
          credentials: {
            rootCertificate: tls.ca,
            ...(tls.key === undefined ? {} : { privateKey: tls.key }),
            ...(tls.cert === undefined ? {} : { certChain: tls.cert }),
          },
        }),
  })
}

export const within = (ms: number): { readonly deadline: number } => ({ deadline: Date.now() + ms })

/** On streams: a member that has lost its leader ends them, instead of staying silent. */
export const hasLeader: Interceptor = (options, nextCall) =>
  new InterceptingCall(nextCall(options), {
    start: (metadata, listener, next) => {
      metadata.set('hasleader', 'true')
      next(metadata, listener)
    },
  })
