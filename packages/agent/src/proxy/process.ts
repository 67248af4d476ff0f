/**
 * The HAProxy process of this host: one master that outlives the agent, known by its pid, its start time and its command
 * line, so that no other process is ever taken for it or stopped in its place.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { open, readdir, readFile, rename, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { errorText } from '@boxcar/core/model/attempt'
import type { Clock } from '@boxcar/core/model/clock'
import { after } from '@boxcar/core/model/clock'
import type { Logger } from 'pino'
import { type Ask, judge, type Silence } from './pulse.ts'
import { configurationPath, masterSocket } from './render.ts'
import { Runtime, RuntimeSilent, type Workers } from './runtime.ts'

export interface ProcessOptions {
  readonly haproxy: string
  readonly dir: string
  readonly clock: Clock
  readonly log: Pick<Logger, 'warn'>
}

/** One life of a master. */
interface Master {
  readonly pid: number
  /** Clock ticks between boot and its start: two processes of one pid differ in it. */
  readonly started: string
  readonly child: ChildProcess | undefined
}

export type Started = { readonly kind: 'started' } | { readonly kind: 'failed'; readonly why: string }
export type Reloaded =
  | { readonly kind: 'reloaded'; readonly workers: Workers }
  /** The old worker serves on. */
  | { readonly kind: 'failed'; readonly why: string }
  /** Nobody knows which worker serves next. */
  | { readonly kind: 'unclear'; readonly why: string }

const startLimitMs = 10_000
const reloadLimitMs = 20_000
/** How long a process that was killed is waited for. */
const endLimitMs = 3_000
const logLimitBytes = 1_000_000

export class HaproxyProcess {
  readonly runtime: Runtime
  readonly #options: ProcessOptions
  #master: Master | undefined
  #pidLag: string | undefined

  constructor(options: ProcessOptions) {
    this.#options = options
    this.runtime = new Runtime({
      socket: masterSocket(options.dir),
      clock: options.clock,
      timeoutMs: 5_000,
      lookMs: 1_500,
      isThere: () => this.alive(),
    })
  }

  get pid(): number | undefined {
    return this.#master?.pid
  }

  /** Why the pid of this process is not on the disk, where it is not. */
  get pidLag(): string | undefined {
    return this.#pidLag
  }

