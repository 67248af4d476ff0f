/**
 * The proxy room against the real HAProxy on loopback: traffic is never lost while routes change, processes die and
 * agents restart, and nobody answers who should not.
 */
import { spawn } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, rmdir, writeFile } from 'node:fs/promises'
import { Agent, createServer as createHttpServer, request } from 'node:http'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { InternalErrors } from '@boxcar/agent/internal-errors'
import { doorsHeldBy } from '@boxcar/agent/proxy/ports'
import { openProxy, type ProxyOptions, type RouteTable } from '@boxcar/agent/proxy/proxy'
import { Runtime } from '@boxcar/agent/proxy/runtime'
import { type ProxyState, Routing } from '@boxcar/agent/routing'
import type { GenerationNumber, InstanceId, ServiceName } from '@boxcar/core/model/ids'
import type { Listener, Route, RouteAck } from '@boxcar/core/model/route'
import { agentHolder } from '@boxcar/core/model/unserved'
import { routes } from '@boxcar/store/keys'
import { silent } from '@boxcar/store/log'
import type { Revision } from '@boxcar/store/store'
import { systemClock } from '@boxcar/store/system'
import { afterEach, describe, expect, test } from 'vitest'

const haproxy = process.env['BOXCAR_TEST_HAPROXY'] ?? '/usr/sbin/haproxy'
const cleanups: (() => Promise<unknown> | unknown)[] = []

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

describe('a switch between generations', () => {
  test('loses no request, and the old generation answers nothing that began after it', async () => {
    const { proxy, port } = await room()
    const [blue, green] = [await app('g1'), await app('g2')]
    const table = (live: number) => twoGenerations(port, live === 1 ? [1000, 0] : [0, 1000], [blue], [green])
    await applied(proxy, table(1))
    const load = startLoad({
      port,
      clients: 8,
      perSecond: 320,
      path: n => (n % 40 === 0 ? '/slow?ms=3000' : '/'),
    })
    const switches: { began: number; done: number; to: string }[] = [
      { began: 0, done: performance.now(), to: 'g1' },
    ]
    for (let n = 1; n <= 20; n++) {
      const live = n % 2 === 0 ? 1 : 2
      const began = performance.now()
      await applied(proxy, table(live))
      switches.push({ began, done: performance.now(), to: `g${live}` })
      await sleep(350)
    }
    const answers = await load.end()
    expect(failuresOf(answers)).toEqual([])
    expect(answers.length).toBeGreaterThan(2000)
    // Between a switch that is done and the next that begins only one generation answers; a timer's slack aside.
    const stale = answers.filter(answer =>
      switches.some(({ done, to }, at) => {
        const next = switches[at + 1]?.began ?? Number.POSITIVE_INFINITY
        return answer.began > done + 20 && answer.began < next - 100 && answer.by !== to
      }),
    )
    expect(stale).toEqual([])
  })

  test('needs no reload, nor does a change of members', async () => {
    const { proxy, port } = await room()
    const apps = await Promise.all(['a', 'b', 'c'].map(name => app(name)))
    const [a, b, c] = apps
    if (a === undefined || b === undefined || c === undefined) throw new Error('three apps')
    await applied(proxy, twoGenerations(port, [1000, 0], [a], []))
    const worker = await workerAt(port)
    await applied(proxy, twoGenerations(port, [1000, 0], [a, b], []))
    expect(await answerers(port, 20)).toEqual(['a', 'b'])
    await applied(proxy, twoGenerations(port, [1000, 0], [a, b], [c]))
    await applied(proxy, twoGenerations(port, [0, 1000], [a, b], [c]))
    expect(await answerers(port, 20)).toEqual(['c'])
    await applied(proxy, twoGenerations(port, [1000, 0], [b], []))
    expect(await answerers(port, 20)).toEqual(['b'])
    for (let generation = 3; generation < 12; generation++) {
      await applied(proxy, tableOf(route('shop/web', [http(port)], [[generation, 1000, [a]]])))
      expect(await answerers(port, 5)).toEqual(['a'])
    }
    expect(await workerAt(port)).toBe(worker)
  })
})

describe('a reload', () => {
  test('loses no request, whether its worker is new or replaced', async () => {
    const { proxy, port } = await room()
    const [blue, green] = [await app('g1'), await app('g2')]
    const more: Route[] = []
    const table = (live: number) => {
      const { routes } = twoGenerations(port, live === 1 ? [1000, 0] : [0, 1000], [blue], [green])
      return tableOf(...routes.values(), ...more)
    }
    await applied(proxy, table(1))
    const load = startLoad({
      port,
      clients: 16,
      perSecond: 320,
      path: n => (n % 40 === 0 ? '/slow?ms=2000' : '/'),
      method: n => (n % 5 === 0 ? 'POST' : 'GET'),
    })
    for (let n = 0; n < 12; n++) {
      more.push(route(`more/s${n}`, [http(port, { hostnames: [`s${n}.example`] })], [[1, 1000, [blue]]]))
      await applied(proxy, table(1 + (n % 2)))
      await sleep(250)
    }
    const answers = await load.end()
    expect(failuresOf(answers)).toEqual([])
    expect(answers.length).toBeGreaterThan(1000)
    const twice = [...blue.posts, ...green.posts].toSorted().filter((id, at, all) => id === all[at + 1])
    expect(twice).toEqual([])
  })

  test('leaves no connection on which old routes answer', async () => {
    const { proxy, port } = await room()
    const [blue, green] = [await app('g1'), await app('g2')]
    await applied(proxy, twoGenerations(port, [1000, 0], [blue], []))
    const agents = Array.from({ length: 3 }, () => new Agent({ keepAlive: true, maxSockets: 1 }))
    for (const agent of agents) expect((await ask({ port, agent })).by).toBe('g1')
    const other = route('shop/other', [http(port, { hostnames: ['other.example'] })], [[1, 1000, [green]]])
    const { routes } = twoGenerations(port, [0, 1000], [blue], [green])
    await applied(proxy, tableOf(...routes.values(), other))
    const [first, second, third] = agents
    if (first === undefined || second === undefined || third === undefined) throw new Error('three agents')
    // The connection was accepted by the worker of before; switch, new service and the next switch hold on it too.
    expect((await ask({ port, agent: first })).by).toBe('g2')
    expect((await ask({ port, agent: second, headers: { host: 'other.example' } })).by).toBe('g2')
    await applied(proxy, twoGenerations(port, [1000, 0], [blue], [green]))
    const last = await ask({ port, agent: third, headers: { 'x-forwarded-for': '198.51.100.7' } })
    expect(last.by).toBe('g1')
    expect(JSON.parse(last.body).headers['x-forwarded-for']).toBe('198.51.100.7, 127.0.0.1')
    for (const agent of agents) agent.destroy()
  })

  test('waits when those before left many workers with open connections, and holds up no switch', async () => {
    const { proxy, port } = await room()
    const [blue, green, db] = [await app('g1'), await app('g2'), await echo('db')]
    const tcpPort = await freePort()
    const more: Route[] = [route('db/main', [tcp(tcpPort)], [[1, 1000, [db]]])]
    const table = (live: 1 | 2) => {
      const shares: [number, number] = live === 1 ? [1000, 0] : [0, 1000]
      return tableOf(...twoGenerations(port, shares, [blue], [green]).routes.values(), ...more)
    }
    const sessions: Awaited<ReturnType<typeof talk>>[] = []
    let outcome = await proxy.apply(table(1))
    for (let n = 0; outcome.kind === 'applied' && n < 30; n++) {
      const session = await talk(tcpPort)
      expect(await session.say('1')).toBe('db:1')
      sessions.push(session)
      more.push(route(`more/s${n}`, [http(port, { hostnames: [`s${n}.example`] })], [[1, 1000, [blue]]]))
      outcome = await proxy.apply(table(1))
    }
    expect(outcome.kind).toBe('postponed')
    await proxy.apply(table(2))
    expect(await answerers(port, 5)).toEqual(['g2'])
    await applied(proxy, table(2))
    const last = `s${sessions.length - 1}.example`
    expect((await ask({ port, headers: { host: last } })).by).toBe('g1')
    for (const session of sessions) expect(await session.say('2')).toBe('db:2')
  })

  test('is refused when the configuration does not load, and what was served is served', async () => {
    const { proxy, port, open, options } = await room()
    const blue = await app('g1')
    await applied(proxy, twoGenerations(port, [1000, 0], [blue], []))
    await proxy.leave()
    // A binary that refuses every configuration stands for one of another make.
    const picky = await open({ ...options, haproxy: await refusing(options.dir) })
    const outcome = await picky.apply(tableOf(route('shop/new', [http(port + 1)], [[1, 1000, [blue]]])))
    expect(outcome).toEqual({ kind: 'refused', why: expect.stringContaining('no such keyword') })
    expect((await ask({ port })).by).toBe('g1')
  })
})

