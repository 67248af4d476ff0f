/**
 * Every command of the catalogue as a program of its own, into readers as they are: one that is slow, and one that closes early.
 * `BOXCAR_SLOW_READER=literal vitest run --project unit pipes` reads 1 KB a second for the first 100 KB of each command, as
 * people do who page through it; that takes some minutes. By itself the same amount is read a thousand times faster.
 */
import { type ChildProcess, execFileSync, type StdioOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Agents } from '@boxcar/api/agents'
import { type TestServer, testServer } from '@boxcar/api/testing'
import type { GenerationNumber, HostId, InstanceId, ServiceName } from '@boxcar/core/model/ids'
import { put, remove } from '@boxcar/store/collection'
import { events, intents, placements, specs } from '@boxcar/store/keys'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { catalogue } from './commands/catalogue.ts'
import { exitStatus } from './exit.ts'
import { notYetCommands } from './syntax/not-yet.ts'

const literal = process.env['BOXCAR_SLOW_READER'] === 'literal'
const paceMs = literal ? 1_000 : 1
const slowBytes = 100 * 1024
/** A reader that looks only now: by then a program that does not wait for it has ended. */
const lateMs = 1_500
const timeoutMs = literal ? 400_000 : 60_000

/** What to run. A command that changes something meets each time a cluster as it was; the others meet a large one. */
interface Row {
  readonly argv: readonly string[]
  readonly cluster: 'large' | 'fresh' | 'none'
}
const reads = (...argv: readonly string[]): Row => ({ argv, cluster: 'large' })
const changes = (...argv: readonly string[]): Row => ({ argv, cluster: 'fresh' })
const alone = (...argv: readonly string[]): Row => ({ argv, cluster: 'none' })

const examples = new URL('../../../examples/hello.yaml', import.meta.url).pathname
const nobody = ['--etcd', '127.0.0.1:1', '--log', 'silent']

/** Where there is a choice, the form that prints most. */
const rows: Readonly<Record<string, Row>> = {
  agent: alone('agent', '--label', 'no label'),
  deploy: changes('deploy', '-f', examples, '--yes', '--detach', '-o', 'name'),
  describe: reads('describe', 'service', 'web', '-o', 'yaml'),
  dev: alone('dev', '--listen', '0.0.0.0:7070'),
  doctor: alone('doctor', ...nobody, '--docker', 'unix:///nowhere', '-o', 'name'),
  events: reads('events', '--tail', '10000', '-o', 'jsonl'),
  explain: alone('explain', '-o', 'json'),
  get: reads('get', 'services', '-o', 'json'),
  'host cordon': changes('host', 'cordon', 'h1', '-o', 'name'),
  'host drain': changes('host', 'drain', 'h1', '-o', 'name'),
  'host label': changes('host', 'label', 'h1', 'zone=b', '-o', 'json'),
  'host ls': reads('host', 'ls', '-o', 'wide'),
  'host uncordon': changes('host', 'uncordon', 'h1', '-o', 'name'),
  logs: reads('logs', 'web', '--tail', '10000'),
  plan: reads('plan', '-f', examples, '-o', 'json'),
  rm: changes('rm', 'web', '--yes', '--detach'),
  'rollout abort': changes('rollout', 'abort', 'web', '--yes', '-o', 'name'),
  'rollout history': reads('rollout', 'history', 'web', '-o', 'json'),
  'rollout pause': alone('rollout', 'pause', 'web'),
  'rollout promote': alone('rollout', 'promote', 'web'),
  'rollout resume': alone('rollout', 'resume', 'web'),
  'rollout status': reads('rollout', 'status', 'web', '-o', 'json'),
  'rollout watch': reads('rollout', 'watch', 'web', '--timeout', '500ms'),
  scale: changes('scale', 'web=3'),
  server: alone('server', ...nobody),
  status: reads('status', '-o', 'json'),
  'topic exit-status': alone('exit-status'),
  'topic settings': alone('help', 'settings'),
  undo: changes('undo', 'web', '--detach', '-o', 'name'),
  version: reads('version'),
  why: reads('why', 'web'),
  ...Object.fromEntries(notYetCommands.map(name => [name, alone(...name.split(' '))])),
}

/** Lines that come from no command. */
const besides = [alone('--help'), alone('help', 'deploy'), alone('depoy'), alone('get', '--foo')]

const web = 'default/web' as ServiceName
const line =
  'a line of a log that is as long as lines of logs usually are, with a request and how long it took'

