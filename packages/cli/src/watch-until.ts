/** Asks the server again and again until something is done, also while it is away; the time and Ctrl-C end it before. */
import { elapsed, type Instant } from '@boxcar/core/model/clock'
import { awayReason } from './client.ts'
import { exitStatus, Trouble } from './exit.ts'
import { live } from './render/live.ts'
import { paint } from './render/paint.ts'
import { seconds } from './render/words.ts'
import type { Terminal } from './terminal.ts'

export interface UntilOptions {
  readonly timeoutMs?: number
  /** What is said when the time is over first: `not undone`. */
  readonly notDone: string
  /** How to go on watching, or to look. */
  readonly again: string
  readonly onChange: (words: string) => void
}

export interface Seen<Result> {
  /** How things are, in one line. */
  readonly words: string
  /** Given: it is done. */
  readonly done?: Result
  /** Given: it never will be. */
  readonly failed?: Trouble
}

const everyMs = 150

/** Gives what `look` found done. Throws Trouble for any other end, its status included. */
export async function watchUntil<Result>(
  terminal: Terminal,
  options: UntilOptions,
  look: () => Promise<Seen<Result>>,
): Promise<Result> {
  const started = terminal.clock.now()
  let words = ''
  const tell = (now: string) => {
    if (now !== words) options.onChange(`${seconds(elapsed(started, terminal.clock.now()))} ${now}`)
    words = now
  }
  for (;;) {
    try {
      const seen = await look()
      tell(seen.words)
      if (seen.failed !== undefined) throw seen.failed
      if (seen.done !== undefined) return seen.done
    } catch (error) {
      const why = awayReason(error)
      if (why === undefined) throw error
      tell(`${why}; trying again`)
    }
    await nextLook(terminal, started, { ...options, everyMs }, words)
  }
}

interface LookOptions extends Pick<UntilOptions, 'timeoutMs' | 'again' | 'notDone'> {
  readonly everyMs: number
}

/** Waits for the next look; throws Trouble where the time is up, `why` it is not done, or a person interrupts. */
export async function nextLook(
  terminal: Terminal,
  started: Instant,
  { timeoutMs, again, notDone, everyMs }: LookOptions,
  why: string,
): Promise<void> {
  if (timeoutMs !== undefined && elapsed(started, terminal.clock.now()) >= timeoutMs) {
    throw new Trouble({
      status: exitStatus.timeout,
      what: `${notDone} after ${seconds(timeoutMs)}; work on the cluster goes on`,
      why,
      next: again,
    })
  }
  await terminal.clock.sleep(everyMs, terminal.interrupted)
  if (terminal.interrupted.aborted) {
    throw new Trouble({
      status: exitStatus.interrupted,
      what: 'watching was interrupted',
      why: 'work on the cluster goes on',
      next: again,
    })
  }
}

/** Shows each change to who reads along: in its place on a terminal, else a line each. */
export async function withProgress<Result>(
  { err }: Terminal,
  watch: (onChange: (words: string) => void) => Promise<Result>,
): Promise<Result> {
  const picture = err.isTerminal ? live(err) : undefined
  try {
    return await watch(words => {
      if (picture === undefined) err.write(`${words}\n`)
      else picture.draw([paint(err.color).busy(words)])
    })
  } finally {
    picture?.end()
  }
}
