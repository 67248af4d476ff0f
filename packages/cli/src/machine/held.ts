import { frozenBy } from './freezer.ts'
import { uninterruptible } from './procfs.ts'

interface Held {
  readonly why: string
  /** What a person types so that it can end; undefined where no command helps. */
  readonly command: string | undefined
}

/** What keeps a process from ending though it was sent a SIGKILL; undefined when nothing is known that would. */
export function heldBy(pid: number): Held | undefined {
  const frozen = frozenBy(pid)
  if (frozen !== undefined) return { why: `frozen in control group ${frozen.group}`, command: frozen.command }
  const place = uninterruptible(pid)
  if (place === undefined) return undefined
  // It goes when what it waits for answers, at the latest with a restart of the computer.
  return { why: `takes no signal while it waits in ${place}`, command: undefined }
}