const agents: Agents = {
  logs: async (_host, _instance, { tail = 0, follow, signal }) => ({
    kind: 'lines',
    lines: (async function* () {
      const count = follow === true ? 1 : tail
      for (let i = 0; i < count; i += 1) yield { at: i, stream: 'stdout' as const, line: `${line} ${i}` }
      if (follow === true) await once(signal, 'abort').catch(() => undefined)
    })(),
  }),
}

interface Cluster {
  readonly url: string
  readonly services: () => Promise<readonly string[]>
  readonly close: () => Promise<void>
}

/** A host, the service `web` with one instance, and `more` other services with an event each. */
async function cluster(more: number): Promise<Cluster> {
  const server = await testServer({ agents })
  const url = await server.app.listen({ host: '127.0.0.1', port: 0 })
  await server.addHost('h1')
  for (let i = 0; i <= more; i += 1) {
    const answer = await server.app.inject({
      method: 'PUT',
      url: `/v1/projects/default/services/${i === 0 ? 'web' : `other-${i}`}`,
      payload: { image: 'web:1', env: i === 0 ? bigEnv(120) : {} },
    })
    expect(answer.statusCode, answer.body).toBe(201)
  }
  const uid = (await server.store.get(specs, web))?.value.uid ?? 'none'
  const instance = 'default/web/1/0' as InstanceId
  const generation = 1 as GenerationNumber
  await server.roll(web, { phase: 'warming', next: generation }, { since: 0 })
  await server.write(
    put(
      placements,
      { host: 'h1' as HostId, instance },
      {
        ...{ instance, service: web, generation, slot: 0, host: 'h1' as HostId, uid, term: '1' },
        ...{ desired: 'run', because: 'missing', cpuMilli: 100, memoryMiB: 64, ports: {} },
        image: 'web@sha256:1',
      },
    ),
  )
  for (let i = 0; i < more; i += 1) {
    const event = { at: i, level: 'info' as const, kind: 'test', writer: 'scheduler', service: web }
    await server.write(put(events, { writer: 'scheduler', id: String(i) }, { ...event, message: line }))
  }
  const ended = new AbortController()
  const leader = takeIntents(server, ended.signal)
  return {
    url,
    services: async () => (await server.store.list(specs)).entries.map(it => it.id.split('/')[1] ?? ''),
    close: async () => {
      ended.abort()
      await leader
      await server.close()
    },
  }
}

/** What the leader does with an undo and an abort, as far as the API waits for it. */
async function takeIntents({ store, write }: TestServer, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    for (const { id } of (await store.list(intents)).entries) await write(remove(intents, id))
    await sleep(50)
  }
}

const bigEnv = (count: number) =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`NAME_${i}`, `${line.repeat(4)} ${i}`]))

let dir = ''
let large: Cluster | undefined
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'boxcar-pipes-'))
  large = await cluster(300)
}, 60_000)
afterAll(async () => {
  rmSync(dir, { recursive: true, force: true })
  await large?.close()
})

test('every command of the catalogue is run below', () => {
  expect(Object.keys(rows).sort()).toEqual(Object.keys(catalogue).sort())
})

const every = [
  ...Object.entries(rows).map(([name, row]) => ({ ...row, name })),
  ...besides.map(row => ({ ...row, name: row.argv.join(' ') })),
]

