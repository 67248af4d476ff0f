/**
 * Several real Docker hosts on one computer: each has a network namespace on one bridge, its own mounts and process
 * ids, and an engine; beside them an etcd and an image registry, on the bridge's own address. `boxcar dev` runs on
 * it, and so do the end-to-end tests. Needs Linux and root.
 */
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { platform } from 'node:process'
import { type Claim, claim, claims, LockHeld, onRecord } from './claim.ts'
import { type EtcdProcess, startEtcd } from './etcd.ts'
import { bootHost, type MachineHost } from './host.ts'
import { isMachineName, machineVariable } from './names.ts'
import { gatewayOf, makeNetwork } from './network.ts'
import { StartFailed } from './process.ts'
import { type RegistryProcess, startRegistry } from './registry.ts'
import { clear, type FolderFate, folderMark, LeftBehind, machinesSeen, sweep } from './residue.ts'
import { freeSubnets } from './subnet.ts'

export interface MachineOptions {
  /** How many hosts, 1 to 99. */
  readonly hosts: number
  /** A folder of our own, empty or not there yet; removed at the end with all that is in it. */
  readonly dir: string
  /** Part of the names of all that is made: up to eight of a-z and 0-9. A free one is found when it is left out. */
  readonly name?: string
  /** Of the etcd's database; etcd's own where it is left out. */
  readonly etcdQuotaBytes?: number
  /** One line for each thing that is ready. */
  readonly onProgress?: (line: string) => void
}

export interface Machine {
  readonly name: string
  /** This computer's address on the bridge: etcd, the registry and Boxcar's servers listen on it. */
  readonly gateway: string
  readonly etcd: EtcdProcess
  readonly registry: RegistryProcess
  /** `h1`, `h2`, … */
  readonly hosts: readonly MachineHost[]
  /** Give it to every process that belongs to the machine: so it is found, and ended with the machine. */
  readonly env: NodeJS.ProcessEnv
  /**
   * Takes all of it away: processes, containers, namespaces, links, firewall rules, and the folder unless it is to be
   * kept. Can be called again.
   */
  stop(folder?: FolderFate): Promise<void>
}

/** Starts a machine, all parts at once. When a part fails, what was made is taken away before this rejects. */
export async function startMachine(options: MachineOptions): Promise<Machine> {
  await checkOptions(options)
  const tell = options.onProgress ?? (() => undefined)
  await takeAwayTheDead(tell)
  const mine = await claimMachine(options)
  let stopping: Promise<void> | undefined
  const stop = (folder?: FolderFate) => {
    stopping ??= clear(mine, folder).catch(error => {
      stopping = undefined
      throw error
    })
    return stopping
  }
  try {
    return { ...(await startParts(mine, options, tell)), stop }
  } catch (error) {
    // Why it did not start is what counts; what is left of it is told beside.
    await stop().catch(left => tellLeft(left, tell))
    throw error
  }
}

/** What dead owners left behind must hold up nobody: what stays keeps its names, and this start takes others. */
async function takeAwayTheDead(tell: (line: string) => void): Promise<void> {
  try {
    const { swept, stuck } = await sweep()
    for (const name of swept) tell(`took away what machine ${name} had left behind`)
    for (const left of stuck) tellLeft(left, tell)
  } catch (error) {
    if (!(error instanceof LockHeld)) throw error
    tell(`what earlier machines left behind stays for now: ${error.message}`)
  }
}

function tellLeft(error: unknown, tell: (line: string) => void): void {
  if (!(error instanceof LeftBehind)) throw error
  for (const { what, next } of error.leftovers) {
    const remedy = next === undefined ? '' : `; to take it away: ${next}`
    tell(`machine ${error.claim.name} stays for now: ${what}${remedy}`)
  }
}

async function startParts(
  mine: Claim,
  { hosts: count, etcdQuotaBytes }: MachineOptions,
  tell: (line: string) => void,
): Promise<Omit<Machine, 'stop'>> {
  const { name, subnet, dir } = mine
  await mkdir(dir, { recursive: true })
  await writeFile(join(dir, folderMark), `${name}\n`)
  const env = { ...process.env, [machineVariable]: name }
  await makeNetwork({ machine: name, subnet, hosts: count })
  tell(`network ${subnet}.0/24`)
  const gateway = gatewayOf(subnet)
  const indices = Array.from({ length: count }, (_, index) => index)
  const [etcd, registry, hosts] = await allSettled(
    startEtcd({
      address: gateway,
      dir: join(dir, 'etcd'),
      env,
      ...(etcdQuotaBytes === undefined ? {} : { quotaBytes: etcdQuotaBytes }),
    }).then(etcd => {
      tell(`etcd on ${etcd.endpoint}`)
      return etcd
    }),
    startRegistry({ address: gateway, dir: join(dir, 'registry'), env }).then(registry => {
      tell(`registry on ${registry.address}`)
      return registry
    }),
    allSettled(
      ...indices.map(async index => {
        const host = await bootHost({ machine: name, subnet, index, dir: join(dir, `h${index + 1}`), env })
        tell(`host ${host.id} on ${host.address}`)
        return host
      }),
    ),
  )
  return { name, gateway, etcd, registry, hosts, env }
}

/** Like `Promise.all`, but rejects only when none is under way any more: what is being made cannot be cleared. */
async function allSettled<T extends readonly unknown[]>(
  ...started: { [K in keyof T]: Promise<T[K]> }
): Promise<T> {
  await Promise.allSettled(started)
  // A mapped tuple: the compiler loses the elements' order in Promise.all's own type.
  return (await Promise.all(started)) as unknown as T
}

async function checkOptions(options: MachineOptions): Promise<void> {
  if (platform !== 'linux') throw new Error('Docker hosts in namespaces need Linux')
  if (process.getuid?.() !== 0) throw new Error('Docker hosts in namespaces need root')
  if (!Number.isInteger(options.hosts) || options.hosts < 1 || options.hosts > 99) {
    throw new RangeError(`a machine has 1 to 99 hosts, not ${options.hosts}`)
  }
  if (options.name !== undefined && !isMachineName(options.name)) {
    throw new RangeError(`"${options.name}" is no machine's name: up to eight of a-z and 0-9`)
  }
  const entries = await readdir(options.dir).catch(() => [])
  if (entries.length > 0) throw new Error(`${options.dir} is not empty`)
}

/**
 * Puts a name and a network on record that nobody else has; several programs may be at it at the same time. Nor are
 * names taken of which parts are there without a claim: they may belong to a program that sees another /run than we do.
 */
async function claimMachine(options: MachineOptions): Promise<Claim> {
  const subnets = await freeSubnets()
  for (let attempt = 0; attempt < 200; attempt++) {
    const record = onRecord()
    const seen = new Set([...(await machinesSeen()), ...record.names])
    const name = options.name ?? freeName(seen)
    if (seen.has(name)) throw new StartFailed(taken(name, claims()))
    const subnet = subnets.find(it => !record.subnets.has(it))
    if (subnet === undefined) break
    const mine = claim({ name, subnet, dir: resolve(options.dir) })
    if (mine !== undefined) return mine
  }
  throw new StartFailed('no private /24 network is free on this computer')
}

function taken(name: string, standing: readonly Claim[]): string {
  const other = standing.find(it => it.name === name)
  return other === undefined
    ? `parts of a machine ${name} are there that nobody has on record`
    : `machine ${name} stands already, process ${other.owner.pid} owns it`
}

function freeName(seen: ReadonlySet<string>): string {
  for (let number = 1; ; number++) if (!seen.has(`m${number}`)) return `m${number}`
}
