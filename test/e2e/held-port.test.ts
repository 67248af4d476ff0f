/** A route on a port that another process of the host has: on one host, on all, and moved there without a new generation. */
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { get, type IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { ServiceView } from '@boxcar/api/views'
import { type OwnedProcess, startProcess } from '@boxcar/cli/machine/process'
import { afterAll, afterEach, beforeAll, expect } from 'vitest'
import { type Call, checkAcknowledgedIsServed, type Shown } from '../checks/acknowledged-is-served.ts'
import { test } from '../lab/as-root.ts'
import type { LabHost } from '../lab/cluster.ts'
import { type History, recordHistory } from '../lab/history.ts'
import { type Lab, startLab } from '../lab/lab.ts'
import { now } from '../lab/load.ts'
import { until } from '../lab/until.ts'
import { figure, web, webPort, webSpec } from '../lab/web.ts'

const heldPort = 9090
const others = new Set<OwnedProcess>()
const calls: Call[] = []
const shown: Shown[] = []
let lab: Lab
let history: History

beforeAll(async () => {
  lab = await startLab({ images: [{ version: '1' }, { version: '2' }] })
  history = await recordHistory(lab.machine.etcd.endpoint, lab.name, now)
})
afterEach(async () => {
  await Promise.all([...others].map(free))
})
afterAll(async () => {
  await history?.stop()
  await lab?.stop()
})

const spec = (version: string, listen: number, changes: object = {}) =>
  // Pinned: a change of routes makes no generation then.
  webSpec(lab, version, {
    image: lab.image(version).pinned,
    replicas: 3,
    routes: [{ port: 'http', listen }],
    ...changes,
  })

/** A process of the host that listens there and answers with what no instance answers. */
async function hold(host: LabHost): Promise<OwnedProcess> {
  const answer = `require('node:http').createServer((_, res) => res.end('another')).listen(${heldPort}, '0.0.0.0')`
  const holder = await startProcess({
    name: `who holds port ${heldPort} of ${host.id}`,
    argv: [...host.machine.enter, process.execPath, '-e', answer],
    env: lab.machine.env,
    logFile: join(host.machine.stateDir, 'holder.log'),
  })
  others.add(holder)
  await until(
    () => ask(host, heldPort),
    body => body === 'another',
    { what: `${host.id} held` },
  )
  return holder
}

async function free(holder: OwnedProcess): Promise<void> {
  others.delete(holder)
  await holder.kill()
}

/** Over a connection of its own: one that is kept may be of before. */
async function ask({ address }: LabHost, port: number): Promise<string> {
  const request = get({ host: address, port, agent: false, timeout: 2000 })
  request.on('timeout', () => request.destroy(new Error('no answer')))
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  const body = await text(response)
  return response.statusCode === 200 && body.includes('"instance"') ? 'application' : body.slice(0, 40)
}

/** Calls a listener on every host, and looks at every screen, for the check. */
async function look(listen: number): Promise<ServiceView> {
  for (const host of lab.hosts) {
    const at = now()
    const answer = await ask(host, listen).catch((error: unknown) => String(error).slice(0, 80))
    calls.push({ at, host: host.id, service: 'shop/web', listen, answer })
  }
  const [service, routes] = await Promise.all([lab.api.service(web), lab.api.routes()])
  const at = now()
  const screen = (name: string, saysServed: boolean) =>
    shown.push({ at, service: 'shop/web', screen: name, saysServed })
  screen('status', service.status === 'ready' && service.reason.endsWith('are ready'))
  screen('serving', service.serving?.hosts === 3)
  for (const it of routes) screen('get routes', it.applied.hosts === 3)
  return service
}

/** Back to the warm generation, and how long until that answers everywhere it can. */
async function undo(from: ServiceView): Promise<{ readonly undone: ServiceView; readonly tookMs: number }> {
  const asked = now()
  await lab.api.undo(web)
  const undone = await until(
    () => lab.api.service(web),
    it => it.rollout.phase === 'settled' && it.rollout.live !== from.rollout.live,
    { everyMs: 20, what: 'the version before' },
  )
  return { undone, tookMs: now() - asked }
}

const everywhere = (it: ServiceView) =>
  it.status === 'ready' && it.rollout.phase === 'settled' && it.serving?.hosts === 3

test('a port that the agents, the instances or another service have is refused in the plan', async () => {
  for (const [listen, holder] of [
    [7080, 'the agent of host h1'],
    [20_001, 'the instances of host h1'],
  ] as const) {
    const refused = await lab.api.put(web, spec('1', listen)).catch((error: unknown) => error)
    expect(refused).toMatchObject({
      problem: {
        status: 422,
        errors: [
          { pointer: '/routes/0/listen', code: 'port_held', message: expect.stringContaining(holder) },
        ],
      },
    })
  }
  await expect(lab.api.service(web)).rejects.toMatchObject({ problem: { status: 404 } })
})

test('held on one host: no traffic moves and every screen says why; freed before the deadline, it is served and settles', async () => {
  const holder = await hold(lab.host('h2'))
  await lab.api.put(web, spec('1', heldPort))
  const waits = await until(
    () => look(heldPort),
    it => it.rollout.counts.some(count => count.ready === 3) && it.serving?.unserved.length === 1,
    { timeoutMs: 30_000, everyMs: 250, what: 'three ready and one host that cannot serve' },
  )
  const name = `process ${holder.pid} (node)`
  expect(waits.rollout).toMatchObject({ phase: 'warming', shares: [] })
  expect(waits.serving?.unserved).toMatchObject([
    { host: 'h2', listen: heldPort, reason: 'held', holder: name },
  ])
  const screens = await Promise.all(
    [
      ['status', 'web'],
      ['status'],
      ['get', 'routes'],
      ['why', 'web'],
      ['describe', 'service', 'web'],
      ['describe', 'host', 'h2'],
      ['get', 'hosts'],
      ['rollout', 'status', 'web'],
    ].map(args => lab.boxcar([...args, '--project', 'shop'])),
  )
  for (const { stdout } of screens) {
    expect(stdout).toContain(`port ${heldPort}`)
    expect(stdout).toContain(name)
    expect(stdout).toContain('h2')
  }
  const freed = now()
  await free(holder)
  await until(() => look(heldPort), everywhere, {
    // Ports that are held are looked at every two seconds; the rest is the machine's.
    timeoutMs: 15_000,
    everyMs: 250,
    what: 'served everywhere',
  })
  figure(`port freed → served by every host and settled: ${((now() - freed) / 1000).toFixed(1)} s`)
})

test('moved in place to a port that is held on one host: the deploy ends with status 3, and it is served once it is free', async () => {
  await lab.api.put(web, spec('1', webPort))
  await until(() => look(webPort), everywhere, { timeoutMs: 15_000, what: 'served at another port' })
  const holder = await hold(lab.host('h3'))
  const ended = await lab.boxcar(['deploy', '-f', '-', '--yes', '--project', 'shop'], {
    input: JSON.stringify(spec('1', heldPort)),
  })
  expect(ended.status, ended.stderr).toBe(3)
  expect(ended.stderr).toContain(`h3: port ${heldPort} at 0.0.0.0 is held by process ${holder.pid} (node)`)
  await look(heldPort)
  await free(holder)
  await until(() => look(heldPort), everywhere, { timeoutMs: 10_000, what: 'served once it is free' })
})

test('held on every host: the deploy ends with status 4, and no traffic has moved', async () => {
  await lab.api.put(web, spec('1', webPort))
  await until(() => look(webPort), everywhere, { timeoutMs: 15_000, what: 'served at another port' })
  const holders = await Promise.all(lab.hosts.map(hold))
  const deadline = { rollout: { progressDeadline: '5s' } }
  const ended = await lab.boxcar(['deploy', '-f', '-', '--yes', '--project', 'shop'], {
    input: JSON.stringify(spec('2', heldPort, deadline)),
  })
  expect(ended.status, ended.stderr).toBe(4)
  expect(ended.stderr).toContain('generation 2 was not served on every host by its deadline')
  for (const [i, host] of lab.hosts.entries())
    expect(ended.stderr).toContain(
      `on ${host.id}: port ${heldPort} at 0.0.0.0 is held by process ${holders[i]?.pid} (node)`,
    )
  const service = await look(heldPort)
  expect(service.rollout).toMatchObject({ live: 1, outcome: 'rejected', phase: 'reverted' })
  await lab.api.put(web, spec('1', webPort))
  await until(() => look(webPort), everywhere, { timeoutMs: 30_000, what: 'served as before' })
})

test('a port that is taken while a proxy is down is told, and served again once it is free', async () => {
  // The proxy that a host's agent looks after is the only process with its configuration.
  const host = lab.host('h1')
  await lab.api.put(web, spec('1', heldPort))
  await until(() => look(heldPort), everywhere, { timeoutMs: 15_000, what: 'served everywhere' })
  await host.agent.pause()
  const pid = Number(
    (await readFile(join(host.machine.stateDir, lab.name, 'proxy/haproxy.pid'), 'utf8')).split(' ')[0],
  )
  process.kill(pid, 'SIGKILL')
  const holder = await until(
    () => hold(host),
    () => true,
    { what: 'the port of a dead proxy' },
  )
  host.agent.resume()
  const seen = await until(
    () => look(heldPort),
    it => it.serving?.unserved[0]?.reason === 'held',
    { timeoutMs: 15_000, everyMs: 250, what: 'the holder on the screen' },
  )
  expect(seen).toMatchObject({ status: 'degraded', serving: { hosts: 2, of: 3 } })
  await free(holder)
  await until(() => look(heldPort), everywhere, { timeoutMs: 10_000, what: 'served once it is free' })
})

test('an undo takes no longer though a host does not serve the route, and says so', async () => {
  await lab.api.put(web, spec('2', webPort))
  const first = await until(() => look(webPort), everywhere, { timeoutMs: 30_000, what: 'the next version' })
  const { tookMs: freeMs } = await undo(first)
  await lab.api.put(web, spec('2', webPort))
  const isNext = (it: ServiceView) =>
    everywhere(it) && it.rollout.live !== undefined && it.generation === it.rollout.live
  const next = await until(() => look(webPort), isNext, { timeoutMs: 30_000, what: 'the next version again' })
  await hold(lab.host('h3'))
  await lab.api.put(web, spec('2', heldPort))
  await until(
    () => look(heldPort),
    it => it.serving?.unserved[0]?.reason === 'held',
    { timeoutMs: 15_000, what: 'the holder on the screen' },
  )
  const { undone, tookMs } = await undo(next)
  figure(`undo beside a held port: ${tookMs.toFixed(0)} ms, without one: ${freeMs.toFixed(0)} ms`)
  // A held port is looked at every two seconds: an undo that waited for a look would take that much longer than one that did not.
  expect(tookMs).toBeLessThan(freeMs + 2000)
  expect(undone.rollout.words).toMatch(/but not everywhere: h3: port 9090 at 0\.0\.0\.0 is held by process/)
})

test('a new generation goes past a host that did not serve the one before, and the service stays degraded', async () => {
  await lab.api.put(web, spec('2', webPort))
  await until(() => look(webPort), everywhere, { timeoutMs: 30_000, what: 'served everywhere' })
  const holder = await hold(lab.host('h3'))
  await lab.api.put(web, spec('2', heldPort))
  const before = await until(
    () => look(heldPort),
    it => it.serving?.unserved[0]?.reason === 'held',
    { timeoutMs: 15_000, what: 'the holder on the screen' },
  )
  await lab.api.put(web, spec('1', heldPort))
  const mended = await until(
    () => look(heldPort),
    it => it.rollout.phase === 'settled' && it.rollout.live !== before.rollout.live,
    { timeoutMs: 30_000, everyMs: 250, what: 'the mended version' },
  )
  expect(mended).toMatchObject({ status: 'degraded', serving: { hosts: 2, of: 3 } })
  expect(mended.reason).toContain(`h3: port ${heldPort} at 0.0.0.0 is held by process ${holder.pid} (node)`)
})

test('what was acknowledged was served or named, in all of that', () => {
  const limits = { slackMs: 1000, noticeMs: 15_000 }
  const { violations, checked } = checkAcknowledgedIsServed(
    { changes: history.changes, calls, shown },
    limits,
  )
  figure(`checked: ${JSON.stringify(checked)}`)
  expect(violations).toEqual([])
  expect(checked.calls).toBeGreaterThan(10)
  expect(checked.named).toBeGreaterThan(3)
  expect(checked.settled).toBeGreaterThan(0)
})