describe.skipIf(process.platform !== 'linux')('boxcar', () => {
  test.concurrent.each(every)('$name', { timeout: timeoutMs }, async row => {
    const whole = await intoFile(row)
    expect(whole.text).not.toBe('')
    expect(whole.text).not.toMatch(stack)
    expect(await intoSlowReader(row)).toEqual(whole)
    const cut = await intoClosedReader(row)
    expect(cut.text).not.toMatch(stack)
    const isDone = whole.status === exitStatus.done
    const hasData = cut.text !== whole.text
    expect(cut.status).toBe(isDone && hasData ? exitStatus.readerGone : whole.status)
  })

  test('what people page through is more than a pipe takes', async () => {
    for (const name of ['logs', 'events', 'get', 'status']) {
      const row = rows[name] ?? alone()
      expect((await intoFile(row)).text.length, name).toBeGreaterThan(slowBytes)
    }
  })

  test.concurrent.each([
    ['logs -f web'],
    ['logs web --tail 10000'],
    ['events -f --tail 1'],
    ['events -f'],
    ['get services -o json'],
    ['logs web --tail 10000 2>&1'],
  ])('%s | head -1 ends when head does', { timeout: timeoutMs }, async argv => {
    const status = join(dir, `status-${argv.replaceAll(/\W/g, '-')}`)
    const script = `{ "$NODE" "$PROGRAM" ${argv}; echo $? >"$STATUS"; } | head -1`
    const env = { ...environment(urlOfLarge()), NODE: process.execPath, PROGRAM: program, STATUS: status }
    const { text } = await ended(spawn('sh', ['-c', script], { env, detached: true }))
    expect(text.trim().split('\n')).toHaveLength(1)
    expect(text).not.toMatch(stack)
    expect(Number(readFileSync(status, 'utf8'))).toBe(exitStatus.readerGone)
  })

  test('standard error that nobody reads ends it as well', async () => {
    for (const argv of [
      ['deploy', '-f', examples, '--yes', '--detach'],
      ['scale', 'web=3'],
    ]) {
      const { status } = await intoClosedReader(changes(...argv), 'err')
      expect(status).toBe(exitStatus.readerGone)
    }
  })

  test.each<[string, readonly ('out' | 'err')[]]>([
    ['standard error', ['err']],
    ['all output', ['out', 'err']],
  ])('a deploy sends all of its services where nobody reads %s', async (_, closed) => {
    const names = ['one', 'two', 'three', 'four']
    const file = newFile()
    writeFileSync(file, names.map(name => `name: ${name}\nimage: web:1\n`).join('---\n'))
    const fresh = await cluster(0)
    const pipe = newPipe()
    closeSync(pipe.reader)
    try {
      const stdio = (['out', 'err'] as const).map(it => (closed.includes(it) ? pipe.writer : 'ignore'))
      const row = changes('deploy', '-f', file, '--yes', '--detach')
      const { status } = await ended(start(row, fresh.url, ['ignore', ...stdio]))
      expect(status).toBe(exitStatus.readerGone)
      expect((await fresh.services()).filter(name => name !== 'web').sort()).toEqual(names.sort())
    } finally {
      closeSync(pipe.writer)
      await fresh.close()
    }
  })

  test('the program ends with its command, whatever requests are still under way', async () => {
    const underWay = 'data:text/javascript,setInterval(() => undefined, 1000)'
    const argv = ['--import', underWay, program, 'version']
    const child = spawn(process.execPath, argv, { env: environment(urlOfLarge()), stdio: 'ignore' })
    const late = new AbortController()
    const exit = once(child, 'exit').then(([status]) => status)
    try {
      expect(await Promise.race([exit, sleep(10_000, 'runs on', { signal: late.signal })])).toBe(
        exitStatus.done,
      )
    } finally {
      late.abort()
      child.kill('SIGKILL')
    }
  })

  test('a full disk is told, without a stack', async () => {
    const full = openSync('/dev/full', 'w')
    try {
      const { status, text } = await ended(
        start(reads('get', 'services'), urlOfLarge(), ['ignore', full, 'pipe']),
      )
      expect(status).toBe(exitStatus.failure)
      expect(text).toMatch(/^Error: the output cannot be written\n {2}Why: .*ENOSPC.*\n Next: /)
      expect(text).not.toMatch(stack)
    } finally {
      closeSync(full)
    }
  })

  test('a reader that does not read cannot hold up an interruption', async () => {
    const pipe = filledPipe()
    const child = start(rows['logs'] ?? alone(), urlOfLarge(), ['ignore', pipe.writer, 'pipe'])
    closeSync(pipe.writer)
    try {
      await sleep(lateMs)
      child.kill('SIGTERM')
      expect((await ended(child)).status).toBe(exitStatus.interrupted)
    } finally {
      closeSync(pipe.reader)
    }
  })
})

const stack = /^ +at .*:\d+/m
const program = new URL('./main.ts', import.meta.url).pathname

interface Ran {
  readonly status: number | null
  readonly text: string
}

/** `>file 2>&1`: what is printed where nothing is in its way. */
async function intoFile(row: Row): Promise<Ran> {
  const file = newFile()
  const fd = openSync(file, 'w')
  const { status } = await inCluster(row, url => ended(start(row, url, ['ignore', fd, fd])))
  closeSync(fd)
  return { status, text: readFileSync(file, 'utf8') }
}

