/** That what is advised about misplaced instances (placement/misplaced.ts) does move them. */
import { beforeEach, describe, expect, test } from 'vitest'
import type { HostId } from '../model/ids.ts'
import {
  beyondCapacity,
  type HostFacts,
  type Misplaced,
  misplaced,
  nextStep,
} from '../placement/misplaced.ts'
import { type Stage, service, threeHosts, web } from './stage.ts'

let stage: Stage
beforeEach(() => {
  stage = threeHosts()
  stage.put(web({ replicas: 2 }), 1)
  stage.settle()
  expect(stage.perHost()).toEqual({ h1: 1, h2: 1 })
})

const where = ['zone = a']
const moveTo = { replicas: 2, placement: { where } }

/** As the API judges it. */
function seen(): { readonly found: readonly Misplaced[]; readonly next: string | undefined } {
  const hosts = [...stage.world.hosts.keys()].map(host => {
    const { labels, cpuMilli, memoryMiB } = stage.world.columns.view(host) ?? {}
    return { host, labels: labels ?? {}, capacity: { cpuMilli: cpuMilli ?? 0, memoryMiB: memoryMiB ?? 0 } }
  })
  const running = [...(stage.world.services.get(service)?.placements.values() ?? [])]
    .map(({ value }) => value)
    .filter(({ desired }) => desired === 'run')
  const hostFacts = new Map(
    hosts.map(({ host, labels, capacity }): [HostId, HostFacts] => [
      host,
      {
        labels,
        beyond: beyondCapacity(
          capacity,
          running.filter(it => it.host === host),
        ),
      },
    ]),
  )
  const found = misplaced({ where }, running, hostFacts)
  return { found, next: nextStep(found, { where }, hosts) }
}

describe('a condition in place that no running instance meets', () => {
  test('moves nothing by itself', () => {
    stage.label('h3', { zone: 'a' })
    stage.put(web(moveTo), 1)
    expect(stage.settle()).toEqual([])
    expect(seen().found.map(it => it.host)).toEqual(['h1', 'h2'])
  })

  test('holds once a host is labelled as advised', () => {
    stage.put(web(moveTo), 1)
    stage.settle()
    expect(seen().next).toMatch(/boxcar host label h1 zone=a/)
    stage.label('h1', { zone: 'a' })
    stage.settle()
    expect(seen().found.map(it => it.host)).toEqual(['h2'])
  })

  test('a drain as advised moves the instances to where they may stand, start first', () => {
    stage.label('h3', { zone: 'a' })
    stage.put(web(moveTo), 1)
    stage.settle()
    expect(seen().next).toMatch(/boxcar host drain h1 /)
    stage.drain('h1')
    const story = stage.settle()
    expect(story.findIndex(line => line.startsWith('place'))).toBeLessThan(
      story.findIndex(line => line.startsWith('release')),
    )
    expect(stage.perHost()).toEqual({ h2: 1, h3: 1 })
    expect(seen().next).toMatch(/boxcar host drain h2 /)
    stage.drain('h2')
    stage.settle()
    expect(stage.perHost()).toEqual({ h3: 2 })
    expect(seen()).toEqual({ found: [], next: undefined })
  })

  test('a new generation as advised stands where it may', () => {
    stage.label('h3', { zone: 'a' })
    stage.put(web(moveTo), 1)
    stage.settle()
    expect(seen().next).toMatch(/deploy a change that makes a new generation/)
    stage.put(web({ ...moveTo, image: 'app:2' }), 2)
    stage.settle()
    expect(stage.running().filter(line => line.startsWith('web/2'))).toEqual(['web/2/0@h3', 'web/2/1@h3'])
  })
})
