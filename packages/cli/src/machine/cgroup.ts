import { readdirSync, readFileSync, rmdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const root = '/sys/fs/cgroup'

/** The folders of a control group: one with version 2, one a controller with version 1. */
export function cgroupFolders(name: string): readonly string[] {
  return [root, ...foldersIn(root).map(folder => join(root, folder))]
    .map(folder => join(folder, name))
    .filter(isFolder)
}

/** Kills all that runs in a control group and removes it; throws when something survives for 10 s. */
export async function removeCgroup(name: string): Promise<void> {
  const deadline = performance.now() + 10_000
  while (true) {
    const left = cgroupFolders(name).filter(folder => !removeTree(folder))
    if (left.length === 0) return
    if (performance.now() > deadline)
      throw new Error(`control groups that cannot be removed: ${left.join(', ')}`)
    await sleep(50)
  }
}

/** Children first; true when all of it is gone. A killed process still keeps its group for a moment. */
function removeTree(folder: string): boolean {
  for (const child of foldersIn(folder)) removeTree(join(folder, child))
  for (const pid of pidsIn(folder)) killPid(pid)
  try {
    rmdirSync(folder)
  } catch {
    return !isFolder(folder)
  }
  return true
}

function killPid(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // Gone already.
  }
}

function pidsIn(folder: string): readonly number[] {
  try {
    return readFileSync(join(folder, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean).map(Number)
  } catch {
    return []
  }
}

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
