/** The agent on a real host: its adapters, put together and handed over. */
import { execFile } from 'node:child_process'
import { networkInterfaces } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { ClusterName, HostId } from '@boxcar/core/model/ids'
import type { Store } from '@boxcar/store/store'
import { systemChance, systemClock } from '@boxcar/store/system'
import type { Logger } from 'pino'
import { type Edge, type RunningAgent, runAgent } from './agent.ts'
import type { Reserve } from './capacity.ts'
import { StartError, usualAgentPort, usualPorts } from './config.ts'
import { DockerEngine } from './docker/docker-engine.ts'
import { openNetwork } from './probe/network.ts'
import { openProxy } from './proxy/proxy.ts'
import { listen } from './server.ts'
import { openFolder } from './state/files.ts'

export { StartError } from './config.ts'

/** Everything that an agent is told; nothing is read from the environment. */
export interface AgentSettings {
  /** Of the cluster; closed by whoever opened it. */
  readonly store: Store
  readonly cluster: ClusterName
  readonly hostId: HostId
  readonly advertise: string
  readonly labels: Readonly<Record<string, string>>
  readonly reserve: Reserve
  /** `unix:///var/run/docker.sock` or `tcp://host:port`. */
  readonly docker: string
  /** off: no proxy on this host. */
  readonly edge:
    | 'off'
    | {
        /** The program, by path or by name. */
        readonly haproxy: string
        /** Where public routes listen; `*`: every address. */
        readonly public: '*' | (string & {})
        /** Where private routes listen; left out: loopback and the bridge of the containers. */
        readonly private?: readonly string[]
      }
  readonly stateDir: string
  readonly ports?: { readonly from: number; readonly to: number }
  /** 0: any free one. */
  readonly agentPort?: number
  readonly version: string
  readonly log: Logger
}

/** Starts the agent of this host; see runAgent for when it refuses. */
export async function startAgent(settings: AgentSettings): Promise<RunningAgent> {
  const { store, cluster, hostId, advertise, log, edge, stateDir } = settings
  const clock = systemClock
  const files = await openFolder(stateDir).catch(error => {
    throw new StartError(
      `the state folder ${stateDir} cannot be used: ${sentence(error)}`,
      'give a folder that this user may write to with --state-dir',
      { cause: error },
    )
  })
  return await runAgent(
    {
      cluster,
      hostId,
      advertise,
      labels: settings.labels,
      reserve: settings.reserve,
      ports: settings.ports ?? usualPorts,
      agentPort: settings.agentPort ?? usualAgentPort,
      version: settings.version,
    },
    {
      clock,
      chance: systemChance,
      log,
      store,
      files,
      engine: new DockerEngine({ address: settings.docker, cluster, host: hostId }),
      network: openNetwork(clock),
      listen,
      openEdge: edge === 'off' ? undefined : () => openEdge(settings, edge),
    },
  )
}

async function openEdge(
  { advertise, stateDir, log }: AgentSettings,
  edge: Exclude<AgentSettings['edge'], 'off'>,
): Promise<Edge> {
  const version = await haproxyVersion(edge.haproxy)
  const inside = edge.private === undefined ? privateAddresses(advertise) : { addresses: edge.private }
  try {
    const proxy = await openProxy({
      haproxy: edge.haproxy,
      dir: join(stateDir, 'proxy'),
      bind: { public: edge.public, private: inside.addresses },
      clock: systemClock,
      log: log.child({ part: 'proxy' }),
    })
    return { proxy, version, ...('shortcoming' in inside ? { shortcoming: inside.shortcoming } : {}) }
  } catch (error) {
    throw new StartError(`the proxy cannot be started: ${sentence(error)}`, 'boxcar doctor says more', {
      cause: error,
    })
  }
}

async function haproxyVersion(program: string): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)(program, ['-v'], { timeout: 10_000 })
    return /version (\S+)/i.exec(stdout)?.[1] ?? 'unknown'
  } catch (error) {
    throw new StartError(
      `HAProxy cannot be run as '${program}': ${sentence(error)}`,
      'install haproxy 2.6 or newer, name it with --haproxy, or start with --no-edge',
      { cause: error },
    )
  }
}

/**
 * Loopback, and the gateway of Docker's bridge, which containers know as boxcar.internal. Logical hosts share one machine's
 * loopback and bridge, so each has only its own address.
 */
function privateAddresses(advertise: string): {
  readonly addresses: readonly string[]
  readonly shortcoming?: string
} {
  if (advertise.startsWith('127.')) return { addresses: [advertise] }
  const bridge = networkInterfaces()['docker0']?.find(address => address.family === 'IPv4')?.address
  if (bridge !== undefined) return { addresses: ['127.0.0.1', bridge] }
  const shortcoming =
    'there was no docker0 when the agent started: containers do not reach private routes at boxcar.internal'
  return { addresses: ['127.0.0.1'], shortcoming }
}

const sentence = (error: unknown): string => (error instanceof Error ? error.message : String(error))
