/**
 * The runtime socket of the master, which speaks to every worker, replaced ones too: a line in, text out. Only names that
 * the program made travel here.
 */
import { connect } from 'node:net'
import type { Clock } from '@boxcar/core/model/clock'
import { after } from '@boxcar/core/model/clock'

export interface Workers {
  /** The worker that takes connections. */
  readonly newest: number | undefined
  /** Replaced ones that still have connections. */
  readonly replaced: readonly number[]
  /** How often a reload failed. */
  readonly failed: number
}

/** The process did not answer: it is gone, starting, or executing itself anew. */
export class RuntimeSilent extends Error {
  override readonly name = 'RuntimeSilent'
}

const commandsAtOnce = 400

export interface RuntimeOptions {
  readonly socket: string
  readonly clock: Clock
  /** How long a single exchange may take. */
  readonly timeoutMs: number
  /** The same for one that only looks: what waits for it can wait for the next. */
  readonly lookMs?: number
  /** Whether there is a process that may answer yet; who is gone is not waited for. */
  readonly isThere?: () => Promise<boolean>
}

export class Runtime {
  readonly #options: RuntimeOptions

  constructor(options: RuntimeOptions) {
    this.#options = options
  }

  /** Who is there. Throws `RuntimeSilent`. */
  async workers(): Promise<Workers> {
    return parseWorkers(await this.#exchange('show proc\n'))
  }

  /** One question to one worker (`undefined` when that worker is gone). Throws `RuntimeSilent`. */
  async ask(worker: number, command: string): Promise<string | undefined> {
    const answer = await this.#exchange(`@!${worker} ${command}\n`)
    return /^Can't find the target/.test(answer) ? undefined : answer
  }

  /** Many commands to one worker in order; their answers, trimmed. Throws `RuntimeSilent`, also for a worker that is gone. */
  async tell(worker: number, commands: readonly string[]): Promise<readonly string[]> {
    const answers: string[] = []
    for (let at = 0; at < commands.length; at += commandsAtOnce) {
      answers.push(...(await this.#batch(worker, commands.slice(at, at + commandsAtOnce))))
    }
    return answers
  }

  /** Ends all sessions of a server (`backend/name`) in one worker. Throws `RuntimeSilent`. */
  async cut(worker: number, server: string): Promise<void> {
    const answer = await this.ask(worker, `shutdown sessions server ${server}`)
    if (answer === undefined || answer.trim() === '') return
    // A replaced worker says "Proxy is disabled": there, one by one.
    const sessions = parseSessions((await this.ask(worker, 'show sess')) ?? '')
    for (const session of sessions) {
      if (session.server === server) await this.ask(worker, `shutdown session ${session.id}`)
    }
  }

  /** Asks the master to load its configuration anew; returns at once. Throws `RuntimeSilent`. */
  async reload(): Promise<void> {
    await this.#exchange('reload\n')
  }

  async #batch(worker: number, commands: readonly string[]): Promise<readonly string[]> {
    const answer = await this.#exchange(`prompt\n@!${worker}\n${commands.join('\n')}\nquit\n`)
    // "master> 123> answer\n\n123> ...": what stands between two prompts is an answer.
    const parts = answer.split(new RegExp(`(?:^|\\n)(?:master|${worker})> |(?<=> )${worker}> `)).slice(2)
    if (parts.length < commands.length)
      throw new RuntimeSilent(`worker ${worker} answered ${parts.length} of ${commands.length}`)
    return parts.slice(0, commands.length).map(part => part.trim())
  }

  async #exchange(text: string): Promise<string> {
    const { clock, timeoutMs, lookMs = timeoutMs, isThere } = this.#options
    const looks = /^(@!\d+ )?show /.test(text)
    const deadline = after(clock.now(), looks ? lookMs : timeoutMs)
    for (;;) {
      const left = deadline - clock.now()
      const outcome = await this.#once(text, Math.max(1, left))
      if (outcome.kind === 'answer') return outcome.text
      // While the master executes itself anew it refuses connections; nothing was taken in then.
      if (outcome.kind === 'broken' || clock.now() + 20 >= deadline) throw new RuntimeSilent(outcome.why)
      if (isThere !== undefined && !(await isThere())) throw new RuntimeSilent('the process is gone')
      await clock.sleep(15)
    }
  }

  #once(text: string, timeoutMs: number): Promise<Exchange> {
    return new Promise(resolve => {
      const socket = connect(this.#options.socket)
      const chunks: Buffer[] = []
      let connected = false
      const end = (exchange: Exchange) => {
        stop.abort()
        socket.destroy()
        resolve(exchange)
      }
      const stop = new AbortController()
      void this.#options.clock.sleep(timeoutMs, stop.signal).then(() => {
        if (!stop.signal.aborted) end({ kind: 'broken', why: 'no answer in time' })
      })
      socket.on('connect', () => {
        connected = true
        socket.end(text)
      })
      socket.on('data', chunk => chunks.push(chunk))
      socket.on('end', () => {
        const answer = Buffer.concat(chunks).toString('utf8')
        end(
          answer === '' && !text.startsWith('reload')
            ? { kind: 'refused', why: 'no answer' }
            : { kind: 'answer', text: answer },
        )
      })
      socket.on('error', error => end({ kind: connected ? 'broken' : 'refused', why: error.message }))
    })
  }
}

