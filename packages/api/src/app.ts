/**
 * The API as one fastify instance that never listens: `main.ts` gives it a port, tests call it in process. Each route parses,
 * asks and translates; what is common to all of them stands here: reading bodies strictly, checking paths and queries,
 * knowing the caller, and answering every failure as a problem.
 */
import { elapsed } from '@boxcar/core/model/clock'
import { StoreUnavailable } from '@boxcar/store/store'
import swagger from '@fastify/swagger'
import Fastify, { type FastifyError, type FastifyReply, type FastifyRequest } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { z } from 'zod'
import type { ApiDeps } from './deps.ts'
import { transform, transformObject } from './description.ts'
import { Framing } from './framing.ts'
import { guardCaller } from './guard.ts'
import { HostActions } from './host-settings.ts'
import { Intents } from './intents.ts'
import { plain, readJsonBytes } from './json.ts'
import { LeaderWatch } from './leadership.ts'
import { Picture } from './picture.ts'
import { detailOf, refuse } from './problem.ts'
import { refuseParts } from './routes/answers.ts'
import { clusterRoutes } from './routes/cluster.ts'
import { docsRoutes } from './routes/docs.ts'
import { eventRoutes } from './routes/events.ts'
import { hostRoutes } from './routes/hosts.ts'
import { instanceRoutes } from './routes/instances.ts'
import { rolloutRoutes } from './routes/rollouts.ts'
import type { App, RouteContext } from './routes/route.ts'
import { serviceRoutes } from './routes/services.ts'
import { Services } from './services.ts'
import { staleMs } from './stale.ts'
import { StoreHealth } from './store-health.ts'
import { UnreadableBody, validatorOf, WrongRequest } from './wrong-request.ts'

/** Bodies above this are not read. */
export const maxBodyBytes = 256 * 1024

export async function buildApp(deps: ApiDeps): Promise<App> {
  const framing = new Framing(deps)
  const app: App = Fastify({
    logger: false,
    bodyLimit: maxBodyBytes,
    // Callers' ids are not trusted: ours go into records and events.
    requestIdHeader: false,
    genReqId: () => deps.chance.id(),
    exposeHeadRoutes: false,
    forceCloseConnections: true,
    routerOptions: { maxParamLength: 100, caseSensitive: true },
    // A request must arrive within these; an answer may take longer. Streams keep their socket awake.
    requestTimeout: 10_000,
    connectionTimeout: 60_000,
    keepAliveTimeout: 60_000,
    maxRequestsPerSocket: 100_000,
    http: {
      headersTimeout: 5_000,
      connectionsCheckingInterval: 1_000,
      maxHeaderSize: 16 * 1024,
      // Ours says why.
      requireHostHeader: false,
    },
    frameworkErrors: (error, request, reply) => {
      // Fastify types this reply by its own error; it is the same reply.
      answerFailure(deps, error, request, reply as unknown as FastifyReply)
    },
    clientErrorHandler: framing.answer,
  }).withTypeProvider<ZodTypeProvider>()

  framing.watch(app.server)
  readBodiesStrictly(app)
  app.setValidatorCompiler(validatorOf)
  // Answers are typed by their schemas; the tests parse them. Parsing each one again here would only cost time.
  app.setSerializerCompiler(() => data => JSON.stringify(data))
  app.setErrorHandler((error: FastifyError, request, reply) => answerFailure(deps, error, request, reply))
  app.setNotFoundHandler((request, reply) => answerNotFound(app, request, reply))
  app.addHook('onRoute', route => {
    route.schema = { querystring: z.strictObject({}), ...route.schema }
  })
  app.addHook('onRequest', async (request, reply) => {
    reply.header('boxcar-request-id', request.id)
    return guardCaller(deps.token, request, reply)
  })
  app.addHook('preValidation', async (request, reply) => refuseUnkept(request, reply))
  app.addHook('preHandler', async (request, reply) => markStale(deps, request, reply))

  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Boxcar',
        version: deps.version,
        description: 'One computer out of plain Docker hosts. Errors are application/problem+json.',
        license: { name: 'Apache-2.0' },
      },
      components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } },
      security: deps.token === undefined ? [] : [{ token: [] }],
    },
    transform,
    transformObject,
  })

  const health = new StoreHealth(deps)
  const picture = new Picture(deps.mirror, deps.clusterName, () => health.whyNoOrders(), deps.log)
  const context: RouteContext = {
    deps,
    health,
    leadership: new LeaderWatch(deps),
    picture,
    services: new Services(deps, picture),
    intents: new Intents(deps, picture),
    hosts: new HostActions(deps, picture),
  }
  // After the plugin above is loaded: it collects what is described from here on.
  for (const add of [
    serviceRoutes,
    rolloutRoutes,
    instanceRoutes,
    hostRoutes,
    clusterRoutes,
    eventRoutes,
    docsRoutes,
  ])
    add(app, context)
  return app
}

