/**
 * The engine's multiplexed streams: frames of eight bytes of header (stream, three zeros, length) and their data. Pieces
 * are handed on as they come, so nothing grows with the size or the number of frames and a slow reader slows the engine.
 * A terminal's stream has no frames.
 */
export interface Piece {
  readonly stream: 'stdout' | 'stderr'
  readonly data: Uint8Array
  /** The first piece of its frame. */
  readonly begins: boolean
}

/** The pieces of a framed stream. Throws where the bytes are no frames; a stream may end inside one. */
export async function* framed(source: AsyncIterable<Uint8Array>): AsyncGenerator<Piece> {
  const header = Buffer.alloc(8)
  let headerBytes = 0
  let left = 0
  let begins = true
  for await (const chunk of source) {
    let at = 0
    while (at < chunk.length) {
      if (left === 0) {
        const taken = Math.min(8 - headerBytes, chunk.length - at)
        header.set(chunk.subarray(at, at + taken), headerBytes)
        headerBytes += taken
        at += taken
        if (headerBytes < 8) break
        headerBytes = 0
        if ((header[0] ?? 255) > 2 || header[1] !== 0 || header[2] !== 0 || header[3] !== 0)
          throw new Error('the stream of a container has no frames where frames were expected')
        left = header.readUInt32BE(4)
        begins = true
        continue
      }
      const taken = Math.min(left, chunk.length - at)
      yield { stream: header[0] === 2 ? 'stderr' : 'stdout', data: chunk.subarray(at, at + taken), begins }
      left -= taken
      at += taken
      begins = false
    }
  }
}

/** A terminal's stream as pieces of one standard output. */
export async function* unframed(source: AsyncIterable<Uint8Array>): AsyncGenerator<Piece> {
  let begins = true
  for await (const data of source) {
    yield { stream: 'stdout', data, begins }
    begins = false
  }
}
