import { Readable } from 'node:stream'
import Fastify from 'fastify'
import { expect, test } from 'vitest'
import { Streams } from './streams.ts'

test('so many at once, and one more when one has left', async () => {
  const streams = new Streams(2)
  const app = Fastify({ forceCloseConnections: true })
  const left: AbortSignal[] = []
  app.get('/', async (_, reply) => {
    const signal = streams.enter(reply)
    if (signal === undefined) return reply.code(429).send('')
    left.push(signal)
    return reply.send(Readable.from(quiet(signal)))
  })
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  const first = new AbortController()
  // Held, so that none is collected, which would end it.
  const answers: Response[] = []
  const open = async (signal?: AbortSignal): Promise<number> => {
    const answer = await fetch(url, signal === undefined ? {} : { signal })
    answers.push(answer)
    return answer.status
  }
  expect([await open(first.signal), await open(), await open()]).toEqual([200, 200, 429])
  first.abort()
  await new Promise<void>(resolve => {
    if (left[0]?.aborted === true) resolve()
    else left[0]?.addEventListener('abort', () => resolve())
  })
  expect([await open(), await open()]).toEqual([200, 429])
  expect(left.map(signal => signal.aborted)).toEqual([true, false, false])
  await app.close()
})

/** Says one thing, and then nothing for ever. */
async function* quiet(signal: AbortSignal): AsyncGenerator<string> {
  yield 'x'
  await new Promise(resolve => signal.addEventListener('abort', resolve))
}
