import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { type Api, createClient } from '@boxcar/api/client'
import type { HostView } from '@boxcar/api/views'
import { type CommandEnd, tryRun } from '@boxcar/cli/machine/command'
import type { MachineHost } from '@boxcar/cli/machine/host'
import type { Machine } from '@boxcar/cli/machine/machine'
import { LocalService } from '@boxcar/cli/machine/service'
import { until } from './until.ts'

export interface ClusterOptions {
  /** `lab` unless told; two clusters on one machine need two names, and different numbers here. */
  readonly name?: string
  /** 2 unless told. */
  readonly servers?: number
  /** 0 for the first cluster of a machine, 1 for the next: its ports are others. */
  readonly number?: number
  /** More flags for the agent of a host, for example `['--label', 'zone=a']`. */
  readonly agentFlags?: (host: string) => readonly string[]
  readonly serverFlags?: readonly string[]
}

/** A server process: killed, paused and started again by the test. */
export interface LabServer {
  readonly id: string
  readonly url: string
  readonly process: LocalService
  readonly api: Api
}

/** A host of the machine with the agent that this cluster has on it. */
export interface LabHost {
  readonly id: string
  readonly address: string
  readonly machine: MachineHost
  readonly agent: LocalService
}

/** Real Boxcar processes on a machine's hosts, started from the source as people start them. */
export interface LabCluster {
  readonly name: string
  readonly servers: readonly LabServer[]
  readonly hosts: readonly LabHost[]
  /** A client of the first server. */
  readonly api: Api
  server(id: string): LabServer
  host(id: string): LabHost
  /** The server that leads now, found by asking each; waits for one. */
  leader(): Promise<LabServer>
  /** Runs a `boxcar` command against the first server, or as the flags say, and gives how it ended. */
  boxcar(
    args: readonly string[],
    options?: { readonly input?: string; readonly timeoutMs?: number },
  ): Promise<CommandEnd>
  /** The address of a route's port on each host: `http://10.77.0.11:8080/`. */
  urls(port: number, path?: string): readonly string[]
  /** Waits until every host is ready and its proxy up. */
  hostsReady(timeoutMs?: number): Promise<readonly HostView[]>
  /** The last lines of every process, for the text of a failed test. */
  logs(count?: number): string
  /** Stops servers and agents. Containers and proxies go on until the machine is stopped. */
  stop(): Promise<void>
}

const program = join(import.meta.dirname, '../../packages/cli/src/main.ts')

/** Starts servers on the machine's gateway and an agent on each host, and waits until all hosts are ready. */
export async function startCluster(machine: Machine, options: ClusterOptions = {}): Promise<LabCluster> {
  const name = options.name ?? 'lab'
  const number = options.number ?? 0
  const logDir = join(dirOf(machine), `${name}-logs`)
  await mkdir(logDir, { recursive: true })
  const common = ['--etcd', machine.etcd.endpoint, '--cluster', name, '--log', 'debug']

  const servers = Array.from({ length: options.servers ?? 2 }, (_, index): LabServer => {
    const id = `s${index + 1}`
    const listen = `${machine.gateway}:${7070 + number * 100 + index}`
    const url = `http://${listen}`
    return {
      id,
      url,
      api: createClient({ server: url }),
      process: new LocalService({
        name: `server ${id}`,
        argv: [
          ...[process.execPath, program, 'server', ...common, '--listen', listen, '--insecure'],
          ...(options.serverFlags ?? []),
        ],
        env: machine.env,
        logFile: join(logDir, `${id}.log`),
        ready: { url: `${url}/readyz` },
      }),
    }
  })
  const hosts = machine.hosts.map((host): LabHost => {
    const stateDir = join(host.stateDir, name)
    const firstPort = 20_000 + number * 5_000
    return {
      id: host.id,
      address: host.address,
      machine: host,
      agent: new LocalService({
        name: `agent ${host.id}`,
        argv: [
          ...[...host.enter, process.execPath, program, 'agent', ...common],
          ...[
            '--host-id',
            host.id,
            '--advertise',
            host.address,
            '--state-dir',
            stateDir,
            '--docker',
            host.dockerSocket,
          ],
          ...['--agent-port', String(7080 + number * 100), '--ports', `${firstPort}-${firstPort + 4_999}`],
          ...(options.agentFlags?.(host.id) ?? []),
        ],
        env: machine.env,
        logFile: join(logDir, `${host.id}.log`),
      }),
    }
  })
  const cluster = new Cluster(machine, name, servers, hosts)
  try {
    const started = [...servers.map(it => it.process.start()), ...hosts.map(it => it.agent.start())]
    // All of them first: what is still being started cannot be stopped.
    await Promise.allSettled(started)
    await Promise.all(started)
    await cluster.hostsReady()
  } catch (error) {
    const logs = cluster.logs()
    await cluster.stop()
    throw new Error(`cluster ${name} did not get ready\n${logs}`, { cause: error })
  }
  return cluster
}

