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

test('a host whose acknowledgement throws is told, and holds up nobody', () => {
  stage.addHost('h2')
  stage.put(web({ replicas: 2 }), 1)
  stage.settle()
  const ack = {
    get revision(): string {
      throw new Error('this acknowledgement cannot be read')
    },
    draining: [],
  }
  stage.acknowledges = host => host !== 'h2'
  stage.world.apply({ kind: 'route-ack', host: 'h2' as HostId, seen: seen(ack) }, stage.now)
  stage.put(web({ replicas: 1 }), 1)
  const { brokenHosts } = planNow()
  expect(brokenHosts.map(it => it.host)).toEqual(['h2'])
  stage.put(web({ replicas: 1 }), 1)
  stage.settle()
  expect(stage.running()).toHaveLength(1)
})
