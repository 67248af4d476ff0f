/** The world outside a command: its streams, its settings, the time, and the wish of the user to stop. */
import { createInterface } from 'node:readline/promises'
import type { Clock } from '@boxcar/core/model/clock'
import { systemClock } from '@boxcar/store/system'
import { exitStatus } from './exit.ts'

export interface Terminal {
  /** Data. */
  readonly out: Sink
  /** Progress, hints, questions and errors. */
  readonly err: Sink
  /** Whether a person can be asked. */
  readonly canAsk: boolean
  readonly env: Readonly<Record<string, string | undefined>>
  readonly clock: Clock
  /** Aborted by the first Ctrl-C or SIGTERM. */
  readonly interrupted: AbortSignal
  /** Everything from standard input. */
  readInput(): Promise<string>
  /** A yes or no; no is the answer when the input ends. */
  confirm(question: string): Promise<boolean>
}

export interface Sink {
  write(text: string): void
  /** A person reads along. */
  readonly isTerminal: boolean
  readonly columns: number
  readonly rows: number
  readonly color: 'color' | 'plain'
}

/** The real terminal. The first Ctrl-C asks a command to end, the second one ends it. */
export function systemTerminal(): Terminal {
  const interrupted = new AbortController()
  let firstAt = 0
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      if (!interrupted.signal.aborted) {
        firstAt = systemClock.now()
        interrupted.abort(signal)
      } else if (systemClock.now() - firstAt > samePressMs) process.exit(exitStatus.interrupted)
    })
  }
  return {
    out: sink(process.stdout, () => interrupted.abort('closed')),
    err: sink(process.stderr, () => interrupted.abort('closed')),
    canAsk: process.stdin.isTTY === true && process.stderr.isTTY === true,
    env: process.env,
    clock: systemClock,
    interrupted: interrupted.signal,
    readInput: async () => {
      let text = ''
      process.stdin.setEncoding('utf8')
      for await (const piece of process.stdin) text += piece
      return text
    },
    confirm: async question => {
      const lines = createInterface({ input: process.stdin, output: process.stderr })
      // While it asks, it reads Ctrl-C as a key, and the terminal sends no signal.
      lines.on('SIGINT', () => process.kill(process.pid, 'SIGINT'))
      try {
        const answer = await lines.question(`${question} [y/N] `, { signal: interrupted.signal })
        return /^y(es)?$/i.test(answer.trim())
      } catch {
        return false
      } finally {
        lines.close()
      }
    },
  }
}

/** One Ctrl-C under npm comes twice: from the terminal, and handed on by npm. */
const samePressMs = 1_000

function sink(stream: NodeJS.WriteStream, onClosed: () => void): Sink {
  stream.on('error', error => {
    // A reader that has seen enough (`| head`) closes the pipe, and a terminal may be closed: nobody reads any more, so
    // whatever only shows may end. What must be put away is put away all the same.
    if ('code' in error && (error.code === 'EPIPE' || error.code === 'EIO')) onClosed()
    else throw error
  })
  return {
    write: text => void stream.write(text),
    get isTerminal() {
      return stream.isTTY === true
    },
    get columns() {
      return stream.columns ?? 100
    },
    get rows() {
      return stream.rows ?? 40
    },
    color: wantsColor(process.env, stream.isTTY === true) ? 'color' : 'plain',
  }
}

/** `NO_COLOR` and `FORCE_COLOR` as everybody has them: set and not empty; `FORCE_COLOR=0` means no. */
export function wantsColor(env: Readonly<Record<string, string | undefined>>, isTerminal: boolean): boolean {
  const [no, force] = [env.NO_COLOR ?? '', env.FORCE_COLOR ?? '']
  if (force !== '') return force !== '0' && force !== 'false'
  if (no !== '' || env.TERM === 'dumb') return false
  return isTerminal
}