describe('a route that cannot be had', () => {
  test('holds up no other: the rest is served, and the fault names its service', async () => {
    const { proxy: plain, port, open, options } = await room()
    await plain.leave()
    const { path, refuse, accept } = await pickyOf(options.dir, 'shop_2fbad__')
    const proxy = await open({ ...options, haproxy: path })
    const [blue, green] = [await app('g1'), await app('g2')]
    const badPort = await freePort()
    const bad = route('shop/bad', [http(badPort)], [[1, 1000, [blue]]])
    const more = Array.from({ length: 5 }, (_, n) =>
      route(`more/s${n}`, [http(port, { hostnames: [`s${n}.example`] })], [[1, 1000, [blue]]]),
    )
    const web = (by: App) => route('shop/web', [http(port)], [[1, 1000, [by]]])
    await refuse()
    const outcome = await proxy.apply(tableOf(bad, web(blue), ...more))
    const fault = { kind: 'listener', service: 'shop/bad', listen: badPort }
    expect(outcome).toMatchObject({ kind: 'applied', faults: [fault] })
    expect(proxy.health().outdated).toBeUndefined() // nothing of it is served, so nothing is sent to anybody who left it
    expect((await ask({ port })).by).toBe('g1')
    expect((await ask({ port, headers: { host: 's4.example' } })).by).toBe('g1')
    // Later tables go on without it, and need no trial of it.
    await proxy.apply(tableOf(bad, web(green), ...more))
    expect((await ask({ port })).by).toBe('g2')
    expect(proxy.health()).toMatchObject({ kind: 'ok', faults: [fault] })
    // Asked for anew it is tried anew.
    await accept()
    const mended = route('shop/bad', [http(badPort)], [[1, 1000, [green]]])
    await applied(proxy, tableOf(mended, web(green), ...more))
    expect((await ask({ port: badPort })).by).toBe('g2')
  })

  test('leaves served what was served of its service before', async () => {
    const { proxy: plain, port, open, options } = await room()
    await plain.leave()
    const { path, refuse } = await pickyOf(options.dir, 'shop_2fbad__extra__')
    const proxy = await open({ ...options, haproxy: path })
    const [blue, green] = [await app('g1'), await app('g2')]
    const badPort = await freePort()
    const bad = (listeners: Listener[]) => route('shop/bad', listeners, [[1, 1000, [blue]]])
    const web = (by: App) => route('shop/web', [http(port)], [[1, 1000, [by]]])
    await applied(proxy, tableOf(bad([http(badPort)]), web(blue)))
    await refuse()
    const worse = bad([http(badPort, { port: 'extra' })])
    const outcome = await proxy.apply(tableOf(worse, web(green)))
    expect(outcome).toMatchObject({ kind: 'applied', faults: [{ service: 'shop/bad', listen: badPort }] })
    expect((await ask({ port })).by).toBe('g2')
    expect((await ask({ port: badPort })).by).toBe('g1')
    expect(proxy.health().outdated).toEqual(['shop/bad'])
    expect(proxy.servedRoutes().get('shop/bad' as ServiceName)).toEqual(bad([http(badPort)]))
  })

  test('together with another one gives way to it where that one is served, and holds up no other', async () => {
    const { proxy: plain, port, open, options } = await room()
    await plain.leave()
    const { path, refuse, accept } = await pickyOf(options.dir, 'shop_2fbad__', 'shop_2fzoo__')
    const proxy = await open({ ...options, haproxy: path })
    const [blue, green] = [await app('g1'), await app('g2')]
    const [badPort, zooPort] = [await freePort(), await freePort()]
    const bad = route('shop/bad', [http(badPort)], [[1, 1000, [blue]]])
    const zoo = route('shop/zoo', [http(zooPort)], [[1, 1000, [blue]]])
    const web = (by: App) => route('shop/web', [http(port)], [[1, 1000, [by]]])
    await applied(proxy, tableOf(zoo, web(blue)))
    await refuse()
    const fault = { kind: 'listener', service: 'shop/bad', listen: badPort }
    const outcome = await proxy.apply(tableOf(bad, zoo, web(green)))
    expect(outcome).toMatchObject({ kind: 'applied', faults: [fault] })
    expect((await ask({ port })).by).toBe('g2')
    expect((await ask({ port: zooPort })).by).toBe('g1')
    expect(proxy.health()).toMatchObject({ kind: 'ok', faults: [fault] })
    // It is tried again after ten seconds.
    await accept()
    await until(async () => proxy.health().faults.length === 0, 15_000)
    expect((await ask({ port: badPort })).by).toBe('g1')
  })

  test('that no command has room for is not even tried', async () => {
    const { proxy, port } = await room()
    const [blue, green] = [await app('g1'), await app('g2')]
    const name = 'p'.repeat(20_000)
    const bad = route('shop/bad', [http(await freePort(), { port: name })], [[1, 1000, [blue]]])
    const web = (by: App) => route('shop/web', [http(port)], [[1, 1000, [by]]])
    const why = expect.stringContaining('the name of a port has at most 64 bytes')
    for (const by of [blue, green]) {
      const outcome = await proxy.apply(tableOf(bad, web(by)))
      expect(outcome).toMatchObject({ kind: 'applied', faults: [{ service: 'shop/bad', why }] })
    }
    expect((await ask({ port })).by).toBe('g2')
  })
})

