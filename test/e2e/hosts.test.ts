/** Six replicas on three hosts: where they run, a container killed, a host cut off. */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect } from 'vitest'
import { test } from '../lab/as-root.ts'
import { containersOn } from '../lab/containers.ts'
import { type Lab, startLab } from '../lab/lab.ts'
import { now } from '../lab/load.ts'
import { until } from '../lab/until.ts'
import { figure, perHost, readyInstances, untilReady, web, webPort, webSpec } from '../lab/web.ts'

let lab: Lab
beforeAll(async () => {
  lab = await startLab({ images: [{ version: '1' }] })
})
afterAll(() => lab?.stop())

test('1: six replicas on three hosts are ready, two a host, and every host answers on the route', async () => {
  const began = now()
  await lab.api.put(web, webSpec(lab, '1'))
  await untilReady(lab, 1)
  figure(`1: PUT to six ready and serving: ${((now() - began) / 1000).toFixed(1)} s`)
  expect(perHost(await readyInstances(lab))).toEqual({ h1: 2, h2: 2, h3: 2 })
  for (const url of lab.urls(webPort)) {
    const seen = new Set<string>()
    for (let i = 0; i < 30; i++) {
      const response = await fetch(url)
      expect(response.status).toBe(200)
      const body: unknown = await response.json()
      seen.add(typeof body === 'object' && body !== null && 'instance' in body ? String(body.instance) : '')
    }
    figure(`1: ${url} answered by ${seen.size} instances`)
    expect(seen.size).toBe(6)
  }
})

test('2: docker kill of one: back within 2 s, and a client at 200 requests/s sees no failure', async () => {
  const [victim] = (await containersOn(lab.hosts)).filter(it => it.running)
  if (victim === undefined) throw new Error('nothing runs')
  const host = lab.host(victim.host)
  const load = lab.load(webPort, { rate: 200 })
  await sleep(2000)
  const killed = Date.now()
  await host.machine.docker(['kill', victim.id])
  const [again] = await until(
    async () => (await containersOn([host])).filter(it => it.running && it.instance === victim.instance),
    running => running.length === 1 && running[0]?.startedAt !== victim.startedAt,
    // Each look costs as much of the two cores as a good part of the start that is measured.
    { everyMs: 1000, timeoutMs: 10_000, what: 'the killed instance running again' },
  )
  // By the engine's own word: from the end of the one run to the begin of the next, without the command that killed it.
  const died = await host.machine.docker(['inspect', '--format', '{{.State.FinishedAt}}', victim.id])
  const back = Date.parse(again?.startedAt ?? '')
  const downMs = back - Date.parse(died.trim())
  await untilReady(lab, 1, 10_000)
  await sleep(2000)
  const report = await load.stop()
  figure(
    `2: killed → running again: ${((back - killed) / 1000).toFixed(2)} s, down for ${(downMs / 1000).toFixed(2)} s; ${report.summary()}`,
  )
  expect(downMs).toBeGreaterThan(0)
  expect(downMs).toBeLessThan(2000)
  expect(report.records.length).toBeGreaterThan(700)
  expect(report.failures).toEqual([])
})

test("3: a host's link cut: its instances serve on the others within 10 s; no surplus 30 s after it is back", async () => {
  const lost = lab.host('h3')
  const cut = now()
  await lost.machine.cutLink()
  try {
    await until(
      async () => perHost((await readyInstances(lab)).filter(it => it.host !== 'h3')),
      counts => counts['h1'] === 3 && counts['h2'] === 3,
      { timeoutMs: 20_000, what: 'six ready on h1 and h2' },
    )
    // Serving, not only ready: every one of them answers through a proxy.
    const seen = new Set<string>()
    await until(
      async () => {
        const response = await fetch(lab.urls(webPort)[0] ?? '')
        const body: unknown = await response.json()
        if (typeof body === 'object' && body !== null && 'instance' in body) seen.add(String(body.instance))
        return seen.size
      },
      count => count >= 6,
      { everyMs: 5, timeoutMs: 5000, what: 'six instances answering' },
    )
  } finally {
    await lost.machine.restoreLink()
  }
  const servingMs = now() - cut
  figure(`3: link cut → six serve on the other two: ${(servingMs / 1000).toFixed(2)} s`)
  expect(servingMs).toBeLessThan(10_000)

  const back = now()
  const surplus = await until(
    async () => (await containersOn(lab.hosts)).filter(it => it.running),
    running => running.length === 6,
    { timeoutMs: 30_000, what: 'six containers in all' },
  )
  figure(`3: link back → no surplus container: ${((now() - back) / 1000).toFixed(1)} s`)
  expect(surplus.filter(it => it.host === 'h3')).toEqual([])
  await lab.hostsReady()
})
