/** Hosts of their own: a network namespace, an engine and a proxy each. Needs root on Linux. */
import { cp } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { buildHello } from '../machine/images.ts'
import { startMachine } from '../machine/machine.ts'
import { linkOf } from '../machine/names.ts'
import { freePort } from '../machine/port.ts'
import { residue } from '../machine/residue.ts'
import { machineFolder } from './folder.ts'
import { needPrograms, type Program } from './programs.ts'
import { type DevRoom, type RoomOptions, sampleFolder } from './room.ts'

const programs: readonly Program[] = [
  ...(['etcd', 'dockerd', 'docker', 'docker-registry', 'haproxy', 'busybox'] as const),
  ...(['ip', 'iptables', 'nsenter', 'unshare', 'setpriv'] as const),
]

export async function openNamespaces({ hosts, dir, signal, tell }: RoomOptions): Promise<DevRoom> {
  needPrograms(programs)
  const machineDir = join(dir, machineFolder)
  const machine = await startMachine({ hosts, dir: machineDir, onProgress: tell })
  const [builder] = machine.hosts
  if (builder === undefined) throw new Error('a machine has at least one host')
  return {
    cluster: 'dev',
    etcd: machine.etcd.endpoint,
    env: machine.env,
    limits: [],
    hosts: machine.hosts.map((host, index) => ({
      id: host.id,
      address: host.address,
      enter: host.enter,
      agentFlags: [
        ...['--docker', host.dockerSocket, '--state-dir', host.stateDir, '--advertise', host.address],
        ...['--label', `zone=${'abc'[index % 3]}`],
      ],
      docker: `docker -H ${host.dockerSocket}`,
      cut: `ip link set ${linkOf(machine.name, host.id)} down`,
      restore: `ip link set ${linkOf(machine.name, host.id)} up`,
    })),
    serverAddress: async index => ({ host: '127.0.0.1', port: await freePort('127.0.0.1', 7070 + index) }),
    buildSample: async version =>
      (
        await buildHello(
          { host: builder, registry: machine.registry.address, context: sampleFolder, signal },
          version,
        )
      ).tagged,
    keep: async folder => {
      await machine.etcd.stop()
      const isWorthKeeping = (path: string) =>
        !['data', 'exec', 'images'].includes(basename(path)) || path === join(machineDir, 'etcd', 'data')
      await cp(machineDir, folder, {
        recursive: true,
        filter: path => isWorthKeeping(path) && !path.endsWith('.sock') && !path.endsWith('.pid'),
      })
    },
    stop: async () => {
      await machine.stop()
      const left = await residue(machine.name)
      if (left.length > 0) throw new Error(left.join('\n'))
    },
  }
}