type Exchange =
  | { readonly kind: 'answer'; readonly text: string }
  /** Nothing was taken in: may be tried again. */
  | { readonly kind: 'refused'; readonly why: string }
  | { readonly kind: 'broken'; readonly why: string }

/** Reads `show proc`. */
export function parseWorkers(text: string): Workers {
  let section = ''
  let newest: number | undefined
  let failed = 0
  const replaced: number[] = []
  for (const line of text.split('\n')) {
    if (line.startsWith('#')) section = line
    const [pid, type] = line.trim().split(/\s+/)
    if (type === 'master') failed = Number(/\[failed: (\d+)\]/.exec(line)?.[1] ?? 0)
    if (type !== 'worker') continue
    if (section.startsWith('# old')) replaced.push(Number(pid))
    else newest = Number(pid)
  }
  return { newest, replaced, failed }
}

export interface SeenServer {
  readonly backend: string
  readonly server: string
  readonly address: string
  readonly port: number
  readonly state: 'ready' | 'drain' | 'maint'
  readonly weight: number
  readonly up: boolean
}

/** Reads `show servers state`. */
export function parseServers(text: string): readonly SeenServer[] {
  const lines = text.split('\n')
  const header =
    lines
      .find(line => line.startsWith('# be_id'))
      ?.slice(2)
      .split(' ') ?? []
  const column = (name: string) => header.indexOf(name)
  const [backend, server, address, port, op, admin, weight] = [
    column('be_name'),
    column('srv_name'),
    column('srv_addr'),
    column('srv_port'),
    column('srv_op_state'),
    column('srv_admin_state'),
    column('srv_uweight'),
  ]
  return lines.flatMap(line => {
    const fields = line.split(' ')
    if (fields.length < 10 || line.startsWith('#')) return []
    const at = (index: number | undefined) => fields[index ?? -1] ?? ''
    const flags = Number(at(admin))
    const state = (flags & 0x63) !== 0 ? 'maint' : (flags & 0x18) !== 0 ? 'drain' : 'ready'
    return [
      {
        backend: at(backend),
        server: at(server),
        address: at(address),
        port: Number(at(port)),
        state,
        weight: Number(at(weight)),
        up: Number(at(op)) !== 0,
      } as const,
    ]
  })
}

export interface ServerUse {
  readonly backend: string
  readonly server: string
  readonly address: string
  readonly port: number
  /** Requests and streams that it carries now. */
  readonly sessions: number
}

/** Servers only. Not `show servers conn`: what that counts as used leaves TCP sessions out. */
export const useCommand = 'show stat -1 4 -1'

/** Reads `show stat`. */
export function parseUse(text: string): readonly ServerUse[] {
  const lines = text.split('\n')
  const header =
    lines
      .find(line => line.startsWith('# pxname'))
      ?.slice(2)
      .split(',') ?? []
  const [sessions, place] = [header.indexOf('scur'), header.indexOf('addr')]
  return lines.flatMap(line => {
    const fields = line.split(',')
    const [backend, server] = fields
    if (line.startsWith('#') || backend === undefined || server === undefined) return []
    const at = fields[place] ?? ''
    const colon = at.lastIndexOf(':')
    const address = at.slice(0, Math.max(0, colon)).replace(/^\[|\]$/g, '')
    return [
      {
        backend,
        server,
        address,
        port: Number(at.slice(colon + 1)),
        sessions: Number(fields[sessions] ?? 0),
      },
    ]
  })
}

/** Reads `show sess`: the streams that are with a server. */
export function parseSessions(text: string): readonly { readonly id: string; readonly server: string }[] {
  return text.split('\n').flatMap(line => {
    const match = /^(0x[0-9a-f]+): .* be=(\S+) srv=(\S+) /.exec(line)
    return match?.[1] === undefined ? [] : [{ id: match[1], server: `${match[2]}/${match[3]}` }]
  })
}

/** Reads `show map`: entries as `0x55d1 key value`. */
export function parseMap(text: string): ReadonlyMap<string, string> {
  const map = new Map<string, string>()
  for (const line of text.split('\n')) {
    const [, key, value] = line.split(' ')
    if (key !== undefined && value !== undefined) map.set(key, value)
  }
  return map
}
