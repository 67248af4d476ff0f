import { beforeEach, describe, expect, test } from 'vitest'
import type { HostId, InstanceId } from '../model/ids.ts'
import type { Revision } from '../model/revision.ts'
import { Stage, service, threeHosts, web } from './stage.ts'

let stage: Stage
beforeEach(() => {
  stage = threeHosts()
})

const rolloutPhase = () => stage.phaseOf(service)
const perHost = () => stage.perHost()

test('the life of a deploy, as a story', () => {
  stage.put(web({ replicas: 2 }), 1)
  expect(stage.settle()).toEqual([
    'rollout web {"phase":"resolving","next":1}',
    'route web',
    'rollout web {"phase":"warming","next":1}',
    'place web/1/0 on h1',
    'place web/1/1 on h2',
    'route web 1:0(0)',
    'rollout web {"phase":"draining","live":1,"undo":false}',
    'route web 1:1000(2)',
    'rollout web {"phase":"settled","live":1}',
  ])
})

test('six replicas on three hosts: two a host', () => {
  stage.put(web(), 1)
  stage.settle()
  expect(perHost()).toEqual({ h1: 2, h2: 2, h3: 2 })
})

test('planning again changes nothing', () => {
  stage.put(web(), 1)
  stage.settle()
  stage.world.touchAll()
  expect(stage.step()).toEqual([])
})

describe('a host is lost', () => {
  test('its instances run elsewhere, and the surplus stops when it is back', () => {
    stage.put(web(), 1)
    stage.settle()
    stage.lose('h3')
    stage.settle()
    expect(perHost()).toEqual({ h1: 3, h2: 3 })
    stage.comeBack('h3')
    expect(stage.settle().filter(line => line.startsWith('forget'))).toHaveLength(2)
    expect(perHost()).toEqual({ h1: 3, h2: 3 })
    expect(stage.world.hosts.get('h3' as never)?.placements.size).toBe(0)
  })
})

describe('an instance whose probes fail', () => {
  const tell = (slots: readonly number[], how: 'ready' | 'silent' | 'refuses' | 'backoff') => {
    for (const line of stage.running()) {
      const [instance = '', host = ''] = line.split('@')
      if (!slots.includes(Number(instance.at(-1)))) continue
      const probe = { kind: 'readiness', output: how, ...(how === 'silent' ? { silent: true } : {}) }
      const state = how === 'ready' || how === 'backoff' ? how : 'unready'
      stage.report(host, `shop/${instance}`, state, state === 'unready' ? { probe } : {})
    }
    stage.settle()
  }
  const answering = () =>
    stage.world.services
      .get(service)
      ?.route?.value.backings.map(b => b.endpoints.map(it => Number(it.instance.at(-1))))

  beforeEach(() => {
    stage.put(web(), 1)
    stage.settle()
  })

  test('gets no traffic while half of them or more are ready', () => {
    tell([0, 1, 2], 'silent')
    expect(answering()).toEqual([[3, 4, 5]])
    tell([0, 1, 2], 'ready')
    expect(answering()).toEqual([[0, 1, 2, 3, 4, 5]])
  })

  test('keeps it where most fall silent together, but not where they refuse or have ended', () => {
    tell([0, 1, 2, 3, 4, 5], 'silent')
    expect(answering()).toEqual([[0, 1, 2, 3, 4, 5]])
    tell([0, 1], 'refuses')
    expect(answering()).toEqual([[2, 3, 4, 5]])
    tell([2, 3], 'backoff')
    expect(answering()).toEqual([[4, 5]])
  })

  test('is not taken back by its silence: what left the traffic comes when it is ready', () => {
    for (const slot of [0, 1, 2, 3, 4]) tell([slot], 'silent')
    expect(answering()).toEqual([[3, 4, 5]])
    tell([3, 4, 5], 'refuses')
    expect(answering()).toEqual([[]])
    tell([3, 4, 5], 'silent')
    expect(answering()).toEqual([[]])
    tell([0], 'ready')
    expect(answering()).toEqual([[0]])
  })

  test('never begins to get it, nor does its generation', () => {
    stage.becomes = () => 'unready'
    stage.put(web({ image: 'app:2' }), 2)
    stage.settle()
    for (const line of stage.running().filter(it => it.startsWith('web/2/'))) {
      const [instance = '', host = ''] = line.split('@')
      const probe = { kind: 'readiness', output: 'late', silent: true }
      stage.report(host, `shop/${instance}`, 'unready', { probe })
    }
    stage.settle()
    expect(answering()).toEqual([[0, 1, 2, 3, 4, 5], []])
    expect(rolloutPhase()).toEqual({ phase: 'warming', stable: 1, next: 2 })
  })
})

