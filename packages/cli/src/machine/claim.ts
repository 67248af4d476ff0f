import { linkSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { isAlive, type ProcessId, self, startTimeOf } from './procfs.ts'

/**
 * A machine that stands, or whose owner died before it could take it away. It is written before the first part is
 * made, so that every part has an owner on record.
 */
export interface Claim {
  readonly name: string
  readonly owner: ProcessId
  /** The first three numbers of its addresses, for example `10.77.0`; no two claims have the same. */
  readonly subnet: string
  readonly dir: string
}

const folder = '/run/boxcar-machines'

/** Puts a claim on record, and gives it; undefined when the name or the subnet is taken. */
export function claim(wanted: Omit<Claim, 'owner'>): Claim | undefined {
  mkdirSync(folder, { recursive: true })
  const mine: Claim = { ...wanted, owner: self() }
  const text = JSON.stringify(mine)
  if (!createNew(netFile(wanted.subnet), text)) return undefined
  if (createNew(nameFile(wanted.name), text)) return mine
  rmSync(netFile(wanted.subnet), { force: true })
  return undefined
}

/** Takes a claim off the record, as the last act of taking a machine away. */
export function release(it: Claim): void {
  rmSync(nameFile(it.name), { force: true })
  rmSync(netFile(it.subnet), { force: true })
}

/** All claims on record; a file that cannot be read as one is passed over. */
export function claims(): readonly Claim[] {
  const found = new Map<string, Claim>()
  for (const file of files().filter(name => name.endsWith('.json'))) {
    const it = read(join(folder, file))
    if (it !== undefined) found.set(it.name, it)
  }
  return [...found.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
}

/** What no new claim can have, also where a file of that name cannot be read. */
export function onRecord(): { readonly names: ReadonlySet<string>; readonly subnets: ReadonlySet<string> } {
  const stems = files().flatMap(file => /^(.*)\.json$/.exec(file)?.[1] ?? [])
  const subnets = stems.flatMap(stem => /^net-(.*)$/.exec(stem)?.[1] ?? [])
  return { names: new Set(stems.filter(stem => !stem.startsWith('net-'))), subnets: new Set(subnets) }
}

/** Removes files that no claim can be read from, and those whose writer was killed before they had their name. */
export function discardTorn(): void {
  for (const file of files()) {
    const path = join(folder, file)
    const writer = /\.new-(\d+)$/.exec(file)?.[1]
    const isTorn = writer === undefined ? file.endsWith('.json') && read(path) === undefined : !lives(writer)
    if (isTorn) rmSync(path, { force: true })
  }
}

const lives = (pid: string) => startTimeOf(Number(pid)) !== undefined

/** Another start sweeps, and for longer than a start waits. */
export class LockHeld extends Error {
  override readonly name = 'LockHeld'
  constructor(lock: string) {
    const owner = ownerOf(lock)
    const who = typeof owner === 'string' ? 'its owner' : `process ${owner.pid}`
    super(`${lock} is held for more than ${lockMs / 1000} s; ${who} hangs`)
  }
}

const lockMs = 20_000

/**
 * Does something while nobody else does it; waits for its turn. Two sweeps at once would be a danger: the slower one
 * would take away the machine that was just made under the name that the quicker one had set free.
 */
export async function alone<T>(act: () => Promise<T>): Promise<T> {
  mkdirSync(folder, { recursive: true })
  const lock = join(folder, 'sweep.lock')
  for (
    const deadline = performance.now() + lockMs;
    !createNew(lock, JSON.stringify(self()));
    await sleep(50)
  ) {
    if (performance.now() > deadline) throw new LockHeld(lock)
    if (!lockIsHeld(lock)) rmSync(lock, { force: true })
  }
  try {
    return await act()
  } finally {
    rmSync(lock, { force: true })
  }
}

export const ownerLives = (it: Claim): boolean => isAlive(it.owner)

const nameFile = (name: string) => join(folder, `${name}.json`)
const netFile = (subnet: string) => join(folder, `net-${subnet}.json`)

/** A lock that has gone just now may be another's by the time it is removed. */
const lockIsHeld = (lock: string): boolean => {
  const owner = ownerOf(lock)
  return owner === 'gone' || (owner !== 'unreadable' && isAlive(owner))
}

/** What is there and cannot be read is nobody's: a lock is whole when it gets its name. */
function ownerOf(lock: string): ProcessId | 'gone' | 'unreadable' {
  try {
    const it: unknown = JSON.parse(readFileSync(lock, 'utf8'))
    return isProcessId(it) ? it : 'unreadable'
  } catch (error) {
    return isErrno(error, 'ENOENT') ? 'gone' : 'unreadable'
  }
}

/** Whole under its name or not there: a program that is killed half way, or a full disk, must not hold a name for ever. */
function createNew(file: string, text: string): boolean {
  const own = `${file}.new-${process.pid}`
  try {
    writeFileSync(own, text)
    linkSync(own, file)
    return true
  } catch (error) {
    if (isErrno(error, 'EEXIST')) return false
    throw error
  } finally {
    rmSync(own, { force: true })
  }
}

const isErrno = (error: unknown, code: string) =>
  error instanceof Error && 'code' in error && error.code === code

function files(): readonly string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

function read(file: string): Claim | undefined {
  try {
    const it: unknown = JSON.parse(readFileSync(file, 'utf8'))
    return isClaim(it) ? it : undefined
  } catch {
    return undefined
  }
}

function isClaim(it: unknown): it is Claim {
  if (typeof it !== 'object' || it === null) return false
  if (!('name' in it && 'subnet' in it && 'dir' in it && 'owner' in it)) return false
  const { name, subnet, dir, owner } = it
  if (typeof name !== 'string' || typeof subnet !== 'string' || typeof dir !== 'string') return false
  return isProcessId(owner)
}

function isProcessId(it: unknown): it is ProcessId {
  if (typeof it !== 'object' || it === null || !('pid' in it && 'startTime' in it)) return false
  return typeof it.pid === 'number' && typeof it.startTime === 'string'
}
