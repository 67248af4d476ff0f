/** A service is deleted, scaled to 0 before or not, in every phase of a rollout: nothing of it stays, and traffic goes first. */
import { beforeEach, describe, expect, test } from 'vitest'
import { type Stage, service, threeHosts, web } from './stage.ts'

let stage: Stage
beforeEach(() => {
  stage = threeHosts()
})

const deploy = (generation: number, changes: object = {}) => {
  stage.put(web({ replicas: 2, image: `app:${generation}`, ...changes }), generation)
  stage.settle()
}

/** Each brings the service into its phase and gives the newest generation. */
const phases: readonly (readonly [name: string, enter: () => number, phase: object])[] = [
  [
    'resolving the first generation',
    () => {
      stage.resolves = () => undefined
      deploy(1)
      return 1
    },
    { phase: 'resolving', next: 1 },
  ],
  [
    'resolving the second',
    () => {
      deploy(1)
      stage.resolves = () => undefined
      deploy(2)
      return 2
    },
    { phase: 'resolving', stable: 1, next: 2 },
  ],
  [
    'warming the first generation',
    () => {
      stage.becomes = () => 'unready'
      deploy(1)
      return 1
    },
    { phase: 'warming', next: 1 },
  ],
  [
    'warming the second',
    () => {
      deploy(1)
      stage.becomes = ({ generation }) => (generation === 2 ? 'unready' : 'ready')
      deploy(2)
      return 2
    },
    { phase: 'warming', stable: 1, next: 2 },
  ],
  [
    'draining',
    () => {
      deploy(1)
      stage.acknowledges = () => false
      deploy(2)
      return 2
    },
    { phase: 'draining', live: 2, old: 1, undo: false },
  ],
  [
    'settled with a warm generation',
    () => {
      deploy(1)
      deploy(2)
      return 2
    },
    { phase: 'settled', live: 2, warm: 1 },
  ],
  [
    'draining after an undo',
    () => {
      deploy(1)
      deploy(2)
      stage.acknowledges = () => false
      stage.intend('web', 'undo')
      stage.settle()
      return 2
    },
    { phase: 'draining', live: 1, old: 2, undo: true },
  ],
  [
    'settled',
    () => {
      deploy(1)
      return 1
    },
    { phase: 'settled', live: 1 },
  ],
  [
    'settled without a route',
    () => {
      deploy(1, { routes: [] })
      return 1
    },
    { phase: 'settled', live: 1 },
  ],
  [
    'reverted, the only generation',
    () => {
      stage.resolves = () => ({ kind: 'failed', reason: 'no such tag', permanent: true })
      deploy(1)
      return 1
    },
    { phase: 'reverted', rejected: 1 },
  ],
  [
    'reverted to the first',
    () => {
      deploy(1)
      stage.resolves = () => ({ kind: 'failed', reason: 'no such tag', permanent: true })
      deploy(2)
      return 2
    },
    { phase: 'reverted', stable: 1, rejected: 2 },
  ],
]

const nothingIsLeft = () => expect([...stage.world.services.keys()]).toEqual([])

/** From here on every proxy acknowledges, also what it was given before. */
function acknowledgeAll(): void {
  stage.acknowledges = () => true
  for (const host of stage.world.hosts.keys()) stage.comeBack(host)
}

describe.each(phases)('%s', (_, enter, phase) => {
  let generation: number
  beforeEach(() => {
    generation = enter()
    expect(stage.phaseOf(service)).toEqual(phase)
  })
  const scaleToZero = () => {
    const text = stage.world.services.get(service)?.spec?.value.text
    stage.put(web({ ...text, replicas: 0 }), generation)
  }

  test('deleted', () => {
    stage.remove('web')
    acknowledgeAll()
    stage.settle()
    nothingIsLeft()
  })

  test('scaled to 0, then deleted when that is done', () => {
    scaleToZero()
    stage.settle()
    acknowledgeAll()
    stage.settle()
    stage.remove('web')
    stage.settle()
    nothingIsLeft()
  })

  test('scaled to 0 and deleted at once', () => {
    scaleToZero()
    stage.remove('web')
    acknowledgeAll()
    stage.settle()
    nothingIsLeft()
  })

  test('scaled to 0 and deleted one plan later', () => {
    scaleToZero()
    stage.step()
    stage.remove('web')
    acknowledgeAll()
    stage.settle()
    nothingIsLeft()
  })

  test('deleted and created again at once', () => {
    scaleToZero()
    stage.step()
    stage.remove('web')
    stage.step()
    acknowledgeAll()
    stage.resolves = image => ({ kind: 'resolved', image })
    stage.becomes = () => 'ready'
    stage.put(web({ replicas: 1 }), 1, 'u2')
    stage.settle()
    expect(stage.phaseOf(service)).toEqual({ phase: 'settled', live: 1 })
    expect(stage.running()).toHaveLength(1)
    expect(stage.world.services.get(service)?.rollout?.value.uid).toBe('u2')
  })
})

describe('the route of a service scaled to 0 and deleted', () => {
  beforeEach(() => {
    deploy(1)
    deploy(1, { replicas: 0 })
  })

  test('is closed first, and its record is removed when every live proxy has acknowledged that', () => {
    stage.acknowledges = () => false
    stage.remove('web')
    expect(stage.settle()).toEqual(['route web'])
    expect(stage.world.services.get(service)?.route?.value).toMatchObject({ listeners: [], backings: [] })
    acknowledgeAll()
    expect(stage.settle()).toEqual(['cleanup web'])
    nothingIsLeft()
  })

  test('waits for no proxy where none is live', () => {
    for (const host of ['h1', 'h2', 'h3']) stage.lose(host)
    stage.remove('web')
    stage.settle()
    nothingIsLeft()
  })
})
