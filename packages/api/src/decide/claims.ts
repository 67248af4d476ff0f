/** Which addresses a spec claims, and who else claims them: two services never answer on one address. */
import type { ServiceName } from '@boxcar/core/model/ids'
import type { ServiceSpec } from '@boxcar/core/model/spec'
import type { ClaimId } from '@boxcar/store/keys'
import type { FaultView } from '../views.ts'

export interface Claim {
  readonly id: ClaimId
  readonly protocol: 'http' | 'tcp'
  /** Of the route in the spec. */
  readonly pointer: string
}

/** No host name has a colon: the key under which a TCP route holds its port, whatever HTTP routes are called. */
const tcpName = ':tcp'

/** What a TCP route on a port claims. Who claims the port for HTTP guards that nobody holds this. */
export const tcpClaim = (listen: number): ClaimId => ({ listen, hostname: tcpName, path: '/' })

/** One claim for each host name of a route; a TCP route has its port for itself. */
export function claimsOf(routes: ServiceSpec['routes']): readonly Claim[] {
  return routes.flatMap((route, i): Claim[] => {
    const pointer = `/routes/${i}`
    if (route.protocol === 'tcp') return [{ id: tcpClaim(route.listen), protocol: 'tcp', pointer }]
    const names = route.hostnames.length === 0 ? ['*'] : route.hostnames
    const path = trimmed(route.path)
    return names.map(hostname => ({
      id: { listen: route.listen, hostname, path },
      protocol: 'http',
      pointer,
    }))
  })
}

/** `/shop/` and `/shop` answer the same requests. */
const trimmed = (path: string) => (path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path)

export interface HeldClaim {
  readonly id: ClaimId
  readonly service: string
  /** Left out by older writers: HTTP. */
  readonly protocol?: unknown
}

/** Faults of a spec whose own routes claim one address twice. */
export function claimedTwice(claims: readonly Claim[]): readonly FaultView[] {
  return claims.flatMap((claim, i) => {
    const first = claims.slice(0, i).find(earlier => collide(claim, earlier))
    if (first === undefined) return []
    return [
      {
        pointer: claim.pointer,
        code: 'conflict_in_spec',
        message: `claims ${addressOf(claim.id)}, which ${first.pointer} claims too`,
      },
    ]
  })
}

/** Faults of claims that other services hold. */
export function claimedByOthers(
  claims: readonly Claim[],
  held: readonly HeldClaim[],
  service: ServiceName,
): readonly FaultView[] {
  return claims.flatMap(claim => {
    const other = held.find(h => h.service !== service && collide(claim, protocolOf(h)))
    if (other === undefined) return []
    return [
      {
        pointer: claim.pointer,
        code: 'address_claimed',
        message: `${addressOf(claim.id)} belongs to service ${other.service}`,
        got: addressOf(claim.id),
      },
    ]
  })
}

const protocolOf = (held: HeldClaim) => ({
  id: held.id,
  protocol: held.protocol === 'tcp' ? ('tcp' as const) : ('http' as const),
})

type Address = Pick<Claim, 'id' | 'protocol'>

/** The same address; or the same port, where one of them is not HTTP. */
const collide = (a: Address, b: Address) =>
  a.id.listen === b.id.listen &&
  (a.protocol === 'tcp' ||
    b.protocol === 'tcp' ||
    (a.id.hostname === b.id.hostname && a.id.path === b.id.path))

export const sameId = (a: ClaimId, b: ClaimId) =>
  a.listen === b.listen && a.hostname === b.hostname && a.path === b.path

const addressOf = (id: ClaimId) =>
  id.hostname === tcpName ? `TCP port ${id.listen}` : `${id.hostname}:${id.listen}${id.path}`
