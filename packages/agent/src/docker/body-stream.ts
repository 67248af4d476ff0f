/** Reading an answer as it comes. Whoever stops reading closes the connection. */
import type { IncomingMessage } from 'node:http'

/** Chunks of a body. `idleMs`: how long to wait for the next one before `late()` is thrown; left out: for ever. */
export async function* chunks(
  body: IncomingMessage,
  idleMs?: number,
  late?: () => Error,
): AsyncGenerator<Buffer> {
  const iterator: AsyncIterator<Buffer> = body[Symbol.asyncIterator]()
  try {
    for (;;) {
      // Only waiting counts: a reader that takes its time is not the engine's fault.
      const timer = idleMs === undefined ? undefined : setTimeout(() => body.destroy(late?.()), idleMs)
      try {
        const next = await iterator.next()
        if (next.done === true) return
        yield next.value
      } finally {
        clearTimeout(timer)
      }
    }
  } finally {
    body.destroy()
  }
}

const longestLine = 1 << 20

/** Values of a body with one JSON text a line. Throws where a line is none, or is longer than 1 MiB. */
export async function* jsonLines(source: AsyncIterable<Uint8Array>): AsyncGenerator<unknown> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of source) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n')
    rest = lines.pop() ?? ''
    if (rest.length > longestLine) throw new Error('a line of the engine is too long')
    for (const line of lines) if (line.trim() !== '') yield JSON.parse(line)
  }
  if (rest.trim() !== '') yield JSON.parse(rest)
}
