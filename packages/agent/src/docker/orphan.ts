import { readFile } from 'node:fs/promises'
import type { ContainerId } from '../engine/engine.ts'

/**
 * Kills a command that was left running inside a container, with its children. The engine has no call for that and gives
 * only the process id on its machine; the process is killed only if it is seen to be in that container here, so a remote
 * engine's ids do no harm.
 */
export async function killOrphan(pid: number, container: ContainerId): Promise<'killed' | 'not-here'> {
  const groups = await readFile(`/proc/${pid}/cgroup`, 'utf8').catch(() => '')
  if (!groups.includes(container)) return 'not-here'
  // A command of the engine leads a process group of its own.
  for (const target of [-pid, pid]) {
    try {
      process.kill(target, 'SIGKILL')
      return 'killed'
    } catch {
      // No such group, or gone meanwhile.
    }
  }
  return 'not-here'
}
