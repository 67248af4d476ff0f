/** A listener that a live host cannot serve: what waits for it, how long, and what does not. */
import { beforeEach, expect, test } from 'vitest'
import type { HostId } from '../model/ids.ts'
import { mostUnserved, type Unserved } from '../model/unserved.ts'
import { type Stage, service, threeHosts, web } from './stage.ts'

let stage: Stage
beforeEach(() => {
  stage = threeHosts()
})

const held: Unserved = { listen: 80, address: '0.0.0.0', reason: 'held', holder: 'process 812 (sshd)' }
const what = 'port 80 at 0.0.0.0 is held by process 812 (sshd)'
const cannot = (on: (host: HostId) => boolean, one: Unserved = held) => {
  stage.cannotServe = host => (on(host) ? { unserved: [one] } : {})
  stage.acknowledgeAgain()
}
const rejections = () => stage.world.services.get(service)?.rollout?.value.rejections

test('a first generation gets no traffic while a port is held on one host, and goes on once it is free', () => {
  cannot(host => host === 'h2')
  stage.put(web(), 1)
  stage.settle()
  expect(stage.running()).toHaveLength(6)
  expect(stage.phaseOf(service)).toEqual({ phase: 'warming', next: 1 })
  cannot(() => false)
  stage.settle()
  expect(stage.phaseOf(service)).toEqual({ phase: 'settled', live: 1 })
})

test('it is given up by its deadline, with host, port and holder', () => {
  cannot(() => true)
  stage.put(web(), 1)
  stage.settle()
  stage.advance(5 * 60_000)
  stage.settle()
  expect(stage.phaseOf(service)).toEqual({ phase: 'reverted', rejected: 1 })
  expect(rejections()).toMatchObject([
    { generation: 1, because: 'not-served-by-deadline', evidence: [{ host: 'h1', what }, {}, {}] },
  ])
  expect(stage.running()).toEqual([])
})

test('the generation before goes on answering, and an abort is done at once', () => {
  stage.put(web(), 1)
  stage.settle()
  stage.put(web({ image: 'app:2' }), 2)
  stage.settle()
  cannot(host => host === 'h3', { ...held, listen: 81 })
  const added = { port: 'http', listen: 81, protocol: 'http' as const }
  stage.put(web({ image: 'app:3', routes: [{ ...added, listen: 80 }, added] }), 3)
  stage.settle()
  expect(stage.phaseOf(service)).toEqual({ phase: 'warming', stable: 2, next: 3 })
  stage.intend('web', 'abort')
  stage.settle()
  expect(stage.phaseOf(service)).toEqual({ phase: 'reverted', stable: 2, rejected: 3 })
})

test('a generation that mends a running service goes past a host that did not serve it before, and says so', () => {
  stage.put(web(), 1)
  stage.settle()
  cannot(host => host === 'h3')
  stage.put(web({ image: 'app:fix' }), 2)
  stage.settle()
  expect(stage.phaseOf(service)).toEqual({ phase: 'settled', live: 2, warm: 1 })
  expect(rejections()).toEqual([])
})

test('so it does where the port is new by a change of the routes alone', () => {
  const routes = [{ port: 'http', listen: 81, protocol: 'http' as const }]
  stage.put(web(), 1)
  stage.settle()
  stage.put(web({ routes }), 1)
  stage.settle()
  cannot(host => host === 'h3', { ...held, listen: 81 })
  stage.put(web({ image: 'app:fix', routes }), 2)
  stage.settle()
  expect(stage.phaseOf(service)).toEqual({ phase: 'settled', live: 2, warm: 1 })
})

test('a port that the generation brings is waited for, as often as it is tried', () => {
  const routes = [80, 81].map(listen => ({ port: 'http', listen, protocol: 'http' as const }))
  stage.put(web(), 1)
  stage.settle()
  cannot(host => host === 'h3', { ...held, listen: 81 })
  for (const generation of [2, 3]) {
    stage.put(web({ image: `app:${generation}`, routes }), generation)
    stage.settle()
    expect(stage.phaseOf(service)).toEqual({ phase: 'warming', stable: 1, next: generation })
    stage.advance(5 * 60_000)
    stage.settle()
    expect(stage.phaseOf(service)).toEqual({ phase: 'reverted', stable: 1, rejected: generation })
  }
  stage.put(web({ image: 'app:4' }), 4)
  stage.settle()
  expect(stage.phaseOf(service)).toEqual({ phase: 'settled', live: 4, warm: 1 })
})

test('a host that comes while traffic moves and cannot listen does not hold it up', () => {
  stage.put(web(), 1)
  stage.settle()
  stage.acknowledges = host => host !== 'h2'
  stage.put(web({ image: 'app:2' }), 2)
  stage.settle()
  expect(stage.phaseOf(service)?.phase).toBe('draining')
  stage.acknowledges = () => true
  stage.cannotServe = host => (host === 'h4' ? { unserved: [held] } : {})
  stage.addHost('h4')
  stage.acknowledgeAgain()
  stage.settle()
  expect(stage.phaseOf(service)).toEqual({ phase: 'settled', live: 2, warm: 1 })
})

