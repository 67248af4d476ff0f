import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { isAlive, type ProcessId, self } from './procfs.ts'

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
  let files: readonly string[]
  try {
    files = readdirSync(folder)
  } catch {
    return []
  }
  const found = new Map<string, Claim>()
  for (const file of files.filter(name => name.endsWith('.json'))) {
    const it = read(join(folder, file))
    if (it !== undefined) found.set(it.name, it)
  }
  return [...found.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
}

/**
 * Does something while nobody else does it; waits for its turn. Two sweeps at once would be a danger: the slower one
 * would take away the machine that was just made under the name that the quicker one had set free.
 */
export async function alone<T>(act: () => Promise<T>): Promise<T> {
  mkdirSync(folder, { recursive: true })
  const lock = join(folder, 'sweep.lock')
  for (
    const deadline = performance.now() + 60_000;
    !createNew(lock, JSON.stringify(self()));
    await sleep(50)
  ) {
    if (performance.now() > deadline) throw new Error(`${lock} is held for more than 60 s; its owner hangs`)
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

/** A lock that cannot be read is being written, or has just gone. */
function lockIsHeld(lock: string): boolean {
  try {
    const it: unknown = JSON.parse(readFileSync(lock, 'utf8'))
    return !isProcessId(it) || isAlive(it)
  } catch {
    return true
  }
}

function createNew(file: string, text: string): boolean {
  try {
    writeFileSync(file, text, { flag: 'wx' })
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false
    throw error
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
