/** Anything that people and hosts may do to two services on four hosts, for properties of the planner. */
import fc from 'fast-check'
import type { ServiceName } from '../model/ids.ts'
import type { UnservedList } from '../model/unserved.ts'
import { Stage } from './stage.ts'

export const hosts = ['h1', 'h2', 'h3', 'h4']
const names = ['web', 'api']

const held = { listen: 80, reason: 'held' as const }
/** What a host may say that it cannot serve: of the services' listener in several ways, and of others, too many to name. */
export const unservedLists: readonly UnservedList[] = [
  {},
  { unserved: [held] },
  { unserved: [{ ...held, only: 'public' }] },
  { unserved: [{ ...held, service: 'shop/web' as ServiceName }] },
  { unserved: [{ ...held, listen: 81 }], unnamed: 64 },
]

export const doing = fc.oneof(
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
  fc.record({
    do: fc.constantFrom('garble' as const, 'take over' as const, 'readdress' as const),
    host: fc.constantFrom(...hosts),
  }),
  fc.record({ do: fc.constantFrom('break' as const, 'mend' as const) }),
  fc.record({ do: fc.constantFrom('mute' as const, 'heed' as const) }),
  fc.record({
    do: fc.constant('cannot-serve' as const),
    host: fc.constantFrom(...hosts),
    list: fc.constantFrom(...unservedLists),
  }),
  fc.record({ do: fc.constantFrom('unanswered' as const, 'answered' as const) }),
  fc.record({ do: fc.constant('wait' as const), ms: fc.constantFrom(100, 20_000, 400_000) }),
  fc.record({ do: fc.constantFrom('step' as const, 'settle' as const) }),
)
export type Doing = typeof doing extends fc.Arbitrary<infer T> ? T : never

export class Play {
  readonly stage = new Stage()
  readonly asked = new Map<string, { uid: string; generation: number; print: string }>()
  readonly lost = new Set<string>()
  readonly unserved = new Map<string, UnservedList>()
  #uids = 0

  constructor() {
    this.stage.cannotServe = host => this.unserved.get(host) ?? {}
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
      case 'garble':
        return this.stage.makeUnreadable(it.host, 'before')
      case 'take over':
        return this.stage.makeUnreadable(it.host, 'never')
      case 'readdress':
        return this.stage.changeAddress(it.host)
      case 'break':
        this.stage.becomes = () => 'unready'
        return
      case 'mend':
        this.stage.becomes = () => 'ready'
        return
      case 'wait':
        return this.stage.advance(it.ms)
      case 'mute':
        this.stage.acknowledges = () => false
        return
      case 'heed':
        this.stage.acknowledges = () => true
        for (const host of hosts) if (!this.lost.has(host)) this.stage.comeBack(host)
        return
      case 'cannot-serve':
        this.unserved.set(it.host, it.list)
        return this.stage.acknowledgeAgain()
      case 'unanswered':
        this.stage.resolves = () => undefined
        return
      case 'answered':
        this.stage.resolves = resolves
        return
      case 'step':
        this.stage.step()
        return
      case 'settle':
        this.stage.settle()
    }
  }

  /** Whatever was lost, broken, silent or unreadable is well again. */
  mend(): void {
    for (const it of ['mend', 'answered'] as const) this.act({ do: it })
    this.lost.clear()
    this.unserved.clear()
    this.stage.acknowledges = () => true
    for (const host of hosts) {
      this.stage.makeReadable(host)
      this.stage.comeBack(host)
    }
  }
}

const { resolves } = new Stage()
