import { createServer, type Server } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'
import { now, startLoad } from '../lab/load.ts'

let server: Server | undefined

afterEach(() => {
  server?.closeAllConnections()
  server?.close()
})

async function serve(answer: (count: number) => 'good' | 'bad' | 'cut'): Promise<string> {
  let count = 0
  const it = createServer((request, response) => {
    count += 1
    const how = answer(count)
    if (how === 'cut') return request.socket.destroy()
    const slowMs = Number(new URL(request.url ?? '/', 'http://x').searchParams.get('ms') ?? 0)
    setTimeout(() => {
      response.statusCode = how === 'good' ? 200 : 503
      response.end(JSON.stringify({ generation: count > 100 ? 2 : 1, instance: 'shop/web/1/0', host: 'h1' }))
    }, slowMs)
  })
  server = it
  await new Promise<void>(resolve => it.listen(0, '127.0.0.1', resolve))
  const address = it.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return `http://127.0.0.1:${address.port}/`
}

test('a load keeps its rate, also while slow requests are open, and says who answered', async () => {
  const url = await serve(() => 'good')
  const load = startLoad({ urls: [url], rate: 200, slow: { rate: 10, ms: 500 } })
  await sleep(2_000)
  const report = await load.stop()
  expect(report.failures).toEqual([])
  const quick = report.records.filter(it => it.kind === 'quick').length
  expect(quick).toBeGreaterThan(300)
  expect(quick).toBeLessThan(500)
  expect(report.records.length - quick).toBeGreaterThan(10)
  expect([...report.count('generation').keys()]).toEqual(['1', '2'])
  expect(report.records.at(-1)?.t1).toBeLessThan(now())
  expect(report.summary()).toContain('0 failed')
})

test('refusals, cut connections and silence are failures with their reasons', async () => {
  const url = await serve(count => (count % 10 === 0 ? 'cut' : count % 10 === 5 ? 'bad' : 'good'))
  const load = startLoad({ urls: [url, 'http://127.0.0.1:1/'], rate: 100, maxMs: 1_000 })
  await sleep(1_200)
  const report = await load.stop()
  const reasons = new Set(report.failures.map(it => it.errno ?? it.status))
  expect(reasons).toContain('ECONNREFUSED')
  expect(reasons).toContain('ECONNRESET')
  expect(reasons).toContain(503)
  expect(report.answered.length + report.failures.length).toBe(report.records.length)
})

test('a load goes nowhere but to the test network', () => {
  expect(() => startLoad({ urls: ['http://192.0.2.7/'], rate: 1 })).toThrow('not of the test network')
  expect(() => startLoad({ urls: ['http://127.0.0.1/'], rate: 1e6 })).toThrow('5,000')
})
