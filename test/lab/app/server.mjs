/**
 * The service that end-to-end tests deploy: it says who answers, can be slow, not ready, or broken at its start, and
 * leaves without dropping a request. Settings by environment: PORT (8080), TCP_PORT (8081), VERSION, NEVER_READY=1,
 * READY_AFTER_MS, EXIT_WITH=<status>; BOXCAR_INSTANCE, BOXCAR_GENERATION and BOXCAR_HOST come from the agent.
 */
import { createServer } from 'node:http'
import { createServer as createTcpServer } from 'node:net'
import { hostname } from 'node:os'

const env = process.env
if (env.EXIT_WITH !== undefined) {
  process.stderr.write(`cannot go on: told to exit with ${env.EXIT_WITH}\n`)
  process.exit(Number(env.EXIT_WITH))
}

const startedAt = performance.now()
const identity = {
  instance: env.BOXCAR_INSTANCE ?? hostname(),
  generation: env.BOXCAR_GENERATION === undefined ? null : Number(env.BOXCAR_GENERATION),
  version: env.VERSION ?? '0',
  host: env.BOXCAR_HOST ?? null,
}
let stopping = false

const http = createServer((request, response) => {
  const url = new URL(request.url ?? '/', 'http://app')
  // A connection that stays open would keep a stopping server alive, and its next request would be lost.
  if (stopping) response.setHeader('connection', 'close')
  const answer = (status, body) => {
    response.writeHead(status, { 'content-type': 'application/json' })
    response.end(`${JSON.stringify(body)}\n`)
  }
  switch (url.pathname) {
    case '/slow':
      setTimeout(() => answer(200, identity), Number(url.searchParams.get('ms') ?? 1_000))
      return
    case '/ready':
      return isReady() ? answer(200, { ready: true }) : answer(503, { ready: false, why: 'not ready yet' })
    case '/healthz':
      return answer(200, { healthy: true })
    case '/env':
      return answer(200, env)
    case '/once': {
      const parts = []
      request.on('data', part => parts.push(part))
      request.on('end', () => answer(200, { ...identity, body: Buffer.concat(parts).toString() }))
      return
    }
    case '/crash':
      answer(200, identity)
      response.on('finish', () => process.exit(Number(url.searchParams.get('status') ?? 1)))
      return
    default:
      return answer(200, identity)
  }
})
// Longer than a proxy keeps an idle connection, so that it is never this side which closes one under a request.
http.keepAliveTimeout = 75_000

const tcp = createTcpServer(socket => {
  socket.write(`generation ${identity.generation ?? '-'} version ${identity.version} ${identity.instance}\n`)
  socket.pipe(socket)
  socket.on('error', () => socket.destroy())
})

http.listen(Number(env.PORT ?? 8080), () => process.stdout.write(`version ${identity.version} listens\n`))
tcp.listen(Number(env.TCP_PORT ?? 8081))

process.on('SIGTERM', () => {
  if (stopping) return
  stopping = true
  process.stdout.write('stopping\n')
  tcp.close()
  // Closes idle connections at once, the others after their answer; then nothing keeps this process alive.
  http.close(() => process.exit(0))
  http.closeIdleConnections()
})

function isReady() {
  if (env.NEVER_READY === '1') return false
  return performance.now() - startedAt >= Number(env.READY_AFTER_MS ?? 0)
}
