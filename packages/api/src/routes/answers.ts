/** From what was decided to HTTP, and from headers to what is asked: the same for every route. */

import { createHash } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { detailOf, refuse } from '../problem.ts'
import type { Refusal } from '../refusal.ts'
import type { FaultView } from '../views.ts'
import type { Author, Condition, WriteContext } from '../writing.ts'

export function refuseWith(reply: FastifyReply, refusal: Refusal): FastifyReply {
  switch (refusal.kind) {
    case 'invalid':
      return refuse(reply, 'invalid-spec', { detail: detailOf(refusal.faults), errors: refusal.faults })
    case 'wrong-body':
      return refuse(reply, 'invalid-body', { detail: detailOf(refusal.faults), errors: refusal.faults })
    case 'not-yet':
      return refuse(reply, 'not-supported-yet', { detail: detailOf(refusal.faults), errors: refusal.faults })
    case 'claimed':
      return refuse(reply, 'address-claimed', { detail: detailOf(refusal.faults), errors: refusal.faults })
    case 'absent':
      return refuse(reply, 'not-found', {
        detail: `there is no ${refusal.what}${refusal.near === undefined ? '' : `; did you mean ${refusal.near}?`}`,
        ...(refusal.next === undefined ? {} : { next: refusal.next }),
      })
    case 'differs':
      return refuse(reply, 'revision-differs', {
        detail:
          refusal.revision === undefined
            ? 'the condition names a revision, and there is no such object'
            : `the condition does not hold: it is at revision ${refusal.revision} now`,
        next: 'read it again, decide again, and send the new ETag as If-Match',
        ...(refusal.revision === undefined ? {} : { revision: refusal.revision }),
      })
    case 'wrong-state':
      return refuse(reply, 'wrong-state', {
        detail: refusal.words,
        ...(refusal.next === undefined ? {} : { next: refusal.next }),
      })
    case 'key-reused':
      return refuse(reply, 'idempotency-key-reused', {
        detail: 'this Idempotency-Key was used for another request within the last day; draw a new one',
      })
    case 'contended':
      return refuse(reply, 'changed-meanwhile', {
        detail: 'others changed the same thing at the same moment, again and again; nothing was written',
        next: 'try again',
      })
    case 'too-large':
      return refuse(reply, 'body-too-large', {
        detail: 'it is more than one transaction of the store can hold',
      })
    case 'full':
      return refuse(reply, 'store-full', {
        detail: 'the store is full, so nothing was written; what runs goes on',
        next: 'boxcar doctor --etcd ENDPOINTS names the commands that mend it, as GET /v1/cluster does (store.problems)',
      })
    case 'away':
      return refuse(reply, 'store-away', {
        detail:
          refusal.done === 'perhaps'
            ? 'the store did not answer: it may have been done all the same; what runs goes on'
            : 'the store does not answer, so nothing was written; what runs goes on',
        next: refusal.done === 'perhaps' ? 'read it, and repeat the request if it was not done' : 'try again',
      })
  }
}

/** Sends a refusal for a header, a query or a path that cannot be read. */
export function refuseParts(
  reply: FastifyReply,
  kind: 'unreadable-request' | 'invalid-path',
  fault: FaultView,
): FastifyReply {
  return refuse(reply, kind, { detail: detailOf([fault]), errors: [fault] })
}

const etags = /^(?:W\/)?"(\d{1,20})"$/
const keyText = /^[A-Za-z0-9._~:-]{1,128}$/
const actorText = /^[\w.@+ -]{1,64}$/

/** What the headers of a write say, or the fault of one of them. */
export function contextOf(
  request: FastifyRequest,
):
  | { readonly kind: 'good'; readonly context: WriteContext }
  | { readonly kind: 'bad'; readonly fault: FaultView } {
  const condition = conditionOf(request)
  if ('pointer' in condition) return { kind: 'bad', fault: condition }
  const key = request.headers['idempotency-key']
  if (key !== undefined && (typeof key !== 'string' || !keyText.test(key)))
    return bad('idempotency-key', 'must be 1 to 128 letters, digits or . _ ~ : -')
  const { actor } = authorOf(request)
  return {
    kind: 'good',
    context: {
      actor,
      requestId: request.id,
      condition,
      key: typeof key === 'string' ? { name: key, print: printOf(request) } : undefined,
    },
  }
}

/** Who asks. A name that people give themselves, for the events; never believed for anything else. */
export function authorOf(request: FastifyRequest): Author {
  const said = request.headers['boxcar-actor']
  return {
    actor: typeof said === 'string' && actorText.test(said) ? said : 'api',
    requestId: request.id,
  }
}

function conditionOf(request: FastifyRequest): Condition | FaultView {
  const match = request.headers['if-match']
  const noneMatch = request.headers['if-none-match']
  if (noneMatch !== undefined) {
    if (noneMatch.trim() !== '*') return bad('if-none-match', 'must be *').fault
    return { kind: 'absent' }
  }
  if (match === undefined) return { kind: 'none' }
  if (match.trim() === '*') return { kind: 'exists' }
  const revisions = match.split(',').map(tag => etags.exec(tag.trim())?.[1])
  return revisions.every(r => r !== undefined)
    ? { kind: 'revision', revisions }
    : bad('if-match', 'must be * or an ETag as this server gives it, such as "42"').fault
}

const bad = (header: string, message: string) => ({
  kind: 'bad' as const,
  fault: { pointer: `header/${header}`, code: 'header', message },
})

function printOf(request: FastifyRequest): string {
  const condition = `${request.headers['if-match'] ?? ''}\n${request.headers['if-none-match'] ?? ''}`
  return createHash('sha256')
    .update(`${request.method} ${request.url}\n${condition}\n${JSON.stringify(request.body ?? null)}`)
    .digest('hex')
}
