import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type CommandOptions, run } from './command.ts'
import { type EngineProcess, makeEngine, socketPathIn } from './engine.ts'
import { cgroupOf, hostIdOf, namespaceFile, namespaceOf } from './names.ts'
import { addressOf, setLink } from './network.ts'
import { type OwnedProcess, StartFailed, startProcess } from './process.ts'
import { childrenOf } from './procfs.ts'

/** One Docker host: an own network, own mounts, own process ids, and an own engine. */
export interface MachineHost {
  readonly id: string
  readonly address: string
  /** The name of its network namespace. */
  readonly namespace: string
  /** `unix://…/docker.sock` */
  readonly dockerSocket: string
  /** A folder for what the host's agent keeps. */
  readonly stateDir: string
  /** Put before a command, runs it in the host's network, under the host's name. */
  readonly enter: readonly string[]
  readonly engine: EngineProcess
  /** Runs the docker command against this engine and gives its output; throws when it fails. */
  docker(args: readonly string[], options?: CommandOptions): Promise<string>
  /** Pulls the network cable: nothing passes, in neither direction, until `restoreLink`. */
  cutLink(): Promise<void>
  restoreLink(): Promise<void>
}

export interface HostOptions {
  readonly machine: string
  readonly subnet: string
  readonly index: number
  readonly dir: string
  readonly env: NodeJS.ProcessEnv
}

/** Boots a host in its namespace, which must be there, and starts its engine. */
export async function bootHost(options: HostOptions): Promise<MachineHost> {
  const id = hostIdOf(options.index)
  const namespace = namespaceOf(options.machine, id)
  const stateDir = join(options.dir, 'state')
  const engineConfig = join(options.dir, 'etc')
  await Promise.all([stateDir, engineConfig, ...covered].map(dir => mkdir(dir, { recursive: true })))
  const first = await startFirstProcess(id, namespace, engineConfig, options)
  const engine = await makeEngine({
    host: id,
    hostPid: first,
    index: options.index,
    dir: options.dir,
    cgroup: cgroupOf(options.machine),
    plainRegistries: `${options.subnet}.0/24`,
    env: options.env,
  })
  await engine.start()
  const dockerSocket = `unix://${socketPathIn(options.dir)}`
  return {
    id,
    address: addressOf(options.subnet, options.index),
    namespace,
    dockerSocket,
    stateDir,
    enter: ['nsenter', `--net=${namespaceFile(namespace)}`, `--uts=/proc/${first}/ns/uts`, '--'],
    engine,
    // A folder without settings: those of the user may put a web proxy into images, or name another engine.
    docker: (args, commandOptions) =>
      run(['docker', '--config', engineConfig, '--host', dockerSocket, ...args], commandOptions),
    cutLink: () => setLink(options.machine, id, 'down'),
    restoreLink: () => setLink(options.machine, id, 'up'),
  }
}

/** Engines write to these whatever they are told, so each host has its own there. */
const covered = ['/run/docker', '/run/containerd', '/etc/docker']

/**
 * Starts the host's process 1 and gives its id as seen from here. It holds the host's mounts and process ids while
 * the engine comes and goes, and reaps orphans; when it is killed the kernel kills all that runs on the host, down
 * to the last container. `ip netns exec` will not do: it mounts a /sys in which engines find no cgroups.
 */
async function startFirstProcess(
  id: string,
  namespace: string,
  engineConfig: string,
  options: HostOptions,
): Promise<number> {
  const script = [
    'set -e',
    'hostname "$1"',
    'mount -t tmpfs -o mode=755 boxcar /run/docker',
    'mount -t tmpfs -o mode=755 boxcar /run/containerd',
    'mount --bind "$2" /etc/docker',
    'echo booted',
    'set +e',
    'while :; do sleep 3600 & wait; done',
  ].join('\n')
  const outer = await startProcess({
    name: `host ${id}`,
    argv: [
      ...['nsenter', `--net=${namespaceFile(namespace)}`],
      ...['unshare', '--mount', '--uts', '--pid', '--fork', '--kill-child', '--mount-proc'],
      ...['sh', '-c', script, `boxcar-${options.machine}-${id}`, id, engineConfig],
    ],
    env: options.env,
    logFile: join(options.dir, 'host.log'),
  })
  return booted(outer)
}

/** Waits until a host has its own mounts, since an engine that starts before shares ours. */
async function booted(outer: OwnedProcess): Promise<number> {
  for (const deadline = performance.now() + 10_000; performance.now() < deadline; await sleep(10)) {
    const first = childrenOf(outer.pid)[0]
    if (outer.end !== undefined)
      throw new StartFailed(`${outer.name} ended while booting.\n${outer.lastLines()}`)
    if (first !== undefined && outer.lastLines(1) === 'booted') return first
  }
  throw new StartFailed(`${outer.name} did not boot within 10 s.\n${outer.lastLines()}`)
}
