import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { exitStatus, Trouble } from '../exit.ts'

/** The programs that a development cluster runs, and Debian's package of each. */
const packages = {
  busybox: 'busybox-static',
  docker: 'docker.io (docker-cli on newer releases)',
  'docker-registry': 'docker-registry',
  dockerd: 'docker.io',
  etcd: 'etcd-server',
  haproxy: 'haproxy',
  ip: 'iproute2',
  iptables: 'iptables',
  nsenter: 'util-linux',
  setpriv: 'util-linux',
  unshare: 'util-linux',
} as const

export type Program = keyof typeof packages

/** Throws Trouble that names every program which is not on the PATH, and how it gets there. */
export function needPrograms(programs: readonly Program[], path = process.env['PATH'] ?? ''): void {
  const missing = programs.filter(program => !isThere(program, path))
  if (missing.length === 0) return
  throw new Trouble({
    status: exitStatus.failure,
    what: 'boxcar dev lacks programs that it runs',
    why: missing.map(program => `${program} is not there; Debian has it in ${packages[program]}`).join('\n'),
    next: 'npm start as root: it installs what is missing, and starts no service',
  })
}

function isThere(program: string, path: string): boolean {
  return path.split(delimiter).some(folder => {
    try {
      accessSync(join(folder, program), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}
