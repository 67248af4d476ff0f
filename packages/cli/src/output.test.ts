import { describe, expect, test } from 'vitest'
import { exitStatus } from './exit.ts'
import { Output, type OutputEnd, type OutputStream } from './output.ts'
import { statusAfter } from './run.ts'
import { outputLost } from './terminal.ts'

/** A stream that takes a piece only when it is told to. */
class Reader implements OutputStream {
  readonly seen: string[]
  readonly #taken: ((error?: Error) => void)[] = []
  constructor(seen: string[]) {
    this.seen = seen
  }
  write(text: string, callback: (error?: Error | null) => void): void {
    this.seen.push(text)
    this.#taken.push(callback)
  }
  on(): void {}
  take(error?: Error): void {
    this.#taken.shift()?.(error)
  }
}

const never = new AbortController().signal
const broken = (code: string) => Object.assign(new Error(code), { code })

/** Whether a promise has resolved by now. */
async function isOver(promise: Promise<unknown>): Promise<boolean> {
  let over = false
  void promise.then(() => {
    over = true
  })
  await new Promise(resolve => setImmediate(resolve))
  return over
}

function setUp() {
  const seen: string[] = []
  const losses: OutputEnd[] = []
  return {
    ...{ seen, losses, out: new Reader(seen), err: new Reader(seen) },
    output: new Output<Reader>(loss => losses.push(loss)),
  }
}

describe('output', () => {
  test('both streams are written in the order of the program', async () => {
    const { output, out, err, seen } = setUp()
    output.write(out, '1')
    output.write(out, '2')
    output.write(err, '3')
    output.write(out, '4')
    expect(seen).toEqual(['1'])
    out.take()
    expect(seen).toEqual(['1', '2'])
    out.take()
    expect(seen).toEqual(['1', '2', '3'])
    err.take()
    out.take()
    expect(seen).toEqual(['1', '2', '3', '4'])
    expect(await output.written()).toEqual({ kind: 'written' })
  })

  test('what prints without end waits for a slow reader, or for its interruption', async () => {
    const { output, out } = setUp()
    output.write(out, 'few')
    expect(await isOver(output.drained(never))).toBe(true)
    output.write(out, 'x'.repeat(100_000))
    const drained = output.drained(never)
    out.take()
    expect(await isOver(drained)).toBe(false)
    const interrupted = new AbortController()
    const ended = output.drained(interrupted.signal)
    interrupted.abort()
    expect(await isOver(ended)).toBe(true)
    out.take()
    expect(await isOver(drained)).toBe(true)
  })

  test('it is written only when the last piece is', async () => {
    const { output, out, err } = setUp()
    output.write(out, 'a')
    output.write(err, 'b')
    const written = output.written()
    out.take()
    expect(await isOver(written)).toBe(false)
    err.take()
    expect(await isOver(written)).toBe(true)
  })

  test('a reader that closes is told once, and holds up nothing', async () => {
    const { output, out, err, seen, losses } = setUp()
    output.write(out, 'a')
    output.write(err, 'b')
    output.write(out, 'c')
    out.take(broken('EPIPE'))
    err.take()
    output.write(out, 'd')
    expect(seen).toEqual(['a', 'b'])
    expect(losses).toEqual([{ kind: 'closed' }])
    expect(await output.written()).toEqual({ kind: 'closed' })
  })

  test('a full disk is no reader that closed', async () => {
    const { output, out } = setUp()
    output.write(out, 'a')
    out.take(broken('ENOSPC'))
    expect(await output.written()).toEqual({ kind: 'failed', why: 'ENOSPC' })
  })
})

describe('the exit status', () => {
  const closed: OutputEnd = { kind: 'closed' }
  test.each([
    ['done', { kind: 'written' }, 'nothing', 'done'],
    ['done', closed, outputLost, 'readerGone'],
    ['interrupted', closed, outputLost, 'readerGone'],
    ['interrupted', closed, 'SIGINT', 'interrupted'],
    ['reverted', closed, outputLost, 'reverted'],
    ['usage', closed, outputLost, 'usage'],
    ['done', { kind: 'unread' }, 'SIGTERM', 'interrupted'],
    ['failure', { kind: 'unread' }, 'SIGTERM', 'failure'],
  ] as const)('%s, output %j, interrupted by %s: %s', (status, end, reason, expected) => {
    const interrupted = reason === 'nothing' ? never : AbortSignal.abort(reason)
    expect(statusAfter(exitStatus[status], end, { interrupted })).toBe(exitStatus[expected])
  })
})