  /** Takes over the process that an earlier agent left running; false when there is none of ours. */
  async adopt(): Promise<boolean> {
    const text = await readFile(this.#pidFile(), 'utf8').catch(() => '')
    const [pid, started] = text.trim().split(' ')
    if (pid === undefined || started === undefined || !/^\d+$/.test(pid)) return false
    const seen = await look(Number(pid))
    if (seen === undefined || seen.started !== started || !(await this.#isOurs(Number(pid)))) return false
    this.#master = { pid: Number(pid), started, child: undefined }
    return true
  }

  /** True while the master runs. */
  async alive(): Promise<boolean> {
    const master = this.#master
    if (master === undefined) return false
    if (master.child !== undefined) return master.child.exitCode === null && master.child.signalCode === null
    return (await look(master.pid))?.started === master.started
  }

  /** Resolves when the master is gone (at once when there is none) or the signal aborts. */
  async gone(signal: AbortSignal): Promise<void> {
    const child = this.#master?.child
    const exit = new AbortController()
    const onExit = () => exit.abort()
    child?.once('exit', onExit)
    // A child tells of its end; one that was taken over has to be looked at.
    const everyMs = child === undefined ? 200 : 10_000
    while (!signal.aborted && (await this.alive())) {
      await this.#options.clock.sleep(everyMs, AbortSignal.any([signal, exit.signal]))
    }
    child?.off('exit', onExit)
  }

  /** Starts a master with the configuration on the disk, after ending what an earlier life may have left over. */
  async start(): Promise<Started> {
    const { haproxy, dir, clock } = this.#options
    await this.endStrangers()
    await rm(masterSocket(dir), { force: true })
    const log = await this.#openLog()
    const child = spawn(haproxy, this.#arguments(), {
      detached: true,
      stdio: ['ignore', log.fd, log.fd],
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
    })
    let broken: string | undefined
    child.once('error', error => {
      broken = error.message
    })
    child.unref()
    await log.close()
    const deadline = after(clock.now(), startLimitMs)
    while (clock.now() < deadline) {
      if (broken !== undefined) return { kind: 'failed', why: broken }
      if (child.exitCode !== null || child.signalCode !== null)
        return { kind: 'failed', why: await this.#lastWords() }
      const seen = child.pid === undefined ? undefined : await look(child.pid)
      const workers = await this.#workersIfAny()
      if (child.pid !== undefined && seen !== undefined && workers?.newest !== undefined) {
        this.#master = { pid: child.pid, started: seen.started, child }
        await this.#writePid(this.#master)
        return { kind: 'started' }
      }
      await clock.sleep(10)
    }
    child.kill('SIGKILL')
    return { kind: 'failed', why: 'it did not answer after its start' }
  }

  /** Why a configuration file would be refused, or nothing. */
  check(path: string): Promise<string | undefined> {
    return new Promise(resolve => {
      execFile(
        this.#options.haproxy,
        ['-c', '-f', path],
        { timeout: 60_000, killSignal: 'SIGKILL', encoding: 'utf8' },
        (error, _stdout, stderr) => resolve(error === null ? undefined : alerts(stderr) || error.message),
      )
    })
  }

  /** Loads the configuration on the disk without losing a connection; a failure leaves the old worker serving. */
  async reload(): Promise<Reloaded> {
    const { clock } = this.#options
    await this.#openLog().then(log => log.close())
    const before = await this.runtime.workers()
    await this.runtime.reload()
    const deadline = after(clock.now(), reloadLimitMs)
    while (clock.now() < deadline) {
      await clock.sleep(10)
      if (!(await this.alive())) return { kind: 'unclear', why: 'the process died' }
      const workers = await this.#workersIfAny()
      if (workers === undefined) continue
      if (workers.failed > before.failed) return { kind: 'failed', why: await this.#lastWords() }
      if (workers.newest !== undefined && workers.newest !== before.newest)
        return { kind: 'reloaded', workers }
    }
    return { kind: 'unclear', why: 'no new worker came up' }
  }

  /** Ends the process and its workers. */
  async end(): Promise<void> {
    const master = this.#master
    if (master === undefined) return
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      if (!(await this.alive())) break
      kill(master.pid, signal)
      await this.gone(AbortSignal.timeout(endLimitMs))
    }
    this.#master = undefined
    await this.endStrangers()
    await rm(this.#pidFile(), { force: true })
  }

  /** Whether it hears us; asks again, for up to some seconds, before it says that it hangs. Nothing that runs never hangs. */
  async pulse(): Promise<{ readonly kind: 'beats' } | { readonly kind: 'hangs'; readonly why: string }> {
    const { clock } = this.#options
    const master = this.#master
    const asks: Ask[] = []
    for (;;) {
      const pulse = judge(asks)
      if (pulse.kind !== 'ask') return pulse
      const began = clock.now()
      const silence = await this.#silence(pulse.limitMs)
      asks.push({ limitMs: pulse.limitMs, tookMs: clock.now() - began, silence })
      if (master === undefined || this.#master !== master || !(await this.alive())) return { kind: 'beats' }
    }
  }

  /** Ends the master at once; whoever waits for its answers learns it, and whoever waits for its end brings it back. */
  async strike(): Promise<void> {
    if (this.#master !== undefined && (await this.alive())) kill(this.#master.pid, 'SIGKILL')
  }

  /** Who of the master and its newest worker does not answer within a limit; nothing when both do. */
  async #silence(limitMs: number): Promise<Silence | undefined> {
    const { dir, clock } = this.#options
    const deadline = after(clock.now(), limitMs)
    const prompt = () =>
      new Runtime({ socket: masterSocket(dir), clock, timeoutMs: Math.max(1, deadline - clock.now()) })
    const master = this.#master?.pid
    let asked = master
    try {
      const { newest } = await prompt().workers()
      asked = newest
      if (newest !== undefined) await prompt().ask(newest, 'show info')
      return undefined
    } catch (error) {
      if (!(error instanceof RuntimeSilent)) throw error
      const [one, first] = await Promise.all([asked, master].map(pid => pid && look(pid)))
      const runnable = [one, first].some(seen => seen && seen.state === 'R')
      return {
        why: error.message,
        vitals: one && asked !== undefined ? { pid: asked, runnable, ticks: one.ticks } : undefined,
      }
    }
  }

  /** Ends a process that hears nothing any more, at once and with its workers. */
  async kill(): Promise<void> {
    if (this.#master !== undefined && (await this.alive())) {
      kill(this.#master.pid, 'SIGKILL')
      await this.gone(AbortSignal.timeout(endLimitMs))
    }
    this.#master = undefined
    await this.endStrangers()
  }

  /** Processes of this folder's configuration that no master of ours answers for. */
  async strangers(): Promise<readonly number[]> {
    const own = this.#master?.pid
    const found: number[] = []
    for (const name of await readdir('/proc')) {
      const pid = Number(name)
      if (!/^\d+$/.test(name) || pid === own || !(await this.#isOurs(pid))) continue
      const seen = await look(pid)
      if (seen !== undefined && (own === undefined || seen.parent !== own)) found.push(pid)
    }
    return found
  }

  /** Ends what an earlier life left over and waits for it, so that its ports are free. */
  async endStrangers(): Promise<void> {
    const { clock } = this.#options
    let left = await this.strangers()
    for (const pid of left) kill(pid, 'SIGKILL')
    const deadline = after(clock.now(), endLimitMs)
    while (left.length > 0 && clock.now() < deadline) {
      await clock.sleep(10)
      const seen = await Promise.all(left.map(look))
      left = left.filter((_, at) => seen[at] !== undefined)
    }
  }

  /** A disk without room costs a later agent its take-over; it ends this process then and starts its own. */
  async #writePid({ pid, started }: Master): Promise<void> {
    try {
      await writeFile(`${this.#pidFile()}.new`, `${pid} ${started}\n`)
      await rename(`${this.#pidFile()}.new`, this.#pidFile())
      this.#pidLag = undefined
    } catch (error) {
      this.#pidLag = `the pid of the proxy cannot be saved: ${errorText(error)}`
      // Shown: the proxy's reason in the host's record, as files that are behind.
      this.#options.log.warn({ error: String(error) }, 'the pid of the proxy was not saved')
    }
  }

  async #workersIfAny(): Promise<Workers | undefined> {
    try {
      const patient = new Runtime({
        socket: masterSocket(this.#options.dir),
        clock: this.#options.clock,
        timeoutMs: 300,
      })
      return await patient.workers()
    } catch (error) {
      if (error instanceof RuntimeSilent) return undefined
      throw error
    }
  }

  async #openLog() {
    const path = `${this.#options.dir}/haproxy.log`
    const size = await stat(path).then(
      s => s.size,
      () => 0,
    )
    if (size > logLimitBytes) await truncate(path)
    return open(path, 'a')
  }

  async #lastWords(): Promise<string> {
    const text = await readFile(`${this.#options.dir}/haproxy.log`, 'utf8').catch(() => '')
    return alerts(text) || 'it ended without a word'
  }

  #arguments(): readonly string[] {
    const { dir } = this.#options
    return ['-W', '-S', `${masterSocket(dir)},mode,600`, '-f', configurationPath(dir)]
  }

  async #isOurs(pid: number): Promise<boolean> {
    const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0')
    const at = words.indexOf('-f')
    return words.includes('-W') && at > 0 && words[at + 1] === configurationPath(this.#options.dir)
  }

  #pidFile(): string {
    return `${this.#options.dir}/haproxy.pid`
  }
}

interface Seen {
  readonly started: string
  readonly parent: number
  /** One letter, as `ps` shows it. */
  readonly state: string
  /** Clock ticks of processor time of all its threads. */
  readonly ticks: number
}

/** A process that runs (a zombie does not). */
async function look(pid: number): Promise<Seen | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  // The name, in parentheses, may hold anything; the fields are counted after it.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const [state, parent] = fields
  const started = fields[19]
  if (state === undefined || parent === undefined || started === undefined) return undefined
  if (state === 'Z' || state === 'X') return undefined
  return { started, parent: Number(parent), state, ticks: Number(fields[11]) + Number(fields[12]) }
}

/** The newest alerts of a log, in one line. */
function alerts(text: string): string {
  const lines = text.split('\n').filter(line => line.includes('[ALERT]'))
  return lines
    .slice(-3)
    .map(line =>
      line
        .replace(/^\[ALERT\]\s*\(\d+\)\s*:\s*/, '')
        .replace(/[^ -~]/g, '?')
        .trim(),
    )
    .join('; ')
    .slice(0, 600)
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // It is gone already, which is what was wanted.
  }
}