/** JSON only, read by our own strict reader; anything else is 415. */
function readBodiesStrictly(app: App): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser(
    ['application/json', 'application/merge-patch+json'],
    { parseAs: 'buffer' },
    (request, bytes, done) => {
      const type = String(request.headers['content-type'] ?? '')
      const charset = /;\s*charset="?([^";]+)"?/i.exec(type)?.[1]
      const encoding = request.headers['content-encoding']
      if (charset !== undefined && !/^utf-?8$/i.test(charset.trim()))
        return done(new WrongRequest('media', [mediaFault(`charset ${plain(charset)}: only UTF-8 is read`)]))
      if (encoding !== undefined && encoding !== 'identity')
        return done(
          new WrongRequest('media', [mediaFault(`content encoding ${plain(encoding)}: send it as it is`)]),
        )
      const outcome = readJsonBytes(typeof bytes === 'string' ? Buffer.from(bytes) : bytes)
      if (outcome.kind === 'read') return done(null, outcome.value)
      const { pointer, code, message } = outcome.fault
      done(new UnreadableBody([{ pointer, code, message }]))
    },
  )
}

const mediaFault = (message: string) => ({ pointer: '', code: 'media_type', message })

const conditions = ['If-Match', 'If-None-Match', 'Idempotency-Key'] as const

/** A condition or a key that a route does not keep must not look as if it were kept. */
function refuseUnkept(request: FastifyRequest, reply: FastifyReply): FastifyReply | undefined {
  if (request.method === 'GET' || request.is404) return undefined
  const described = request.routeOptions.schema?.headers
  const taken = described instanceof z.ZodObject ? described.shape : {}
  const unkept = conditions.find(
    name => request.headers[name.toLowerCase()] !== undefined && !(name in taken),
  )
  if (unkept === undefined) return undefined
  return refuseParts(reply, 'unreadable-request', {
    pointer: `header/${unkept.toLowerCase()}`,
    code: 'header',
    message: 'is not kept here; leave it out',
  })
}

/** Reads go on from the mirror while the store is away, and say so. */
function markStale(deps: ApiDeps, request: FastifyRequest, reply: FastifyReply): FastifyReply | undefined {
  if (request.method !== 'GET' || !request.url.startsWith('/v1/')) return undefined
  const { mirror, clock } = deps
  if (!mirror.caughtUp)
    return refuse(reply, 'store-away', {
      detail: 'this server has not read the store yet',
      next: 'try again, or ask another server',
    })
  const ageMs = elapsed(mirror.lastHeard(), clock.now())
  if (ageMs > staleMs) {
    reply.header('boxcar-stale', 'true')
    reply.header('age', String(Math.round(ageMs / 1000)))
  }
  return undefined
}

function answerFailure(
  deps: ApiDeps,
  error: FastifyError | Error,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  if (error instanceof UnreadableBody)
    return refuse(reply, 'invalid-json', { detail: detailOf(error.faults), errors: error.faults })
  if (error instanceof WrongRequest) {
    const kind = { address: 'invalid-path', body: 'invalid-body', media: 'unsupported-media-type' } as const
    return refuse(reply, kind[error.part], { detail: detailOf(error.faults), errors: error.faults })
  }
  if (error instanceof StoreUnavailable)
    return refuse(reply, 'store-away', { detail: 'the store does not answer', next: 'try again' })
  const code = 'code' in error ? error.code : ''
  switch (code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return refuse(reply, 'body-too-large', { detail: `the body is above ${maxBodyBytes / 1024} KiB` })
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return refuse(reply, 'unsupported-media-type', {
        detail: 'the body must be application/json (a PATCH may be application/merge-patch+json)',
      })
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
      return refuse(reply, 'unreadable-request', { detail: 'the body is not as long as Content-Length says' })
    case 'FST_ERR_BAD_URL':
      return refuse(reply, 'invalid-path', { detail: 'the address has an escape that cannot be read' })
    case 'FST_ERR_MAX_PARAM_LENGTH':
      return refuse(reply, 'path-too-long', { detail: 'a part of the address is above 100 characters' })
  }
  const status = 'statusCode' in error ? (error.statusCode ?? 500) : 500
  if (status >= 400 && status < 500)
    return refuse(reply, 'unreadable-request', { detail: 'the request cannot be read' })
  // Shown: the answer, with the request id.
  deps.log.error(
    { requestId: request.id, method: request.method, error: error.stack ?? error.message },
    'a request failed for a reason of our own',
  )
  return refuse(reply, 'internal', {
    detail: 'a fault of Boxcar; the server logged it with this request id',
    next: 'boxcar doctor',
  })
}

function answerNotFound(app: App, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const path = request.url.split('?')[0] ?? ''
  const known = methodsOf(app, path)
  const allowed = known.length === 0 && request.method === 'TRACE' ? methods : known
  if (allowed.length > 0) {
    reply.header('allow', allowed.join(', '))
    return refuse(reply, 'method-not-allowed', {
      detail: `${request.method} is not possible here; possible: ${allowed.join(', ')}`,
    })
  }
  const detail = `there is nothing at ${plain(path)}`
  return refuse(reply, 'not-found', { detail, next: 'GET /openapi.json' })
}

/** All that are possible anywhere. */
const methods = ['GET', 'PUT', 'POST', 'PATCH', 'DELETE'] as const

const methodsOf = (app: App, path: string) =>
  methods.filter(method => {
    const found = app.findRoute({ method, url: path })
    return found !== null && found !== undefined
  })