/** `2>&1 | slow`: the pipe is full when the program starts, so that not even a line fits in. */
async function intoSlowReader(row: Row): Promise<Ran> {
  return await inCluster(row, async url => {
    const pipe = filledPipe()
    try {
      const child = start(row, url, ['ignore', pipe.writer, pipe.writer])
      closeSync(pipe.writer)
      const end = ended(child)
      await Promise.race([end, sleep(lateMs)])
      const text = await readSlowly(pipe.reader, pipe.filled)
      return { status: (await end).status, text: text.subarray(pipe.filled).toString() }
    } finally {
      closeSync(pipe.reader)
    }
  })
}

/** A pipe whose reader has gone before anything is written; the text is that of the other stream. */
async function intoClosedReader(row: Row, closed: 'out' | 'err' = 'out'): Promise<Ran> {
  const file = newFile()
  const fd = openSync(file, 'w')
  const pipe = newPipe()
  closeSync(pipe.reader)
  const stdio: StdioOptions = closed === 'out' ? ['ignore', pipe.writer, fd] : ['ignore', fd, pipe.writer]
  const { status } = await inCluster(row, url => ended(start(row, url, stdio)))
  closeSync(fd)
  closeSync(pipe.writer)
  return { status, text: readFileSync(file, 'utf8') }
}

function urlOfLarge(): string {
  if (large === undefined) throw new Error('the large cluster is not up')
  return large.url
}

async function inCluster<T>(row: Row, act: (url: string) => Promise<T>): Promise<T> {
  if (row.cluster !== 'fresh') return await act(urlOfLarge())
  const fresh = await cluster(0)
  try {
    return await act(fresh.url)
  } finally {
    await fresh.close()
  }
}

/** No settings of the person who runs the tests. */
const environment = (url: string) => ({
  PATH: process.env['PATH'],
  XDG_CONFIG_HOME: '/nonexistent',
  TZ: 'UTC',
  BOXCAR_SERVER: url,
})

const start = (row: Row, url: string, stdio: StdioOptions) =>
  spawn(process.execPath, [program, ...row.argv], { env: environment(url), stdio })

async function ended(child: ChildProcess): Promise<Ran> {
  let text = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (piece: string) => {
      text += piece
    })
  }
  const late = setTimeout(() => killed(child), timeoutMs - 5_000)
  try {
    const [status] = await once(child, 'close')
    return { status: typeof status === 'number' ? status : null, text }
  } finally {
    clearTimeout(late)
  }
}

/** With all of its group, where it leads one. */
function killed(child: ChildProcess): void {
  try {
    process.kill(-(child.pid ?? Number.NaN), 'SIGKILL')
  } catch {
    child.kill('SIGKILL')
  }
}

let files = 0
const newFile = () => join(dir, `${files++}`)

/** A pipe with a name, since Node makes none without: both ends are ours, and the reader never waits. */
function newPipe(): { readonly reader: number; readonly writer: number } {
  const file = newFile()
  execFileSync('mkfifo', [file])
  const reader = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK)
  return { reader, writer: openSync(file, constants.O_WRONLY | constants.O_NONBLOCK) }
}

function filledPipe(): { readonly reader: number; readonly writer: number; readonly filled: number } {
  const pipe = newPipe()
  const piece = Buffer.alloc(4096, '.')
  let filled = 0
  try {
    for (;;) filled += writeSync(pipe.writer, piece)
  } catch (error) {
    if (!isFullOrEmpty(error)) throw error
  }
  return { ...pipe, filled }
}

/** What filled the pipe at once, then 1 KB at a time for 100 KB, then what there is, until all writers have closed. */
async function readSlowly(reader: number, filled: number): Promise<Buffer> {
  const pieces: Buffer[] = []
  let read = 0
  for (;;) {
    const isSlow = read >= filled && read < filled + slowBytes
    const piece = Buffer.alloc(read < filled ? filled - read : isSlow ? 1024 : 65_536)
    const count = readAtOnce(reader, piece)
    if (count === 0) return Buffer.concat(pieces)
    if (count === undefined) {
      await sleep(5)
      continue
    }
    pieces.push(piece.subarray(0, count))
    read += count
    if (isSlow) await sleep(paceMs)
  }
}

/** Nothing where there is nothing to read just now. */
function readAtOnce(reader: number, into: Buffer): number | undefined {
  try {
    return readSync(reader, into)
  } catch (error) {
    if (isFullOrEmpty(error)) return undefined
    throw error
  }
}

const isFullOrEmpty = (error: unknown) => error instanceof Error && 'code' in error && error.code === 'EAGAIN'
