/** The planner rests when there is nothing to do, and its clocks run on through what is refused. */
import { beforeEach, describe, expect, test } from 'vitest'
import { plan } from './plan.ts'
import { type Stage, service, threeHosts, web } from './stage.ts'

const policy = { term: '7', wall: 0 }

let stage: Stage
beforeEach(() => {
  stage = threeHosts()
})

const rolloutPhase = () => stage.phaseOf(service)

test('many that wait are each looked at once when a host changes, in turns, and then there is rest', () => {
  const names = Array.from({ length: 60 }, (_, i) => `w${i}`)
  for (const name of names)
    stage.put({ name, image: 'app:1', resources: { reservations: { memory: '64GiB' } } }, 1)
  stage.settle()
  stage.addHost('h4')
  const explained = (said: readonly string[]) => said.filter(line => line.startsWith('pending'))
  const said: string[] = []
  for (let turn = 0; turn < 10; turn++) {
    const some = explained(stage.step())
    expect(some.length).toBeLessThanOrEqual(10)
    said.push(...some)
  }
  expect(new Set(said).size).toBe(60)
  expect(said).toHaveLength(60)
  expect(stage.world.roomChanged).toBe(false)
  expect(plan(stage.world, stage.memory, policy, stage.now)).toMatchObject({
    services: [],
    unfinished: false,
  })
})

describe('time', () => {
  const dueMs = () => [...stage.memory.wakeAt.values()].map(at => at - stage.now)

  test('a plan that is refused starts no deadline anew', () => {
    stage.put(web(), 1)
    stage.settle()
    stage.becomes = () => 'unready'
    stage.put(web({ image: 'app:2', rollout: { progressDeadline: '5m' } }), 2)
    stage.settle()
    stage.advance(300_000)
    const refused = plan(stage.world, stage.memory, policy, stage.now).services[0]?.actions ?? []
    expect(refused.map(action => action.kind === 'rollout' && action.rollout.now.phase)).toContain('reverted')
    stage.advance(1000)
    stage.world.touchAll()
    stage.settle()
    expect(rolloutPhase()).toEqual({ phase: 'reverted', stable: 1, rejected: 2 })
  })

  test('that has come wakes nobody twice for a service that cannot be planned', () => {
    stage.put(web(), 1)
    stage.settle()
    stage.put(web({ image: 'app:2' }), 2)
    stage.settle()
    expect(dueMs()).toEqual([600_000])
    stage.unreadable = new Set([service])
    stage.advance(700_000)
    stage.step()
    expect(dueMs()).toEqual([])
    stage.unreadable = new Set()
    stage.world.touchAll() // as when its records are readable again
    stage.settle()
    expect(rolloutPhase()).toEqual({ phase: 'settled', live: 2 })
  })

  test('nor for one that a bug keeps from being planned', () => {
    stage.put(web(), 1)
    stage.settle()
    stage.put(web({ image: 'app:2' }), 2)
    stage.settle()
    const seen = stage.world.services.get(service)?.rollout
    const value = { ...seen?.value, now: { phase: 'another' } }
    stage.world.apply({ kind: 'rollout', service, seen: { ...seen, value } as never }, stage.now)
    stage.world.dirty.clear()
    stage.advance(700_000)
    expect(plan(stage.world, stage.memory, policy, stage.now).broken).toHaveLength(1)
    expect(dueMs()).toEqual([])
    expect(plan(stage.world, stage.memory, policy, stage.now).broken).toHaveLength(0)
  })
})
