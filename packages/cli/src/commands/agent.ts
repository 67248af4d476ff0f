import { hostname, networkInterfaces } from 'node:os'
import { type AgentSettings, StartError, startAgent } from '@boxcar/agent/main'
import { hostId } from '@boxcar/core/model/ids'
import { parseMemoryMiB } from '@boxcar/core/model/units'
import type { RunCommand } from '../command.ts'
import { needEtcd, oldEtcdWarning, openStore } from '../etcd.ts'
import { exitStatus, Trouble } from '../exit.ts'
import type { Invocation } from '../invocation.ts'
import { processLog } from '../process-log.ts'
import { loadSettings } from '../settings.ts'
import { programVersion } from '../version.ts'
import { numberFlag, textFlag, textsFlag } from './flags.ts'

/** The agent of this host, until it is told to stop; containers and the proxy go on without it. */
export const agent: RunCommand = async ({ terminal, invocation }) => {
  const settings = loadSettings({ flags: invocation.flags, env: terminal.env })
  const log = processLog(settings, 'agent')
  const store = await openStore(settings, log)
  try {
    const running = await started({
      store,
      cluster: settings.cluster,
      docker: settings.docker,
      version: programVersion(),
      log,
      ...hostSettings(invocation),
    })
    void needEtcd(store).then(
      status => {
        const warning = oldEtcdWarning(status)
        if (warning !== undefined) log.warn({ members: status.members }, warning)
      },
      () => undefined, // started from what an earlier run knew; the agent itself tells that the store is away
    )
    const left = (): void => void running.leave()
    if (terminal.interrupted.aborted) left()
    else terminal.interrupted.addEventListener('abort', left, { once: true })
    await running.ended
    return exitStatus.done
  } finally {
    await store.close()
  }
}

type HostSettings = Omit<AgentSettings, 'store' | 'cluster' | 'docker' | 'version' | 'log'>

function hostSettings(invocation: Invocation): HostSettings {
  const advertise = textFlag(invocation, 'advertise') ?? ownAddress()
  const ports = textFlag(invocation, 'ports')
  const agentPort = numberFlag(invocation, 'agentPort')
  return {
    hostId: hostIdOf(textFlag(invocation, 'hostId') ?? hostname().toLowerCase()),
    advertise,
    labels: Object.fromEntries(textsFlag(invocation, 'label').map(labelOf)),
    reserve: reserveOf(textFlag(invocation, 'reserve') ?? ''),
    edge:
      invocation.flags['edge'] === false
        ? 'off'
        : {
            haproxy: textFlag(invocation, 'haproxy') ?? 'haproxy',
            public: textFlag(invocation, 'edgeAddress') ?? (advertise.startsWith('127.') ? advertise : '*'),
          },
    stateDir: textFlag(invocation, 'stateDir') ?? '/var/lib/boxcar',
    ...(ports === undefined ? {} : { ports: portsOf(ports) }),
    ...(agentPort === undefined ? {} : { agentPort }),
  }
}

async function started(settings: AgentSettings) {
  try {
    return await startAgent(settings)
  } catch (error) {
    if (!(error instanceof StartError)) throw error
    throw new Trouble({
      status: exitStatus.failure,
      what: 'the agent cannot start',
      why: error.message,
      next: error.next,
    })
  }
}

function hostIdOf(text: string): AgentSettings['hostId'] {
  const parsed = hostId.safeParse(text)
  if (parsed.success) return parsed.data
  throw wrong('--host-id', `'${text}': ${parsed.error.issues[0]?.message ?? 'it is no host id'}`)
}

/** The first address of this machine that is not loopback. */
function ownAddress(): string {
  for (const [name, addresses] of Object.entries(networkInterfaces())) {
    if (/^(?:docker|br-|veth)/.test(name)) continue
    const found = addresses?.find(it => it.family === 'IPv4' && !it.internal)
    if (found !== undefined) return found.address
  }
  throw wrong(
    '--advertise',
    'no address of this machine was found; name the one at which other hosts reach it',
  )
}

function labelOf(text: string): readonly [string, string] {
  const cut = text.indexOf('=')
  if (cut > 0) return [text.slice(0, cut), text.slice(cut + 1)]
  throw wrong('--label', `'${text}' must be key=value`)
}

/** `cpus=0.5,memory=512MiB`; what is left out is nothing. */
function reserveOf(text: string): AgentSettings['reserve'] {
  const reserve = { cpuMilli: 0, memoryMiB: 0 }
  for (const part of text.split(',').filter(it => it !== '')) {
    const [name, amount = ''] = part.split('=')
    if (name === 'cpus' && /^\d+(?:\.\d+)?$/.test(amount))
      reserve.cpuMilli = Math.round(Number(amount) * 1000)
    else if (name === 'memory') {
      const parsed = parseMemoryMiB(amount)
      if (typeof parsed !== 'number') throw wrong('--reserve', `memory ${parsed.problem}`)
      reserve.memoryMiB = parsed
    } else throw wrong('--reserve', `'${part}' must be cpus=0.5 or memory=512MiB`)
  }
  return reserve
}

function portsOf(text: string): { readonly from: number; readonly to: number } {
  const match = /^(\d{1,5})-(\d{1,5})$/.exec(text)
  const [from, to] = [Number(match?.[1]), Number(match?.[2])]
  if (match !== null && from >= 1 && from <= to && to <= 65_535) return { from, to }
  throw wrong('--ports', `'${text}' must be a range such as 20000-29999`)
}

const wrong = (flag: string, why: string): Trouble =>
  new Trouble({ status: exitStatus.usage, what: `${flag} cannot be used`, why, next: 'boxcar agent --help' })
