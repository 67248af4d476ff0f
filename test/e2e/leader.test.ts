/** The leader killed, and the leader paused: the next one writes, the old one never again, and no container notices. */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect } from 'vitest'
import { checkFencing } from '../checks/fencing.ts'
import { test } from '../lab/as-root.ts'
import { containersOn, starts } from '../lab/containers.ts'
import { type History, recordHistory } from '../lab/history.ts'
import { type Lab, startLab } from '../lab/lab.ts'
import { now } from '../lab/load.ts'
import { until } from '../lab/until.ts'
import { figure, untilReady, web, webSpec } from '../lab/web.ts'

let lab: Lab
let history: History
beforeAll(async () => {
  lab = await startLab({ images: [{ version: '1' }] })
  history = await recordHistory(lab.machine.etcd.endpoint, lab.name, now)
  await lab.api.put(web, webSpec(lab, '1', { image: pinned(), replicas: 3 }))
  await untilReady(lab, 1)
})
afterAll(async () => {
  await history?.stop()
  await lab?.stop()
})

/** The moment of the first write under a term above this one. The other server's API gives the new leader something to do. */
async function firstWriteAbove(term: string): Promise<{ readonly at: number; readonly term: string }> {
  const write = await until(
    () =>
      history.changes.find(({ change }) => isLeaderWrite(change) && BigInt(termOf(change)) > BigInt(term)),
    found => found !== undefined,
    { timeoutMs: 20_000, everyMs: 20, what: 'a write of the next leader' },
  )
  if (write === undefined) throw new Error('there is no such write')
  return { at: write.at, term: termOf(write.change) }
}

const isLeaderWrite = (change: History['changes'][number]['change']) =>
  change.kind === 'put' && termOf(change) !== ''
function termOf(change: History['changes'][number]['change']): string {
  const value: unknown = change.kind === 'put' ? change.entry.value : undefined
  return typeof value === 'object' && value !== null && 'term' in value ? String(value.term) : ''
}

test('4a: the leader killed with -9: the next one writes within 5 s, and no container is started or stopped', async () => {
  const leader = await lab.leader()
  const other = lab.servers.find(it => it.id !== leader.id)
  const term = (await leader.api.cluster()).leader?.term ?? ''
  const before = starts(await containersOn(lab.hosts))
  const killed = now()
  await leader.process.kill()
  // In-place work that starts and stops nothing: a drain time is written into the route by whoever leads.
  await until(
    () => other?.api.put(web, webSpec(lab, '1', { image: pinned(), replicas: 3, rollout: { drain: '21s' } })),
    saved => saved !== undefined,
    { timeoutMs: 10_000, what: 'a PUT through the other server' },
  )
  const next = await firstWriteAbove(term)
  figure(`4: leader killed → first write of the next term: ${((next.at - killed) / 1000).toFixed(2)} s`)
  expect(next.at - killed).toBeLessThan(5000)
  await leader.process.start()
  await sleep(2000)
  expect(starts(await containersOn(lab.hosts))).toEqual(before)
})

test('4b: the leader paused for 15 s and resumed: not one write of its old term lands', async () => {
  const leader = await lab.leader()
  const other = lab.servers.find(it => it.id !== leader.id)
  const term = (await leader.api.cluster()).leader?.term ?? ''
  const before = starts(await containersOn(lab.hosts))
  const paused = now()
  await leader.process.pause()
  let resumed = Number.POSITIVE_INFINITY
  try {
    await other?.api.put(web, webSpec(lab, '1', { image: pinned(), replicas: 3, rollout: { drain: '22s' } }))
    const next = await firstWriteAbove(term)
    figure(`4: leader paused → first write of the next term: ${((next.at - paused) / 1000).toFixed(2)} s`)
    expect(next.at - paused).toBeLessThan(5000)
    // Work that the old leader will find undone in its stale world when it wakes up.
    await sleep(15_000 - (now() - paused))
    await other?.api.put(web, webSpec(lab, '1', { image: pinned(), replicas: 3, rollout: { drain: '23s' } }))
  } finally {
    leader.process.resume()
    resumed = now()
  }
  await sleep(4000)
  const late = history.changes.filter(({ at, change }) => at >= paused + 3100 && termOf(change) === term)
  const report = checkFencing(history.changes.map(({ change }) => change))
  figure(
    `4: ${report.writes.length} writes under ${report.terms.length} terms, ${report.violations.length} out of term; ${late.length} of the old term after the pause (resumed ${((resumed - paused) / 1000).toFixed(1)} s after it)`,
  )
  expect(report.violations).toEqual([])
  expect(late).toEqual([])
  expect(starts(await containersOn(lab.hosts))).toEqual(before)
})

/** By digest, so that a PUT of the same content is no new attempt. */
const pinned = () => lab.image('1').pinned