describe('version 2', () => {
  beforeEach(() => {
    stage.put(web(), 1)
    stage.settle()
  })

  test('gets traffic only when all of it is ready, and the old one stays warm', () => {
    stage.becomes = placement => (placement.slot === 5 ? 'unready' : 'ready')
    stage.put(web({ image: 'app:2' }), 2)
    stage.settle()
    expect(rolloutPhase()).toEqual({ phase: 'warming', stable: 1, next: 2 })
    expect(
      stage.world.services
        .get(service)
        ?.route?.value.backings.map(b => [b.generation, b.share, b.endpoints.length]),
    ).toEqual([
      [1, 1000, 6],
      [2, 0, 5],
    ])
    const last =
      stage
        .running()
        .find(line => line.startsWith('web/2/5@'))
        ?.split('@')[1] ?? ''
    stage.report(last, 'shop/web/2/5', 'ready')
    stage.settle()
    expect(rolloutPhase()).toEqual({ phase: 'settled', live: 2, warm: 1 })
    expect(stage.running()).toHaveLength(12)
    stage.advance(600_000)
    stage.settle()
    expect(stage.running()).toHaveLength(6)
  })

  test('is reverted at its deadline and stops', () => {
    stage.becomes = placement => (placement.generation === 2 ? 'backoff' : 'ready')
    stage.put(web({ image: 'app:2', rollout: { progressDeadline: '20s' } }), 2)
    stage.settle()
    stage.advance(20_000)
    stage.settle()
    expect(rolloutPhase()).toEqual({ phase: 'reverted', stable: 1, rejected: 2 })
    expect(stage.running().every(line => line.startsWith('web/1/'))).toBe(true)
    expect(
      stage.log.filter(line => line.startsWith('route web')).every(line => !line.includes('2:1000')),
    ).toBe(true)
  })

  test('undo is one route write, and no instance is started or stopped by it', () => {
    stage.put(web({ image: 'app:2' }), 2)
    stage.settle()
    stage.intend('web', 'undo')
    const said = stage.settle()
    expect(said.filter(line => line.startsWith('route'))).toEqual(['route web 1:1000(6) 2:0(6)'])
    expect(said.filter(line => /^(place|release)/.test(line))).toEqual([])
    expect(rolloutPhase()).toEqual({ phase: 'settled', live: 1, warm: 2 })
  })

  test('nothing stops before every live proxy let go', () => {
    stage.put(web({ image: 'app:2', rollout: { keepWarm: '0s' } }), 2)
    stage.acknowledges = host => host !== 'h2'
    stage.settle()
    expect(rolloutPhase()?.phase).toBe('draining')
    expect(stage.running()).toHaveLength(12)
    stage.acknowledges = () => true
    stage.comeBack('h2')
    stage.settle()
    expect(stage.running()).toHaveLength(6)
  })
})

test('of a deleted service only what is in its route waits for the proxies', () => {
  stage.becomes = ({ slot }) => (slot < 2 ? 'ready' : 'starting')
  stage.put(web(), 1)
  stage.settle()
  stage.acknowledges = () => false
  stage.remove('web')
  const said = stage.settle()
  expect(said.filter(line => line.startsWith('release')).map(line => line.split(' ')[1])).toEqual([
    'web/1/2',
    'web/1/3',
    'web/1/4',
    'web/1/5',
  ])
  stage.acknowledges = () => true
  stage.comeBack('h1')
  stage.comeBack('h2')
  stage.comeBack('h3')
  stage.settle()
  expect(stage.running()).toEqual([])
})

test('what may be in a route that a proxy still has waits, although the route as it stands has it no more', () => {
  stage.put(web(), 1)
  stage.settle()
  stage.acknowledges = () => false
  const [first = ''] = stage.running()
  const [instance = '', host = ''] = first.split('@')
  stage.report(host, `shop/${instance}` as InstanceId, 'backoff')
  expect(stage.settle()).toContain('route web 1:1000(5)')
  stage.remove('web')
  expect(stage.settle().filter(line => line.startsWith('release'))).toEqual([])
})

