import { existsSync } from 'node:fs'
import { cp, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type Api, ApiProblem, ApiUnreachable, createClient } from '@boxcar/api/client'
import { hostPort, isLoopback, type ListenAddress } from '@boxcar/api/listen'
import type { HostView } from '@boxcar/api/views'
import { after } from '@boxcar/core/model/clock'
import { plural, pluralVerb } from '@boxcar/core/model/plural'
import type { CommandContext, RunCommand } from '../command.ts'
import { abandonedFolders, machineFolder, makeFolder } from '../dev/folder.ts'
import { clearGuest } from '../dev/guest.ts'
import { troubleOfLeft, wordsOf } from '../dev/left.ts'
import type { NamedEngine } from '../dev/one-engine.ts'
import { type Kept, keepRunning } from '../dev/processes.ts'
import { type DevRoom, type RoomOptions, sampleSpec } from '../dev/room.ts'
import { exitStatus, Trouble, troubleLines } from '../exit.ts'
import { needLinux } from '../linux.ts'
import { listenAddress, whyTaken } from '../listen.ts'
import { CommandFailed } from '../machine/command.ts'
import { StartFailed } from '../machine/process.ts'
import { sweep } from '../machine/residue.ts'
import { paint } from '../render/paint.ts'
import { seconds } from '../render/words.ts'
import { checkSpecs } from '../spec-files.ts'
import type { Terminal } from '../terminal.ts'
import { watchUntilReady } from '../watch.ts'
import { numberFlag, textFlag } from './flags.ts'

/** A whole cluster on this machine, until Ctrl-C; then nothing of it is left. */
export const dev: RunCommand = async context => {
  const { terminal, invocation } = context
  needLinux('boxcar dev')
  const listen = await ownListen(textFlag(invocation, 'listen'))
  hangUpInterrupts(terminal)
  terminal.interrupted.addEventListener('abort', () => terminal.err.write(takingAway), { once: true })
  const began = terminal.clock.now()
  const tell = (line: string) =>
    terminal.err.write(
      `${paint(terminal.err.color).faint(seconds(terminal.clock.now() - began).padStart(6))}  ${line}\n`,
    )
  await takeAwayAbandoned(tell)
  const things: Things = { dir: await makeFolder(), room: undefined, kept: [] }
  let failure: unknown
  try {
    await start(context, things, { listen, tell })
    await untilInterrupted(terminal)
  } catch (error) {
    // Ctrl-C during the start ends whatever waited just then.
    if (!terminal.interrupted.aborted) failure = error
  }
  if (!terminal.interrupted.aborted) terminal.err.write(takingAway)
  const left = await end(terminal, things, invocation.flags['keep'] === true)
  if (failure === undefined && left !== undefined) throw left
  if (left !== undefined) terminal.err.write(`${troubleLines(left.text).join('\n')}\n`)
  if (failure !== undefined) throw worldly(failure)
  return exitStatus.done
}

const takingAway = '\nTaking everything away (Ctrl-C again to stop at once)…\n'

/** A closed terminal is no reason to leave anything behind; a shell that goes says so more than once. */
function hangUpInterrupts({ interrupted }: Terminal): void {
  process.on('SIGHUP', () => {
    if (!interrupted.aborted) process.kill(process.pid, 'SIGTERM')
  })
}

/** Where the first server shall listen. Servers of a development cluster ask for no token, so it is loopback only. */
async function ownListen(text: string | undefined): Promise<ListenAddress | undefined> {
  if (text === undefined) return undefined
  const address = listenAddress(text)
  const why = isLoopback(address.host)
    ? await whyTaken(address)
    : 'it can be reached from other machines, and a development cluster lets everybody in'
  if (why === undefined) return address
  throw new Trouble({
    status: exitStatus.usage,
    what: `boxcar dev cannot listen on ${text}`,
    why,
    next: 'leave --listen out: a free port of 127.0.0.1 is found, from 7070 on',
  })
}

/** What runs left behind that were killed. A machine of namespaces is taken away where the next one starts. */
async function takeAwayAbandoned(tell: (line: string) => void): Promise<void> {
  for (const { dir, guest } of await abandonedFolders()) {
    try {
      if (guest !== undefined) await clearGuest(guest, dir)
      if (existsSync(join(dir, machineFolder))) await takeAwayMachine(join(dir, machineFolder))
      await rm(dir, { recursive: true, force: true })
      tell(`took away what an earlier run had left behind in ${dir}`)
    } catch (error) {
      tell(`what an earlier run left behind in ${dir} stays for now: ${wordsOf(error)}`)
    }
  }
}

async function takeAwayMachine(dir: string): Promise<void> {
  const left = (await sweep()).stuck.find(it => it.claim.dir === dir)
  if (left !== undefined) throw left
}

