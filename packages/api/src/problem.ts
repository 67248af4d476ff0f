import type { FastifyReply } from 'fastify'
import { plain } from './json.ts'
import type { FaultView, ProblemView } from './views.ts'

/** The refusals that the API knows: the last part of their `type`, their status and title. */
export const problemKinds = {
  'unreadable-request': { status: 400, title: 'The request cannot be read' },
  'invalid-json': { status: 400, title: 'The body is not JSON' },
  'invalid-path': { status: 400, title: 'The address is not valid' },
  unauthorised: { status: 401, title: 'A token is needed' },
  'foreign-origin': { status: 403, title: 'Not from there' },
  'not-found': { status: 404, title: 'Not found' },
  'method-not-allowed': { status: 405, title: 'This cannot be done here' },
  'request-timeout': { status: 408, title: 'The request took too long' },
  'address-claimed': { status: 409, title: 'Another service has this address' },
  'changed-meanwhile': { status: 409, title: 'It changed at the same moment' },
  'wrong-state': { status: 409, title: 'Its state does not allow this' },
  'revision-differs': { status: 412, title: 'It changed since it was read' },
  'body-too-large': { status: 413, title: 'The body is too large' },
  'path-too-long': { status: 414, title: 'The address is too long' },
  'unsupported-media-type': { status: 415, title: 'The body is not JSON by its headers' },
  'invalid-spec': { status: 422, title: 'The spec is not valid' },
  'invalid-body': { status: 422, title: 'The body is not valid' },
  'not-supported-yet': { status: 422, title: 'This is not supported yet' },
  'expectation-failed': { status: 417, title: 'This is not waited for' },
  'idempotency-key-reused': { status: 422, title: 'The key was used for another request' },
  'too-many-streams': { status: 429, title: 'Too many streams' },
  'headers-too-large': { status: 431, title: 'The headers are too large' },
  internal: { status: 500, title: 'Boxcar failed' },
  'not-ready': { status: 503, title: 'This server is not ready' },
  'agent-unreachable': { status: 503, title: 'The host does not answer' },
  'store-away': { status: 503, title: 'The store does not answer' },
  'store-full': { status: 503, title: 'The store is full' },
} as const satisfies Readonly<Record<string, { readonly status: number; readonly title: string }>>

export type ProblemKind = keyof typeof problemKinds

export interface ProblemWords {
  readonly detail: string
  readonly errors?: readonly FaultView[]
  readonly next?: string
  readonly revision?: string
}

/** The body of a refusal. Types are stable names, not addresses that must resolve. */
export function problemOf(kind: ProblemKind, requestId: string, words: ProblemWords): ProblemView {
  const { status, title } = problemKinds[kind]
  return {
    type: `urn:boxcar:problem:${kind}`,
    title,
    status,
    code: kind,
    detail: words.detail,
    errors: [...(words.errors ?? [])],
    requestId,
    ...(words.next === undefined ? {} : { next: words.next }),
    ...(words.revision === undefined ? {} : { revision: words.revision }),
  }
}

/** Sends a refusal. A store that is away says when to come back. */
export function refuse(reply: FastifyReply, kind: ProblemKind, words: ProblemWords): FastifyReply {
  const body = problemOf(kind, reply.request.id, words)
  // Also where no hook ran: an address that cannot be read.
  reply.header('boxcar-request-id', body.requestId)
  if (body.status === 503) reply.header('retry-after', '2')
  if (body.status === 401) reply.header('www-authenticate', 'Bearer realm="boxcar"')
  return reply.code(body.status).type('application/problem+json').serializer(JSON.stringify).send(body)
}

/** The first fault as the sentence of a problem: `/replicas: must be …, got "3"`. */
export function detailOf(faults: readonly FaultView[]): string {
  const [first] = faults
  if (first === undefined) return 'the request is not valid'
  const where = first.pointer === '' ? '' : `${plain(first.pointer)} `
  const got = first.got === undefined || first.code === 'unknown_field' ? '' : `; got ${first.got}`
  const more = faults.length === 1 ? '' : ` (and ${faults.length - 1} more)`
  return `${where}${first.message}${got}${more}`
}
