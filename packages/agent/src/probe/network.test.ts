import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { Worker } from 'node:worker_threads'
import { systemClock } from '@boxcar/store/system'
import { afterEach, describe, expect, test } from 'vitest'
import { openNetwork } from './network.ts'

describe('asking over the network', () => {
  const network = openNetwork(systemClock)
  const opened: Server[] = []
  const listening = async (server: Server) => {
    opened.push(server)
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    return { address: '127.0.0.1', port: (server.address() as AddressInfo).port, timeoutMs: 300 } // a TCP server's
  }
  afterEach(async () => {
    for (const server of opened.splice(0)) {
      if ('closeAllConnections' in server && typeof server.closeAllConnections === 'function')
        server.closeAllConnections()
      await new Promise(resolve => server.close(resolve))
    }
  })

  test('tcp: somebody listens', async () => {
    const target = await listening(createServer(socket => socket.on('error', () => {}).resume()))
    expect(await network.tcp(target)).toEqual({ kind: 'connected' })
  })

  test('tcp: nobody listens', async () => {
    const target = await listening(createServer())
    await new Promise(resolve => opened.pop()?.close(resolve))
    expect(await network.tcp(target)).toEqual({ kind: 'failed', why: 'connection refused' })
  })

  test('tcp: on loopback a forwarder that closes at once counts as nobody', async () => {
    const target = await listening(createServer(socket => socket.destroy()))
    expect((await network.tcp(target)).kind).toBe('failed')
  })

  test('http: status and the beginning of the body; redirects are answers', async () => {
    const target = await listening(
      createHttpServer((request, response) => {
        response.writeHead(request.url === '/moved' ? 302 : 200, { location: '/elsewhere' })
        response.end(`${request.headers['x-who']} `.repeat(1000))
      }),
    )
    const answer = await network.http({ ...target, path: '/moved', headers: { 'x-who': 'me' } })
    expect(answer).toMatchObject({ kind: 'answered', status: 302 })
    expect(answer.kind === 'answered' && answer.body.length).toBe(1024)
  })

  test('http: a body without an end is cut off', async () => {
    const target = await listening(
      createHttpServer((_, response) => {
        response.on('error', () => {})
        const timer = setInterval(() => response.write('x'.repeat(16 * 1024)), 1)
        response.on('close', () => clearInterval(timer))
      }),
    )
    expect(await network.http({ ...target, timeoutMs: 5000, path: '/', headers: {} })).toMatchObject({
      status: 200,
    })
  })

  test('http: silence', async () => {
    const target = await listening(createServer(socket => socket.on('error', () => {}).resume()))
    expect(await network.http({ ...target, path: '/', headers: {} })).toEqual({
      kind: 'silent',
      why: 'no answer within 300 ms',
    })
  })

  // Whoever answers is a thread of its own: it goes on while this one stands still.
  test.each([
    ['an answer that came meanwhile is heard', 50, 'answered'],
    ['silence proves nothing', 60_000, 'unheard'],
  ])('http: after a standstill of the asker %s', async (_, answersInMs, kind) => {
    const server = new Worker(
      `const { parentPort } = require('node:worker_threads')
      const server = require('node:http').createServer((_, response) => {
        parentPort.postMessage('asked')
        setTimeout(() => response.end('ok'), ${answersInMs})
      })
      server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port))`,
      { eval: true },
    )
    try {
      const [port] = await once(server, 'message')
      const asked = once(server, 'message')
      const target = { address: '127.0.0.1', port, timeoutMs: 300 }
      const answer = network.http({ ...target, path: '/', headers: {} })
      await asked
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 400)
      expect((await answer).kind).toBe(kind)
    } finally {
      await server.terminate()
    }
  })
})
