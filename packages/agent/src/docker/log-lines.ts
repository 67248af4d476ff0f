/**
 * Lines out of a container's log stream that was asked for with timestamps. The engine writes one frame for each message
 * and the time in front of it. Messages end at line breaks or after 16 KiB, so a long line is several messages, each with
 * its time: the first one's counts, the others' are taken out.
 */
import type { LogLine } from '../engine/engine.ts'
import type { Piece } from './frames.ts'

/** framed: a time at the start of each frame. unframed (a terminal): at the start of each line. */
export type LogForm = 'framed' | 'unframed'

const longest = 64 * 1024
const lineFeed = 10
const blank = 32
/** Times have 30 characters; more without a space is text. */
const longestTime = 40

export async function* logLines(pieces: AsyncIterable<Piece>, form: LogForm): AsyncGenerator<LogLine> {
  const pending = { stdout: new Pending('stdout'), stderr: new Pending('stderr') }
  for await (const { stream, data, begins } of pieces) {
    const line = pending[stream]
    if (begins) line.expectTime()
    let from = 0
    while (from < data.length) {
      const end = data.indexOf(lineFeed, from)
      const until = end === -1 ? data.length : end
      line.add(data.subarray(from, until))
      from = until + 1
      if (end !== -1) {
        yield line.take(form)
        if (form === 'unframed') line.expectTime()
      } else if (line.bytes >= longest) yield line.take(form)
    }
  }
  for (const line of [pending.stdout, pending.stderr]) if (line.bytes > 0) yield line.take(form)
}

/** The beginning of a line. */
class Pending {
  readonly #stream: 'stdout' | 'stderr'
  #chunks: Uint8Array[] = []
  #time = ''
  #readsTime = false
  #at: number | undefined
  bytes = 0

  constructor(stream: 'stdout' | 'stderr') {
    this.#stream = stream
  }

  expectTime(): void {
    this.#readsTime = true
    this.#time = ''
  }

  add(data: Uint8Array): void {
    const text = this.#readsTime ? this.#afterTime(data) : data
    if (text.length === 0) return
    // A copy: the socket's buffer is used again.
    this.#chunks.push(Uint8Array.from(text))
    this.bytes += text.length
  }

  take(form: LogForm): LogLine {
    const line = Buffer.concat(this.#chunks).toString('utf8')
    const taken = {
      stream: this.#stream,
      at: this.#at ?? 0,
      line: form === 'unframed' ? line.replace(/\r$/, '') : line,
    }
    this.#chunks = []
    this.bytes = 0
    this.#at = undefined
    return taken
  }

  #afterTime(data: Uint8Array): Uint8Array {
    const space = data.indexOf(blank)
    this.#time += Buffer.from(space === -1 ? data : data.subarray(0, space)).toString('latin1')
    if (space === -1 && this.#time.length < longestTime) return data.subarray(data.length)
    this.#readsTime = false
    const at = Date.parse(this.#time)
    if (Number.isNaN(at))
      return Buffer.concat([
        Buffer.from(this.#time, 'latin1'),
        data.subarray(space === -1 ? data.length : space),
      ])
    this.#at ??= at
    return data.subarray(space + 1)
  }
}
