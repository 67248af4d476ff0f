/** The flags of the agent, checked all at once, and what is found out where they are left out. */
import { createSocket } from 'node:dgram'
import { hostname, networkInterfaces } from 'node:os'
import { type HostId, hostId } from '@boxcar/core/model/ids'
import { parseMemoryMiB } from '@boxcar/core/model/units'
import { exitStatus, Trouble } from './exit.ts'

export interface AgentFlags {
  readonly hostId: HostId
  /** Left out: to be found (`ownAddress`). */
  readonly advertise: string | undefined
  readonly labels: Readonly<Record<string, string>>
  readonly reserve: { readonly cpuMilli: number; readonly memoryMiB: number }
  readonly edge: 'off' | { readonly haproxy: string; readonly public: string }
  readonly stateDir: string
  readonly ports: { readonly from: number; readonly to: number } | undefined
  readonly agentPort: number | undefined
}

/** Throws Trouble (usage) that names every flag that is wrong. */
export function agentFlags(flags: Readonly<Record<string, unknown>>): AgentFlags {
  const faults: string[] = []
  const text = (name: string): string | undefined => {
    const value = flags[name]
    return typeof value === 'string' ? value : undefined
  }
  const take = <T>(read: T | { readonly problem: string }, otherwise: T): T => {
    if (typeof read !== 'object' || read === null || !('problem' in read)) return read
    faults.push(read.problem)
    return otherwise
  }
  const id = hostId.safeParse(text('hostId') ?? hostname().toLowerCase())
  if (!id.success) faults.push(`--host-id: ${id.error.issues[0]?.message ?? 'cannot be used'}`)
  const given: unknown = flags['label']
  const labels = take(readLabels(Array.isArray(given) ? given.map(String) : []), {})
  const reserve = take(readReserve(text('reserve') ?? ''), { cpuMilli: 0, memoryMiB: 0 })
  const ports = take(readPorts(text('ports')), undefined)
  if (!id.success || faults.length > 0) {
    throw new Trouble({
      status: exitStatus.usage,
      what: 'the agent cannot use its flags',
      why: faults.join('\n'),
      next: 'boxcar agent --help',
    })
  }
  const agentPort = flags['agentPort']
  return {
    hostId: id.data,
    advertise: text('advertise'),
    labels,
    reserve,
    edge:
      flags['edge'] === false
        ? 'off'
        : { haproxy: text('haproxy') ?? 'haproxy', public: text('edgeAddress') ?? '*' },
    stateDir: text('stateDir') ?? '/var/lib/boxcar',
    ports,
    agentPort: typeof agentPort === 'number' ? agentPort : undefined,
  }
}

type Problem = { readonly problem: string }

const labelText = /^([\w./-]{1,128})=([\w./-]{0,128})$/

function readLabels(texts: readonly string[]): Readonly<Record<string, string>> | Problem {
  const labels: Record<string, string> = {}
  for (const text of texts) {
    const match = labelText.exec(text)
    if (match?.[1] === undefined)
      return { problem: `--label ${text}: must be key=value, of letters, digits and . _ / -` }
    labels[match[1]] = match[2] ?? ''
  }
  return labels
}

function readReserve(text: string): AgentFlags['reserve'] | Problem {
  let [cpuMilli, memoryMiB] = [0, 0]
  for (const part of text.split(',').filter(it => it !== '')) {
    const [name = '', value = ''] = part.split('=')
    if (name === 'cpus' && /^\d+(\.\d+)?$/.test(value)) cpuMilli = Math.round(Number(value) * 1000)
    else if (name === 'memory') {
      const size = parseMemoryMiB(value)
      if (typeof size !== 'number') return { problem: `--reserve memory: ${size.problem}` }
      memoryMiB = size
    } else return { problem: `--reserve ${part}: must be such as cpus=0.5,memory=512MiB` }
  }
  return { cpuMilli, memoryMiB }
}

function readPorts(text: string | undefined): AgentFlags['ports'] | Problem {
  if (text === undefined) return undefined
  const match = /^(\d{1,5})-(\d{1,5})$/.exec(text)
  const [from, to] = [Number(match?.[1]), Number(match?.[2])]
  const fits = match !== null && from >= 1 && to <= 65_535 && from <= to
  return fits ? { from, to } : { problem: `--ports ${text}: must be a range such as 20000-29999` }
}

/**
 * The address of this host that others most likely reach: the one from which etcd is spoken to, unless that is this machine's
 * own loopback. Nothing is sent for it.
 */
export async function ownAddress(etcd: readonly string[]): Promise<string> {
  for (const endpoint of etcd) {
    const { hostname: host, port } = new URL(endpoint)
    const found = await localAddressTowards(host.replace(/^\[(.*)\]$/, '$1'), Number(port || 2379))
    if (found !== undefined && !found.startsWith('127.') && found !== '::1') return found
  }
  const first = Object.values(networkInterfaces())
    .flatMap(addresses => addresses ?? [])
    .find(it => it.family === 'IPv4' && !it.internal && !it.address.startsWith('169.254.'))
  return first?.address ?? '127.0.0.1'
}

function localAddressTowards(host: string, port: number): Promise<string | undefined> {
  return new Promise(resolve => {
    const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4')
    const end = (found: string | undefined) => {
      socket.close()
      resolve(found)
    }
    socket.once('error', () => end(undefined))
    socket.connect(port, host, () => end(socket.address().address))
  })
}
