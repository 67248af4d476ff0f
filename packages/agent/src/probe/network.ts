/** Asking an instance over the network: one connection a question, nothing kept open, no redirect followed. */
import { request } from 'node:http'
import { connect } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Clock } from '@boxcar/core/model/clock'
import { watchStandstill } from './standstill.ts'

export type NetworkAnswer =
  | { readonly kind: 'connected' }
  /** `body`: the first KiB of it. */
  | { readonly kind: 'answered'; readonly status: number; readonly body: string }
  | { readonly kind: 'failed'; readonly why: string }
  /** The time was over without an answer. */
  | { readonly kind: 'silent'; readonly why: string }
  /** The time was over, and this process had hardly run meanwhile. */
  | { readonly kind: 'unheard' }

export interface HttpQuestion {
  readonly address: string
  readonly port: number
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly timeoutMs: number
}

export interface Network {
  tcp(question: {
    readonly address: string
    readonly port: number
    readonly timeoutMs: number
  }): Promise<NetworkAnswer>
  http(question: HttpQuestion): Promise<NetworkAnswer>
}

/** What is read of an answer before it is cut off, and what is kept of it. */
const readBytes = 64 * 1024
const keptBytes = 1024

export function openNetwork(clock: Clock): Network {
  return {
    tcp: ({ address, port, timeoutMs }) =>
      within(clock, timeoutMs, end => {
        const socket = connect({ host: address, port })
        socket.on('error', error => end({ kind: 'failed', why: whyOf(error) }))
        socket.on('connect', () => {
          if (!isLoopback(address)) return end({ kind: 'connected' })
          // On loopback it is the engine's own forwarder that accepts, and closes where nobody listens behind it.
          socket.on('close', () => end({ kind: 'failed', why: 'the connection was closed at once' }))
          socket.resume()
          void clock.sleep(Math.min(settleMs, timeoutMs)).then(() => end({ kind: 'connected' }))
        })
        return () => socket.destroy()
      }),

    http: ({ address, port, path, headers, timeoutMs }) =>
      within(clock, timeoutMs, end => {
        let [kept, read] = ['', 0]
        const asked = request({
          host: address,
          port,
          path,
          agent: false,
          headers: { host: `${address}:${port}`, 'user-agent': 'boxcar-probe', ...headers },
        })
        asked.on('error', error => end({ kind: 'failed', why: whyOf(error) }))
        asked.on('response', response => {
          const done = () => end({ kind: 'answered', status: response.statusCode ?? 0, body: kept })
          response.setEncoding('utf8')
          response.on('data', (chunk: string) => {
            if (kept.length < keptBytes) kept = (kept + chunk).slice(0, keptBytes)
            read += chunk.length
            if (read > readBytes) done()
          })
          response.on('end', done)
          response.on('error', error => end({ kind: 'failed', why: whyOf(error) }))
        })
        asked.end()
        return () => asked.destroy()
      }),
  }
}

/** The first answer, or the failure that the time is over; then the connection is given up. */
function within(
  clock: Clock,
  timeoutMs: number,
  begin: (end: (answer: NetworkAnswer) => void) => () => void,
): Promise<NetworkAnswer> {
  return new Promise(resolve => {
    const over = new AbortController()
    const standstill = watchStandstill(clock)
    let state: 'open' | 'answered' = 'open'
    const end = (answer: NetworkAnswer) => {
      if (state === 'answered') return
      state = 'answered'
      over.abort()
      standstill.end()
      resolve(answer)
      giveUp()
    }
    const giveUp = begin(end)
    const wait = async () => {
      await clock.sleep(timeoutMs, over.signal)
      // Timers come before sockets: after a pause of ours the answer may have been waiting to be read.
      for (let turn = 0; turn < 2 && !over.signal.aborted; turn += 1) await nextTurn()
      if (over.signal.aborted) return
      const isUnheard = standstill.spoils(timeoutMs)
      end(isUnheard ? { kind: 'unheard' } : { kind: 'silent', why: `no answer within ${timeoutMs} ms` })
    }
    void wait()
  })
}

const settleMs = 30

const isLoopback = (address: string): boolean => address.startsWith('127.') || address === '::1'

function whyOf(error: Error & { readonly code?: string }): string {
  switch (error.code) {
    case 'ECONNREFUSED':
      return 'connection refused'
    case 'ECONNRESET':
      return 'the connection was reset'
    case 'EHOSTUNREACH':
      return 'no route to it'
    default:
      return error.message
  }
}