test('a warm undo is done within one plan though a listener is not served', () => {
  stage.put(web(), 1)
  stage.settle()
  stage.put(web({ image: 'app:2' }), 2)
  stage.settle()
  cannot(host => host === 'h3')
  stage.intend('web', 'undo')
  expect(stage.settle().filter(line => line.startsWith('route'))).toEqual(['route web 1:1000(6) 2:0(6)'])
  expect(stage.phaseOf(service)).toEqual({ phase: 'settled', live: 1, warm: 2 })
})

test('a port that is taken while traffic moves holds it up, and at the deadline it moves back', () => {
  stage.put(web(), 1)
  stage.settle()
  stage.acknowledges = host => host !== 'h2'
  stage.put(web({ image: 'app:2' }), 2)
  stage.settle()
  expect(stage.phaseOf(service)?.phase).toBe('draining')
  stage.acknowledges = () => true
  cannot(host => host === 'h2')
  stage.settle()
  stage.advance(61_000)
  stage.settle()
  expect(stage.phaseOf(service)).toEqual({ phase: 'draining', live: 2, old: 1, undo: false })
  stage.advance(4 * 60_000)
  stage.settle()
  expect(stage.phaseOf(service)).toEqual({ phase: 'settled', live: 1, warm: 2 })
  expect(rejections()?.map(it => it.because)).toEqual(['not-served-by-deadline'])
})

test.each<[string, () => void]>([
  ['another port', () => cannot(() => true, { ...held, listen: 81 })],
  ['a listener of another service', () => cannot(() => true, { ...held, service: 'shop/db' as never })],
  [
    'public addresses alone, where the route is private',
    () => cannot(() => true, { ...held, only: 'public' }),
  ],
  [
    'a host that is cut off',
    () => {
      cannot(host => host === 'h2')
      stage.world.judge('h2' as HostId, 'cut-off')
    },
  ],
  [
    'a host that is lost',
    () => {
      cannot(host => host === 'h2')
      stage.lose('h2')
    },
  ],
])('nobody waits for what is not served of %s', (_, happens) => {
  happens()
  const routes = [{ port: 'http', listen: 80, protocol: 'http' as const, expose: 'private' as const }]
  stage.put(web({ replicas: 2, routes }), 1)
  stage.settle()
  expect(stage.phaseOf(service)).toEqual({ phase: 'settled', live: 1 })
})

test('many faults of other services, more than a host can name, hold up nobody', () => {
  const others = Array.from({ length: mostUnserved }, (_, i) => ({ ...held, listen: 1000 + i }))
  stage.cannotServe = host => (host === 'h3' ? { unserved: others, unnamed: 64 } : {})
  stage.acknowledgeAgain()
  stage.put(web(), 1)
  stage.settle()
  expect(stage.phaseOf(service)).toEqual({ phase: 'settled', live: 1 })
})

test('one that it names holds up its service, though it cannot name them all', () => {
  stage.cannotServe = host => (host === 'h3' ? { unserved: [held], unnamed: 64 } : {})
  stage.acknowledgeAgain()
  stage.put(web(), 1)
  stage.settle()
  expect(stage.phaseOf(service)).toEqual({ phase: 'warming', next: 1 })
})

test('where every proxy fails nothing is served, and nothing settles', () => {
  for (const { id, record } of [...stage.world.hosts.values()]) {
    if (record === undefined) throw new Error('no record')
    const proxy = { ...record.proxy, state: 'failing' as const, reason: 'the process died' }
    const seen = { value: { ...record, proxy }, modified: '5' as never }
    stage.world.apply({ kind: 'host', host: id, seen }, stage.now)
  }
  stage.loseAcknowledgements()
  stage.acknowledges = () => false
  stage.put(web({ replicas: 1 }), 1)
  stage.settle()
  stage.advance(5 * 60_000)
  stage.settle()
  expect(stage.phaseOf(service)).toEqual({ phase: 'reverted', rejected: 1 })
  expect(rejections()?.[0]?.evidence[0]).toEqual({
    host: 'h1',
    what: 'no route is served: the proxy fails: the process died',
  })
})

test('what many hosts cannot serve is read once a plan, and only where a rollout waits for it', () => {
  let reads = 0
  const others = Array.from({ length: 10 }, (_, i) => ({
    ...held,
    get listen() {
      reads++
      return 1000 + i
    },
  }))
  stage.cannotServe = () => ({ unserved: others })
  stage.acknowledgeAgain()
  for (let i = 0; i < 20; i++) stage.put({ ...web({ replicas: 0 }), name: `web${i}` }, 1)
  const readsOfOneStep = () => {
    const before = reads
    stage.step()
    return reads - before
  }
  const perPlan = Array.from({ length: 8 }, readsOfOneStep)
  // Each of the ten entries of the three hosts may be read for more than one key.
  expect(Math.max(...perPlan)).toBeGreaterThan(0)
  expect(Math.max(...perPlan)).toBeLessThanOrEqual(2 * 3 * 10)
  stage.settle()
  stage.world.touchAll()
  expect(readsOfOneStep()).toBe(0)
})
