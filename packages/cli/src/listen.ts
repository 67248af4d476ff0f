import { exitStatus, Trouble } from './exit.ts'

export interface ListenAddress {
  readonly host: string
  readonly port: number
}

/** `127.0.0.1:7070`, `[::1]:7070`, `localhost:7070`, `:7070` for all addresses. */
export function listenAddress(text: string): ListenAddress {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(text)
  const host = match?.[1] ?? match?.[2]
  const port = Number(match?.[3])
  if (match !== null && host !== undefined && port <= 65_535)
    return { host: host === '' ? '0.0.0.0' : host, port }
  throw new Trouble({
    status: exitStatus.usage,
    what: `${text} is not an address to listen on`,
    why: 'it must be an address and a port',
    next: 'boxcar server --listen 127.0.0.1:7070',
  })
}

/** As a URL has it. */
export const hostPort = ({ host, port }: ListenAddress): string =>
  `${host.includes(':') ? `[${host}]` : host}:${port}`
