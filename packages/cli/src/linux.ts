import { exitStatus, Trouble } from './exit.ts'

/** Throws Trouble off Linux: hosts are made of what its kernel has, and nobody has tried them anywhere else. */
export function needLinux(command: string, system: string = process.platform): void {
  if (system === 'linux') return
  throw new Trouble({
    status: exitStatus.failure,
    what: `${command} runs on Linux only`,
    why: `this is ${system}`,
    next: 'run it on a Linux machine, also a virtual one; commands that ask a server (--server URL) work from here',
  })
}
