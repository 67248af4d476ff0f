/** What the kernel says about ports: may we listen there, and does anybody besides us. */
import { readdir, readFile, readlink } from 'node:fs/promises'
import { createServer } from 'node:net'
import type { Door } from './picture.ts'

/** Why a door cannot be opened, or nothing; found out by opening it for a moment. */
export function whyClosed(door: Door): Promise<string | undefined> {
  return new Promise(resolve => {
    const server = createServer()
    server.once('error', error => resolve(reason(error)))
    server.listen(
      { port: door.port, host: door.address, exclusive: true, ipv6Only: door.address.includes(':') },
      () => server.close(() => resolve(undefined)),
    )
  })
}

function reason(error: NodeJS.ErrnoException): string {
  switch (error.code) {
    case 'EADDRINUSE':
      return 'another process listens there'
    case 'EACCES':
      return 'this user may not listen there'
    case 'EADDRNOTAVAIL':
    case 'EAFNOSUPPORT':
      return 'this host does not have the address'
    default:
      return error.code ?? 'cannot listen there'
  }
}

/** The ports of these doors on which a process other than `own` listens too, with that process where it can be seen. */
export async function sharedPorts(
  ports: ReadonlySet<number>,
  own: readonly number[],
): Promise<readonly { readonly port: number; readonly by: string }[]> {
  const listening = (await Promise.all([listeners('/proc/net/tcp'), listeners('/proc/net/tcp6')])).flat()
  const concerned = listening.filter(l => ports.has(l.port))
  if (concerned.length === 0) return []
  const ours = new Set((await Promise.all(own.map(socketsOf))).flat())
  const foreign = concerned.filter(l => !ours.has(l.inode))
  // A port on an address that we do not listen on is nobody's business; one that shares ours is.
  const mine = new Set(concerned.filter(l => ours.has(l.inode)).map(l => `${l.address} ${l.port}`))
  const sharing = foreign.filter(l => mine.has(`${l.address} ${l.port}`))
  return Promise.all(sharing.map(async l => ({ port: l.port, by: await ownerOf(l.inode) })))
}

/** The doors that these processes hold. */
export async function doorsHeldBy(own: readonly number[]): Promise<readonly Door[]> {
  const listening = (await Promise.all([listeners('/proc/net/tcp'), listeners('/proc/net/tcp6')])).flat()
  const ours = new Set((await Promise.all(own.map(socketsOf))).flat())
  return listening
    .filter(l => ours.has(l.inode))
    .map(({ address, port }) => ({ address: spelled(address), port }))
}

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
    found.push({ address: address ?? '', port: Number.parseInt(port ?? '', 16), inode: fields[9] ?? '' })
  }
  return found
}

async function socketsOf(pid: number): Promise<readonly string[]> {
  const names = await readdir(`/proc/${pid}/fd`).catch(() => [])
  const links = await Promise.all(names.map(name => readlink(`/proc/${pid}/fd/${name}`).catch(() => '')))
  return links.flatMap(link => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? [])
}

async function ownerOf(inode: string): Promise<string> {
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid) || !(await socketsOf(Number(pid))).includes(inode)) continue
    const name = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')
    return `process ${pid} (${name.trim().replace(/[^ -~]/g, '?')})`
  }
  return 'another process'
}