describe('a backend that dies', () => {
  test('fails no GET, and gets no POST twice', async () => {
    const { proxy, port } = await room()
    const apps = await Promise.all(['a', 'b', 'c', 'd', 'e', 'f'].map(name => app(name)))
    await applied(proxy, twoGenerations(port, [1000, 0], apps, []))
    const load = startLoad({ port, clients: 1, perSecond: 200, method: n => (n % 10 === 9 ? 'POST' : 'GET') })
    await sleep(1000)
    apps[2]?.kill()
    await sleep(2500)
    const answers = await load.end()
    expect(failuresOf(answers.filter(answer => answer.method === 'GET'))).toEqual([])
    expect(answers.length).toBeGreaterThan(500)
    const posts = new Set(answers.flatMap((answer, n) => (answer.method === 'POST' ? [n] : [])))
    expect(posts.size).toBeGreaterThan(40)
    const seen = apps.flatMap(a => a.posts).toSorted()
    expect(seen.filter((id, at) => id === seen[at + 1])).toEqual([])
  })

  test('that cannot be reached when it comes gets no traffic until it can', async () => {
    const { proxy, port } = await room()
    const a = await app('a')
    const nobody = { port: await freePort() }
    await applied(proxy, twoGenerations(port, [1000, 0], [a], []))
    await applied(proxy, twoGenerations(port, [1000, 0], [a, nobody], []))
    expect(await answerers(port, 20)).toEqual(['a'])
    await app('b', nobody.port)
    await until(async () => (await answerers(port, 4)).includes('b'), 3_000)
  })
})

