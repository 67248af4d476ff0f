import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { freePort } from './port.ts'
import { LocalService } from './service.ts'

export interface RegistryOptions {
  readonly address: string
  /** Its images and its log live here; made when missing. */
  readonly dir: string
  readonly env?: NodeJS.ProcessEnv
}

/** An image registry of our own, plain HTTP, without a password. */
export interface RegistryProcess {
  /** As in an image's name, for example `10.77.0.1:5000`. */
  readonly address: string
  readonly logFile: string
  readonly pid: number | undefined
  start(): Promise<void>
  stop(): Promise<void>
  restart(): Promise<void>
  kill(): Promise<unknown>
  pause(): Promise<void>
  resume(): void
  lastLines(count?: number): string
}

/** Starts Debian's `docker-registry` on an address and waits until it answers. */
export async function startRegistry(options: RegistryOptions): Promise<RegistryProcess> {
  await mkdir(options.dir, { recursive: true })
  const address = `${options.address}:${await freePort(options.address, 5000)}`
  const config = join(options.dir, 'config.json')
  await writeFile(config, JSON.stringify(configuration(address, join(options.dir, 'images'))))
  const service = new LocalService({
    name: 'the registry',
    argv: ['docker-registry', 'serve', config],
    // It exports traces to a collector on localhost unless told not to, and complains in its log for ever.
    env: { ...(options.env ?? process.env), OTEL_TRACES_EXPORTER: 'none' },
    logFile: join(options.dir, 'registry.log'),
    ready: { url: `http://${address}/v2/` },
  })
  await service.start()
  return Object.assign(service, { address })
}

/** JSON is YAML, so this file needs no writer of its own. */
const configuration = (address: string, images: string) => ({
  version: '0.1',
  log: { level: 'error', accesslog: { disabled: true } },
  storage: { filesystem: { rootdirectory: images }, delete: { enabled: true } },
  http: { addr: address },
})
