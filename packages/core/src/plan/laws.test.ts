/** Laws of the planner, whatever people and hosts do in whatever order. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { HostId, ServiceName } from '../model/ids.ts'
import type { Plan } from './plan.ts'
import { doing, hosts, Play, unservedLists } from './play.ts'
import type { Stage } from './stage.ts'
import { TrafficFirst } from './traffic-first.ts'

/** S6 capacity, S7 ports, S8 slots, and the route: what must hold at every revision. */
function check({ world }: Stage): void {
  for (const host of world.hosts.values()) {
    const placed = [...host.placements.values()].map(seen => seen.value)
    expect(placed.reduce((sum, p) => sum + p.cpuMilli, 0)).toBeLessThanOrEqual(1000)
    expect(placed.reduce((sum, p) => sum + p.memoryMiB, 0)).toBeLessThanOrEqual(1024)
    const ports = placed.flatMap(p => Object.values(p.ports))
    expect(new Set(ports).size).toBe(ports.length)
  }
  for (const service of world.services.values()) {
    const running = [...service.placements.values()].map(seen => seen.value).filter(p => p.desired === 'run')
    const slots = running.map(p => p.instance)
    expect(new Set(slots).size).toBe(slots.length)
    const backings = service.route?.value.backings ?? []
    expect([0, 1000]).toContain(backings.reduce((sum, b) => sum + b.share, 0))
    const answering = backings.find(b => b.share > 0)
    if (answering === undefined) continue
    const doors = service.route?.value.listeners ?? []
    expect(doors).toHaveLength(1)
    for (const { ports } of answering.endpoints) expect(Object.keys(ports)).toContain(doors[0]?.port)
  }
}

/** What the live hosts say that they cannot serve of a service, all of which listen on port 80 for everybody; T8. */
const namedBy = ({ world }: Stage, service: ServiceName): readonly string[] =>
  [...world.hosts.values()]
    .filter(({ health }) => health === 'alive')
    .filter(({ ack }) =>
      (ack?.value.unserved ?? []).some(one => one.listen === 80 && (one.service ?? service) === service),
    )
    .map(({ id }) => id)

/** A rollout waits for what live hosts name of its own listeners, and for nothing else. */
function checkServed(stage: Stage, { services }: Plan): void {
  for (const { service, actions } of services)
    for (const action of actions) {
      if (action.kind !== 'rollout') continue
      const { now, uid, rejections } = action.rollout
      const stored = stage.world.services.get(service)?.rollout?.value
      const before = stored?.uid === uid ? stored : undefined
      const draining = before?.now.phase === 'draining' && !before.now.undo ? before.now : undefined
      if (now.phase === 'settled' && now.live === draining?.live) expect(namedBy(stage, service)).toEqual([])
      const last = rejections.at(-1)
      const isNew = last !== undefined && last !== before?.rejections.at(-1)
      if (!isNew || last.because !== 'not-served-by-deadline') continue
      const hosts = new Set(last.evidence.map(({ host }) => host))
      expect([...hosts]).toEqual(namedBy(stage, service))
      expect(hosts.size).toBeGreaterThan(0)
    }
}

test('nothing stops while a proxy that is waited for may send it traffic', () => {
  fc.assert(
    fc.property(fc.array(doing, { minLength: 5, maxLength: 60, size: 'max' }), script => {
      const play = new Play()
      const law = new TrafficFirst(play.stage)
      play.stage.planned = plan => law.check(plan)
      for (const it of script) {
        play.act(it)
        if (it.do !== 'wait') play.stage.step()
      }
    }),
    { numRuns: 300 },
  )
}, 30_000)

test('capacity, ports, slots and shares hold at every step; all comes to rest as asked', () => {
  fc.assert(
    fc.property(fc.array(doing, { minLength: 5, maxLength: 60, size: 'max' }), script => {
      const play = new Play()
      play.stage.planned = made => checkServed(play.stage, made)
      for (const it of script) {
        play.act(it)
        if (it.do === 'step' || it.do === 'settle') check(play.stage)
      }
      const { stage } = play
      play.mend()
      for (const host of hosts)
        stage.world.apply({ kind: 'host-settings', host: host as HostId, seen: undefined }, stage.now)
      for (let i = 0; i < 4; i++) {
        for (const host of stage.world.hosts.values())
          for (const { value } of host.placements.values())
            if (value.desired === 'run') stage.report(host.id, value.instance, 'ready', { uid: value.uid })
        stage.settle()
        stage.advance(700_000)
      }
      stage.settle()
      check(stage)
      expect([...stage.world.services.keys()].sort()).toEqual(
        [...play.asked.keys()].map(name => `shop/${name}`).sort(),
      )
      for (const [name] of play.asked) {
        const view = stage.world.services.get(`shop/${name}` as ServiceName)
        const now = view?.rollout?.value.now
        expect(['settled', 'reverted']).toContain(now?.phase)
        const live =
          now !== undefined && 'live' in now
            ? now.live
            : now !== undefined && 'stable' in now
              ? now.stable
              : undefined
        const running = [...(view?.placements.values() ?? [])].map(seen => seen.value)
        expect(running.every(p => p.desired === 'run' && p.generation === live)).toBe(true)
        if (live !== undefined) expect(running).toHaveLength(view?.spec?.value.replicas ?? 0)
      }
    }),
    { numRuns: 200 },
  )
}, 30_000)

test('what hosts cannot serve holds up the services that they name, and no other', () => {
  const lists = fc.tuple(...hosts.map(() => fc.constantFrom(...unservedLists)))
  fc.assert(
    fc.property(fc.array(doing, { maxLength: 20 }), lists, (script, said) => {
      const play = new Play()
      const { stage } = play
      stage.planned = made => checkServed(stage, made)
      for (const it of script) play.act(it)
      play.mend()
      for (const host of hosts)
        stage.world.apply({ kind: 'host-settings', host: host as HostId, seen: undefined }, stage.now)
      stage.settle()
      for (const [i, host] of hosts.entries()) play.act({ do: 'cannot-serve', host, list: said[i] ?? {} })
      for (const name of ['web', 'api']) {
        const service = `shop/${name}` as ServiceName
        play.act({ do: 'remove', name })
        stage.settle()
        play.act({ do: 'put', name, replicas: 1, version: 1 })
        stage.settle()
        const isNamed = namedBy(stage, service).length > 0
        expect(stage.phaseOf(service)?.phase).toBe(isNamed ? 'warming' : 'settled')
        stage.advance(20_000)
        stage.settle()
        expect(stage.phaseOf(service)?.phase).toBe(isNamed ? 'reverted' : 'settled')
      }
    }),
    { numRuns: 100 },
  )
}, 30_000)