describe('a port that answers a route is renamed', () => {
  const v1 = web({ replicas: 2, ports: [{ name: 'http', container: 8080 }] })
  const to = (port: string, container: number, image = 'app:2') =>
    web({
      replicas: 2,
      image,
      ports: [{ name: port, container }],
      routes: [{ port, listen: 80, protocol: 'http' }],
    })
  /** Which port each address leads to, and whether who answers it has that port. */
  const answered = () => {
    const route = stage.world.services.get(service)?.route?.value
    const live = route?.backings.find(b => b.share > 0)
    return route?.listeners.map(({ listen, port }) => [
      listen,
      port,
      live?.endpoints.every(e => e.ports[port] !== undefined),
    ])
  }

  test.each([
    ['with its number kept', 8080],
    ['with another number', 9090],
  ])('%s: an undo finds the old one again, warm or not', (_, container) => {
    stage.put(v1, 1)
    stage.settle()
    stage.becomes = placement => (placement.generation === 2 ? 'unready' : 'ready')
    stage.put(to('web', container), 2)
    stage.settle()
    expect(answered()).toEqual([[80, 'http', true]])
    for (const host of ['h1', 'h2', 'h3'])
      for (const slot of [0, 1])
        if (stage.running().includes(`web/2/${slot}@${host}`))
          stage.report(host, `shop/web/2/${slot}`, 'ready')
    stage.becomes = () => 'ready'
    stage.settle()
    expect(answered()).toEqual([[80, 'web', true]])
    stage.intend('web', 'undo')
    stage.settle()
    expect(rolloutPhase()).toEqual({ phase: 'settled', live: 1, warm: 2 })
    expect(answered()).toEqual([[80, 'http', true]])

    stage.put(to('api', container, 'app:3'), 3)
    stage.settle()
    stage.advance(600_000)
    stage.settle()
    expect(answered()).toEqual([[80, 'api', true]])
    stage.intend('web', 'undo')
    stage.settle()
    expect(rolloutPhase()).toMatchObject({ live: 1 })
    expect(answered()).toEqual([[80, 'http', true]])
  })

  test('an address that the generation never answered is left out', () => {
    stage.put(v1, 1)
    stage.settle()
    const routes = [80, 81].map(listen => ({ port: 'web', listen, protocol: 'http' as const }))
    stage.put(web({ image: 'app:2', ports: [{ name: 'web', container: 9090 }], routes }), 2)
    stage.settle()
    expect(answered()).toEqual([
      [80, 'web', true],
      [81, 'web', true],
    ])
    stage.intend('web', 'undo')
    stage.settle()
    expect(answered()).toEqual([[80, 'http', true]])
  })
})

test('a proxy that is well and has not spoken is waited for', () => {
  stage.put(web(), 1)
  stage.settle()
  stage.loseAcknowledgements()
  stage.acknowledges = () => false
  stage.put(web({ replicas: 2 }), 1)
  stage.settle()
  expect(stage.running()).toHaveLength(6)
  stage.acknowledges = () => true
  for (const host of ['h1', 'h2', 'h3']) stage.comeBack(host)
  stage.settle()
  expect(stage.running()).toHaveLength(2)
})

test('a record that cannot be read is no reason to stop anything', () => {
  stage.put(web(), 1)
  stage.settle()
  stage.unreadable = new Set([service])
  stage.world.apply({ kind: 'rollout', service, seen: undefined }, stage.now)
  stage.settle()
  expect(stage.running()).toHaveLength(6)
})

test('a warm generation goes with a draining host, and makes way where others lack room', () => {
  stage.put(web({ resources: { reservations: { memory: '1GiB' } } }), 1)
  stage.settle()
  stage.put(web({ image: 'app:2', resources: { reservations: { memory: '1GiB' } } }), 2)
  stage.settle()
  stage.drain('h1')
  stage.settle()
  expect(stage.running().filter(line => line.endsWith('@h1'))).toEqual([])
  expect(stage.running().filter(line => line.startsWith('web/1/'))).toHaveLength(4)
  stage.put({ name: 'big', image: 'app:1', replicas: 1, resources: { reservations: { memory: '4GiB' } } }, 1)
  stage.settle()
  expect(stage.running().filter(line => line.startsWith('web/1/'))).toEqual([])
  expect(stage.running().filter(line => line.startsWith('big/'))).toHaveLength(1)
})

test('a report of an earlier placement of the same name confirms nothing', () => {
  stage.put(web({ replicas: 1 }), 1)
  stage.settle()
  const host = stage.running()[0]?.split('@')[1] ?? ''
  stage.report(host, 'shop/web/1/0', 'ready', { placement: 'another' })
  stage.put(web({ replicas: 2 }), 1)
  stage.settle()
  const endpoints = stage.world.services
    .get(service)
    ?.route?.value.backings[0]?.endpoints.map(e => e.instance)
  expect(endpoints).toEqual(['shop/web/1/1'])
})