class Cluster implements LabCluster {
  readonly name: string
  readonly servers: readonly LabServer[]
  readonly hosts: readonly LabHost[]
  readonly #machine: Machine

  constructor(machine: Machine, name: string, servers: readonly LabServer[], hosts: readonly LabHost[]) {
    this.#machine = machine
    this.name = name
    this.servers = servers
    this.hosts = hosts
  }

  get api(): Api {
    return first(this.servers).api
  }

  server(id: string): LabServer {
    return first(this.servers.filter(it => it.id === id))
  }

  host(id: string): LabHost {
    return first(this.hosts.filter(it => it.id === id))
  }

  async leader(): Promise<LabServer> {
    const address = await until(
      async () => {
        const answers = await Promise.any(this.servers.map(it => it.api.cluster()))
        return answers.leader?.address
      },
      found =>
        this.servers.some(it => found !== undefined && it.url.endsWith(found.replace(/^https?:\/\//, ''))),
      { what: 'a leader' },
    )
    return first(
      this.servers.filter(
        it => address !== undefined && it.url.endsWith(address.replace(/^https?:\/\//, '')),
      ),
    )
  }

  boxcar(
    args: readonly string[],
    options: { readonly input?: string; readonly timeoutMs?: number } = {},
  ): Promise<CommandEnd> {
    return tryRun([process.execPath, program, ...args], {
      timeoutMs: 120_000,
      ...options,
      env: {
        ...this.#machine.env,
        BOXCAR_SERVER: first(this.servers).url,
        BOXCAR_CLUSTER: this.name,
        NO_COLOR: '1',
      },
    })
  }

  urls(port: number, path = '/'): readonly string[] {
    return this.hosts.map(host => `http://${host.address}:${port}${path}`)
  }

  hostsReady(timeoutMs = 30_000): Promise<readonly HostView[]> {
    return until(
      () => this.api.hosts(),
      seen => {
        const ready = seen.filter(
          host => host.state === 'ready' && host.present && host.proxy.state !== 'failing',
        )
        return this.hosts.every(host => ready.some(it => it.id === host.id))
      },
      { what: 'every host ready', timeoutMs, everyMs: 100 },
    )
  }

  logs(count = 15): string {
    const processes = [...this.servers.map(it => it.process), ...this.hosts.map(it => it.agent)]
    return processes.map(it => `--- ${it.name} (${it.logFile})\n${it.lastLines(count)}`).join('\n')
  }

  async stop(): Promise<void> {
    await Promise.all([
      ...this.servers.map(it => it.process.stop()),
      ...this.hosts.map(it => it.agent.stop()),
    ])
  }
}

/** The machine's own folder: each host's state folder is two levels below. */
function dirOf(machine: Machine): string {
  return join(first(machine.hosts).stateDir, '../..')
}

function first<T>(items: readonly T[]): T {
  const [item] = items
  if (item === undefined) throw new RangeError('there is no such server or host in this lab')
  return item
}
