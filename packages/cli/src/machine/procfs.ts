import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'

/** A process as `/proc` shows it; the start time tells a process from a later one with the same id. */
export interface ProcessId {
  readonly pid: number
  /** In clock ticks since the boot. */
  readonly startTime: string
}

/** The ids of all processes that can be seen. */
export function allPids(): readonly number[] {
  return readdirSync('/proc')
    .filter(entry => /^\d+$/.test(entry))
    .map(Number)
}

/** When a process started, in clock ticks since the boot; undefined when there is no such process (or it is a zombie). */
export function startTimeOf(pid: number): string | undefined {
  const fields = statFields(String(pid))
  return fields === undefined || fields[0] === 'Z' ? undefined : fields[19]
}

/** Whether this very process, not a later one with its id, still runs. */
export const isAlive = (id: ProcessId): boolean => startTimeOf(id.pid) === id.startTime

/** This program's own identity. */
export const self = (): ProcessId => ({ pid: process.pid, startTime: startTimeOf(process.pid) ?? '' })

/**
 * Whether all threads of a process have stopped. A SIGSTOP is only asked for when `kill` returns: one thread takes it and
 * then stops the others, and on busy cores they work on until then. True as well where there is no such process.
 */
export function standsStill(pid: number): boolean {
  return threadsOf(pid).every(thread => {
    const state = statFields(`${pid}/task/${thread}`)?.[0]
    return state === undefined || 'TtZX'.includes(state)
  })
}

/** The direct children of a process that its first thread started. */
export function childrenOf(pid: number): readonly number[] {
  return (readProc(`${pid}/task/${pid}/children`) ?? '').split(' ').filter(Boolean).map(Number)
}

/** The processes that were started with this variable in their environment, and theirs after them. */
export function pidsWithEnv(name: string, value: string): readonly number[] {
  const wanted = `${name}=${value}`
  return allPids().filter(pid => (readProc(`${pid}/environ`) ?? '').split('\0').includes(wanted))
}

/** The processes that live in the network namespace which this file stands for. */
export function pidsInNetwork(file: string): readonly number[] {
  let inode: number
  try {
    inode = statSync(file).ino
  } catch {
    return []
  }
  return allPids().filter(pid => {
    try {
      return readlinkSync(`/proc/${pid}/ns/net`) === `net:[${inode}]`
    } catch {
      return false
    }
  })
}

/** The words of the command line; none where there is no such process. */
export function commandLineOf(pid: number): readonly string[] {
  return (readProc(`${pid}/cmdline`) ?? '').split('\0').slice(0, -1)
}

/** The command line, shortened, for a list that people read. */
export function titleOf(pid: number): string {
  return commandLineOf(pid).join(' ').replace(/\s+/g, ' ').trim().slice(0, 100)
}

/** Where the kernel holds a process that takes no signal (state D), such as `nfs_wait`; undefined in any other state. */
export function uninterruptible(pid: number): string | undefined {
  if (statFields(String(pid))?.[0] !== 'D') return undefined
  const place = readProc(`${pid}/wchan`) ?? ''
  return place === '' || place === '0' ? 'the kernel' : place
}

function threadsOf(pid: number): readonly string[] {
  try {
    return readdirSync(`/proc/${pid}/task`)
  } catch {
    return []
  }
}

/** The fields of a `stat` file behind the program's name, which itself may hold blanks and brackets. */
function statFields(folder: string): readonly string[] | undefined {
  const stat = readProc(`${folder}/stat`)
  return stat?.slice(stat.lastIndexOf(')') + 2).split(' ')
}

function readProc(path: string): string | undefined {
  try {
    return readFileSync(`/proc/${path}`, 'utf8')
  } catch {
    return undefined
  }
}
