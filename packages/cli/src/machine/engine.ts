import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { LocalService } from './service.ts'

export interface EngineOptions {
  readonly host: string
  /** The first process of the host that the engine belongs to: its network, mounts and process ids are shared. */
  readonly hostPid: number
  readonly index: number
  readonly dir: string
  readonly cgroup: string
  /** Registries in this network are spoken to without TLS, for example `10.77.0.0/24`. */
  readonly plainRegistries: string
  readonly env: NodeJS.ProcessEnv
}

/** A host's Docker engine. Killed or stopped, it takes no container's data with it; `start` brings it back. */
export interface EngineProcess {
  readonly logFile: string
  readonly pid: number | undefined
  start(): Promise<void>
  stop(): Promise<void>
  restart(): Promise<void>
  kill(): Promise<unknown>
  pause(): Promise<void>
  resume(): void
  lastLines(count?: number): string
}

/** The path of an engine's socket below the host's folder. */
export const socketPathIn = (dir: string): string => join(dir, 'docker.sock')

/** Writes an engine's configuration and prepares it; it is not started yet. */
export async function makeEngine(options: EngineOptions): Promise<EngineProcess> {
  const temporary = join(options.dir, 'tmp')
  await mkdir(temporary, { recursive: true })
  const config = join(options.dir, 'engine.json')
  await writeFile(config, JSON.stringify(configuration(options), undefined, 2))
  return new LocalService({
    name: `the engine of ${options.host}`,
    argv: [
      ...['nsenter', '--target', String(options.hostPid), '--net', '--mount', '--uts', '--pid', '--'],
      ...['dockerd', '--config-file', config],
    ],
    // An engine behind the user's web proxy would not find the registry on this computer. Its containerd writes its stacks to
    // the folder for temporary files when the engine sends it a SIGUSR1, before it kills one that does not answer.
    env: { ...withoutProxy(options.env), TMPDIR: temporary },
    logFile: join(options.dir, 'engine.log'),
    ready: { url: 'http://engine/_ping', socketPath: socketPathIn(options.dir) },
    signals: 'to-its-child',
    // It stops its containers first, and gives each ten seconds.
    graceMs: 20_000,
  })
}

/**
 * All settings are in one file of our own, so that a daemon.json of this computer's engine has no say. `cgroupfs`:
 * systemd does not know of these hosts.
 */
const configuration = (options: EngineOptions) => ({
  hosts: [`unix://${socketPathIn(options.dir)}`],
  'data-root': join(options.dir, 'data'),
  'exec-root': join(options.dir, 'exec'),
  pidfile: join(options.dir, 'engine.pid'),
  bip: `172.29.${options.index + 1}.1/24`,
  'default-address-pools': [{ base: `172.28.${options.index * 8}.0/21`, size: 24 }],
  'userland-proxy': false,
  'insecure-registries': [options.plainRegistries],
  'exec-opts': ['native.cgroupdriver=cgroupfs'],
  'cgroup-parent': `/${options.cgroup}`,
  'log-level': 'warn',
})

function withoutProxy(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !/^(https?|all|no)_proxy$/i.test(name)))
}
