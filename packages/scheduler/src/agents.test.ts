import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { HostRecord } from '@boxcar/core/model/host'
import { afterEach, expect, test } from 'vitest'
import { agentsOverHttp } from './agents.ts'

const server = createServer((_, response) => response.end('{}'))
afterEach(() => server.close())

test('an agent that answers is heard although the leader itself was busy for longer than it waits', async () => {
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const host = { id: 'h1', address: '127.0.0.1', agentPort: port } as HostRecord
  const alive = agentsOverHttp('secret').isAlive(host)
  const busyUntil = performance.now() + 700
  while (performance.now() < busyUntil); // as a large plan does
  expect(await alive).toBe(true)
})
