/** What throws for one service or host while a plan is made: it is given back, and the others are planned. */
import { beforeEach, expect, test } from 'vitest'
import type { HostId, InstanceId, ServiceName } from '../model/ids.ts'
import type { Revision } from '../model/revision.ts'
import { type Plan, plan } from './plan.ts'
import { Stage, service, web } from './stage.ts'

let stage: Stage
const h1 = 'h1' as HostId
beforeEach(() => {
  stage = new Stage()
  stage.addHost('h1', { memoryMiB: 512 })
})

const planNow = (): Plan => plan(stage.world, stage.memory, { term: '7', wall: 0 }, stage.now)
const seen = <Value>(value: Value) => ({ value, modified: '1' as Revision })
const large = { replicas: 1, routes: [], resources: { reservations: { memory: '512MiB' } } }
const answered = ({ questions }: Plan) => {
  for (const { service, uid, generation, image } of questions)
    stage.memory.resolutions.set(`${service}/${uid}/${generation}`, { kind: 'resolved', image })
  for (const { service } of questions) stage.world.dirty.add(service)
}

/** A placement of one service that says that it is another one's. */
function misname(name: string, as: string): void {
  const instance = `shop/${name}/9/0` as InstanceId
  const value = {
    ...{ instance: `shop/${as}/9/0` as InstanceId, service: `shop/${name}` as ServiceName, host: h1 },
    ...{ generation: 9 as never, slot: 0, uid: 'u1', term: '1', desired: 'run' as const },
    ...{ because: 'missing' as const, cpuMilli: 0, memoryMiB: 0, ports: {}, image: 'app:1' },
  }
  stage.world.apply({ kind: 'placement', host: h1, instance, seen: seen(value) }, stage.now)
}

test('a service whose plan would write another one’s record is not planned, and takes no room from the others', () => {
  stage.put({ ...web(large), name: 'api' }, 1)
  stage.put(web(large), 1)
  misname('api', 'web')
  answered(planNow())
  const { services, broken } = planNow()
  expect(broken.map(it => [it.service, String(it.error)])).toEqual([
    ['shop/api', 'Error: a plan of shop/api cannot write instance shop/web/9/0'],
  ])
  expect(services.map(it => it.service)).toEqual([service])
  expect(services[0]?.actions.map(it => it.kind)).toContain('place')
})

const throws = (): never => {
  throw new Error('this acknowledgement cannot be read')
}
const sound = { revision: '1', draining: [] }
const unreadable: readonly [string, () => object][] = [
  ['revision', () => Object.defineProperty({ ...sound }, 'revision', { get: throws })],
  ['list of what drains', () => Object.defineProperty({ ...sound }, 'draining', { get: throws })],
  [
    'last of what drains',
    () => ({
      ...sound,
      draining: {
        *[Symbol.iterator]() {
          yield 'shop/web/1/0'
          throws()
        },
      },
    }),
  ],
  ['list of what is not served', () => Object.defineProperty({ ...sound }, 'unserved', { get: throws })],
]
test.each(unreadable)(
  'a host whose acknowledgement throws at its %s is told, and holds up nobody',
  (_, ack) => {
    stage.addHost('h2')
    stage.put(web({ replicas: 2 }), 1)
    stage.settle()
    stage.acknowledges = host => host !== 'h2'
    stage.world.apply({ kind: 'route-ack', host: 'h2' as HostId, seen: seen(ack() as never) }, stage.now)
    stage.put(web({ image: 'app:2', replicas: 1 }), 2)
    const told = new Set<HostId>()
    stage.planned = ({ brokenHosts }) => {
      for (const { host } of brokenHosts) told.add(host)
    }
    stage.settle()
    expect([...told]).toEqual(['h2'])
    expect(stage.phaseOf(service)).toEqual({ phase: 'settled', live: 2, warm: 1 })
    stage.put(web({ image: 'app:2', replicas: 0 }), 2)
    stage.advance(700_000)
    stage.settle()
    expect(stage.running()).toEqual([])
  },
)

test('a host whose list of what is not served throws half-way is told, and its list holds up nobody', () => {
  const odd = Object.defineProperty({ reason: 'held' }, 'listen', { get: throws })
  stage.addHost('h2')
  const cannot = { unserved: [{ listen: 80, reason: 'held' as const }, odd as never] }
  stage.cannotServe = host => (host === 'h2' ? cannot : {})
  stage.acknowledgeAgain()
  const told = new Set<HostId>()
  stage.planned = ({ brokenHosts }) => {
    for (const { host } of brokenHosts) told.add(host)
  }
  stage.put(web({ replicas: 2 }), 1)
  stage.settle()
  expect([...told]).toEqual(['h2'])
  expect(stage.phaseOf(service)).toEqual({ phase: 'settled', live: 1 })
})