describe('the process', () => {
  test('is back within a second when it is killed, with what it served last', async () => {
    const { proxy, port } = await room()
    const [blue, green] = [await app('g1'), await app('g2')]
    const began = performance.now()
    await applied(proxy, twoGenerations(port, [1000, 0], [blue], []))
    const coldMs = performance.now() - began
    await applied(proxy, twoGenerations(port, [0, 1000], [blue], [green]))
    const away: number[] = []
    for (const victim of ['master', 'worker', 'master']) {
      const worker = await workerAt(port)
      const died = performance.now()
      process.kill(victim === 'worker' ? worker : await parentOf(worker), 'SIGKILL')
      await until(async () => (await workerAt(port)) !== worker && (await ask({ port })).by === 'g2', 5_000)
      away.push(performance.now() - died)
      await until(async () => proxy.health().kind === 'ok', 5_000)
    }
    // The best of three, and no slower than a first start where other tests keep the machine busy.
    expect(Math.min(...away)).toBeLessThan(Math.max(1_000, 2 * coldMs))
  })

  test('is killed and started again when it hangs, whether its master or its worker does', async () => {
    const { proxy, port, open, options } = await room()
    await applied(proxy, twoGenerations(port, [1000, 0], [await app('g1')], []))
    const hang = async (who: 'master' | 'worker') => {
      const worker = await workerAt(port)
      process.kill(who === 'worker' ? worker : await parentOf(worker), 'SIGSTOP')
      return worker
    }
    const isBack = async (worker: number) =>
      (await workerAt(port)) !== worker && (await ask({ port })).by === 'g1'
    for (const who of ['worker', 'master'] as const) {
      const worker = await hang(who)
      await until(() => isBack(worker), 10_000)
      await until(async () => proxy.health().kind === 'ok', 5_000)
      expect(await readFile(`/proc/${worker}/cmdline`, 'utf8').catch(() => '')).toBe('')
    }
    await proxy.leave()
    const worker = await hang('worker')
    const next = await open(options)
    expect(await isBack(worker)).toBe(true)
    expect(next.health().kind).toBe('ok')
  })

  test('that is told a table it refuses fails, serves what it served when it dies, and takes the next', async () => {
    const { proxy: plain, port, open, options } = await room()
    await plain.leave()
    const { path, refuse, accept } = await moody(options.dir)
    const proxy = await open({ ...options, haproxy: path })
    const blue = await app('g1')
    const routing = startRouting(proxy)
    const first = route('shop/web', [http(port)], [[1, 1000, [blue]]])
    routing.snapshot('1', [first])
    await until(async () => routing.ack()?.revision === '1', 5_000)
    await refuse()
    const second = route('shop/new', [http(await freePort())], [[1, 1000, [blue]]])
    routing.snapshot('2', [first, second])
    const why = expect.stringContaining('no such keyword')
    await until(async () => proxy.health().kind === 'refusing', 5_000)
    await until(async () => routing.states().length === 1, 1_000)
    expect(routing.states()).toEqual([{ state: 'failing', reason: why }])
    expect(routing.ack()?.revision).toBe('1')
    expect(proxy.health()).toMatchObject({ kind: 'refusing', why })

    const worker = await workerAt(port)
    process.kill(await parentOf(worker), 'SIGKILL')
    await until(async () => (await workerAt(port)) !== worker && (await ask({ port })).by === 'g1', 5_000)
    await until(async () => {
      const health = proxy.health()
      return health.kind === 'refusing' && health.why.includes('no such keyword')
    }, 5_000)
    expect(routing.ack()?.revision).toBe('1')
    // After a restart of the agent the disk is what knows the last good ones.
    await routing.end()
    await proxy.stop()
    const next = await open({ ...options, haproxy: path })
    expect(next.health()).toMatchObject({ kind: 'refusing', why })
    expect((await ask({ port })).by).toBe('g1')
    await accept()
    await applied(next, tableOf(first, second))
    expect(next.health()).toEqual({ kind: 'ok', faults: [] })
    expect((await ask({ port: second.listeners[0]?.listen ?? 0 })).by).toBe('g1')
  })

  test('switches though the disk takes nothing, also when it dies then, and writes it down once it can', async () => {
    const { proxy: first, port, open, options } = await room()
    const [blue, green] = [await app('g1'), await app('g2')]
    await applied(first, twoGenerations(port, [1000, 0], [blue], [green]))
    const state = `${options.dir}/state.json`
    const before = await readFile(state, 'utf8')
    // A folder in the way of one file stands for a disk without room.
    await mkdir(`${options.dir}/shares.map.new`)
    const table = twoGenerations(port, [0, 1000], [blue], [green])
    const disk = { kind: 'disk', why: expect.stringContaining('EISDIR') }
    expect(await first.apply(table)).toEqual({ kind: 'applied', revision: table.revision, faults: [disk] })
    expect(first.health()).toEqual({ kind: 'ok', faults: [disk] })
    expect(await answerers(port, 5)).toEqual(['g2'])
    expect(await readFile(state, 'utf8')).toBe(before)
    // The next agent lets be what is newer than its files.
    await first.leave()
    const proxy = await open(options)
    expect(await answerers(port, 5)).toEqual(['g2'])
    expect(await proxy.apply(table)).toEqual({ kind: 'applied', revision: table.revision, faults: [disk] })
    const worker = await workerAt(port)
    process.kill(await parentOf(worker), 'SIGKILL')
    await until(async () => (await workerAt(port)) !== worker && (await ask({ port })).by === 'g2', 5_000)
    const more = route('shop/more', [http(await freePort())], [[1, 1000, [blue]]])
    const needsReload = tableOf(...table.routes.values(), more)
    expect((await proxy.apply(needsReload)).kind).toBe('refused')
    expect(await answerers(port, 5)).toEqual(['g2'])
    await rmdir(`${options.dir}/shares.map.new`)
    await until(async () => proxy.health().faults.length === 0, 5_000)
    expect(await readFile(state, 'utf8')).toContain(`"revision":"${table.revision}"`)
    await applied(proxy, needsReload)
  })

  test('whose pid the disk does not take serves, says so, and says nothing once it is written', async () => {
    const { proxy, port, options } = await room()
    const table = twoGenerations(port, [1000, 0], [await app('g1')], [await app('g2')])
    await applied(proxy, table)
    const restart = async () => {
      const worker = await workerAt(port)
      process.kill(await parentOf(worker), 'SIGKILL')
      await until(async () => (await workerAt(port)) !== worker && (await ask({ port })).by === 'g1', 5_000)
    }
    await mkdir(`${options.dir}/haproxy.pid.new`)
    await restart()
    const why = expect.stringMatching(/^the pid of the proxy cannot be saved: EISDIR/)
    await until(async () => proxy.health().kind === 'ok', 5_000)
    expect(proxy.health()).toEqual({ kind: 'ok', faults: [{ kind: 'disk', why }] })
    await rmdir(`${options.dir}/haproxy.pid.new`)
    await restart()
    await until(async () => proxy.health().kind === 'ok', 5_000)
    expect(proxy.health()).toEqual({ kind: 'ok', faults: [] })
  })

  test('keeps its ports open though its next agent finds no state', async () => {
    const { proxy, port, open, options } = await room()
    const [a, b] = [await app('a'), await echo('b')]
    const tcpPort = await freePort()
    const table = () =>
      tableOf(
        route('shop/web', [http(port)], [[1, 1000, [a]]]),
        route('db/main', [tcp(tcpPort)], [[1, 1000, [b]]]),
      )
    await applied(proxy, table())
    await proxy.leave()
    await writeFile(`${options.dir}/state.json`, '{"version":1,"revision":"1"')
    const next = await open(options)
    const load = startLoad({ port, clients: 4, perSecond: 200 })
    await applied(next, table())
    expect(await (await talk(tcpPort)).say('1')).toBe('b:1')
    expect(failuresOf(await load.end())).toEqual([])
  })

  test('serves on while its agent restarts, and is taken over', async () => {
    const { proxy, port, open, options } = await room()
    const [blue, green] = [await app('g1'), await app('g2')]
    await applied(proxy, twoGenerations(port, [1000, 0], [blue], [green]))
    const worker = await workerAt(port)
    const load = startLoad({
      port,
      clients: 4,
      perSecond: 200,
      path: n => (n % 40 === 0 ? '/slow?ms=1000' : '/'),
    })
    await sleep(200)
    await proxy.leave()
    await sleep(300)
    const next = await open(options)
    expect(next.health().kind).toBe('ok')
    await applied(next, twoGenerations(port, [0, 1000], [blue], [green]))
    expect(await answerers(port, 5)).toEqual(['g2'])
    expect(await workerAt(port)).toBe(worker)
    const answers = await load.end()
    expect(failuresOf(answers)).toEqual([])
  })

  test('is told again what it should say when somebody changed it', async () => {
    const { proxy, port, open, options } = await room()
    const [blue, green] = [await app('g1'), await app('g2')]
    await applied(proxy, twoGenerations(port, [1000, 0], [blue], [green]))
    await proxy.leave()
    const runtime = new Runtime({
      socket: `${options.dir}/master.sock`,
      clock: systemClock,
      timeoutMs: 2_000,
    })
    const worker = await workerAt(port)
    await runtime.tell(worker, [
      `set map ${options.dir}/shares.map shop_2fweb 1`,
      'set server shop_2fweb__main__http__0/s1 state maint',
      `add map ${options.dir}/paths.map nonsense x:y`,
    ])
    expect((await ask({ port })).by).toBe('g2')
    await open(options)
    expect((await ask({ port })).by).toBe('g1')
    expect(await runtime.ask(worker, `show map ${options.dir}/paths.map`)).not.toContain('nonsense')
    expect(await workerAt(port)).toBe(worker)
  })
})

describe('a share', () => {
  test('is exact for new users, and kept by those who return', async () => {
    const { proxy, port } = await room()
    const [blue, green] = [await app('g1'), await app('g2')]
    await applied(proxy, twoGenerations(port, [750, 250], [blue], [green]))
    const agent = new Agent({ keepAlive: true, maxSockets: 8 })
    const users = await Promise.all(Array.from({ length: 2000 }, () => ask({ port, agent })))
    const onGreen = users.filter(user => user.by === 'g2')
    // 99.9 % of the binomial distribution of 2,000 at 25 %.
    expect(Math.abs(onGreen.length - 500)).toBeLessThan(3.3 * Math.sqrt(2000 * 0.25 * 0.75))
    const returning = users
      .slice(0, 200)
      .map(user => ({ ...user, cookie: user.cookies[0]?.split(';')[0] ?? '' }))
    const again = () => Promise.all(returning.map(({ cookie }) => ask({ port, agent, headers: { cookie } })))
    const same = await again()
    expect(same.map(answer => answer.by)).toEqual(returning.map(answer => answer.by))
    expect(same.flatMap(answer => answer.cookies)).toEqual([])
    await applied(proxy, twoGenerations(port, [500, 500], [blue], [green]))
    const later = await again()
    expect(later.filter((answer, at) => same[at]?.by === 'g2' && answer.by !== 'g2')).toEqual([])
    expect(later.filter(answer => answer.by === 'g2').length).toBeGreaterThan(60)
    agent.destroy()
  })
})

