/** The world outside a command: its streams, its settings, the time, and the wish of the user to stop. */
import { spawn } from 'node:child_process'
import { fstatSync } from 'node:fs'
import { createInterface } from 'node:readline/promises'
import type { Clock } from '@boxcar/core/model/clock'
import { systemClock } from '@boxcar/store/system'
import { exitStatus } from './exit.ts'
import { Output, type OutputEnd } from './output.ts'

export interface Terminal {
  /** Data. */
  readonly out: Sink
  /** Progress, hints, questions and errors. */
  readonly err: Sink
  /** Whether a person can be asked. */
  readonly canAsk: boolean
  readonly env: Readonly<Record<string, string | undefined>>
  readonly clock: Clock
  /**
   * Aborted by the first Ctrl-C or SIGTERM, and when nobody reads the output any more (`outputLost` is the reason then). Ends what only
   * shows; what changes something asks `isInterrupted` (question.ts).
   */
  readonly interrupted: AbortSignal
  /** For what prints without end: resolves when the reader has kept up, or the command is interrupted. */
  drained(): Promise<void>
  /** Resolves when all that was printed is written, or cannot be. */
  written(): Promise<OutputEnd>
  /** From now on the command is interrupted when the reader goes away, also while nothing is printed. */
  endWithReader(): void
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

/** The reason of `interrupted` where nobody asked for it: what is printed reaches nobody any more. */
export const outputLost = 'output lost'

/** The real terminal. The first Ctrl-C asks a command to end, the second one ends it. */
export function systemTerminal(argv: readonly string[] = []): Terminal {
  const interrupted = new AbortController()
  let firstAt: number | undefined
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      if (firstAt === undefined) {
        firstAt = systemClock.now()
        interrupted.abort(signal)
      } else if (systemClock.now() - firstAt > samePressMs) process.exit(exitStatus.interrupted)
    })
  }
  // What cannot be written is no use to anybody, so whatever only shows may end. What must be put away is put away all the same.
  const output = new Output<NodeJS.WriteStream>(() => interrupted.abort(outputLost))
  const sink = (stream: NodeJS.WriteStream): Sink => {
    output.watch(stream)
    return {
      write: text => output.write(stream, text),
      get isTerminal() {
        return stream.isTTY === true
      },
      get columns() {
        return stream.columns ?? 100
      },
      get rows() {
        return stream.rows ?? 40
      },
      color: wantsColor(process.env, stream.isTTY === true, argv) ? 'color' : 'plain',
    }
  }
  return {
    out: sink(process.stdout),
    err: sink(process.stderr),
    canAsk: process.stdin.isTTY === true && process.stderr.isTTY === true,
    env: process.env,
    clock: systemClock,
    interrupted: interrupted.signal,
    drained: () => output.drained(interrupted.signal),
    written: () => writtenOrUnread(output, interrupted.signal),
    endWithReader: () => watchReader(() => output.lose(process.stdout, { kind: 'closed' })),
    readInput: async () => {
      let text = ''
      process.stdin.setEncoding('utf8')
      for await (const piece of process.stdin) text += piece
      return text
    },
    confirm: async question => {
      // The question is written past the queue, and comes after what it is about.
      await output.written()
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

/** After an interruption a reader that does not read is waited for no longer than this. */
const readerPatienceMs = 1_000

async function writtenOrUnread(
  output: Output<NodeJS.WriteStream>,
  interrupted: AbortSignal,
): Promise<OutputEnd> {
  const over = new AbortController()
  const unread = async (): Promise<OutputEnd> => {
    await aborted(interrupted)
    await systemClock.sleep(readerPatienceMs, over.signal)
    return { kind: 'unread' }
  }
  try {
    return await Promise.race([output.written(), unread()])
  } finally {
    over.abort()
  }
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return
  await new Promise(resolve => signal.addEventListener('abort', resolve, { once: true }))
}

/**
 * Node notices that the reader of a pipe is gone only when it writes. GNU `tail -f` looks for it while it waits, and ends by
 * SIGPIPE; other versions of `tail` never do, and then the next line that is printed finds it out. See
 * docs/adr/0021-a-reader-that-goes-away.md.
 */
function watchReader(onGone: () => void): void {
  if (!fstatSync(process.stdout.fd).isFIFO()) return
  const options = ['-f', '--sleep-interval=0.2', `--pid=${process.pid}`, '/dev/null']
  const tail = spawn('tail', options, { stdio: ['ignore', process.stdout.fd, 'ignore'] })
  tail.on('error', () => undefined)
  tail.on('exit', (_status, signal) => {
    if (signal === 'SIGPIPE') onGone()
  })
  tail.unref()
  // It holds the pipe open: the reader shall see the end as soon as this program ends.
  process.on('exit', () => tail.kill())
}

/**
 * `--no-color` wins; then `NO_COLOR` and `FORCE_COLOR` as everybody has them: set and not empty; `FORCE_COLOR=0` means no. The line
 * is looked at as it is, since one that cannot be parsed is answered in colours or not as well.
 */
export function wantsColor(
  env: Readonly<Record<string, string | undefined>>,
  isTerminal: boolean,
  argv: readonly string[] = [],
): boolean {
  const end = argv.indexOf('--')
  if (argv.slice(0, end === -1 ? argv.length : end).includes('--no-color')) return false
  const [no, force] = [env.NO_COLOR ?? '', env.FORCE_COLOR ?? '']
  if (force !== '') return force !== '0' && force !== 'false'
  if (no !== '' || env.TERM === 'dumb') return false
  return isTerminal
}
