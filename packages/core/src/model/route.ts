import { z } from 'zod'
import { byId, type GenerationNumber, type InstanceId, type ServiceName } from './ids.ts'
import type { ServiceSpec } from './spec.ts'
import { readUnserved } from './unserved.ts'

/** A listener that users call, and the named port of the instances that answers it. */
export const listener = z.object({
  protocol: z.enum(['http', 'tcp']),
  /** The port on every edge. */
  listen: z.int().min(1).max(65535),
  /** Lower case, no port; empty: every host name that nobody else claims. Always empty for TCP. */
  hostnames: z.array(z.string()).readonly(),
  /** A path prefix, whole segments: `/` or `/shop`. Always `/` for TCP. */
  path: z.string(),
  /** public: every address of the host. private: loopback and the container bridge (`boxcar.internal`) only. */
  expose: z.enum(['public', 'private']),
  /** The spec's name of the port behind it. */
  port: z.string(),
})
export type Listener = z.infer<typeof listener>

/** What the routes of a spec ask the proxies to listen on. */
export const listenersOf = (routes: ServiceSpec['routes']): Listener[] =>
  routes.map(route => ({
    protocol: route.protocol,
    listen: route.listen,
    hostnames: route.protocol === 'http' ? [...route.hostnames].sort(byId) : [],
    path: route.protocol === 'http' ? route.path : '/',
    expose: route.expose,
    port: route.port,
  }))

/** The same for a user, whichever port answers it. */
export const isSameAddress = (a: Listener, b: Listener): boolean =>
  a.listen === b.listen && a.path === b.path && JSON.stringify(a.hostnames) === JSON.stringify(b.hostnames)

/** Where one instance can be reached: its host's advertised address, and the host port of each named port. */
export const endpoint = z.object({
  instance: z.custom<InstanceId>(v => typeof v === 'string'),
  address: z.string(),
  ports: z.record(z.string(), z.int().min(1).max(65535)).readonly(),
})
export type Endpoint = z.infer<typeof endpoint>

/** A generation behind a route: how much of the traffic it gets, and who answers for it. */
export const backing = z.object({
  generation: z
    .int()
    .min(1)
    .transform(n => n as GenerationNumber),
  /** In tenths of a percent, 0 to 1000; all backings of a route together 1000, or 0 where nothing answers yet. */
  share: z.int().min(0).max(1000),
  /** Ready instances, in id order. With share 0 they are known to the proxies ahead of a switch, or kept for an undo. */
  endpoints: z.array(endpoint).readonly(),
})
export type Backing = z.infer<typeof backing>

/** What the proxies serve for one service; one record, so that a switch is one write. */
export const route = z.object({
  service: z.custom<ServiceName>(v => typeof v === 'string'),
  uid: z.string(),
  term: z.string(),
  listeners: z.array(listener).readonly(),
  backings: z.array(backing).readonly(),
  /** How long requests in flight may go on when an endpoint leaves, milliseconds. */
  drainMs: z.int().min(0),
})
export type Route = z.infer<typeof route>

/** The route that is stored for a service. Throws for one that says it is of another service: it would stand in its place. */
export function routeOf(service: ServiceName, value: unknown): Route {
  const read = route.parse(value)
  if (read.service !== service) throw new Error(`it says that it is of ${read.service.slice(0, 200)}`)
  return read
}

/**
 * Services whose newest route the agent cannot read: its proxy serves one of before, so that nothing of them may stop because of the
 * revision. Left out: none. What a newer agent says in another form counts as all, since it may be any.
 */
const outdated = z
  .union([z.literal('all'), z.array(z.custom<ServiceName>(v => typeof v === 'string')).readonly()])
  .optional()
  .catch('all')

/** An acknowledgement names so many; more are `all`. */
export const mostOutdated = 1000

/**
 * What one host's proxy says of itself: everything up to `revision` of the routes is applied, but for what `unserved` names, and for
 * the services in `outdated`. An endpoint that left the routes and still has open requests is listed in `draining` until they ended
 * or their drain time is over.
 */
export const routeAck = z
  .object({
    revision: z.string().regex(/^\d{1,20}$/),
    draining: z.array(z.custom<InstanceId>(v => typeof v === 'string')).readonly(),
    outdated,
    /** Left out: all is served. */
    unserved: z.unknown().optional(),
    /** How many more there are, where they are too many to name, or to be understood by this version. */
    unnamed: z.unknown().optional(),
  })
  .transform(({ unserved, unnamed, ...ack }) => ({ ...ack, ...readUnserved(unserved, unnamed) }))
export type RouteAck = z.infer<typeof routeAck>