describe('an HTTP request', () => {
  test('finds its route by port, host name and the longest path', async () => {
    const { proxy, port } = await room()
    const [a, b, c, d] = [await app('a'), await app('b'), await app('c'), await app('d')]
    const other = await freePort()
    await applied(
      proxy,
      tableOf(
        route('shop/a', [http(port, { hostnames: ['shop.example', 'www.shop.example'] })], [[1, 1000, [a]]]),
        route('shop/b', [http(port, { hostnames: ['shop.example'], path: '/cart' })], [[1, 1000, [b]]]),
        route('shop/c', [http(port), http(other, { path: '/only/here' })], [[1, 1000, [c]]]),
        route(
          'shop/d',
          [http(port, { hostnames: ['shop.example'], path: '/cart/old-x/' })],
          [[1, 1000, [d]]],
        ),
        route('shop/none', [http(port, { hostnames: ['none.example'] })], [[1, 0, []]]),
      ),
    )
    const by = async (host: string, path: string, at = port) => {
      const answer = await ask({ port: at, path, headers: { host } })
      return answer.status === 200 ? answer.by : `${answer.status} ${JSON.parse(answer.body).code}`
    }
    expect(await by('shop.example', '/')).toBe('a')
    expect(await by('SHOP.example.:8080', '/x?y=/cart')).toBe('a')
    expect(await by('www.shop.example', '/cart')).toBe('a')
    expect(await by('shop.example', '/cart')).toBe('b')
    expect(await by('shop.example', '/cart?x')).toBe('b')
    expect(await by('shop.example', '/cart/old')).toBe('b')
    expect(await by('shop.example', '/carts')).toBe('a')
    expect(await by('shop.example', '/cart/old-x')).toBe('d')
    expect(await by('shop.example', '/cart/old-x/1')).toBe('d')
    expect(await by('unknown.example', '/cart')).toBe('c')
    expect(await by('any', '/only/here/now', other)).toBe('c')
    expect(await by('any', '/', other)).toBe('404 no_route')
    expect(await by('none.example', '/')).toBe('503 no_instance')
    const none = await ask({ port, headers: { host: 'none.example' } })
    expect(JSON.parse(none.body).detail).toBe('no instance of shop/none is ready')
  })

  test('reaches the instance with who sent it, and without our own headers', async () => {
    const { proxy, port } = await room()
    await applied(proxy, twoGenerations(port, [1000, 0], [await app('a')], []))
    const headers = { 'x-boxcar-door': 'evil', 'X-Boxcar-Preview': 'evil', 'x-forwarded-for': '203.0.113.9' }
    const seen = JSON.parse((await ask({ port, headers })).body).headers
    expect(Object.keys(seen).filter(name => name.startsWith('x-boxcar'))).toEqual([])
    expect(seen['x-forwarded-for']).toBe('203.0.113.9, 127.0.0.1')
    expect(seen['x-forwarded-proto']).toBe('http')
    expect(seen['x-request-id']).toMatch(/^[0-9a-f-]{36}$/)
    const own = JSON.parse((await ask({ port, headers: { 'x-request-id': 'mine' } })).body).headers
    expect(own['x-request-id']).toBe('mine')
  })

  test.each([
    ['GET /a/../b HTTP/1.1', '400'],
    ['GET /a/%2e%2E/b HTTP/1.1', '400'],
    ['GET /a/..%2fb HTTP/1.1', '400'],
    ['GET /a%00 HTTP/1.1', '400'],
    ['GET /a%0d%0ab HTTP/1.1', '400'],
    ['GET /./ HTTP/1.1', '400'],
    ['GET /private%2fthing HTTP/1.1', '400'],
    ['GET /a HTTP/1.1\r\nX-Bad: a\x00b', '400'],
    ['GET /a HTTP/1.1\r\nX-Bad: a\x01b', '400'],
    ['GET /a..b/.well-known/x HTTP/1.1', '200'],
    ['GET /?next=/../x HTTP/1.1', '200'],
    ['GET /a HTTP/1.1\r\nX-Tab: a\tb', '200'],
  ])('%j is answered %s', async (head, status) => {
    const { proxy, port } = await room()
    const a = await app('a')
    const listeners = [http(port), http(port, { path: '/private', expose: 'private' })]
    await applied(proxy, tableOf(route('shop/web', listeners, [[1, 1000, [a]]])))
    const answer = await raw(port, `${head}\r\nHost: x\r\nConnection: close\r\n\r\n`)
    expect(answer.split(' ')[1]).toBe(status)
  })

  test('from outside does not see a private route', async () => {
    const { proxy, port } = await room({ public: '127.0.0.2', private: ['127.0.0.1'] })
    const a = await app('a')
    const listeners = [http(port), http(port, { path: '/inner', expose: 'private' as const })]
    const inner = route('shop/inner', [listeners[1] ?? http(port)], [[1, 1000, [await app('inner')]]])
    await applied(proxy, tableOf(route('shop/web', [http(port)], [[1, 1000, [a]]]), inner))
    expect((await ask({ port, path: '/inner' })).by).toBe('inner')
    expect((await ask({ port, path: '/inner', host: '127.0.0.2' })).by).toBe('a')
  })
})

describe('a TCP route', () => {
  test('switches new connections, and gives old ones their drain time', async () => {
    const { proxy, port } = await room()
    const [a, b] = [await echo('a'), await echo('b')]
    const table = (shares: [number, number]) =>
      tableOf(
        route(
          'db/main',
          [tcp(port)],
          [
            [1, shares[0], [a]],
            [2, shares[1], [b]],
          ],
          600,
        ),
      )
    await applied(proxy, table([1000, 0]))
    const old = await talk(port)
    expect(await old.say('1')).toBe('a:1')
    await applied(proxy, table([0, 1000]))
    const fresh = await talk(port)
    expect(await fresh.say('2')).toBe('b:2')
    expect(await old.say('3')).toBe('a:3')
    const switched = performance.now()
    await old.closed
    expect(performance.now() - switched).toBeGreaterThan(300)
    expect(performance.now() - switched).toBeLessThan(2_500)
    expect(await fresh.say('4')).toBe('b:4')
    expect(await proxy.draining()).toEqual([])
    fresh.end()
  })
})

