/** The API as a listening server. The process that runs it gives it everything; this file only opens the port. */
import { readFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import { buildApp } from './app.ts'
import type { ApiDeps } from './deps.ts'

export interface ListenOptions {
  /** `host:port`; port 0 takes a free one. Left out: `127.0.0.1:7070`. */
  readonly listen?: string
  /** Holds the bearer token that callers must show. */
  readonly tokenFile?: string
  /** Other addresses than loopback may be listened on without a token. */
  readonly access?: 'guarded' | 'insecure'
}

export interface RunningApi {
  readonly host: string
  readonly port: number
  /** `http://host:port` */
  readonly url: string
  /** Ends all streams and stops listening. */
  close(): Promise<void>
}

/** The server cannot listen as it was told to; the message is for people. */
export class CannotListen extends Error {
  override readonly name = 'CannotListen'
}

export const defaultListen = '127.0.0.1:7070'

/** Throws CannotListen. */
export async function startApi(
  deps: Omit<ApiDeps, 'token'>,
  { listen = defaultListen, tokenFile, access = 'guarded' }: ListenOptions = {},
): Promise<RunningApi> {
  const { host, port } = addressOf(listen)
  if (tokenFile === undefined && access === 'guarded' && !isLoopback(host))
    throw new CannotListen(
      `${listen} can be reached from other machines: give --token-file, or --insecure to let everybody in`,
    )
  const token = tokenFile === undefined ? undefined : await tokenFrom(tokenFile)
  const stop = new AbortController()
  const signal = AbortSignal.any([deps.signal, stop.signal])
  const app = await buildApp({ ...deps, signal, ...(token === undefined ? {} : { token }) })
  app.server.maxConnections = maxConnections
  try {
    await app.listen({ host, port, listenTextResolver: () => '' })
  } catch (error) {
    await app.close()
    throw new CannotListen(reasonOf(error, listen), { cause: error })
  }
  const bound = app.server.address()
  const boundPort = typeof bound === 'object' && bound !== null ? bound.port : port
  return {
    host,
    port: boundPort,
    url: `http://${host.includes(':') ? `[${host}]` : host}:${boundPort}`,
    close: async () => {
      stop.abort()
      await app.close()
    },
  }
}

const maxConnections = 4096

function addressOf(listen: string): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:\s]+)):(\d{1,5})$/.exec(listen)
  const host = match?.[1] ?? match?.[2]
  const port = Number(match?.[3])
  if (host === undefined || port > 65_535)
    throw new CannotListen(
      `'${listen}' is not an address to listen on; write host:port, such as ${defaultListen}`,
    )
  return { host, port }
}

const isLoopback = (host: string) =>
  host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'))

const leastToken = 16

async function tokenFrom(path: string): Promise<string> {
  let text: string
  try {
    text = (await readFile(path, 'utf8')).trim()
  } catch (error) {
    throw new CannotListen(`the token file ${path} cannot be read`, { cause: error })
  }
  if (text.length < leastToken || !/^[\x21-\x7e]+$/.test(text))
    throw new CannotListen(
      `the token file ${path} must hold one line of at least ${leastToken} visible characters; make one: openssl rand -hex 32`,
    )
  return text
}

function reasonOf(error: unknown, listen: string): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (code === 'EADDRINUSE') return `${listen} is taken by another process; choose another with --listen`
  if (code === 'EACCES') return `this user may not listen on ${listen}`
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND') return `this machine has no address ${listen}`
  return `cannot listen on ${listen}: ${error instanceof Error ? error.message : String(error)}`
}
