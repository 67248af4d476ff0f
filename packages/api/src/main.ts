/** The API as a listening server. The process that runs it gives it everything; this file only opens the port. */
import { readFile } from 'node:fs/promises'
import { buildApp } from './app.ts'
import type { ApiDeps } from './deps.ts'
import { hostPort, isLoopback, type ListenAddress, parseListen, whyNoListen } from './listen.ts'
import { tokenIn } from './token-file.ts'

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
  const app = await buildApp({
    ...deps,
    signal,
    listen: { host, port },
    ...(token === undefined ? {} : { token }),
  })
  app.server.maxConnections = maxConnections
  try {
    await app.listen({ host, port, listenTextResolver: () => '' })
  } catch (error) {
    await app.close()
    throw new CannotListen(whyNoListen(error, { host, port }), { cause: error })
  }
  const bound = app.server.address()
  const boundPort = typeof bound === 'object' && bound !== null ? bound.port : port
  return {
    host,
    port: boundPort,
    url: `http://${hostPort({ host, port: boundPort })}`,
    close: async () => {
      stop.abort()
      await app.close()
    },
  }
}

const maxConnections = 4096

function addressOf(listen: string): ListenAddress {
  const address = parseListen(listen)
  if (address !== undefined) return address
  throw new CannotListen(
    `'${listen}' is not an address to listen on; write host:port, such as ${defaultListen}`,
  )
}

const leastToken = 16

async function tokenFrom(path: string): Promise<string> {
  let token: string
  try {
    token = tokenIn(await readFile(path, 'utf8')) ?? ''
  } catch (error) {
    throw new CannotListen(`the token file ${path} cannot be read`, { cause: error })
  }
  if (token.length < leastToken || !/^[\x21-\x7e]+$/.test(token))
    throw new CannotListen(
      `the token file ${path} must hold one line of at least ${leastToken} visible characters; make one: openssl rand -hex 32`,
    )
  return token
}
