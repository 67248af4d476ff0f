import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { freePort } from './port.ts'
import { LocalService } from './service.ts'

export interface EtcdOptions {
  readonly address: string
  /** Its data and its log live here; made when missing. */
  readonly dir: string
  readonly env?: NodeJS.ProcessEnv
  /** Of its database; etcd's own where it is left out. */
  readonly quotaBytes?: number
}

/** One etcd member of our own. */
export interface EtcdProcess {
  /** For example `http://10.77.0.1:2379`; the same after each start. */
  readonly endpoint: string
  readonly logFile: string
  readonly pid: number | undefined
  /** Starts it again on the same data and waits until it answers. */
  start(): Promise<void>
  stop(): Promise<void>
  restart(): Promise<void>
  kill(): Promise<unknown>
  pause(): Promise<void>
  resume(): void
  lastLines(count?: number): string
}

/** Starts one etcd member on an address and waits until it answers. */
export async function startEtcd(options: EtcdOptions): Promise<EtcdProcess> {
  await mkdir(options.dir, { recursive: true })
  const clients = `http://${options.address}:${await freePort(options.address, 2379)}`
  const peers = `http://${options.address}:${await freePort(options.address)}`
  const service = new LocalService({
    name: 'etcd',
    argv: [
      'etcd',
      ...['--name', 'e1', '--data-dir', join(options.dir, 'data')],
      ...['--listen-client-urls', clients, '--advertise-client-urls', clients],
      ...[
        '--listen-peer-urls',
        peers,
        '--initial-advertise-peer-urls',
        peers,
        '--initial-cluster',
        `e1=${peers}`,
      ],
      ...(options.quotaBytes === undefined ? [] : ['--quota-backend-bytes', String(options.quotaBytes)]),
      ...['--logger', 'zap', '--log-level', 'warn'],
    ],
    ...(options.env === undefined ? {} : { env: options.env }),
    logFile: join(options.dir, 'etcd.log'),
    ready: { url: `${clients}/health` },
  })
  await service.start()
  return Object.assign(service, { endpoint: clients })
}
