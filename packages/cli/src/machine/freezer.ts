/**
 * Frozen control groups. A frozen process takes no SIGKILL with version 1, and with both versions whoever freezes a group, such
 * as `docker pause`, may be gone before the group is thawed.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

export const cgroupRoot = '/sys/fs/cgroup'

/** Thaws groups, given with parents first: a group stays frozen while one above it is. */
export function thaw(groups: readonly string[]): void {
  for (const group of groups)
    for (const { file, thawed } of switches)
      if (existsSync(join(group, file))) write(join(group, file), thawed)
}

interface FrozenBy {
  /** The group that somebody froze: the process's own, or one above it. */
  readonly group: string
  /** What a person types to thaw it. */
  readonly command: string
}

/** What keeps a process frozen; undefined when it is not. `procfs` and `root` are others in tests only. */
export function frozenBy(pid: number, procfs = '/proc', root = cgroupRoot): FrozenBy | undefined {
  for (const line of read(join(procfs, String(pid), 'cgroup')).split('\n')) {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? []
    if (path === undefined || (controllers !== '' && !controllers?.split(',').includes('freezer'))) continue
    const mounts = controllers === '' ? [root, join(root, 'unified')] : [join(root, 'freezer')]
    for (const mount of mounts) {
      const found = frozenAtOrAbove(join(mount, path), mount)
      if (found !== undefined) return found
    }
  }
  return undefined
}

function frozenAtOrAbove(folder: string, mount: string): FrozenBy | undefined {
  for (let group = folder; group.length > mount.length; group = dirname(group))
    for (const { file, own, frozen, thawed } of switches)
      if (read(join(group, own)).trim() === frozen)
        return { group, command: `echo ${thawed} > ${join(group, file)}` }
  return undefined
}

/** Where each version of control groups keeps what a group itself was told; what its parents were told is not in `own`. */
const switches = [
  { file: 'freezer.state', own: 'freezer.self_freezing', frozen: '1', thawed: 'THAWED' },
  { file: 'cgroup.freeze', own: 'cgroup.freeze', frozen: '1', thawed: '0' },
] as const

function write(file: string, text: string): void {
  try {
    writeFileSync(file, text)
  } catch {
    // The group has gone meanwhile; whoever thaws looks whether it has.
  }
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}