interface Things {
  readonly dir: string
  room: DevRoom | undefined
  readonly kept: Kept[]
}

async function start(
  context: CommandContext,
  things: Things,
  { listen, tell }: { readonly listen: ListenAddress | undefined; readonly tell: (line: string) => void },
): Promise<void> {
  const { terminal, invocation } = context
  goOn(terminal)
  const room = await openRoom(context, {
    hosts: numberFlag(invocation, 'hosts') ?? 3,
    dir: things.dir,
    signal: terminal.interrupted,
    tell,
  })
  things.room = room
  goOn(terminal)
  const first = listen ?? (await room.serverAddress(0))
  const second = await room.serverAddress(1)
  await startProcesses(things, room, [first, second], tell)
  const sample = invocation.flags['sample'] === false ? undefined : await buildSample(room, tell)
  const api = createClient({ server: `http://${hostPort(first)}` })
  const hosts = await untilHosts(api, room, terminal)
  tell(`${plural(hosts.length, 'host')} ${pluralVerb(hosts.length, 'are', 'is')} ready`)
  goOn(terminal)
  if (sample !== undefined) await deploySample(api, sample.first, terminal)
  await printTour(context, { api, room, first, kept: things.kept, dir: things.dir, next: sample?.second })
}

function goOn(terminal: Terminal): void {
  if (terminal.interrupted.aborted) throw new Error('interrupted')
}

async function openRoom(context: CommandContext, options: RoomOptions): Promise<DevRoom> {
  const { terminal, invocation } = context
  const named = textFlag(invocation, 'engine')
  const engine: NamedEngine | undefined =
    named !== undefined
      ? { address: named, saidBy: '--engine' }
      : hasNamespaces()
        ? undefined
        : runningEngine(terminal)
  if (engine !== undefined) {
    const { openOneEngine } = await import('../dev/one-engine.ts')
    return openOneEngine(engine, options)
  }
  const { openNamespaces } = await import('../dev/namespaces.ts')
  return openNamespaces(options)
}

const hasNamespaces = () => process.getuid?.() === 0

function runningEngine(terminal: Terminal): NamedEngine {
  const engine = terminal.env['DOCKER_HOST']
  terminal.err.write('Not root: logical hosts on the Docker engine that runs (--engine names another).\n')
  return engine === undefined || engine === ''
    ? { address: 'unix:///var/run/docker.sock', saidBy: undefined }
    : { address: engine, saidBy: 'DOCKER_HOST' }
}

async function startProcesses(
  { dir, kept }: Things,
  room: DevRoom,
  servers: readonly ListenAddress[],
  tell: (line: string) => void,
): Promise<void> {
  const shared = ['--etcd', room.etcd, '--cluster', room.cluster]
  const rest = { env: room.env, logDir: join(dir, 'logs'), onEnd: tell }
  for (const [index, address] of servers.entries()) {
    const args = ['server', ...shared, '--listen', hostPort(address)]
    kept.push(await keepRunning({ name: `server-${index + 1}`, enter: [], args, ...rest }))
    tell(`server ${index + 1} on http://${hostPort(address)}`)
  }
  for (const host of room.hosts) {
    const args = ['agent', ...shared, '--host-id', host.id, ...host.agentFlags]
    kept.push(await keepRunning({ name: `agent-${host.id}`, enter: host.enter, args, ...rest }))
  }
  tell(`an agent on each of ${room.hosts.map(host => host.id).join(', ')}`)
}

async function buildSample(room: DevRoom, tell: (line: string) => void) {
  const first = await room.buildSample('1')
  const second = await room.buildSample('2')
  tell(`the sample is built in two versions: ${first}, ${second}`)
  return { first, second }
}

const hostsMs = 60_000

async function untilHosts(api: Api, room: DevRoom, terminal: Terminal): Promise<readonly HostView[]> {
  const deadline = after(terminal.clock.now(), hostsMs)
  for (;;) {
    const hosts = await hostsOf(api)
    if (hosts.length === room.hosts.length && hosts.every(it => it.state === 'ready')) return hosts
    if (terminal.clock.now() > deadline) {
      const seen = hosts.map(it => `${it.id}: ${it.state}${it.reason === undefined ? '' : ` (${it.reason})`}`)
      throw new Trouble({
        status: exitStatus.failure,
        what: `the hosts were not ready within ${seconds(hostsMs)}`,
        why: seen.join('\n') || 'none of them has registered',
        next: 'start again with --keep and look at the logs',
      })
    }
    await terminal.clock.sleep(200, terminal.interrupted)
    goOn(terminal)
  }
}

/** Servers that are not up yet are as good as no hosts. */
async function hostsOf(api: Api): Promise<readonly HostView[]> {
  try {
    return await api.hosts()
  } catch (error) {
    if (error instanceof ApiUnreachable || error instanceof ApiProblem) return []
    throw error
  }
}

