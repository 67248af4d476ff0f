/** `boxcar scale web=0`, then `boxcar rm web`, in each phase of a rollout: nothing stays, and the leader goes on in its term. */
import { afterAll, beforeAll, expect } from 'vitest'
import { test } from '../lab/as-root.ts'
import { containersOn } from '../lab/containers.ts'
import { type Lab, startLab } from '../lab/lab.ts'
import { now } from '../lab/load.ts'
import { until } from '../lab/until.ts'
import { figure, untilReady, webSpec } from '../lab/web.ts'

let lab: Lab
let term: string | undefined
beforeAll(async () => {
  lab = await startLab({
    images: [{ version: '1' }, { version: '2' }, { version: 'never', env: { NEVER_READY: '1' } }],
    // h3 runs a proxy and none of the instances: it may stand still while traffic is moved.
    agentFlags: host => (host === 'h3' ? [] : ['--label', 'zone=a']),
  })
  term = await termNow()
})
afterAll(() => lab?.stop())

const termNow = async () => (await lab.api.cluster()).leader?.term

const firstPort = 8081
interface Service {
  readonly project: string
  readonly name: string
}

/** Deploys a version of the service in place; nothing is awaited. */
async function put({ name }: Service, image: string): Promise<void> {
  const spec = webSpec(lab, '1', {
    name,
    image,
    replicas: 1,
    placement: { where: ['zone = a'] },
    routes: [{ port: 'http', listen: firstPort + phases.findIndex(it => it.name === name) }],
  })
  await lab.api.put({ project: 'shop', name }, spec)
}
const version = (name: string) => lab.image(name).tagged
const missing = () => version('1').replace(/:1$/, ':no-such-tag')
/** Nobody listens there: the engine says that the registry is away, and the question is asked again. */
const registryAway = '127.0.0.1:9/none:1'

const inPhase = (service: Service, phase: string) =>
  until(
    () => lab.api.rollout(service),
    it => it.phase === phase,
    { timeoutMs: 20_000, everyMs: 10, what: `${service.name} ${phase}` },
  )
async function settled(service: Service, generation: number): Promise<void> {
  await untilReady(lab, generation, 20_000, service)
  await inPhase(service, 'settled')
}

const phases: readonly {
  readonly name: string
  readonly enter: (service: Service) => Promise<unknown>
  readonly phase: string
}[] = [
  {
    name: 'resolving',
    phase: 'resolving',
    enter: service => put(service, registryAway),
  },
  {
    name: 'warming',
    phase: 'warming',
    enter: service => put(service, version('never')),
  },
  {
    name: 'warming-second',
    phase: 'warming',
    enter: async service => {
      await put(service, version('1'))
      await settled(service, 1)
      await put(service, version('never'))
    },
  },
  {
    name: 'settled',
    phase: 'settled',
    enter: async service => {
      await put(service, version('1'))
      await settled(service, 1)
    },
  },
  {
    name: 'settled-warm',
    phase: 'settled',
    enter: async service => {
      await put(service, version('1'))
      await settled(service, 1)
      await put(service, version('2'))
      await settled(service, 2)
    },
  },
  {
    name: 'reverted',
    phase: 'reverted',
    enter: service => put(service, missing()),
  },
  {
    name: 'reverted-second',
    phase: 'reverted',
    enter: async service => {
      await put(service, version('1'))
      await settled(service, 1)
      await put(service, missing())
    },
  },
  {
    name: 'draining',
    phase: 'draining',
    enter: async service => {
      await put(service, version('1'))
      await settled(service, 1)
      await lab.host('h3').agent.pause()
      await put(service, version('2'))
    },
  },
]

/** Gone from every screen, and from every host. */
async function gone({ name }: Service): Promise<void> {
  await until(
    () => lab.api.services(),
    seen => !seen.some(it => it.name === name),
    { timeoutMs: 20_000, what: `${name} gone` },
  )
  const left = (await containersOn(lab.hosts)).filter(it => it.instance?.startsWith(`shop/${name}/`))
  expect(left).toEqual([])
}

test.each(phases)('$name: scaled to 0, then removed', async ({ name, enter, phase }) => {
  const service = { project: 'shop', name }
  await enter(service)
  await inPhase(service, phase)
  const began = now()
  const scaled = await lab.boxcar(['scale', '-p', 'shop', `${name}=0`])
  expect(scaled.status, scaled.stderr).toBe(0)
  // A host that stands still is lost after some seconds: what follows must come before that.
  if (phase === 'draining') expect(await lab.api.rollout(service)).toMatchObject({ phase })
  const removed = await lab.boxcar(['rm', '-p', 'shop', name, '--yes'])
  expect(removed.status, removed.stderr).toBe(0)
  if (phase === 'draining') lab.host('h3').agent.resume()
  await gone(service)
  figure(`${name}: scaled to 0, removed and gone after ${((now() - began) / 1000).toFixed(1)} s`)
  expect(await termNow()).toBe(term)
})

test('and the next service is deployed as ever', async () => {
  const service = { project: 'shop', name: 'settled' }
  await put(service, version('1'))
  await settled(service, 1)
  expect(await termNow()).toBe(term)
})
