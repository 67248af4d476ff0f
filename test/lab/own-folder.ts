/**
 * Folders, namespaces and control groups of contract tests, named for the process that made them: so whatever a killed test left is known for
 * what it is, and taken away.
 */
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { cgroupNames, removeCgroup } from '@boxcar/cli/machine/cgroup'
import { tryRun } from '@boxcar/cli/machine/command'
import { allPids, commandLineOf, startTimeOf } from '@boxcar/cli/machine/procfs'

export type Kind = 'contract' | 'store'

const form = /^(?:boxcar-(?:contract|store)|bxc)-(\d+)-/

export const ownFolder = (kind: Kind): Promise<string> =>
  mkdtemp(join(tmpdir(), `boxcar-${kind}-${process.pid}-`))

/** The network namespace that belongs to a folder, and the control group of its containers. */
export const namespaceOf = (folder: string): string =>
  folder.slice(folder.lastIndexOf('/') + 1).replace('boxcar-contract-', 'bxc-')

export interface Abandoned {
  readonly processes: readonly number[]
  readonly namespaces: readonly string[]
  readonly cgroups: readonly string[]
  readonly folders: readonly string[]
}

/** What is there of tests whose process is dead. */
export async function abandoned(): Promise<Abandoned> {
  const isAbandoned = (name: string) => {
    const maker = form.exec(name)?.[1]
    return maker !== undefined && startTimeOf(Number(maker)) === undefined
  }
  const folders = (await readdir(tmpdir())).filter(isAbandoned).map(name => join(tmpdir(), name))
  return {
    folders,
    namespaces: (await readdir('/run/netns').catch(() => [])).filter(isAbandoned),
    cgroups: cgroupNames().filter(isAbandoned),
    processes: allPids().filter(pid => {
      const words = commandLineOf(pid)
      return folders.some(folder => words.some(word => word.includes(`${folder}/`)))
    }),
  }
}

export async function takeAway({ processes, namespaces, cgroups, folders }: Abandoned): Promise<void> {
  for (const pid of processes) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // It has ended meanwhile.
    }
  }
  // A container may be paused; what does not go is in the list again next time.
  for (const name of cgroups) await removeCgroup(name, 2_000).catch(() => undefined)
  for (const name of namespaces) await tryRun(['ip', 'netns', 'delete', name])
  for (const folder of folders) await rm(folder, { recursive: true, force: true }).catch(() => undefined)
}
