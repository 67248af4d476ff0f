import { hostPort } from '@boxcar/api/listen'
import { isOlder } from '@boxcar/store/problems'
import { expect, test } from 'vitest'
import { agentFlags } from './agent-flags.ts'
import { oldEtcdWarning } from './etcd.ts'
import { Trouble } from './exit.ts'
import { listenAddress } from './listen.ts'

test('what is said, and what is not', () => {
  expect(
    agentFlags({
      hostId: 'h1',
      label: ['zone=a', 'disk='],
      reserve: 'cpus=0.5,memory=1GiB',
      ports: '30000-30100',
    }),
  ).toEqual({
    hostId: 'h1',
    advertise: undefined,
    labels: { zone: 'a', disk: '' },
    reserve: { cpuMilli: 500, memoryMiB: 1024 },
    edge: { haproxy: 'haproxy', public: '*' },
    stateDir: '/var/lib/boxcar',
    ports: { from: 30_000, to: 30_100 },
    agentPort: undefined,
  })
  expect(agentFlags({ hostId: 'h1', edge: false }).edge).toBe('off')
})

test('every wrong flag is named', () => {
  try {
    agentFlags({ hostId: 'H 1', label: ['zone'], reserve: 'cpus=many', ports: '9-8' })
    expect.unreachable()
  } catch (error) {
    if (!(error instanceof Trouble)) throw error
    expect(error.text.why.split('\n')).toEqual([
      expect.stringContaining('--host-id: a host id has'),
      expect.stringContaining('--label zone: must be key=value'),
      '--reserve cpus=many: must be such as cpus=0.5,memory=512MiB',
      '--ports 9-8: must be a range such as 20000-29999',
    ])
  }
})

test('addresses to listen on', () => {
  expect(listenAddress('127.0.0.1:7070')).toEqual({ host: '127.0.0.1', port: 7070 })
  expect(listenAddress('[::1]:0')).toEqual({ host: '::1', port: 0 })
  expect(hostPort({ host: '::1', port: 1 })).toBe('[::1]:1')
  for (const text of ['7070', '127.0.0.1', '1.2.3.4:70000', '::1:7070']) {
    expect(() => listenAddress(text), text).toThrow(Trouble)
  }
})

test('versions of etcd', () => {
  expect(isOlder('3.4.23', '3.5.13')).toBe(true)
  expect(isOlder('3.5.13', '3.5.13')).toBe(false)
  expect(isOlder('3.10.0', '3.5.13')).toBe(false)
  const member = (version: string) => ({
    endpoint: version,
    version,
    reachable: version !== '',
    leader: false,
    dbBytes: 0,
  })
  const status = (...versions: string[]) => ({
    kind: 'etcd' as const,
    endpoints: versions,
    members: versions.map(member),
  })
  expect(oldEtcdWarning(status('3.5.13', '3.6.1', ''))).toBeUndefined()
  expect(oldEtcdWarning(status('3.5.13', '3.4.23'))).toMatch(
    /^3\.4\.23 runs 3\.4\.23: etcd 3\.5\.13 or newer/,
  )
})
