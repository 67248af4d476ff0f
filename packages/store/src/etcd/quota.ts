/** The quota of a member's database. etcd tells it only among its metrics, and a member keeps it for as long as it runs. */
import { get as getPlain, type IncomingMessage } from 'node:http'
import { get as getSecure } from 'node:https'
import { type Clock, elapsed, type Instant } from '@boxcar/core/model/clock'
import type { TlsFiles } from './members.ts'

/** What members told, for a minute each. */
export class Quotas {
  readonly #tls: TlsFiles | undefined
  readonly #clock: Clock
  readonly #told = new Map<string, { readonly at: Instant; readonly bytes: number | undefined }>()

  constructor(tls: TlsFiles | undefined, clock: Clock) {
    this.#tls = tls
    this.#clock = clock
  }

  /** Of a member that answers. */
  async of(endpoint: string): Promise<number | undefined> {
    const known = this.#told.get(endpoint)
    if (known !== undefined && elapsed(known.at, this.#clock.now()) < keptMs) return known.bytes
    const bytes = await readQuota(endpoint, this.#tls)
    this.#told.set(endpoint, { at: this.#clock.now(), bytes })
    return bytes
  }
}

const keptMs = 60_000
const pattern = /^etcd_server_quota_backend_bytes (\S+)$/m
const timeoutMs = 1000

/** In bytes; nothing where it cannot be told. Never throws. */
function readQuota(endpoint: string, tls: TlsFiles | undefined): Promise<number | undefined> {
  return new Promise(resolve => {
    const url = `${endpoint.replace(/\/$/, '')}/metrics`
    if (!URL.canParse(url)) return resolve(undefined)
    const take = (answer: IncomingMessage): void => {
      let text = ''
      answer.setEncoding('utf8').on('data', (piece: string) => {
        text += piece
      })
      answer.on('error', () => resolve(undefined))
      answer.on('end', () => resolve(quotaIn(text)))
    }
    const signal = AbortSignal.timeout(timeoutMs)
    const sent = url.startsWith('https:')
      ? getSecure(url, { signal, agent: false, ca: tls?.ca, cert: tls?.cert, key: tls?.key }, take)
      : getPlain(url, { signal, agent: false }, take)
    sent.on('error', () => resolve(undefined))
  })
}

export function quotaIn(metrics: string): number | undefined {
  const value = Number(pattern.exec(metrics)?.[1])
  return Number.isFinite(value) && value > 0 ? value : undefined
}
