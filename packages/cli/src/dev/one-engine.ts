/**
 * Logical hosts on one engine that runs already: an agent each, told apart by an address 127.0.0.N. Needs no root. What is
 * made is known by the cluster's name, drawn for this run, and only that is taken away at the end.
 */
import { randomBytes } from 'node:crypto'
import { cp, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { exitStatus, Trouble } from '../exit.ts'
import { run, tryRun } from '../machine/command.ts'
import { startEtcd } from '../machine/etcd.ts'
import { busyboxLayer } from '../machine/images.ts'
import { freePort } from '../machine/port.ts'
import { type Guest, recordGuest } from './folder.ts'
import { clearGuest, sampleLabel } from './guest.ts'
import { needPrograms } from './programs.ts'
import { type DevRoom, type RoomOptions, sampleFolder } from './room.ts'

/** An engine, and where its address was said. */
export interface NamedEngine {
  readonly address: string
  readonly saidBy: '--engine' | 'DOCKER_HOST' | undefined
}

export async function openOneEngine(
  { address: engine, saidBy }: NamedEngine,
  options: RoomOptions,
): Promise<DevRoom> {
  const { hosts, dir, tell } = options
  needPrograms(['etcd', 'docker', 'haproxy', 'setpriv'])
  await needEngine(engine, saidBy)
  const guest = { engine, cluster: `dev-${randomBytes(4).toString('hex')}` }
  await recordGuest(dir, guest)
  const etcd = await startEtcd({ address: '127.0.0.1', dir: join(dir, 'etcd') })
  tell(`etcd on ${etcd.endpoint}`)
  const made = await Promise.all(
    Array.from({ length: hosts }, async (_, index) => {
      const [id, address] = [`h${index + 1}`, `127.0.0.${index + 11}`]
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
  let base: Promise<string> | undefined
  return {
    cluster: guest.cluster,
    etcd: etcd.endpoint,
    hosts: made,
    env: process.env,
    limits: [
      'boxcar.internal answers nobody: logical hosts share one bridge, and each edge has only 127.0.0.N',
    ],
    serverAddress: async index => ({ host: '127.0.0.1', port: await freePort('127.0.0.1', 7070 + index) }),
    buildSample: async version => {
      base ??= sampleBase(guest, options)
      return buildSample(guest, { base: await base, version }, options.signal)
    },
    keep: async folder => {
      await etcd.stop()
      await cp(dir, folder, { recursive: true, filter: path => !path.endsWith('.sock') })
    },
    stop: async () => {
      try {
        await clearGuest(guest, dir)
      } finally {
        await etcd.stop()
      }
    },
  }
}

async function needEngine(engine: string, saidBy: NamedEngine['saidBy']): Promise<void> {
  const version = ['version', '--format', '{{.Server.Version}}']
  const end = await tryRun(['docker', '--host', engine, ...version], { timeoutMs: 10_000 })
  if (end.status === 0) return
  throw new Trouble({
    status: exitStatus.failure,
    what: `the Docker engine at ${engine} cannot be used`,
    why: end.stderr.trim() || 'it does not answer',
    next: `start it, ${saidBy === undefined ? '' : `correct ${saidBy}, `}or name another with --engine; boxcar doctor says more`,
  })
}

/** From this machine's static BusyBox where there is one, so that no internet is needed; else from the Docker Hub. */
async function sampleBase({ engine, cluster }: Guest, { dir, signal }: RoomOptions): Promise<string> {
  const there = await tryRun(['sh', '-c', 'command -v busybox'])
  if (there.status !== 0) return 'busybox:stable'
  const own = `boxcar-sample-${cluster}:base`
  const archive = join(dir, 'busybox.tar')
  await writeFile(archive, (await busyboxLayer()).pieces)
  const changes = ['--change', 'ENV PATH=/bin', '--change', `LABEL ${sampleLabel}=${cluster}`]
  await run(['docker', '--host', engine, 'import', ...changes, archive, own], { signal })
  return own
}

async function buildSample(
  { engine, cluster }: Guest,
  { base, version }: { readonly base: string; readonly version: string },
  signal: AbortSignal,
): Promise<string> {
  const image = `boxcar-sample-${cluster}:${version}`
  const build = [
    ...['build', '--quiet', '--force-rm', '--tag', image, '--label', `${sampleLabel}=${cluster}`],
    ...['--build-arg', `BASE=${base}`, '--build-arg', `VERSION=${version}`, sampleFolder],
  ]
  // The classic builder: the other one is a program of its own that this computer may not have.
  const env = { ...process.env, DOCKER_BUILDKIT: '0' }
  await run(['docker', '--host', engine, ...build], { timeoutMs: 300_000, env, signal })
  return image
}