describe('a WebSocket', () => {
  test('lives through switches and reloads, and is closed when its instance has left for its drain time', async () => {
    const { proxy, port } = await room()
    const [a, b] = [await app('a'), await app('b')]
    const table = (live: 1 | 2, members: [Member[], Member[]], more: Route[] = []) =>
      tableOf(
        route(
          'shop/web',
          [http(port)],
          [
            [1, live === 1 ? 1000 : 0, members[0]],
            [2, live === 2 ? 1000 : 0, members[1]],
          ],
          500,
        ),
        ...more,
      )
    await applied(proxy, table(1, [[a], [b]]))
    const socket = await talk(port)
    expect(
      await socket.say('GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n'),
    ).toContain('101')
    expect(await socket.say('1')).toBe('a:1')
    const more = route('shop/more', [http(port, { hostnames: ['more.example'] })], [[1, 1000, [b]]])
    await applied(proxy, table(2, [[a], [b]], [more]))
    await sleep(900)
    expect(await socket.say('2')).toBe('a:2')
    await applied(proxy, table(2, [[], [b]], [more]))
    expect(await proxy.draining()).toEqual(['shop/web/1/0'])
    await socket.closed
    await until(async () => (await proxy.draining()).length === 0, 1_000)
  })
})

describe('an endpoint that leaves', () => {
  test('is draining while it has sessions, on a replaced worker too, and is cut at its deadline', async () => {
    const { proxy, port } = await room()
    const [a, b] = [await app('a'), await app('b')]
    await applied(proxy, tableOf(route('shop/web', [http(port)], [[1, 1000, [a]]], 1_500)))
    const slow = [1, 2, 3, 4].map(() => ask({ port, path: '/?ms=1000' }))
    const tooSlow = [1, 2].map(() => ask({ port, path: '/?ms=9000' }))
    await sleep(100)
    let changes = 0
    proxy.onChange(() => changes++)
    // The second service costs a reload, so the sessions are with the worker of before.
    const other = route('shop/other', [http(port, { hostnames: ['other.example'] })], [[1, 1000, [b]]])
    const left = tableOf(
      route('shop/web', [http(port)], [[1, 1000, [{ ...b, instance: 'shop/web/1/1' }]]], 1_500),
      other,
    )
    await applied(proxy, left)
    expect(await proxy.draining()).toEqual(['shop/web/1/0'])
    expect(await answerers(port, 10)).toEqual(['b'])
    const done = await Promise.all(slow)
    expect(failuresOf(done)).toEqual([])
    expect(await proxy.draining()).toEqual(['shop/web/1/0'])
    await until(async () => (await proxy.draining()).length === 0, 2_500)
    expect(changes).toBeGreaterThan(1)
    expect((await Promise.all(tooSlow)).map(answer => answer.failed)).toEqual([true, true])
  })

  test('without sessions is let go at once', async () => {
    const { proxy, port } = await room()
    const [a, b] = [await app('a'), await app('b')]
    await applied(proxy, twoGenerations(port, [1000, 0], [a, b], []))
    await answerers(port, 10)
    await applied(proxy, twoGenerations(port, [1000, 0], [a], []))
    await until(async () => (await proxy.draining()).length === 0, 500)
  })
})

describe('a port', () => {
  test.each(['127.0.0.1', '0.0.0.0', '::1', '::'])(
    'that a process holds at %s is seen as its own',
    async address => {
      const server = createServer()
      await new Promise<void>(resolve => server.listen(0, address, resolve))
      cleanups.push(() => void server.close())
      const { port } = server.address() as AddressInfo
      expect(await doorsHeldBy([process.pid])).toContainEqual({ address, port })
    },
  )

  test('that somebody else holds is named, the rest works, and it is taken once it is free', async () => {
    const { proxy, port } = await room()
    const a = await app('a')
    const holder = await app('holder')
    const table = tableOf(route('shop/web', [http(port), http(holder.port)], [[1, 1000, [a]]]))
    // The process of this test is the agent here.
    const by = { reason: 'held', holder: agentHolder }
    const fault = { kind: 'port', port: holder.port, address: '127.0.0.1', ...by }
    expect(await proxy.apply(table)).toEqual({ kind: 'applied', revision: table.revision, faults: [fault] })
    expect(proxy.health()).toEqual({ kind: 'ok', faults: [fault] })
    expect((await ask({ port })).by).toBe('a')
    holder.kill()
    await until(async () => (await ask({ port: holder.port })).by === 'a', 4_000)
    await until(async () => proxy.health().faults.length === 0, 500)
  })

  test('that is freed while a reload has to wait is taken once it may', async () => {
    const { proxy, port } = await room()
    const [a, db] = [await app('a'), await echo('db')]
    const [tcpPort, taken] = [await freePort(), await freePort()]
    const holder = await listenAt(taken)
    const more: Route[] = [route('db/main', [tcp(tcpPort)], [[1, 1000, [db]]])]
    const table = () => tableOf(route('shop/web', [http(port), http(taken)], [[1, 1000, [a]]]), ...more)
    // Each reload leaves a worker with an open connection; after eleven the next may come four seconds later.
    for (let n = 0; n < 12; n++) {
      let outcome = await proxy.apply(table())
      for (; outcome.kind === 'postponed'; outcome = await proxy.apply(table())) await sleep(outcome.inMs)
      expect(outcome.kind).toBe('applied')
      await (await talk(tcpPort)).say('1')
      more.push(route(`more/s${n}`, [http(port, { hostnames: [`s${n}.example`] })], [[1, 1000, [a]]]))
    }
    await new Promise(resolve => holder?.close(resolve))
    await until(async () => (await ask({ port: taken }).catch(() => undefined))?.by === 'a', 9_000)
    await until(async () => proxy.health().faults.length === 0, 1_000)
  })

  test('that a stale process shares is named with it, and is ours alone once that ends', async () => {
    const { proxy, port } = await room()
    const a = await app('a')
    await applied(proxy, twoGenerations(port, [1000, 0], [a], []))
    const other = await stale(port)
    const shared = { kind: 'port', port, address: '127.0.0.1', reason: 'shared' }
    const by = { holder: `process ${other.pid} (haproxy)` }
    await until(async () => proxy.health().faults.length > 0, 20_000)
    // The process itself is well: only this port is not ours alone.
    expect(proxy.health()).toEqual({ kind: 'ok', faults: [{ ...shared, ...by }] })
    other.kill()
    await until(async () => proxy.health().faults.length === 0, 4_000)
  })

  test('that somebody took while the process was down is named, and served again once it is free', async () => {
    const { proxy, port, open, options } = await room()
    const a = await app('a')
    const taken = await freePort()
    const table = tableOf(route('shop/web', [http(port), http(taken)], [[1, 1000, [a]]]))
    await applied(proxy, table)
    await proxy.leave()
    process.kill(await parentOf(await workerAt(port)), 'SIGKILL')
    const holder = await until(() => listenAt(taken), 5_000)
    const next = await open(options)
    const fault = { kind: 'port', port: taken, address: '127.0.0.1', reason: 'held', holder: agentHolder }
    expect(next.health().faults).toEqual([fault])
    expect((await ask({ port })).by).toBe('a')
    await new Promise(resolve => holder.close(resolve))
    await until(async () => (await ask({ port: taken })).by === 'a', 4_000)
    await until(async () => next.health().faults.length === 0, 500)
  })
})

