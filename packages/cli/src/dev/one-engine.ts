/**
 * Logical hosts on one engine that runs already: an agent each, told apart by an address 127.0.0.N. Needs no root. What is
 * made is known by the cluster's name, drawn for this run, and only that is taken away at the end.
 */
import { randomBytes } from 'node:crypto'
import { cp, mkdir, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { exitStatus, Trouble } from '../exit.ts'
import { run, tryRun } from '../machine/command.ts'
import { type EtcdProcess, startEtcd } from '../machine/etcd.ts'
import { busyboxLayer } from '../machine/images.ts'
import { freePort } from '../machine/port.ts'
import { allPids, titleOf } from '../machine/procfs.ts'
import { type DevRoom, type RoomOptions, sampleFolder } from './room.ts'

export async function openOneEngine(engine: string, { hosts, dir, tell }: RoomOptions): Promise<DevRoom> {
  const cluster = `dev-${randomBytes(4).toString('hex')}`
  const docker = ['docker', '--host', engine]
  await needEngine(engine, docker)
  const addresses = Array.from({ length: hosts }, (_, index) => `127.0.0.${index + 11}`)
  await Promise.all(addresses.map(needAddress))
  const images: string[] = []
  const etcd = await startEtcd({ address: '127.0.0.1', dir: join(dir, 'etcd') })
  tell(`etcd on ${etcd.endpoint}`)
  const made = await Promise.all(
    addresses.map(async (address, index) => {
      const id = `h${index + 1}`
      const stateDir = join(dir, id, 'state')
      await mkdir(stateDir, { recursive: true })
      tell(`logical host ${id} on ${address}`)
      return {
        id,
        address,
        enter: [],
        agentFlags: [
          ...['--docker', engine, '--state-dir', stateDir, '--advertise', address, '--edge-address', address],
          ...['--label', `zone=${'abc'[index % 3]}`],
        ],
        docker: `docker -H ${engine}`,
        cut: undefined,
        restore: undefined,
      }
    }),
  )
  let stopping: Promise<void> | undefined
  return {
    cluster,
    etcd: etcd.endpoint,
    hosts: made,
    env: process.env,
    serverAddress: async index => ({ host: '127.0.0.1', port: await freePort('127.0.0.1', 7070 + index) }),
    buildSample: async version => {
      const image = `boxcar-sample-${cluster}:${version}`
      const base = await sampleBase(docker, cluster, dir, images)
      const build = [
        'build',
        '--quiet',
        '--tag',
        image,
        '--build-arg',
        `BASE=${base}`,
        '--build-arg',
        `VERSION=${version}`,
      ]
      await run([...docker, ...build, sampleFolder], { timeoutMs: 300_000 })
      images.push(image)
      return image
    },
    keep: async folder => {
      await etcd.stop()
      await cp(dir, folder, { recursive: true, filter: path => !path.endsWith('.sock') })
    },
    stop: () => {
      stopping ??= clear(docker, cluster, dir, images, etcd)
      return stopping
    },
  }
}

async function needEngine(engine: string, docker: readonly string[]): Promise<void> {
  const end = await tryRun([...docker, 'version', '--format', '{{.Server.Version}}'], { timeoutMs: 10_000 })
  if (end.status === 0) return
  throw new Trouble({
    status: exitStatus.failure,
    what: `the Docker engine at ${engine} cannot be used`,
    why: end.stderr.trim() || 'it does not answer',
    next: 'start it, or name another with --engine; boxcar doctor says more',
  })
}

/** Linux has all of 127.0.0.0/8; elsewhere a person has to add an address first. */
async function needAddress(address: string): Promise<void> {
  const isThere = await new Promise<boolean>(resolve => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen({ host: address, port: 0 }, () => server.close(() => resolve(true)))
  })
  if (isThere) return
  throw new Trouble({
    status: exitStatus.failure,
    what: `this machine does not have the address ${address}`,
    why: 'each logical host has a loopback address of its own',
    next: `sudo ifconfig lo0 alias ${address} up   (macOS), then start again`,
  })
}

/** From this machine's static BusyBox where there is one, so that no internet is needed; else from the Docker Hub. */
async function sampleBase(
  docker: readonly string[],
  cluster: string,
  dir: string,
  images: string[],
): Promise<string> {
  const own = `boxcar-sample-${cluster}:base`
  if (images.includes(own)) return own
  const there = await tryRun(['sh', '-c', 'command -v busybox'])
  if (process.platform !== 'linux' || there.status !== 0) return 'busybox:stable'
  const archive = join(dir, 'busybox.tar')
  await writeFile(archive, (await busyboxLayer()).pieces)
  await run([...docker, 'import', '--change', 'ENV PATH=/bin', archive, own])
  images.push(own)
  return own
}

async function clear(
  docker: readonly string[],
  cluster: string,
  dir: string,
  images: readonly string[],
  etcd: EtcdProcess,
): Promise<void> {
  endProxies(dir)
  const listed = await tryRun([
    ...docker,
    'ps',
    '--all',
    '--quiet',
    '--no-trunc',
    '--filter',
    `label=boxcar.cluster=${cluster}`,
  ])
  const containers = listed.stdout.split('\n').filter(id => id !== '')
  if (containers.length > 0) await tryRun([...docker, 'rm', '--force', '--volumes', ...containers])
  for (const image of images.toReversed()) await tryRun([...docker, 'rmi', image])
  await etcd.stop()
}

/** Proxies outlive their agents, as they should on a real host. Those of this run have its own folder in their command line. */
function endProxies(dir: string): void {
  if (process.platform !== 'linux') return
  for (const pid of allPids()) {
    const title = titleOf(pid)
    if (!title.includes('haproxy') || !title.includes(`${dir}/`)) continue
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // It has ended meanwhile.
    }
  }
}
