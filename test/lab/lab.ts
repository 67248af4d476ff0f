/**
 * What every end-to-end test stands on: a machine of real Docker hosts with a Boxcar cluster on it, and versions of the
 * test service in its registry.
 */
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ImageName } from '@boxcar/cli/machine/image'
import { type Machine, startMachine } from '@boxcar/cli/machine/machine'
import { type AppImage, pushApp } from './app-image.ts'
import { type ClusterOptions, type LabCluster, startCluster } from './cluster.ts'
import { type Load, type LoadOptions, startLoad } from './load.ts'

export interface LabOptions extends ClusterOptions {
  /** 3 unless told. */
  readonly hosts?: number
  /** Of the etcd's database; etcd's own where it is left out. */
  readonly etcdQuotaBytes?: number
  /** Versions of the test service in the registry: 1, 2 and 3 unless told. */
  readonly images?: readonly AppImage[]
  /** `pulled`: on every host already, so that a test's times hold no pull. `pushed`: only in the registry. */
  readonly imagesAre?: 'pulled' | 'pushed'
}

export interface Lab extends LabCluster {
  readonly machine: Machine
  /** The test service in a version, as a reference for a spec. Throws when that version was not asked for. */
  image(version: string): ImageName
  /** A load on a route's port of all hosts in turns. */
  load(port: number, options: Omit<LoadOptions, 'urls'> & { readonly path?: string }): Load
  /** Another cluster on the same machine: the same etcd, the same engines. */
  another(options: ClusterOptions): Promise<LabCluster>
  /** Takes everything away. With BOXCAR_LAB_KEEP=1 the folder with all logs stays, and its path is printed. */
  stop(): Promise<void>
}

/** Starts a lab; what was made is taken away again when a part fails. */
export async function startLab(options: LabOptions = {}): Promise<Lab> {
  const dir = await mkdtemp(join(tmpdir(), 'boxcar-lab-'))
  const machine = await startMachine({
    hosts: options.hosts ?? 3,
    dir,
    ...(options.etcdQuotaBytes === undefined ? {} : { etcdQuotaBytes: options.etcdQuotaBytes }),
  })
  try {
    // One after the other: on two cores a cluster that starts beside three pulls misses its deadlines.
    const images = await provide(machine, options)
    const cluster = await startCluster(machine, options)
    return assemble(machine, cluster, images, dir)
  } catch (error) {
    await takeAway(machine, dir)
    throw error
  }
}

const standard: readonly AppImage[] = [{ version: '1' }, { version: '2' }, { version: '3' }]

async function provide(machine: Machine, options: LabOptions): Promise<ReadonlyMap<string, ImageName>> {
  const wanted = options.images ?? standard
  const pushed = await pushApp(machine.registry.address, wanted)
  if (options.imagesAre !== 'pushed') {
    await Promise.all(
      machine.hosts.map(async host => {
        for (const image of pushed) await host.docker(['pull', '--quiet', image.pinned])
      }),
    )
  }
  return new Map(
    wanted.flatMap(({ version }, index) => {
      const image = pushed[index]
      return image === undefined ? [] : [[version, image] as const]
    }),
  )
}

function assemble(
  machine: Machine,
  cluster: LabCluster,
  images: ReadonlyMap<string, ImageName>,
  dir: string,
): Lab {
  const others: LabCluster[] = []
  return {
    machine,
    name: cluster.name,
    servers: cluster.servers,
    hosts: cluster.hosts,
    api: cluster.api,
    server: id => cluster.server(id),
    host: id => cluster.host(id),
    leader: () => cluster.leader(),
    boxcar: (args, options) => cluster.boxcar(args, options),
    urls: (port, path) => cluster.urls(port, path),
    hostsReady: timeoutMs => cluster.hostsReady(timeoutMs),
    logs: count => [cluster, ...others].map(it => it.logs(count)).join('\n'),
    image: version => {
      const image = images.get(version)
      if (image === undefined)
        throw new RangeError(`version ${version} of the test service was not asked for`)
      return image
    },
    load: (port, { path, ...options }) => startLoad({ ...options, urls: cluster.urls(port, path) }),
    another: async options => {
      const other = await startCluster(machine, { number: others.length + 1, ...options })
      others.push(other)
      return other
    },
    stop: async () => {
      // Not in good order, which would take longer and tell nothing: the machine ends every process of its own.
      await takeAway(machine, dir)
    },
  }
}

async function takeAway(machine: Machine, dir: string): Promise<void> {
  if (process.env.BOXCAR_LAB_KEEP !== '1') return machine.stop()
  await machine.stop('keep')
  process.stderr.write(`the lab's logs are in ${dir}\n`)
}
