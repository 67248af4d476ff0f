/** What the kernel says about ports: may we listen there, and does anybody besides us. */
import { readdir, readFile, readlink } from 'node:fs/promises'
import { createServer, isIP } from 'node:net'
import { basename } from 'node:path'
import { agentHolder } from '@boxcar/core/model/unserved'
import type { Closed, Door } from './picture.ts'

/** Why a door cannot be opened, or nothing; found out by opening it for a moment. */
export function whyClosed(door: Door): Promise<Closed | undefined> {
  return new Promise(resolve => {
    const server = createServer()
    server.once('error', error => resolve(closedBy(error)))
    server.listen(
      { port: door.port, host: door.address, exclusive: true, ipv6Only: door.address.includes(':') },
      () => server.close(() => resolve(undefined)),
    )
  })
}

function closedBy(error: NodeJS.ErrnoException): Closed {
  switch (error.code) {
    case 'EADDRINUSE':
      return { reason: 'held' }
    case 'EACCES':
      return { reason: 'not-permitted' }
    case 'EADDRNOTAVAIL':
    case 'EAFNOSUPPORT':
      return { reason: 'no-address' }
    default:
      return { reason: 'cannot-listen', detail: error.code ?? error.message.slice(0, 100) }
  }
}

/** The doors of these that are closed, each with its reason and its holder. */
export async function closedDoors(
  doors: readonly Door[],
  holders: Holders,
): Promise<readonly (Door & Closed)[]> {
  const looks = await Promise.all(doors.map(async door => ({ door, closed: await whyClosed(door) })))
  const held = looks.flatMap(({ door, closed }) => (closed?.reason === 'held' ? [door] : []))
  const names = await holders.of(held)
  return looks.flatMap(({ door, closed }) => {
    const holder = names.get(door)
    if (closed === undefined) return []
    return [{ ...door, ...closed, ...(holder === undefined ? {} : { holder }) }]
  })
}

/** The doors of these at which a process other than `own` listens too, with that process where it can be seen. */
export async function sharedDoors(
  doors: readonly Door[],
  own: readonly number[],
  holders: Holders,
): Promise<readonly (Door & { readonly holder: string })[]> {
  const ports = new Set(doors.map(door => door.port))
  const listening = (await allListening()).filter(l => ports.has(l.port))
  if (listening.length === 0) return []
  const ours = new Set((await Promise.all(own.map(socketsOf))).flat())
  const shared = doors.flatMap(door => {
    const other = listening.find(l => !ours.has(l.inode) && takesFrom(l, door))
    return other === undefined ? [] : [{ door, other }]
  })
  const names = await holders.named(shared.map(({ other }) => other))
  return shared.map(({ door, other }) => ({ ...door, holder: names.get(other.inode) ?? userOf(other) }))
}

/** The processes that hold ports, by name. Who holds a socket is looked up once: that reads what every process has open. */
export class Holders {
  #known: ReadonlyMap<string, string> = new Map()

  /** Who listens at each door or at an address that keeps it closed; nothing where nobody is seen to. */
  async of(doors: readonly Door[]): Promise<ReadonlyMap<Door, string>> {
    if (doors.length === 0) return new Map()
    const listening = await allListening()
    const found = doors.flatMap(door => {
      const other = listening.find(l => l.port === door.port && closes(l.address, door.address))
      return other === undefined ? [] : [{ door, other }]
    })
    const names = await this.named(found.map(({ other }) => other))
    return new Map(found.map(({ door, other }) => [door, names.get(other.inode) ?? userOf(other)]))
  }

  /** By inode. */
  async named(sockets: readonly Listening[]): Promise<ReadonlyMap<string, string>> {
    const fresh = new Set(sockets.map(l => l.inode).filter(inode => !this.#known.has(inode)))
    const found = fresh.size === 0 ? new Map<string, string>() : await ownersOf(fresh)
    const names = new Map<string, string>()
    for (const socket of sockets)
      names.set(socket.inode, this.#known.get(socket.inode) ?? found.get(socket.inode) ?? userOf(socket))
    this.#known = new Map([...this.#known, ...names].slice(-mostKnown))
    return names
  }
}

const mostKnown = 1000

/** Whether a listener at one address keeps another from being listened at. */
const closes = (held: string, wanted: string): boolean => held === wanted || isEvery(held) || isEvery(wanted)

const isEvery = (address: string): boolean => address === '0.0.0.0' || address === '::'

/** Whether a listener gets connections that are meant for a door: the same address, or one that the door's wildcard covers. */
const takesFrom = (other: Listening, door: Door): boolean =>
  other.port === door.port &&
  (other.address === door.address || (isEvery(door.address) && isIP(other.address) === isIP(door.address)))

/** The doors that these processes hold. */
export async function doorsHeldBy(own: readonly number[]): Promise<readonly Door[]> {
  const ours = new Set((await Promise.all(own.map(socketsOf))).flat())
  return (await allListening()).filter(l => ours.has(l.inode)).map(({ address, port }) => ({ address, port }))
}

const allListening = async (): Promise<readonly Listening[]> =>
  (await Promise.all([listeners('/proc/net/tcp'), listeners('/proc/net/tcp6')])).flat()

/** An address as the kernel writes it, four bytes at a time in the machine's order (little-endian), as people do. */
function spelled(kernel: string): string {
  const bytes = Buffer.from(kernel, 'hex').swap32()
  if (bytes.length === 4) return bytes.join('.')
  const groups = Array.from({ length: 8 }, (_, at) => bytes.readUInt16BE(2 * at).toString(16))
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1)
}

interface Listening {
  readonly address: string
  readonly port: number
  /** The number of the user whose process made it. */
  readonly user: string
  readonly inode: string
}

async function listeners(path: string): Promise<readonly Listening[]> {
  const text = await readFile(path, 'utf8').catch(() => '')
  const found: Listening[] = []
  for (const line of text.split('\n')) {
    const fields = line.trim().split(/\s+/)
    // The state 0A is LISTEN.
    if (fields[3] !== '0A') continue
    const [address, port] = (fields[1] ?? '').split(':')
    found.push({
      address: spelled(address ?? ''),
      port: Number.parseInt(port ?? '', 16),
      user: fields[7] ?? '',
      inode: fields[9] ?? '',
    })
  }
  return found
}

async function socketsOf(pid: number): Promise<readonly string[]> {
  const names = await readdir(`/proc/${pid}/fd`).catch(() => [])
  const links = await Promise.all(names.map(name => readlink(`/proc/${pid}/fd/${name}`).catch(() => '')))
  return links.flatMap(link => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? [])
}

/** The first process that has each of these sockets open; none for those of processes that we may not look into. */
async function ownersOf(inodes: ReadonlySet<string>): Promise<Map<string, string>> {
  const owners = new Map<string, string>()
  for (const name of await readdir('/proc')) {
    if (owners.size === inodes.size) break
    if (!/^\d+$/.test(name)) continue
    const pid = Number(name)
    for (const inode of await socketsOf(pid))
      if (inodes.has(inode) && !owners.has(inode)) owners.set(inode, await processName(pid))
  }
  return owners
}

async function processName(pid: number): Promise<string> {
  if (pid === process.pid) return agentHolder
  // The name of a process is that of its main thread, which runtimes choose; the program is what people know.
  const path = await readlink(`/proc/${pid}/exe`).catch(() => '')
  const name = path === '' ? await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '') : basename(path)
  return `process ${pid} (${name
    .trim()
    .slice(0, 64)
    .replace(/[^ -~]/g, '?')})`
}

const userOf = ({ user }: Listening): string => `a process of user id ${user}`
