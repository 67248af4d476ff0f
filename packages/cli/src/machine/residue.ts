/**
 * What machines left behind, and its removal. A machine is taken away by its name, not by what its owner remembers
 * of it: so the same steps serve the orderly stop, the start that failed half way, and the owner that was killed.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { cgroupFolders, cgroupNames, cgroupPids, killCgroup, removeCgroup } from './cgroup.ts'
import { alone, type Claim, claims, discardTorn, ownerLives, release } from './claim.ts'
import { run, tryRun } from './command.ts'
import { heldBy } from './held.ts'
import {
  cgroupOf,
  machineOfCgroup,
  machineOfPart,
  machineVariable,
  namespaceFile,
  ruleCommentOf,
} from './names.ts'
import { closeFirewall } from './network.ts'
import { allPids, pidsInNetwork, pidsWithEnv, startTimeOf, titleOf } from './procfs.ts'

/** The file that says that a folder is a machine's, and may be removed with it. */
export const folderMark = '.boxcar-machine'

interface Sweep {
  /** The machines that were taken away. */
  readonly swept: readonly string[]
  /** Those of which something is left: a start goes on beside them, under other names. */
  readonly stuck: readonly LeftBehind[]
}

/** Takes away what machines left behind whose owners died. What cannot be taken away now is tried again by the next sweep. */
export function sweep(): Promise<Sweep> {
  return alone(async () => {
    discardTorn()
    const swept: string[] = []
    const stuck: LeftBehind[] = []
    for (const it of claims().filter(claim => !ownerLives(claim))) {
      try {
        await clear(it, 'remove', sweepPatienceMs)
        swept.push(it.name)
      } catch (error) {
        if (!(error instanceof LeftBehind)) throw error
        stuck.push(error)
      }
    }
    return { swept, stuck }
  })
}

/** Their owner is dead, and so is most of it; somebody waits for the start that sweeps. */
const sweepPatienceMs = 2_000

/** What becomes of the folder with the logs and the data. */
export type FolderFate = 'remove' | 'keep'

/** Takes a machine away, whole or half made. Goes on after a step that fails, and throws `LeftBehind` at the end. */
export async function clear(
  it: Claim,
  folder: FolderFate = 'remove',
  patienceMs: number = 10_000,
): Promise<void> {
  const failures: string[] = []
  const steps = [
    () => endProcesses(it.name, patienceMs),
    () => removeCgroup(cgroupOf(it.name), patienceMs),
    () => removeNetwork(it.name),
    () => (folder === 'remove' ? removeFolder(it) : keepFolder(it)),
  ]
  for (const step of steps) {
    try {
      await step()
    } catch (error) {
      failures.push(error instanceof Error ? error.message : String(error))
    }
  }
  // A claim stays on record while something of it does: its names stay taken, and the next sweep tries again.
  if (failures.length > 0) throw new LeftBehind(it, await parts(it), failures)
  release(it)
}

/** One thing of a machine that is there, and how a person takes it away. */
interface Leftover {
  readonly what: string
  /** A command; left out where it goes with the others. */
  readonly next?: string
}

/** A machine could not be taken away whole. The world is at fault, not this program. */
export class LeftBehind extends Error {
  override readonly name = 'LeftBehind'
  readonly claim: Claim
  readonly leftovers: readonly Leftover[]

  /** `failures` are what the steps said; what is there says more, unless it has gone by now. */
  constructor(claim: Claim, leftovers: readonly Leftover[], failures: readonly string[]) {
    const lines = leftovers.length > 0 ? leftovers.map(it => it.what) : failures
    super(`of machine ${claim.name} is left:\n${lines.join('\n')}`)
    this.claim = claim
    this.leftovers = leftovers
  }

  /** What a person types, in this order. */
  get commands(): readonly string[] {
    return this.leftovers.flatMap(it => it.next ?? [])
  }
}

/**
 * Everything of one machine that is still there, a line each; none after a good stop. Without a name: of every
 * machine whose owner is dead or unknown.
 */
export async function residue(name?: string): Promise<readonly string[]> {
  return (name === undefined ? await leftoversOfTheDead() : await leftovers(name)).map(it => it.what)
}

/** The names of all machines of which anything is there, claimed by somebody or not. */
export async function machinesSeen(): Promise<ReadonlySet<string>> {
  const named = [
    ...claims().map(it => it.name),
    ...[...namespaces(), ...(await links())].map(machineOfPart),
    ...cgroupNames().map(machineOfCgroup),
    ...allPids().map(machineOfProcess),
  ]
  return new Set(named.filter(name => name !== undefined))
}

async function leftoversOfTheDead(): Promise<readonly Leftover[]> {
  // In this order: a claim comes before a machine's first part and goes after its last.
  const seen = await machinesSeen()
  const living = new Set(
    claims()
      .filter(ownerLives)
      .map(it => it.name),
  )
  const found: Leftover[] = []
  for (const name of [...seen].sort()) if (!living.has(name)) found.push(...(await leftovers(name)))
  return found
}

