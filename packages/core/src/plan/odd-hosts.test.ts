/** Hosts that are neither well nor lost. */
import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import type { HostId, InstanceId } from '../model/ids.ts'
import { Stage, service, threeHosts, web } from './stage.ts'

let stage: Stage
beforeEach(() => {
  stage = threeHosts()
})

const rolloutPhase = () => stage.phaseOf(service)
const perHost = () => stage.perHost()

const losesTheStore = (host: string) => {
  stage.world.apply({ kind: 'presence', host: host as HostId, seen: undefined }, stage.now)
  stage.world.apply({ kind: 'route-ack', host: host as HostId, seen: undefined }, stage.now)
  stage.world.judge(host as HostId, 'suspect')
}

describe('a host that is cut off from the store', () => {
  const onOthers = () => stage.running().filter(line => !line.endsWith('@h3'))

  test('is waited for while it is suspect, and no longer: what is not wanted stops', () => {
    stage.put(web(), 1)
    stage.settle()
    losesTheStore('h3')
    stage.put(web({ replicas: 2 }), 1)
    stage.settle()
    expect(stage.running()).toHaveLength(6)
    stage.world.judge('h3' as HostId, 'cut-off')
    stage.settle()
    expect(stage.running()).toHaveLength(2)
    expect(onOthers()).toHaveLength(2)
  })

  test('holds up no deploy and no removal elsewhere', () => {
    stage.put(web(), 1)
    stage.settle()
    losesTheStore('h3')
    stage.world.judge('h3' as HostId, 'cut-off')
    stage.put(web({ image: 'app:2', rollout: { keepWarm: '0s' } }), 2)
    stage.settle()
    expect(rolloutPhase()).toEqual({ phase: 'settled', live: 2 })
    expect(stage.running()).toHaveLength(6)
    stage.remove('web')
    stage.settle()
    expect(stage.running()).toEqual([])
    stage.comeBack('h3')
    stage.settle()
    expect(stage.world.services.size).toBe(0)
  })

  test('or that was removed: who waited for it goes on at once', () => {
    stage.put(web(), 1)
    stage.settle()
    stage.drain('h3')
    stage.settle()
    losesTheStore('h3')
    stage.put(web({ replicas: 2 }), 1)
    stage.settle()
    expect(stage.running()).toHaveLength(6)
    stage.world.apply({ kind: 'host', host: 'h3' as HostId, seen: undefined }, stage.now)
    stage.settle()
    expect(stage.running()).toHaveLength(2)
  })
})

const becomesUnreadable = (host: string) => stage.makeUnreadable(host, 'before')

describe('a host whose record cannot be read', () => {
  const endpoints = () =>
    stage.world.services
      .get(service)
      ?.route?.value.backings.find(b => b.share > 0)
      ?.endpoints.map(e => e.address)
      .sort()

  test('keeps what runs there and its traffic, and takes nothing new', () => {
    stage.put(web({ replicas: 3 }), 1)
    stage.settle()
    const before = endpoints()
    becomesUnreadable('h3')
    expect(stage.settle()).toEqual([])
    stage.put(web({ replicas: 6 }), 1)
    stage.settle()
    expect(Object.entries(perHost()).find(([host]) => host === 'h3')).toEqual(['h3', 1])
    expect(endpoints()).toEqual(expect.arrayContaining(before ?? []))
    stage.addHost('h3')
    stage.drain('h1')
    stage.settle()
    expect(perHost()).toEqual({ h2: 3, h3: 3 })
  })

  test('nor does a stop count as done there that it has not confirmed', () => {
    stage.put(web({ replicas: 3 }), 1)
    stage.settle()
    stage.lose('h3')
    stage.settle()
    becomesUnreadable('h3')
    stage.settle()
    expect(stage.world.hosts.get('h3' as HostId)?.placements.size).toBe(1)
    stage.world.apply({ kind: 'host', host: 'h3' as HostId, seen: undefined }, stage.now)
    stage.settle()
    expect(stage.world.hosts.get('h3' as HostId)?.placements.size ?? 0).toBe(0)
  })

  test('also where this leader never could read it', () => {
    stage.put(web({ replicas: 3 }), 1)
    stage.settle()
    const before = endpoints()
    stage.makeUnreadable('h3', 'never')
    stage.put(web({ replicas: 4 }), 1)
    stage.settle()
    expect(perHost()).toMatchObject({ h3: 1 })
    expect(endpoints()).toEqual(expect.arrayContaining(before ?? []))
  })
})

/** What may become of the record of a host whose instances are in the stored route. */
const changes: readonly { readonly of: string; readonly make: () => void }[] = [
  { of: 'cannot be read', make: () => stage.makeUnreadable('h1', 'before') },
  { of: 'a new leader never could read', make: () => stage.makeUnreadable('h1', 'never') },
  { of: 'has another address now', make: () => stage.changeAddress('h1') },
  {
    of: 'has another address, and cannot be read',
    make: () => {
      stage.changeAddress('h1')
      stage.makeUnreadable('h1', 'before')
    },
  },
]