// --- the means ---------------------------------------------------------------------------------------------------

interface Answer {
  readonly began: number
  readonly method: string
  /** Who answered, or why nobody did. */
  readonly by: string
  readonly failed: boolean
}

let nextRevision = 100

function tableOf(...routes: Route[]): RouteTable {
  return { revision: `${nextRevision++}`, routes: new Map(routes.map(r => [r.service, r])) }
}

type Member = { readonly port: number; readonly instance?: string }

function route(
  service: string,
  listeners: Listener[],
  backings: [number, number, Member[]][],
  drainMs = 5_000,
): Route {
  return {
    service: service as ServiceName,
    uid: 'u1',
    term: '1',
    listeners,
    drainMs,
    backings: backings.map(([generation, share, members]) => ({
      generation: generation as GenerationNumber,
      share,
      endpoints: members.map((member, at) => ({
        instance: (member.instance ?? `${service}/${generation}/${at}`) as InstanceId,
        address: '127.0.0.1',
        ports: { main: member.port },
      })),
    })),
  }
}

const http = (listen: number, more: Partial<Listener> = {}): Listener => ({
  protocol: 'http',
  listen,
  hostnames: [],
  path: '/',
  expose: 'public',
  port: 'main',
  ...more,
})
const tcp = (listen: number): Listener => ({ ...http(listen), protocol: 'tcp', expose: 'private' })

function twoGenerations(port: number, shares: [number, number], one: Member[], two: Member[]): RouteTable {
  return tableOf(
    route(
      'shop/web',
      [http(port)],
      [
        [1, shares[0], one],
        [2, shares[1], two],
      ],
    ),
  )
}

type Opened = Awaited<ReturnType<typeof openProxy>>

interface Room {
  readonly proxy: Opened
  readonly port: number
  readonly options: ProxyOptions
  readonly open: (options: ProxyOptions) => Promise<Opened>
}

async function room(
  bind: ProxyOptions['bind'] = { public: '127.0.0.1', private: ['127.0.0.1'] },
): Promise<Room> {
  const dir = await mkdtemp(join(tmpdir(), 'boxcar-proxy-'))
  cleanups.push(() => rm(dir, { recursive: true, force: true }))
  const options: ProxyOptions = { haproxy, dir, bind, clock: systemClock, log }
  const open = async (given: ProxyOptions) => {
    const proxy = await openProxy(given)
    cleanups.push(() => proxy.stop())
    return proxy
  }
  return { proxy: await open(options), port: await freePort(), options, open }
}

/** Applies a table, again where it is postponed. */
async function applied(proxy: Opened, table: RouteTable): Promise<void> {
  let outcome = await proxy.apply(table)
  for (; outcome.kind === 'postponed'; outcome = await proxy.apply(table)) await sleep(outcome.inMs)
  expect(outcome).toEqual({ kind: 'applied', revision: table.revision, faults: [] })
}

interface App {
  readonly port: number
  readonly kill: () => void
  /** The ids of all requests that arrived, and of the POSTs among them. */
  readonly seen: string[]
  readonly posts: string[]
}

/** A backend that says its name, slowly when asked to. */
async function app(name: string, port = 0): Promise<App> {
  const seen: string[] = []
  const posts: string[] = []
  const sockets = new Set<Socket>()
  const server = createHttpServer((req, res) => {
    const id = req.headers['x-test-id']
    if (typeof id === 'string') (req.method === 'POST' ? posts : seen).push(id)
    const ms = Number(/[?&]ms=(\d+)/.exec(req.url ?? '')?.[1] ?? 0)
    const answer = () => {
      res.setHeader('x-by', name)
      res.end(JSON.stringify({ by: name, url: req.url, headers: req.headers }))
    }
    if (ms > 0) setTimeout(answer, ms)
    else answer()
  })
  server.on('upgrade', (_req, socket) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n')
    socket.on('data', data => socket.write(`${name}:${data}`))
    socket.on('error', () => socket.destroy())
  })
  server.on('connection', socket => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  await new Promise<void>(resolve => server.listen(port, '127.0.0.1', resolve))
  const kill = () => {
    server.close()
    for (const socket of sockets) socket.resetAndDestroy()
  }
  cleanups.push(kill)
  return { port: (server.address() as AddressInfo).port, kill, seen, posts }
}