async function leftovers(name: string): Promise<readonly Leftover[]> {
  const claim = claims().find(it => it.name === name)
  const record = claim === undefined ? [] : [{ what: `claim on ${claim.subnet}.0/24` }]
  return [...(await parts({ name, dir: claim?.dir })), ...record]
}

async function parts({
  name,
  dir,
}: {
  readonly name: string
  readonly dir: string | undefined
}): Promise<readonly Leftover[]> {
  const rules = await tryRun(['iptables', '-w', '-S'])
  return [
    ...processesOf(name).map(leftProcess),
    ...namespacesOf(name).map(it => ({ what: `namespace ${it}`, next: `ip netns delete ${it}` })),
    ...(await linksOf(name)).map(it => ({ what: `link ${it}`, next: `ip link delete ${it}` })),
    ...rules.stdout
      .split('\n')
      .filter(line => line.includes(` ${ruleCommentOf(name)} `) || line.includes(`"${ruleCommentOf(name)}"`))
      .map(line => ({ what: line, next: `iptables ${line.replace(/^-A /, '-D ')}` })),
    ...cgroupFolders(cgroupOf(name)).map(it => ({
      what: `control group ${it}`,
      next: `find ${it} -depth -type d -exec rmdir {} +`,
    })),
    ...(dir === undefined || !existsSync(dir)
      ? []
      : [
          { what: `folder ${dir}`, next: `rm -r ${dir}` },
          ...mountsBelow(dir).map(it => ({ what: it, next: `umount --lazy ${it}` })),
        ]),
  ]
}

function leftProcess(pid: number): Leftover {
  const what = `process ${pid}: ${titleOf(pid)}`
  const held = heldBy(pid)
  if (held === undefined) return { what, next: `kill -9 ${pid}` }
  return { what: `${what} (${held.why})`, ...(held.command === undefined ? {} : { next: held.command }) }
}

/**
 * All processes of a machine: those started with its name, those in its hosts' networks, and those in its control group. Never
 * ourselves.
 */
function processesOf(name: string): readonly number[] {
  const networks = namespacesOf(name).map(namespaceFile)
  const grouped = cgroupPids(cgroupOf(name)).filter(pid => startTimeOf(pid) !== undefined)
  const found = new Set([
    ...pidsWithEnv(machineVariable, name),
    ...networks.flatMap(pidsInNetwork),
    ...grouped,
  ])
  found.delete(process.pid)
  return [...found].sort((a, b) => a - b)
}

/** Kills again and again, since a process that dies may have started another just before. */
async function endProcesses(name: string, patienceMs: number): Promise<void> {
  const deadline = performance.now() + patienceMs
  for (;;) {
    const left = processesOf(name)
    if (left.length === 0) return
    if (performance.now() > deadline) throw new Error(`processes that do not end: ${left.join(', ')}`)
    // A paused container holds up the end of its whole host.
    killCgroup(cgroupOf(name))
    for (const pid of left) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // Gone already.
      }
    }
    await sleep(20)
  }
}

async function removeNetwork(name: string): Promise<void> {
  for (const namespace of namespacesOf(name)) await tryRun(['ip', 'netns', 'delete', namespace])
  // A namespace takes its end of the cable, and so ours, with it, but not at once.
  for (const link of await linksOf(name)) await tryRun(['ip', 'link', 'delete', link])
  await closeFirewall(name)
  const left = [...namespacesOf(name), ...(await linksOf(name))]
  if (left.length > 0) throw new Error(`namespaces and links that cannot be deleted: ${left.join(', ')}`)
}

async function removeFolder(it: Claim): Promise<void> {
  // The claim alone is not enough to remove a folder and all below it.
  if (!existsSync(join(it.dir, folderMark))) return
  for (const mount of mountsBelow(it.dir)) await tryRun(['umount', '--lazy', mount])
  await rm(it.dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
}

/** Without the mark nobody removes it later. */
async function keepFolder(it: Claim): Promise<void> {
  await rm(join(it.dir, folderMark), { force: true })
}

function mountsBelow(dir: string): readonly string[] {
  return readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map(line => line.split(' ')[1] ?? '')
    .filter(mount => mount.startsWith(`${dir}/`))
    .reverse()
}

const namespacesOf = (name: string) => namespaces().filter(it => machineOfPart(it) === name)

function namespaces(): readonly string[] {
  try {
    return readdirSync('/run/netns').filter(it => machineOfPart(it) !== undefined)
  } catch {
    return []
  }
}

const linksOf = async (name: string) => (await links()).filter(it => machineOfPart(it) === name)

async function links(): Promise<readonly string[]> {
  const listed = await run(['ip', '-o', 'link', 'show'])
  const names = listed.split('\n').map(line => /^\d+: ([^:@]+)/.exec(line)?.[1] ?? '')
  return names.filter(it => machineOfPart(it) !== undefined)
}

function machineOfProcess(pid: number): string | undefined {
  try {
    const environment = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0')
    return environment.find(it => it.startsWith(`${machineVariable}=`))?.slice(machineVariable.length + 1)
  } catch {
    return undefined
  }
}
