/** Where to listen, as people write it, and why it cannot be done. One reading for the server and for the command line. */
import { isIP } from 'node:net'

export interface ListenAddress {
  readonly host: string
  readonly port: number
}

/** `127.0.0.1:7070`, `[::1]:7070`, `localhost:7070`, `:7070` for all addresses; nothing where it is none. */
export function parseListen(text: string): ListenAddress | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:\s[\]]*)):(\d{1,5})$/.exec(text)
  const host = match?.[1] ?? match?.[2]
  const port = Number(match?.[3])
  if (host === undefined || port > 65_535) return undefined
  return { host: host === '' ? '0.0.0.0' : host, port }
}

/** As a URL has it. */
export const hostPort = ({ host, port }: ListenAddress): string =>
  `${host.includes(':') ? `[${host}]` : host}:${port}`

/** Whether only this machine reaches it. */
export const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'))

/** Whether it stands for every address of the machine. */
export const isWildcard = (host: string): boolean => host === '0.0.0.0' || host === '::'

/** What the error of a failed `listen` means, in a sentence about the address. */
export function whyNoListen(error: unknown, address: ListenAddress): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  const listen = hostPort(address)
  if (code === 'EADDRINUSE') return `${listen} is taken by another process; choose another with --listen`
  if (code === 'EACCES') return `this user may not listen on ${listen}`
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND') return `this machine has no address ${listen}`
  return `cannot listen on ${listen}: ${error instanceof Error ? error.message : String(error)}`
}
