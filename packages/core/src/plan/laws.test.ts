/** Laws of the planner, whatever people and hosts do in whatever order. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { HostId, ServiceName } from '../model/ids.ts'
import { Stage } from './stage.ts'

const hosts = ['h1', 'h2', 'h3', 'h4']
const names = ['web', 'api']

const doing = fc.oneof(
  fc.record({
    do: fc.constant('put' as const),
    name: fc.constantFrom(...names),
    replicas: fc.integer({ min: 0, max: 6 }),
    version: fc.integer({ min: 1, max: 3 }),
  }),
  fc.record({ do: fc.constant('remove' as const), name: fc.constantFrom(...names) }),
  fc.record({ do: fc.constantFrom('undo' as const, 'abort' as const), name: fc.constantFrom(...names) }),
  fc.record({
    do: fc.constantFrom('lose' as const, 'return' as const, 'drain' as const),
    host: fc.constantFrom(...hosts),
  }),
  fc.record({ do: fc.constantFrom('break' as const, 'mend' as const) }),
  fc.record({ do: fc.constant('wait' as const), ms: fc.constantFrom(100, 20_000, 400_000) }),
  fc.record({ do: fc.constantFrom('step' as const, 'settle' as const) }),
)
type Doing = typeof doing extends fc.Arbitrary<infer T> ? T : never

class Play {
  readonly stage = new Stage()
  readonly asked = new Map<string, { uid: string; generation: number; print: string }>()
  readonly lost = new Set<string>()
  #uids = 0

  constructor() {
    for (const host of hosts) this.stage.addHost(host, { cpuMilli: 1000, memoryMiB: 1024 })
  }

  act(it: Doing): void {
    switch (it.do) {
      case 'put': {
        const known = this.asked.get(it.name)
        const print = String(it.version)
        const uid = known?.uid ?? `u${++this.#uids}`
        const generation =
          known === undefined ? 1 : known.print === print ? known.generation : known.generation + 1
        this.asked.set(it.name, { uid, generation, print })
        this.stage.put(
          {
            name: it.name,
            image: `app:${it.version}`,
            replicas: it.replicas,
            // Each version renames its port, and every other one moves it.
            ports: [{ name: `http${it.version}`, container: 80 + (it.version % 2) }],
            routes: [{ port: `http${it.version}`, listen: 80, protocol: 'http' }],
            rollout: { progressDeadline: '10s' },
          },
          generation,
          uid,
        )
        return
      }
      case 'remove':
        this.asked.delete(it.name)
        return this.stage.remove(it.name)
      case 'undo':
      case 'abort':
        return this.stage.intend(it.name, it.do, this.asked.get(it.name)?.uid ?? 'nobody')
      case 'lose':
        if (this.lost.size < hosts.length - 1) {
          this.lost.add(it.host)
          this.stage.lose(it.host)
        }
        return
      case 'return':
        this.lost.delete(it.host)
        return this.stage.comeBack(it.host)
      case 'drain':
        return this.stage.drain(it.host)
      case 'break':
        this.stage.becomes = () => 'unready'
        return
      case 'mend':
        this.stage.becomes = () => 'ready'
        return
      case 'wait':
        return this.stage.advance(it.ms)
      case 'step':
        this.stage.step()
        return this.check()
      case 'settle':
        this.stage.settle()
        this.check()
    }
  }

  /** S6 capacity, S7 ports, S8 slots, and the route: what must hold at every revision. */
  check(): void {
    const { world } = this.stage
    for (const host of world.hosts.values()) {
      const placed = [...host.placements.values()].map(seen => seen.value)
      expect(placed.reduce((sum, p) => sum + p.cpuMilli, 0)).toBeLessThanOrEqual(1000)
      expect(placed.reduce((sum, p) => sum + p.memoryMiB, 0)).toBeLessThanOrEqual(1024)
      const ports = placed.flatMap(p => Object.values(p.ports))
      expect(new Set(ports).size).toBe(ports.length)
    }
    for (const service of world.services.values()) {
      const running = [...service.placements.values()]
        .map(seen => seen.value)
        .filter(p => p.desired === 'run')
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
}

test('capacity, ports, slots and shares hold at every step; all comes to rest as asked', () => {
  fc.assert(
    fc.property(fc.array(doing, { minLength: 5, maxLength: 60, size: 'max' }), script => {
      const play = new Play()
      for (const it of script) play.act(it)
      const { stage } = play
      stage.becomes = () => 'ready'
      for (const host of hosts) {
        play.lost.delete(host)
        stage.comeBack(host)
        stage.world.apply({ kind: 'host-settings', host: host as HostId, seen: undefined }, stage.now)
      }
      for (let i = 0; i < 4; i++) {
        for (const host of stage.world.hosts.values())
          for (const { value } of host.placements.values())
            if (value.desired === 'run') stage.report(host.id, value.instance, 'ready', { uid: value.uid })
        stage.settle()
        stage.advance(700_000)
      }
      stage.settle()
      play.check()
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