async function deploySample(api: Api, image: string, terminal: Terminal): Promise<void> {
  const text = await readFile(sampleSpec, 'utf8')
  const [sample] = checkSpecs([{ file: sampleSpec, text }], [image])
  if (sample === undefined) throw new Error(`${sampleSpec} holds no service`)
  const ref = { project: 'default', name: String(sample.spec.name) }
  const saved = await api.put(ref, sample.text, { actor: 'dev' })
  await watchUntilReady(api, [{ ref, generation: saved.generation }], terminal, {
    again: 'boxcar dev',
    timeoutMs: 120_000,
  })
}

interface Tour {
  readonly api: Api
  readonly room: DevRoom
  readonly first: ListenAddress
  readonly kept: readonly Kept[]
  readonly dir: string
  /** The image of the sample's second version. */
  readonly next: string | undefined
}

/** What to open and what to try; the addresses are data, the rest is talk. */
async function printTour(
  { terminal }: CommandContext,
  { api, room, first, kept, dir, next }: Tour,
): Promise<void> {
  const bold = paint(terminal.out.color).strong
  const addresses = (await api.routes()).flatMap(route => route.addresses)
  const [address] = addresses
  const lastHost = room.hosts.at(-1)
  const server = kept.find(it => it.name === 'server-1')
  const usual = hostPort(first) === '127.0.0.1:7070'
  const lines = [
    '',
    bold('A cluster is running.'),
    `  API        http://${hostPort(first)}   (docs: http://${hostPort(first)}/docs)`,
    ...addresses.map((it, i) => `  ${i === 0 ? 'Open      ' : '          '} ${it}`),
    `  Logs       ${join(dir, 'logs')}`,
    '',
    bold('Try, in another terminal:'),
    ...(usual ? [] : [`  export BOXCAR_SERVER=http://${hostPort(first)}`]),
    '  ./boxcar status',
    ...(address === undefined ? [] : [`  curl ${address}`]),
    ...(next === undefined
      ? []
      : [
          `  ./boxcar deploy -f examples/hello.yaml --image ${next}`,
          '  ./boxcar undo hello',
          '  ./boxcar scale hello=6',
        ]),
    ...(lastHost === undefined
      ? []
      : [`  ${lastHost.docker} ps          # then docker kill one: it comes back`]),
    ...(lastHost?.cut === undefined
      ? []
      : [`  ${lastHost.cut}     # cuts ${lastHost.id} off; later: ${lastHost.restore}`]),
    ...(server?.pid === undefined
      ? []
      : [`  kill -9 ${server.pid}          # a server: the other one leads`]),
    '  ./boxcar events -f',
    ...(room.limits.length === 0
      ? []
      : ['', bold('Not as on real hosts:'), ...room.limits.map(it => `  ${it}`)]),
    '',
    'Ctrl-C takes all of it away.',
  ]
  terminal.out.write(`${lines.join('\n')}\n`)
}

async function untilInterrupted({ interrupted }: Terminal): Promise<void> {
  if (interrupted.aborted) return
  // A timer keeps the process alive while nothing else does.
  const alive = setInterval(() => undefined, 60_000)
  await new Promise(resolve => interrupted.addEventListener('abort', resolve, { once: true }))
  clearInterval(alive)
}

/** Takes everything away, whatever there is of it, and gives what could not be; with `--keep` logs and state stay. */
async function end(
  terminal: Terminal,
  { dir, room, kept }: Things,
  keep: boolean,
): Promise<Trouble | undefined> {
  const failures: unknown[] = []
  const attempt = async (step: () => Promise<unknown>) => {
    await step().catch(error => failures.push(error))
  }
  // Agents end before their engines do, so that their logs hold no noise.
  await Promise.all(kept.map(it => attempt(it.stop)))
  if (keep) {
    const folder = `${dir}-kept`
    await cp(join(dir, 'logs'), join(folder, 'logs'), { recursive: true }).catch(() => undefined)
    await attempt(async () => room?.keep(join(folder, 'state')))
    terminal.err.write(`Kept: ${folder}\n`)
  }
  await attempt(async () => room?.stop())
  // The folder says what there is to take away: while something is left, it stays.
  if (failures.length === 0)
    await attempt(() => rm(dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }))
  if (failures.length === 0) {
    terminal.err.write('Nothing is left.\n')
    return undefined
  }
  return troubleOfLeft(failures)
}

/** What failed in the world, such as a program that does not come up, as a trouble with a next step; a bug as it is. */
function worldly(failure: unknown): unknown {
  if (!(failure instanceof StartFailed || failure instanceof CommandFailed)) return failure
  return new Trouble({
    status: exitStatus.failure,
    what: 'the cluster could not be started',
    why: failure.message,
    next: 'boxcar doctor looks at this machine; start again with --keep to look at the logs',
  })
}
