/** The servers and agents of a development cluster: started, kept running, and ended. */
import { mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type OwnedProcess, startProcess } from '../machine/process.ts'

const program = new URL('../main.ts', import.meta.url).pathname

export interface Kept {
  readonly name: string
  readonly logFile: string
  readonly pid: number | undefined
  /** SIGTERM, then SIGKILL; it is not started again. */
  stop(): Promise<void>
}

export interface KeptOptions {
  readonly name: string
  /** Put before the program: how to enter a host. */
  readonly enter: readonly string[]
  /** The command line of boxcar. */
  readonly args: readonly string[]
  readonly env: NodeJS.ProcessEnv
  readonly logDir: string
  /** It ended though nobody asked it to, and is started again. */
  readonly onEnd: (words: string) => void
}

const restartMs = 1_000

/** Starts one process of boxcar and starts it again whenever it ends, as a service manager would. */
export async function keepRunning(options: KeptOptions): Promise<Kept> {
  const logFile = join(options.logDir, `${options.name}.log`)
  await mkdir(dirname(logFile), { recursive: true })
  const start = () =>
    startProcess({
      name: options.name,
      argv: [...options.enter, process.execPath, program, ...options.args],
      env: options.env,
      logFile,
    })
  const ending = new AbortController()
  let current: OwnedProcess = await start()
  const keeping = (async () => {
    while (!ending.signal.aborted) {
      const end = await current.exited
      if (ending.signal.aborted) return
      const how = end.signal === undefined ? `with status ${end.status}` : `by ${end.signal}`
      // Whoever ends by a signal has nothing to say about it.
      const words = end.signal === undefined ? `\n${current.lastLines(3)}` : ''
      options.onEnd(`${options.name} ended ${how} and is started again; its log: ${logFile}${words}`)
      await sleep(restartMs, undefined, { signal: ending.signal }).catch(() => undefined)
      if (!ending.signal.aborted) current = await start()
    }
  })()
  return {
    name: options.name,
    logFile,
    get pid() {
      return current.end === undefined ? current.pid : undefined
    },
    stop: async () => {
      ending.abort()
      await current.stop(2_000)
      await keeping
      // A start that was under way when the end was asked for.
      await current.stop(2_000)
    },
  }
}
