import { createServer } from 'node:net'

/** A TCP port that is free on this address now: the preferred one if it can be had, else one that the kernel picks. */
export async function freePort(address: string, preferred?: number): Promise<number> {
  if (preferred !== undefined) {
    const port = await tryBind(address, preferred)
    if (port !== undefined) return port
  }
  const port = await tryBind(address, 0)
  if (port === undefined) throw new Error(`no TCP port can be bound on ${address}`)
  return port
}

function tryBind(address: string, port: number): Promise<number | undefined> {
  return new Promise(resolve => {
    const server = createServer()
    server.once('error', () => resolve(undefined))
    server.listen({ host: address, port, exclusive: true }, () => {
      const bound = server.address()
      server.close(() => resolve(bound !== null && typeof bound === 'object' ? bound.port : undefined))
    })
  })
}