describe.each(changes)('what is in the stored route and on a host whose record $of', ({ make }) => {
  const releases = (lines: readonly string[]) => lines.filter(line => line.startsWith('release'))
  beforeEach(() => {
    stage.put(web({ replicas: 3 }), 1)
    stage.settle()
    stage.acknowledges = () => false
  })

  test.each(['scaled to 0', 'deleted', 'deployed without routes'])(
    'stops once every proxy let go of it, and not before: %s',
    how => {
      if (how === 'scaled to 0') stage.put(web({ replicas: 0 }), 1)
      else if (how === 'deleted') stage.remove('web')
      else stage.put(web({ replicas: 0, routes: [] }), 2)
      make()
      expect(releases(stage.settle())).toEqual([])
      expect(stage.running()).toHaveLength(3)
      stage.acknowledges = () => true
      stage.acknowledgeAgain()
      stage.settle()
      expect(stage.running()).toEqual([])
    },
  )

  test('of two of one name the surplus one waits for the route without it, and no longer', () => {
    const instance = 'shop/web/1/0' as InstanceId
    const [from] = [...stage.world.hosts.values()].filter(host => host.placements.has(instance))
    const placed = from?.placements.get(instance)
    if (from === undefined || placed === undefined) throw new Error('nothing was placed')
    const host = (from.id === 'h2' ? 'h3' : 'h2') as HostId
    const twin = { ...placed, value: { ...placed.value, host } }
    stage.world.apply({ kind: 'placement', host, instance, seen: twin }, stage.now)
    stage.report(host, instance, 'ready')
    stage.report(from.id, instance, 'unready')
    make()
    expect(releases(stage.settle())).toEqual([])
    stage.acknowledges = () => true
    stage.acknowledgeAgain()
    expect(releases(stage.settle())).toEqual([`release web/1/0 from ${from.id} (unwanted)`])
  })
})

test('an instance on a host that a new leader never could read is not reached at the address of another of its name', () => {
  stage.put(web({ replicas: 1, ports: [{ name: 'http', container: 8080, hostPort: 8080 }] }), 1)
  stage.settle()
  const instance = 'shop/web/1/0' as InstanceId
  const [from] = [...stage.world.hosts.values()].filter(host => host.placements.has(instance))
  const placed = from?.placements.get(instance)
  if (from === undefined || placed === undefined) throw new Error('nothing was placed')
  const host = (from.id === 'h2' ? 'h3' : 'h2') as HostId
  const twin = { ...placed, value: { ...placed.value, host } }
  stage.world.apply({ kind: 'placement', host, instance, seen: twin }, stage.now)
  stage.report(host, instance, 'ready')
  stage.report(from.id, instance, 'unready')
  stage.makeUnreadable(host, 'never')
  stage.settle()
  expect(stage.running()).toEqual([`web/1/0@${host}`])
  const endpoints = stage.world.services.get(service)?.route?.value.backings.flatMap(it => it.endpoints)
  expect(endpoints).toEqual([])
})

const odd = fc.constantFrom('well', 'unreadable', 'cut-off', 'lost', 'removed')
const step = fc.oneof(
  fc.record({ host: fc.constantFrom('h2', 'h3', 'h4'), becomes: odd }),
  fc.record({ deploys: fc.boolean(), replicas: fc.integer({ min: 0, max: 6 }) }),
  fc.record({ waitMs: fc.constantFrom(0, 30_000, 700_000) }),
)

test('whatever becomes of the other hosts, for ever: what is asked stands where it can be heard, and nothing else does', () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 3, maxLength: 30 }), steps => {
      stage = new Stage()
      for (const host of ['h1', 'h2', 'h3', 'h4']) stage.addHost(host)
      const state = new Map<string, string>()
      let [generation, replicas] = [0, 0]
      const put = () =>
        stage.put(web({ image: `app:${generation}`, replicas, rollout: { keepWarm: '1m' } }), generation)
      for (const it of steps) {
        if ('host' in it) {
          if (['removed', 'unreadable'].includes(state.get(it.host) ?? '')) stage.addHost(it.host)
          if (it.becomes === 'well') stage.comeBack(it.host)
          else if (it.becomes === 'unreadable') {
            stage.comeBack(it.host)
            becomesUnreadable(it.host)
          } else if (it.becomes === 'cut-off') {
            losesTheStore(it.host)
            stage.world.judge(it.host as HostId, 'cut-off')
          } else {
            stage.lose(it.host)
            if (it.becomes === 'removed')
              stage.world.apply({ kind: 'host', host: it.host as HostId, seen: undefined }, stage.now)
          }
          state.set(it.host, it.becomes)
        } else if ('replicas' in it) {
          if (it.deploys || generation === 0) generation++
          replicas = it.replicas
          put()
        } else {
          stage.advance(it.waitMs)
          stage.step()
        }
      }
      if (generation === 0) return
      // A wait that is longer than the deadline may have ended a rollout, rightly: it is asked for anew.
      if (rolloutPhase()?.phase === 'reverted') {
        generation++
        put()
      }
      for (let i = 0; i < 4; i++) {
        stage.settle()
        stage.advance(700_000)
      }
      expect(rolloutPhase()).toEqual({ phase: 'settled', live: generation })
      const deaf = [...state].filter(([, is]) => is === 'lost' || is === 'removed').map(([host]) => host)
      const running = stage.running().filter(line => !deaf.includes(line.split('@')[1] ?? ''))
      expect(running).toHaveLength(replicas)
      expect(running.every(line => line.startsWith(`web/${generation}/`))).toBe(true)
    }),
    { numRuns: 150 },
  )
})
