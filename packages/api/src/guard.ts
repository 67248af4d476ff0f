/** Who may ask at all: checked before anything of a request is looked at. */
import { isIP } from 'node:net'
import { sameText } from '@boxcar/store/agent-token'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { refuse } from './problem.ts'

/** Says nothing of the cluster, or what a probe must know without a secret. Below `/docs/` are the page's own files. */
export const isOpen = (path: string): boolean => open.has(path) || path.startsWith('/docs/')

const open: ReadonlySet<string> = new Set(['/livez', '/readyz', '/version', '/openapi.json', '/docs'])

export function guardCaller(
  token: string | undefined,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply | undefined {
  if (hostHeaders(request) !== 1)
    return refuse(reply, 'unreadable-request', { detail: 'a request has exactly one Host header' })
  const path = request.url.split('?')[0] ?? ''
  if (isOpen(path)) return undefined
  if (token === undefined) return guardBrowser(request, reply)
  const presented = /^Bearer +([\x21-\x7e]+)$/i.exec(request.headers.authorization ?? '')?.[1]
  if (presented !== undefined && sameText(presented, token)) return undefined
  return refuse(reply, 'unauthorised', {
    detail:
      presented === undefined
        ? 'this server asks for a token: Authorization: Bearer …'
        : 'the token is not the one of this server',
    next: 'set BOXCAR_TOKEN, or give --token-file',
  })
}

function hostHeaders(request: FastifyRequest): number {
  return request.raw.rawHeaders.filter((name, i) => i % 2 === 0 && name.toLowerCase() === 'host').length
}

/**
 * Without a token, being on this machine is what lets a caller in, and so a web page in a browser here must not: neither one
 * that posts to another origin, nor one whose name was made to point here.
 */
function guardBrowser(request: FastifyRequest, reply: FastifyReply): FastifyReply | undefined {
  const host = request.headers.host ?? ''
  const name = host.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1')
  if (!isOwnName(name, request))
    return refuse(reply, 'foreign-origin', {
      detail: 'without a token this server answers only where it is called by its IP address or as localhost',
      next: 'use its address, or start the server with --token-file',
    })
  const { origin } = request.headers
  if (origin !== undefined && origin !== `http://${host}` && request.method !== 'GET')
    return refuse(reply, 'foreign-origin', {
      detail: 'a page of another origin may not change anything here',
    })
  return undefined
}

/** A name that no page can have. On loopback that is this machine's own; elsewhere a name without dots may be one of the network. */
function isOwnName(name: string, request: FastifyRequest): boolean {
  if (isIP(name) !== 0 || name.toLowerCase() === 'localhost') return true
  return !isLoopback(request.socket.localAddress) && name !== '' && !name.includes('.')
}

const isLoopback = (address: string | undefined) =>
  address === undefined || address === '::1' || /^(?:::ffff:)?127\./.test(address)