/** A TCP backend that repeats what it hears after its name. */
async function echo(name: string): Promise<Member> {
  const server = createServer(socket => {
    socket.on('data', data => socket.write(`${name}:${data}`))
    socket.on('error', () => socket.destroy())
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  cleanups.push(() => void server.close())
  return { port: (server.address() as AddressInfo).port }
}

async function talk(port: number) {
  const socket = connect(port, '127.0.0.1')
  cleanups.push(() => void socket.destroy())
  const closed = new Promise<void>(resolve => socket.on('close', () => resolve()))
  socket.on('error', () => undefined)
  const say = (word: string) =>
    new Promise<string>(resolve => {
      socket.once('data', data => resolve(String(data)))
      socket.write(word)
    })
  return { say, closed, end: () => socket.end() }
}

function raw(port: number, text: string): Promise<string> {
  return new Promise(resolve => {
    const socket = connect(port, '127.0.0.1')
    let answer = ''
    socket.on('data', data => {
      answer += String(data)
    })
    socket.on('close', () => resolve(answer))
    socket.on('error', () => resolve(answer))
    socket.write(text)
  })
}

/** The pid of the worker that answers on a port. */
async function workerAt(port: number): Promise<number> {
  return Number((await ask({ port, headers: { 'x-boxcar-probe': '1' } })).body)
}

async function parentOf(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/^PPid:\s*(\d+)/m.exec(text)?.[1])
}

/** Who answers a number of requests. */
async function answerers(port: number, count: number): Promise<readonly string[]> {
  const answers = await Promise.all(Array.from({ length: count }, () => ask({ port })))
  return [...new Set(answers.map(answer => answer.by))].toSorted()
}

async function until<T>(look: () => Promise<T | false | undefined>, withinMs: number): Promise<T> {
  const deadline = performance.now() + withinMs
  for (;;) {
    const seen = await look()
    if (seen !== false && seen !== undefined) return seen
    if (performance.now() > deadline) throw new Error(`did not come true within ${withinMs} ms`)
    await sleep(15)
  }
}

/** A binary that finds fault with every configuration. */
async function refusing(dir: string): Promise<string> {
  const path = `${dir}/refusing`
  await writeFile(path, '#!/bin/sh\necho "[ALERT] (1) : no such keyword" >&2\nexit 1\n', { mode: 0o700 })
  return path
}

/** A binary that finds fault with every configuration while it is told to. */
async function moody(dir: string) {
  const path = `${dir}/moody`
  const sign = `${dir}/refuse`
  const script = `#!/bin/sh
if [ "$1" = -c ] && [ -e ${sign} ]; then
  echo "[ALERT] (1) : no such keyword" >&2
  exit 1
fi
exec ${haproxy} "$@"
`
  await writeFile(path, script, { mode: 0o700 })
  return { path, refuse: () => writeFile(sign, ''), accept: () => rm(sign) }
}

/** A binary that, while it is told to, finds fault with every configuration in which all these words stand. */
async function pickyOf(dir: string, ...words: readonly string[]) {
  const path = `${dir}/picky`
  const sign = `${dir}/refuse`
  const script = `#!/bin/sh
if [ "$1" = -c ] && [ -e ${sign} ]${words.map(word => ` && grep -q ${word} "$3"`).join('')}; then
  echo "[ALERT] (1) : ${words.join(' and ')} is not liked" >&2
  exit 1
fi
exec ${haproxy} "$@"
`
  await writeFile(path, script, { mode: 0o700 })
  return { path, refuse: () => writeFile(sign, ''), accept: () => rm(sign) }
}

/** The agent's routing before a proxy, with what it tells the cluster. */
function startRouting(proxy: Opened) {
  let ack: RouteAck | undefined
  const states: ProxyState[] = []
  const routing = new Routing({
    proxy,
    clock: systemClock,
    log: silent,
    errors: new InternalErrors({ log: silent, tell: () => {} }),
    tell: () => undefined,
    onAck: next => {
      ack = next
    },
    onState: state => states.push(state),
  })
  const stop = new AbortController()
  const running = routing.run(stop.signal)
  const end = () => {
    stop.abort()
    return running
  }
  cleanups.push(end)
  const snapshot = (revision: string, wanted: readonly Route[]) =>
    routing.take({
      kind: 'snapshot',
      revision: revision as Revision,
      entries: wanted.map(value => ({
        kind: 'put',
        collection: routes,
        entry: {
          id: value.service,
          value,
          created: revision as Revision,
          modified: revision as Revision,
          lease: undefined,
        },
      })),
      unreadable: [],
    })
  return { snapshot, ack: () => ack, states: () => states, end }
}

/** Another HAProxy on the same port, as one that somebody forgot would be. */
async function stale(port: number) {
  const dir = await mkdtemp(join(tmpdir(), 'boxcar-stale-'))
  cleanups.push(() => rm(dir, { recursive: true, force: true }))
  const configuration = `defaults
  mode http
  timeout connect 1s
  timeout client 1s
  timeout server 1s
frontend f
  bind 127.0.0.1:${port}
  http-request return status 200
`
  await writeFile(`${dir}/stale.cfg`, configuration)
  const child = spawn(haproxy, ['-db', '-f', `${dir}/stale.cfg`], { stdio: 'ignore' })
  const kill = () => void child.kill('SIGKILL')
  cleanups.push(kill)
  return { pid: child.pid, kill }
}

/** Somebody who listens at a port and answers nothing; nobody where another one does. */
async function listenAt(port: number) {
  const server = createServer(socket => socket.destroy())
  const listens = await new Promise<boolean>(resolve => {
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => resolve(true))
  })
  if (!listens) return undefined
  cleanups.push(() => void server.close())
  return server
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise(resolve => server.close(resolve))
  return port
}

interface LoadOptions {
  readonly port: number
  readonly clients: number
  readonly perSecond: number
  readonly path?: (n: number) => string
  readonly method?: (n: number) => string
}

/** Clients that keep their connections, sending at an even pace. */
function startLoad({ port, clients, perSecond, path = () => '/', method = () => 'GET' }: LoadOptions) {
  const answers: Answer[] = []
  const open = new Set<Promise<void>>()
  const agents = Array.from({ length: clients }, () => new Agent({ keepAlive: true }))
  const began = performance.now()
  let sent = 0
  const timer = setInterval(() => {
    const due = Math.floor(((performance.now() - began) / 1000) * perSecond)
    for (; sent < due; sent++) {
      const n = sent
      const agent = agents[n % clients]
      const call = ask({
        port,
        path: path(n),
        method: method(n),
        ...(agent === undefined ? {} : { agent }),
        id: `${port}-${n}`,
      })
        .then(answer => void answers.push(answer))
        .finally(() => open.delete(call))
      open.add(call)
    }
  }, 5)
  const end = async () => {
    clearInterval(timer)
    await Promise.all(open)
    for (const agent of agents) agent.destroy()
    return answers
  }
  cleanups.push(end)
  return { end, sent: () => sent }
}

interface Asked {
  readonly port: number
  readonly host?: string
  readonly path?: string
  readonly method?: string
  readonly agent?: Agent
  readonly id?: string
  readonly headers?: Record<string, string>
}

interface FullAnswer extends Answer {
  readonly status: number
  readonly body: string
  readonly cookies: readonly string[]
}

function ask({
  port,
  host = '127.0.0.1',
  path = '/',
  method = 'GET',
  agent,
  id,
  headers = {},
}: Asked): Promise<FullAnswer> {
  const began = performance.now()
  return new Promise(resolve => {
    const end = (by: string, status: number, body: string, cookies: readonly string[] = []) =>
      resolve({ began, method, by, failed: status !== 200, status, body, cookies })
    const req = request({
      host,
      port,
      path,
      method,
      agent: agent ?? false,
      headers: { ...(id === undefined ? {} : { 'x-test-id': id }), ...headers },
    })
    req.on('response', response => {
      let body = ''
      response.on('data', chunk => {
        body += chunk
      })
      response.on('end', () =>
        end(
          String(response.headers['x-by'] ?? ''),
          response.statusCode ?? 0,
          body,
          response.headers['set-cookie'],
        ),
      )
      response.on('error', error => end(error.message, 0, ''))
    })
    req.on('error', error => end(error.message, 0, ''))
    req.end(method === 'POST' ? 'body' : undefined)
  })
}

/** What went wrong, in few words and at most ten of them. */
const failuresOf = (answers: readonly Answer[]) =>
  answers
    .filter(answer => answer.failed)
    .slice(0, 10)
    .map(({ by, method }) => `${method} ${by}`)

/** Silent, unless a failing test is being looked into. */
const say =
  process.env['BOXCAR_TEST_LOG'] === undefined ? () => {} : (...words: unknown[]) => console.error(...words)
const log = { debug: say, info: say, warn: say, error: say }

const sleep = (ms: number) => new Promise(resolve => setTimeout(resolve, ms))