test('scaling down takes the route away first, then the process', () => {
  stage.put(web(), 1)
  stage.settle()
  stage.put(web({ replicas: 2 }), 1)
  const said = stage.settle()
  expect(said[0]).toBe('route web 1:1000(2)')
  expect(said.filter(line => line.startsWith('release'))).toHaveLength(4)
  expect(stage.running()).toHaveLength(2)
})

test('the drain time begins when the last proxy let go, not when the instance began to leave', () => {
  stage.put(web({ replicas: 3 }), 1)
  stage.settle()
  stage.acknowledges = host => host !== 'h3'
  stage.put(web({ replicas: 2 }), 1)
  stage.settle()
  const leaver = 'shop/web/1/2' as InstanceId
  stage.advance(36_000) // above drain and slack
  stage.world.touchAll()
  stage.settle()
  const revision = stage.world.services.get(service)?.route?.modified ?? ''
  const seen = { value: { revision, draining: [leaver] }, modified: '999999' as Revision }
  stage.world.apply({ kind: 'route-ack', host: 'h3' as HostId, seen }, stage.now)
  stage.settle()
  expect(stage.running()).toHaveLength(3)
  stage.advance(35_000)
  stage.settle()
  expect(stage.running()).toHaveLength(2)
})

test('of two placements of one name the surplus one goes, although its twin is routed', () => {
  stage.put(web({ replicas: 1 }), 1)
  stage.settle()
  const [first = ''] = stage.running()
  const name = 'shop/web/1/0' as InstanceId
  const placed = stage.world.hosts.get(first.split('@')[1] as HostId)?.placements.get(name)
  if (placed === undefined) throw new Error('nothing was placed')
  const host = 'h3' as HostId
  const twin = { ...placed, value: { ...placed.value, host } }
  stage.world.apply({ kind: 'placement', host, instance: name, seen: twin }, stage.now)
  stage.report(host, name, 'ready')
  stage.settle()
  expect(stage.running()).toEqual([first])
})

test('a drained host gives its instances away one for one, never below the number asked', () => {
  stage.put(web(), 1)
  stage.settle()
  let least = 6
  stage.drain('h1')
  for (let turn = 0; turn < 30; turn++) {
    stage.step()
    least = Math.min(least, stage.running().length)
  }
  expect(least).toBeGreaterThanOrEqual(6)
  expect(perHost()).toEqual({ h2: 3, h3: 3 })
})

test('an instance that keeps failing on one host runs on another, and that host is tried last', () => {
  stage.put(web({ replicas: 3 }), 1)
  stage.settle()
  const [line = ''] = stage.running().filter(it => it.endsWith('@h2'))
  stage.report('h2', `shop/${line.split('@')[0]}`, 'backoff', { attempt: 4 })
  expect(stage.settle().filter(it => it.startsWith('place'))).toEqual([])
  stage.report('h2', `shop/${line.split('@')[0]}`, 'backoff', { attempt: 5 })
  stage.settle()
  expect(perHost()).toEqual({ h1: 2, h3: 1 })
})

test('what fits nowhere waits with its reasons, and is placed when there is room', () => {
  stage.put(web({ replicas: 4, resources: { reservations: { memory: '6GiB' } } }), 1)
  stage.settle()
  expect(stage.running()).toHaveLength(3)
  const pending = stage.world.services.get(service)?.pending?.value
  expect(pending?.count).toBe(1)
  expect(pending?.waiting[0]?.hosts).toEqual([
    { host: 'h1', obstacles: [{ kind: 'memory', needMiB: 6144, freeMiB: 2048, totalMiB: 8192 }] },
    { host: 'h2', obstacles: [{ kind: 'memory', needMiB: 6144, freeMiB: 2048, totalMiB: 8192 }] },
    { host: 'h3', obstacles: [{ kind: 'memory', needMiB: 6144, freeMiB: 2048, totalMiB: 8192 }] },
  ])
  stage.addHost('h4')
  stage.settle()
  expect(stage.running()).toHaveLength(4)
  expect(stage.world.services.get(service)?.pending).toBeUndefined()
})

test('what is told of waiting counts what was placed by the same plan', () => {
  stage.put(web({ replicas: 10, placement: { maxPerHost: 2 } }), 1)
  const said = stage.settle()
  expect(said.filter(line => line.startsWith('pending'))).toEqual(['pending web 4'])
  expect(stage.world.services.get(service)?.pending?.value.waiting[0]?.hosts).toHaveLength(3)
})

