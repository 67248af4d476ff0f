/** A terminal for tests: what was written can be read, questions are answered as told, and waiting is short. */
import type { Clock, Instant } from '@boxcar/core/model/clock'
import { systemClock } from '@boxcar/store/system'
import type { Terminal } from './terminal.ts'

export interface TestTerminal extends Terminal {
  readonly outText: () => string
  readonly errText: () => string
  /** Ctrl-C. */
  readonly interrupt: () => void
}

export function testTerminal(
  how: {
    readonly env?: Readonly<Record<string, string>>
    readonly input?: string
    /** Given: a person is there, and says this. */
    readonly answer?: 'yes' | 'no'
  } = {},
): TestTerminal {
  const [out, err]: [string[], string[]] = [[], []]
  const interrupt = new AbortController()
  const sink = (into: string[]) => ({
    write: (text: string) => void into.push(text),
    isTerminal: false,
    columns: 200,
    rows: 50,
    color: 'plain' as const,
  })
  return {
    out: sink(out),
    err: sink(err),
    canAsk: how.answer !== undefined,
    // No settings of the person who runs the tests.
    env: { XDG_CONFIG_HOME: '/nonexistent', ...how.env },
    clock: quickClock,
    interrupted: interrupt.signal,
    drained: async () => {},
    written: async () => ({ kind: 'written' }),
    endWithReader: () => {},
    readInput: async () => how.input ?? '',
    confirm: async () => how.answer === 'yes',
    outText: () => out.join(''),
    errText: () => err.join(''),
    interrupt: () => interrupt.abort(),
  }
}

/** Twenty seconds for people are one for the test. */
const quick = 20
const quickClock: Clock = {
  now: () => (systemClock.now() * quick) as Instant,
  wall: () => systemClock.wall(),
  sleep: (ms, signal) => systemClock.sleep(ms / quick, signal),
}
