import { createServer } from 'node:net'
import { type ListenAddress, parseListen, whyNoListen } from '@boxcar/api/listen'
import { exitStatus, Trouble } from './exit.ts'

/** Throws Trouble (usage) where the text is no address to listen on. */
export function listenAddress(text: string): ListenAddress {
  const address = parseListen(text)
  if (address !== undefined) return address
  throw new Trouble({
    status: exitStatus.usage,
    what: `${text} is not an address to listen on`,
    why: 'it must be an address and a port',
    next: 'boxcar server --listen 127.0.0.1:7070',
  })
}

/** Why nobody can listen there now; nothing where one can. */
export function whyTaken(address: ListenAddress): Promise<string | undefined> {
  return new Promise(resolve => {
    const server = createServer()
    server.once('error', error => resolve(whyNoListen(error, address)))
    server.listen({ ...address, exclusive: true }, () => server.close(() => resolve(undefined)))
  })
}
