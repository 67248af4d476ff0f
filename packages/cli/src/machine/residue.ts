/**
 * What machines left behind, and its removal. A machine is taken away by its name, not by what its owner remembers
 * of it: so the same steps serve the orderly stop, the start that failed half way, and the owner that was killed.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { cgroupFolders, removeCgroup } from './cgroup.ts'
import { alone, type Claim, claims, ownerLives, release } from './claim.ts'
import { run, tryRun } from './command.ts'
import { cgroupOf, machineOfPart, machineVariable, namespaceFile, ruleCommentOf } from './names.ts'
import { closeFirewall } from './network.ts'
import { allPids, pidsInNetwork, pidsWithEnv, titleOf } from './procfs.ts'

/** The file that says that a folder is a machine's, and may be removed with it. */
export const folderMark = '.boxcar-machine'

/** Takes away what machines left behind whose owners died; gives the names of those machines. */
export function sweep(): Promise<readonly string[]> {
  return alone(async () => {
    const dead = claims().filter(it => !ownerLives(it))
    for (const it of dead) await clear(it)
    return dead.map(it => it.name)
  })
}

/** What becomes of the folder with the logs and the data. */
export type FolderFate = 'remove' | 'keep'

/** Takes a machine away, whole or half made. Goes on after a step that fails, and throws at the end. */
export async function clear(it: Claim, folder: FolderFate = 'remove'): Promise<void> {
  const failures: unknown[] = []
  const steps = [
    () => endProcesses(it.name),
    () => removeCgroup(cgroupOf(it.name)),
    () => removeNetwork(it.name),
    () => (folder === 'remove' ? removeFolder(it) : keepFolder(it)),
  ]
  for (const step of steps) {
    try {
      await step()
    } catch (error) {
      failures.push(error)
    }
  }
  // A claim stays on record while something of it does: the next sweep tries again.
  if (failures.length > 0)
    throw new AggregateError(failures, `machine ${it.name} could not be taken away whole`)
  release(it)
}

/**
 * Everything of one machine that is still there, a line each; none after a good stop. Without a name: of every
 * machine whose owner is dead or unknown.
 */
export function residue(name?: string): Promise<readonly string[]> {
  return name === undefined ? residueOfTheDead() : residueOf(name)
}

/** The names of all machines of which anything is there, claimed by somebody or not. */
export async function machinesSeen(): Promise<ReadonlySet<string>> {
  const named = [
    ...claims().map(it => it.name),
    ...[...namespaces(), ...(await links())].map(machineOfPart),
    ...allPids().map(machineOfProcess),
  ]
  return new Set(named.filter(name => name !== undefined))
}

async function residueOfTheDead(): Promise<readonly string[]> {
  // In this order: a claim comes before a machine's first part and goes after its last.
  const seen = await machinesSeen()
  const living = new Set(
    claims()
      .filter(ownerLives)
      .map(it => it.name),
  )
  const found: string[] = []
  for (const name of [...seen].sort()) if (!living.has(name)) found.push(...(await residueOf(name)))
  return found
}

async function residueOf(name: string): Promise<readonly string[]> {
  const claim = claims().find(it => it.name === name)
  const rules = await tryRun(['iptables', '-w', '-S'])
  return [
    ...processesOf(name).map(pid => `process ${pid}: ${titleOf(pid)}`),
    ...namespacesOf(name).map(it => `namespace ${it}`),
    ...(await linksOf(name)).map(it => `link ${it}`),
    ...rules.stdout
      .split('\n')
      .filter(line => line.includes(` ${ruleCommentOf(name)} `) || line.includes(`"${ruleCommentOf(name)}"`)),
    ...cgroupFolders(cgroupOf(name)).map(it => `control group ${it}`),
    ...(claim === undefined ? [] : [`claim on ${claim.subnet}.0/24`]),
    ...(claim !== undefined && existsSync(claim.dir)
      ? [`folder ${claim.dir}`, ...mountsBelow(claim.dir)]
      : []),
  ]
}

/** All processes of a machine: those started with its name, and those in its hosts' networks. Never ourselves. */
function processesOf(name: string): readonly number[] {
  const networks = namespacesOf(name).map(namespaceFile)
  const found = new Set([...pidsWithEnv(machineVariable, name), ...networks.flatMap(pidsInNetwork)])
  found.delete(process.pid)
  return [...found].sort((a, b) => a - b)
}

/** Kills again and again, since a process that dies may have started another just before. */
async function endProcesses(name: string): Promise<void> {
  const deadline = performance.now() + 10_000
  for (;;) {
    const left = processesOf(name)
    if (left.length === 0) return
    if (performance.now() > deadline) {
      throw new Error(`processes that do not end: ${left.map(pid => `${pid} ${titleOf(pid)}`).join(', ')}`)
    }
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
  for (const namespace of namespacesOf(name)) await run(['ip', 'netns', 'delete', namespace])
  // A namespace takes its end of the cable, and so ours, with it, but not at once.
  for (const link of await linksOf(name)) await tryRun(['ip', 'link', 'delete', link])
  const left = await linksOf(name)
  if (left.length > 0) throw new Error(`links that cannot be deleted: ${left.join(', ')}`)
  await closeFirewall(name)
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