test('what no host is large enough for takes no warm generation away', () => {
  stage.put(web({ replicas: 3 }), 1)
  stage.settle()
  stage.put(web({ replicas: 3, image: 'app:2' }), 2)
  stage.settle()
  stage.put({ name: 'typo', image: 'app:1', resources: { reservations: { memory: '64GiB' } } }, 1)
  stage.settle()
  expect(stage.running()).toHaveLength(6)
})

test('a service that waits for ports to rest looks again when they have', () => {
  stage = new Stage()
  stage.addHost('h1', { ports: { from: 20_000, to: 20_001 } })
  const patient = web({ replicas: 2, routes: [], rollout: { progressDeadline: '1h' } })
  stage.put(patient, 1)
  stage.settle()
  stage.remove('web')
  stage.settle()
  stage.advance(1000)
  stage.put({ ...patient, name: 'api' }, 1)
  stage.settle()
  expect(stage.running()).toEqual([])
  stage.advance(600_000)
  stage.settle()
  expect(stage.running()).toHaveLength(2)
})

test('answers on images are forgotten with the attempt that asked', () => {
  for (let n = 1; n <= 5; n++) {
    stage.put(web({ replicas: 1, image: `app:${n}` }), n)
    stage.settle()
  }
  expect(stage.memory.resolutions.size).toBe(0)
})

test('an earlier placement that kept failing moves no instance of the same name', () => {
  stage.put(web({ replicas: 3 }), 1)
  stage.settle()
  const [line = ''] = stage.running().filter(it => it.endsWith('@h2'))
  stage.report('h2', `shop/${line.split('@')[0]}`, 'backoff', { attempt: 9, placement: 'another' })
  stage.settle()
  expect(perHost()).toEqual({ h1: 1, h2: 1, h3: 1 })
})

describe('a deleted service', () => {
  test('leaves nothing behind', () => {
    stage.put(web(), 1)
    stage.settle()
    stage.remove('web')
    const said = stage.settle()
    expect(said[0]).toBe('route web')
    expect(stage.world.services.size).toBe(0)
  })

  test('also where a host of it is lost for good: its rest goes when the host is removed', () => {
    stage.put(web(), 1)
    stage.settle()
    stage.lose('h3')
    stage.remove('web')
    stage.settle()
    expect(stage.running()).toEqual([])
    expect(stage.world.services.get(service)?.placements.size).toBe(2)
    stage.world.apply({ kind: 'host', host: 'h3' as never, seen: undefined }, stage.now)
    stage.settle()
    expect(stage.world.services.size).toBe(0)
  })

  test('and one of the same name does not wait for a host that is lost, nor is it hurt by its return', () => {
    stage.put(web(), 1)
    stage.settle()
    stage.lose('h3')
    stage.remove('web')
    stage.settle()
    stage.put(web({ replicas: 2, routes: [] }), 1, 'u2')
    stage.settle()
    expect(rolloutPhase()).toEqual({ phase: 'settled', live: 1 })
    expect(stage.running()).toHaveLength(2)
    stage.comeBack('h3')
    stage.settle()
    expect(stage.running()).toHaveLength(2)
    expect(stage.world.hosts.get('h3' as never)?.placements.size).toBe(0)
  })

  test('and its deadline does not strike the next of its name', () => {
    stage.becomes = () => 'unready'
    stage.put(web({ rollout: { progressDeadline: '60s' } }), 1)
    stage.settle()
    stage.advance(59_000)
    stage.remove('web')
    stage.settle()
    stage.put(web({ rollout: { progressDeadline: '60s' } }), 1, 'u2')
    stage.settle()
    stage.advance(2000)
    stage.settle()
    expect(rolloutPhase()).toEqual({ phase: 'warming', next: 1 })
  })

  test('and one of the same name begins only when it is gone', () => {
    stage.put(web(), 1)
    stage.settle()
    stage.acknowledges = () => false
    stage.remove('web')
    stage.settle()
    stage.put(web({ replicas: 1 }), 1, 'u2')
    stage.settle()
    expect(stage.running()).toHaveLength(6)
    stage.acknowledges = () => true
    for (const host of ['h1', 'h2', 'h3']) stage.comeBack(host)
    stage.settle()
    expect(stage.running()).toHaveLength(1)
    expect(stage.world.services.get(service)?.rollout?.value.uid).toBe('u2')
  })
})
