import { existsSync, readdirSync, readFileSync, rmdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { cgroupRoot, thaw } from './freezer.ts'

/** The folders of a control group: one with version 2, one a controller with version 1. `root` is another in tests only. */
export function cgroupFolders(name: string, root = cgroupRoot): readonly string[] {
  return hierarchies(root)
    .map(folder => join(folder, name))
    .filter(isFolder)
}

/** The names of the top control groups. */
export function cgroupNames(root = cgroupRoot): readonly string[] {
  return [...new Set(hierarchies(root).flatMap(foldersIn))]
}

/** The processes in a control group and all groups below it. */
export function cgroupPids(name: string, root = cgroupRoot): readonly number[] {
  return [...new Set(cgroupFolders(name, root).flatMap(subtree).flatMap(pidsIn))]
}

/** Kills all that runs in a control group, frozen or not. Does not wait for the end. */
export function killCgroup(name: string, root = cgroupRoot): void {
  for (const folder of cgroupFolders(name, root)) {
    // Before the kill: a frozen process of version 1 does not even take a SIGKILL.
    thaw(subtree(folder))
    if (killsAtOnce(folder)) continue
    for (const pid of subtree(folder).flatMap(pidsIn)) killPid(pid)
  }
}

/** Kills all that runs in a control group and removes it; throws when something survives for as long as told. */
export async function removeCgroup(name: string, patienceMs = 10_000, root = cgroupRoot): Promise<void> {
  const deadline = performance.now() + patienceMs
  while (true) {
    killCgroup(name, root)
    const left = cgroupFolders(name, root).filter(folder => !removeTree(folder))
    if (left.length === 0) return
    if (performance.now() > deadline)
      throw new Error(`control groups that cannot be removed: ${left.join(', ')}`)
    await sleep(50)
  }
}

/** A control group and all groups below it, parents first. */
function subtree(folder: string): readonly string[] {
  return [folder, ...foldersIn(folder).flatMap(child => subtree(join(folder, child)))]
}

/** Children first; true when all of it is gone. A killed process still keeps its group for a moment. */
function removeTree(folder: string): boolean {
  for (const child of foldersIn(folder)) removeTree(join(folder, child))
  try {
    rmdirSync(folder)
  } catch {
    return !isFolder(folder)
  }
  return true
}

/** From Linux 5.14 on a group of version 2 kills all below it by itself, so that nothing forks away meanwhile. */
function killsAtOnce(folder: string): boolean {
  const file = join(folder, 'cgroup.kill')
  if (!existsSync(file)) return false
  try {
    writeFileSync(file, '1')
    return true
  } catch {
    return false
  }
}

function killPid(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // Gone already.
  }
}

/** The kernel writes 0 for a process that this pid namespace does not see; to a signal 0 means our own process group. */
function pidsIn(folder: string): readonly number[] {
  try {
    const text = readFileSync(join(folder, 'cgroup.procs'), 'utf8')
    return text
      .split('\n')
      .filter(line => Number(line) > 0)
      .map(Number)
  } catch {
    return []
  }
}

const hierarchies = (root: string) => [root, ...foldersIn(root).map(folder => join(root, folder))]

function foldersIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter(entry => entry.isDirectory())
      .map(entry => entry.name)
  } catch {
    return []
  }
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false
}
