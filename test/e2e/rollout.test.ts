/** Version 1 → 2 → undo → 2 under load, and three versions that never make it. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { ServiceView } from '@boxcar/api/views'
import { afterAll, beforeAll, describe, expect } from 'vitest'
import { test } from '../lab/as-root.ts'
import { type History, lastAcknowledged, recordHistory, routesWritten } from '../lab/history.ts'
import { type Lab, startLab } from '../lab/lab.ts'
import { now } from '../lab/load.ts'
import { until } from '../lab/until.ts'
import { figure, untilReady, web, webPort, webSpec } from '../lab/web.ts'

let lab: Lab
let history: History
beforeAll(async () => {
  lab = await startLab({
    images: [
      { version: '1' },
      { version: '2' },
      { version: 'exits', env: { EXIT_WITH: '7' } },
      { version: 'never', env: { NEVER_READY: '1' } },
    ],
  })
  history = await recordHistory(lab.machine.etcd.endpoint, lab.name, now)
  await lab.api.put(web, webSpec(lab, '1'))
  await untilReady(lab, 1)
})
afterAll(async () => {
  await history?.stop()
  await lab?.stop()
})

const rollout = () => lab.api.rollout(web)

/** Waits until every proxy applies that this generation answers; when the last of them acknowledged it. */
async function switchedTo(generation: number, from: number): Promise<number> {
  await until(rollout, it => it.phase === 'settled' && it.live === generation, {
    timeoutMs: 60_000,
    everyMs: 20,
    what: `generation ${generation} on every proxy`,
  })
  return lastAcknowledged(
    history,
    generation,
    lab.hosts.map(it => it.id),
    from,
  )
}

test('5: version 1 → 2 → undo → 2 under 500 requests/s with slow requests in flight: none failed', async () => {
  const load = lab.load(webPort, { rate: 500, slow: { rate: 5, ms: 3000 }, sockets: 24, timeoutMs: 15_000 })
  await sleep(3000)

  const asked = [now()]
  await lab.api.put(web, webSpec(lab, '2'))
  const two = await switchedTo(2, now() - 60_000)
  await sleep(4000)

  asked.push(now())
  await lab.api.undo(web)
  const undone = await switchedTo(1, asked[1] ?? 0)
  await sleep(4000)

  asked.push(now())
  await lab.api.put(web, webSpec(lab, '2'))
  const three = await switchedTo(3, asked[2] ?? 0)
  await sleep(4000)
  const report = await load.stop()

  // Sent later than a second after the last acknowledgement, until the next change was asked for: one generation answers.
  const settled: readonly [number, number | undefined, number][] = [
    [two, asked[1], 2],
    [undone, asked[2], 1],
    [three, undefined, 3],
  ]
  const stale = settled.flatMap(([acknowledged, next, generation]) =>
    report.between(acknowledged + 1000, next).answered.filter(it => it.generation !== generation),
  )
  const undoMs = undone - (asked[1] ?? 0)
  figure(`5: ${report.summary()}`)
  if (report.failures.length > 0)
    figure(`5:\n${routesWritten(history, report.records[0]?.t0 ?? 0, now()).join('\n')}`)
  figure(
    `5: undo asked → acknowledged by all proxies: ${(undoMs / 1000).toFixed(2)} s; answered by an old generation later than 1 s after the last acknowledgement: ${stale.length}`,
  )
  expect(report.failures).toEqual([])
  expect(report.records.length).toBeGreaterThan(7000)
  expect(stale).toEqual([])
  expect(undoMs).toBeLessThan(2000)
  expect([...report.count('generation').keys()]).toEqual(['1', '2', '3'])
})

describe('6: a version that does not make it', () => {
  const broken: readonly [string, () => string, RegExp][] = [
    ['an image that exits', () => lab.image('exits').tagged, /told to exit with 7|exit(ed)?\b.*7/s],
    ['an image that is never ready', () => lab.image('never').tagged, /503|not ready/s],
    [
      'an image that does not exist',
      () => lab.image('1').tagged.replace(/:1$/, ':no-such-tag'),
      /no-such-tag|not found|unknown/s,
    ],
  ]
  test.each(broken)(
    '%s gets no request, is reverted, and deploy exits 4 with the evidence',
    async (_, image, evidence) => {
      const before = await lab.api.service(web)
      const load = lab.load(webPort, { rate: 100 })
      const file = JSON.stringify(webSpec(lab, '2', { image: image(), rollout: { progressDeadline: '15s' } }))
      const began = now()
      const end = await lab.boxcar(['deploy', '-p', 'shop', '-f', '-', '--yes'], {
        input: file,
        timeoutMs: 90_000,
      })
      const tookMs = now() - began
      const report = await load.stop()
      const after = await lab.api.service(web)
      figure(
        `6: reverted after ${(tookMs / 1000).toFixed(1)} s, exit ${end.status}; ${report.records.length} requests, ${report.failures.length} failed`,
      )
      expect(end.status).toBe(4)
      expect(end.stdout + end.stderr).toMatch(evidence)
      expect(report.failures).toEqual([])
      expect([...report.count('generation').keys()]).toEqual([String(before.rollout.live)])
      expect(after).toMatchObject({
        status: 'reverted',
        rollout: { phase: 'reverted', live: before.rollout.live },
      } satisfies DeepPartial<ServiceView>)
    },
  )

  test('the same PUT again is a new attempt', async () => {
    const before = await lab.api.service(web)
    const saved = await lab.api.put(web, before.spec)
    expect(saved).toMatchObject({ changed: 'new-generation', generation: before.generation + 1 })
    await until(rollout, it => it.asked === saved.generation && it.outcome !== 'under-way', {
      timeoutMs: 60_000,
      what: 'the new attempt ended',
    })
    expect(await rollout()).toMatchObject({ phase: 'reverted', asked: saved.generation })
  })
})

type DeepPartial<T> = { readonly [K in keyof T]?: DeepPartial<T[K]> }
