import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { LogLine } from '../engine/engine.ts'
import { framed, unframed } from './frames.ts'
import { logLines } from './log-lines.ts'

const time = '2026-01-02T03:04:05.678901234Z'
const at = Date.parse(time)

function frame(stream: 1 | 2, text: string): Buffer {
  const data = Buffer.from(text)
  const header = Buffer.from([stream, 0, 0, 0, 0, 0, 0, 0])
  header.writeUInt32BE(data.length, 4)
  return Buffer.concat([header, data])
}

async function* cut(bytes: Buffer, lengths: readonly number[]): AsyncGenerator<Buffer> {
  let from = 0
  for (let i = 0; from < bytes.length; i++) {
    const length = Math.max(1, lengths[i % Math.max(1, lengths.length)] ?? bytes.length)
    yield bytes.subarray(from, from + length)
    from += length
  }
}

async function read(
  bytes: Buffer,
  lengths: readonly number[] = [],
  form: 'framed' | 'unframed' = 'framed',
): Promise<LogLine[]> {
  const source = cut(bytes, lengths)
  return await all(logLines(form === 'framed' ? framed(source) : unframed(source), form))
}

test('lines of both streams with their times', async () => {
  const bytes = Buffer.concat([
    frame(1, `${time} one\n`),
    frame(2, `${time} two\n`),
    frame(1, `${time} \n`),
    frame(1, `${time} no end`),
  ])
  expect(await read(bytes)).toEqual([
    { stream: 'stdout', at, line: 'one' },
    { stream: 'stderr', at, line: 'two' },
    { stream: 'stdout', at, line: '' },
    { stream: 'stdout', at, line: 'no end' },
  ])
})

test('a line in several messages loses the times of all but the first', async () => {
  const later = '2026-01-02T03:04:06Z'
  const bytes = Buffer.concat([
    frame(1, `${time} begin-`),
    frame(2, `${time} between\n`),
    frame(1, `${later} end\n`),
  ])
  expect(await read(bytes)).toEqual([
    { stream: 'stderr', at, line: 'between' },
    { stream: 'stdout', at, line: 'begin-end' },
  ])
})

test('a line without an end comes in pieces', async () => {
  const part = 'x'.repeat(16 * 1024)
  const lines = await read(
    Buffer.concat([...Array(9).fill(frame(1, `${time} ${part}`)), frame(1, `${time} end\n`)]),
  )
  expect(lines.map(({ line }) => line.length)).toEqual([65536, 65536, 16387])
})

test("a terminal's lines", async () => {
  const bytes = Buffer.from(`${time} one\r\n${time} two three\r\n`)
  for (const lengths of [[], [1], [7]])
    expect((await read(bytes, lengths, 'unframed')).map(({ line, at: when }) => [line, when])).toEqual([
      ['one', at],
      ['two three', at],
    ])
})

test('text where a time was expected is kept', async () => {
  expect(await read(frame(1, 'not a time at all\n'))).toEqual([
    { stream: 'stdout', at: 0, line: 'not a time at all' },
  ])
  expect((await read(frame(1, `${'y'.repeat(100)}\n`)))[0]?.line).toBe('y'.repeat(100))
})

test('bytes that are no frames', async () => {
  await expect(read(Buffer.from('plain text, not frames'))).rejects.toThrow('no frames')
})

test('however the stream is cut, the lines are the same', async () => {
  const line = fc.record({
    stream: fc.constantFrom(1 as const, 2 as const),
    text: fc.string({ unit: 'grapheme' }).map(s => s.replaceAll('\n', ' ')),
  })
  const lengths = fc.array(fc.integer({ min: 1, max: 50 }), { maxLength: 20 })
  await fc.assert(
    fc.asyncProperty(fc.array(line, { maxLength: 30 }), lengths, async (lines, cuts) => {
      const bytes = Buffer.concat(lines.map(({ stream, text }) => frame(stream, `${time} ${text}\n`)))
      const expected = lines.map(({ stream, text }) => ({
        stream: stream === 1 ? 'stdout' : 'stderr',
        at,
        line: text,
      }))
      expect(await read(bytes, cuts)).toEqual(expected)
    }),
  )
})

test('a hundred thousand frames in one chunk', async () => {
  const bytes = Buffer.concat(Array.from({ length: 100_000 }, (_, i) => frame(1, `${time} ${i}\n`)))
  expect(await read(bytes)).toHaveLength(100_000)
})

async function all<T>(source: AsyncIterable<T>): Promise<T[]> {
  const values: T[] = []
  for await (const value of source) values.push(value)
  return values
}
