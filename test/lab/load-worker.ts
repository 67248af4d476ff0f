/**
 * Sends a load at a fixed rate, in a thread of its own: what the test does beside it must not delay a request. Loaded by
 * `load.ts`, not imported.
 */
import { Agent, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { parentPort, workerData } from 'node:worker_threads'
import { type LoadOptions, type LoadRecord, now } from './load-record.ts'

/** Of an answer that did not come. */
const nothing = {
  status: undefined,
  errno: undefined,
  generation: undefined,
  instance: undefined,
  version: undefined,
  host: undefined,
  detail: undefined,
} as const

const options = workerData as LoadOptions // Sent by load.ts, which has checked it.
const records: LoadRecord[] = []
const open = new Set<Promise<void>>()
/** A service that hangs must not cost this computer its memory. */
const mostOpen = 4_000

const agent = new Agent({
  keepAlive: true,
  maxSockets: Number.POSITIVE_INFINITY,
  maxFreeSockets: options.sockets ?? 32,
})
let running = true
parentPort?.once('message', () => {
  running = false
})

const slow = options.slow
await Promise.all([
  send('quick', options.rate, ''),
  ...(slow === undefined ? [] : [send('slow', slow.rate, `slow?ms=${slow.ms}`)]),
])
await Promise.all(open)
agent.destroy()
parentPort?.postMessage(records)

/** Sends each request at its own due time, so that a slow answer makes no gap that hides a failure. */
async function send(kind: LoadRecord['kind'], rate: number, path: string): Promise<void> {
  const start = now()
  for (let sent = 0; running; sent++) {
    const due = start + (sent * 1_000) / rate
    const wait = due - now()
    if (wait > 1) await sleep(wait)
    if (!running || now() - start > (options.maxMs ?? 300_000)) return
    if (open.size >= mostOpen) continue
    const base = options.urls[sent % options.urls.length] ?? ''
    const asked = ask(kind, new URL(path, base).href).then(record => {
      records.push(record)
      open.delete(asked)
    })
    open.add(asked)
    // Timers and answers get their turn even when this loop is behind.
    if (wait <= 1) await sleep(0)
  }
}

function ask(kind: LoadRecord['kind'], url: string): Promise<LoadRecord> {
  const t0 = now()
  return new Promise(resolve => {
    let reused = false
    const done = (rest: Partial<LoadRecord>) => {
      clearTimeout(timer)
      resolve({ ...nothing, kind, t0, t1: now(), url, reused, ...rest })
    }
    const headers = options.hostHeader === undefined ? {} : { host: options.hostHeader }
    const sent = request(url, { agent, headers }, response => {
      const parts: Buffer[] = []
      response.on('data', (part: Buffer) => parts.push(part))
      response.on('end', () => done({ status: response.statusCode, ...identity(parts) }))
      response.on('error', error => done({ errno: codeOf(error) }))
      response.on('aborted', () => done({ errno: 'cut' }))
    })
    const timer = setTimeout(() => {
      done({ errno: 'timeout' })
      sent.destroy()
    }, options.timeoutMs ?? 10_000)
    sent.on('error', error => {
      reused = sent.reusedSocket
      done({ errno: codeOf(error) })
    })
    sent.on('socket', () => {
      reused = sent.reusedSocket
    })
    sent.end()
  })
}

/** Who answered; nothing when the answer is not the test service's, such as a proxy's error page. */
function identity(parts: readonly Buffer[]): Partial<LoadRecord> {
  try {
    const it: unknown = JSON.parse(Buffer.concat(parts).toString())
    if (typeof it !== 'object' || it === null) return {}
    const text = (name: string) => {
      const value: unknown = Reflect.get(it, name)
      return typeof value === 'string' ? value : undefined
    }
    const generation: unknown = Reflect.get(it, 'generation')
    return {
      generation: typeof generation === 'number' ? generation : undefined,
      instance: text('instance'),
      version: text('version'),
      host: text('host'),
      detail: text('detail'),
    }
  } catch {
    return {}
  }
}

function codeOf(error: Error): string {
  return 'code' in error && typeof error.code === 'string' ? error.code : error.message
}
