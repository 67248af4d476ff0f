/** A host that cannot read the newest route of one service: its acknowledgement counts for all others. */
import { beforeEach, expect, test } from 'vitest'
import type { ServiceName } from '../model/ids.ts'
import { type RouteAck, routeAck } from '../model/route.ts'
import { type Stage, service, threeHosts, web } from './stage.ts'

let stage: Stage
beforeEach(() => {
  stage = threeHosts()
})

const other = 'shop/other' as ServiceName
const rollout = { keepWarm: '0s' }
const otherOf = (generation: number) => ({
  ...web({ image: `app:${generation}`, rollout, routes: [{ port: 'http', listen: 81, protocol: 'http' }] }),
  name: 'other',
})
const deploy = (generation: number) => {
  stage.put(web({ image: `app:${generation}`, rollout }), generation)
  stage.put(otherOf(generation), generation)
  stage.settle()
}
const cannotRead = (outdated: RouteAck['outdated']) => {
  stage.outdated = host => (host === 'h2' ? outdated : undefined)
  stage.acknowledgeAgain()
}
const countOf = (name: string) => stage.running().filter(line => line.startsWith(`${name}/`)).length
const wait = () => {
  stage.advance(10 * 60_000)
  stage.settle()
}

test('nothing of that service stops, and the old generation of every other does', () => {
  deploy(1)
  cannotRead([service])
  deploy(2)
  wait()
  expect(stage.phaseOf(other)).toEqual({ phase: 'settled', live: 2 })
  expect(countOf('other')).toBe(6)
  expect(countOf('web')).toBe(12)
  cannotRead(undefined)
  wait()
  expect(stage.phaseOf(service)).toEqual({ phase: 'settled', live: 2 })
  expect(countOf('web')).toBe(6)
})

test('a deletion waits for it, and no other deletion does', () => {
  deploy(1)
  cannotRead([service])
  stage.remove('web')
  stage.remove('other')
  stage.settle()
  wait()
  expect(countOf('other')).toBe(0)
  expect(stage.world.services.get(other)?.route).toBeUndefined()
  expect(countOf('web')).toBe(6)
  cannotRead([])
  stage.settle()
  expect(stage.running()).toEqual([])
})

test('what it does not name, or says in words of a newer version, may be any service', () => {
  const said = (outdated: unknown) => routeAck.parse({ revision: '7', draining: [], outdated }).outdated
  expect(said({ newer: true })).toBe('all')
  expect(said([7])).toBe('all')
  expect(said(undefined)).toBeUndefined()
  deploy(1)
  cannotRead('all')
  stage.remove('other')
  wait()
  expect(countOf('other')).toBe(6)
  cannotRead(undefined)
  stage.settle()
  expect(countOf('other')).toBe(0)
})
