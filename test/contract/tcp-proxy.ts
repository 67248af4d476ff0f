/** A wire between a client and a server that can be cut, held, or made deaf: what a network does to a connection. */
import { connect, createServer, type Server, type Socket } from 'node:net'

export interface TcpProxy {
  readonly port: number
  /** Resets every connection. New ones are taken. */
  cut(): void
  /** Resets every connection, and each new one at once. */
  refuse(): void
  /** Connections stay open and carry nothing, either way; new ones are taken and carry nothing. */
  hold(): void
  /** What the server says is not passed on; what the client says is. */
  holdAnswers(): void
  /** As if nothing had been: held bytes go on their way. */
  heal(): void
  close(): Promise<void>
}

type Mode = 'open' | 'refusing' | 'held' | 'answers-held'

export async function openTcpProxy(target: {
  readonly host: string
  readonly port: number
}): Promise<TcpProxy> {
  let mode: Mode = 'open'
  const pairs = new Set<{ readonly client: Socket; readonly server: Socket }>()

  const listener: Server = createServer(client => {
    client.on('error', () => {})
    if (mode === 'refusing') {
      client.resetAndDestroy()
      return
    }
    const server = connect(target)
    server.on('error', () => client.resetAndDestroy())
    const pair = { client, server }
    pairs.add(pair)
    client.setNoDelay(true)
    server.setNoDelay(true)
    client.on('data', chunk => {
      if (!server.write(chunk)) client.pause()
    })
    server.on('data', chunk => {
      if (!client.write(chunk)) server.pause()
    })
    client.on('drain', () => applyTo(pair))
    server.on('drain', () => applyTo(pair))
    client.on('close', () => end(pair))
    server.on('close', () => end(pair))
    applyTo(pair)
  })

  function applyTo({ client, server }: { readonly client: Socket; readonly server: Socket }): void {
    if (mode === 'held') client.pause()
    else client.resume()
    if (mode === 'held' || mode === 'answers-held') server.pause()
    else server.resume()
  }
  function end(pair: { readonly client: Socket; readonly server: Socket }): void {
    pairs.delete(pair)
    pair.client.destroy()
    pair.server.destroy()
  }
  function cut(): void {
    for (const { client, server } of pairs) {
      client.resetAndDestroy()
      server.resetAndDestroy()
    }
    pairs.clear()
  }
  function enter(next: Mode): void {
    mode = next
    for (const pair of pairs) applyTo(pair)
  }

  await new Promise<void>((resolve, reject) => {
    listener.once('error', reject)
    listener.listen(0, '127.0.0.1', resolve)
  })
  const address = listener.address()
  if (address === null || typeof address === 'string') throw new Error('a TCP listener has a port')
  return {
    port: address.port,
    cut,
    refuse: () => {
      enter('refusing')
      cut()
    },
    hold: () => enter('held'),
    holdAnswers: () => enter('answers-held'),
    heal: () => enter('open'),
    close: () => {
      cut()
      return new Promise(resolve => listener.close(() => resolve()))
    },
  }
}
