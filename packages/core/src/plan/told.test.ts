/** The events of a plan count in the singular and in the plural. */
import { expect, test } from 'vitest'
import { Stage, web } from './stage.ts'

let told: string[] = []

function stageWith(replicas: number, ...hosts: readonly string[]): Stage {
  const stage = new Stage()
  told = []
  stage.planned = ({ services }) => {
    told.push(...services.flatMap(({ stories }) => stories.map(({ message }) => message)))
  }
  for (const host of hosts) stage.addHost(host)
  stage.put(web({ replicas }), 1)
  stage.settle()
  return stage
}

test.each([
  [1, '1 instance stops (unwanted)'],
  [2, '2 instances stop (unwanted)'],
])('%i stop', (count, message) => {
  const stage = stageWith(count, 'h1')
  stage.put(web({ replicas: 0 }), 1)
  stage.settle()
  expect(told).toContain(message)
})

test.each([
  [1, '1 instance waits: no host can take it'],
  [2, '2 instances wait: no host can take them'],
])('%i wait', (count, message) => {
  stageWith(count)
  expect(told).toContain(message)
})

test.each([
  [1, 'host h1 is lost: 1 of its instances moves to other hosts'],
  [2, 'host h1 is lost: 2 of its instances move to other hosts'],
])('%i move', (count, message) => {
  const stage = stageWith(count, 'h1')
  stage.addHost('h2')
  stage.lose('h1')
  stage.settle()
  expect(told).toContain(message)
})
