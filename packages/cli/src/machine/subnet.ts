import { run } from './command.ts'

/**
 * The /24 networks that a machine may have, as their first three numbers, best first: none that this computer
 * routes to anywhere already (its default route apart).
 */
export async function freeSubnets(): Promise<readonly string[]> {
  const routed = parseRoutes(await run(['ip', '-4', '-o', 'route', 'show', 'table', 'all']))
  return candidates().filter(subnet => !routed.some(route => overlaps(route, subnet)))
}

interface Route {
  readonly address: number
  readonly bits: number
}

/** The networks in the output of `ip route`, without the default route and the broadcast addresses. */
export function parseRoutes(text: string): readonly Route[] {
  const routes: Route[] = []
  for (const line of text.split('\n')) {
    const found = /^(?:local |broadcast |unreachable |blackhole )?(\d+(?:\.\d+){3})(?:\/(\d+))?(?: |$)/.exec(
      line,
    )
    if (found?.[1] === undefined) continue
    routes.push({ address: toNumber(found[1]), bits: found[2] === undefined ? 32 : Number(found[2]) })
  }
  return routes.filter(route => route.bits > 0)
}

export function overlaps(route: Route, subnet: string): boolean {
  const bits = Math.min(route.bits, 24)
  const mask = (0xffffffff << (32 - bits)) >>> 0
  return (route.address & mask) >>> 0 === (toNumber(`${subnet}.0`) & mask) >>> 0
}

/** Private networks that are seldom in use, and at last the range set aside for benchmarks (RFC 2544). */
function candidates(): readonly string[] {
  const all: string[] = []
  for (let second = 77; second < 80; second++)
    for (let third = 0; third < 64; third++) all.push(`10.${second}.${third}`)
  for (let third = 0; third < 64; third++) all.push(`172.30.${third}`)
  for (let third = 0; third < 64; third++) all.push(`198.18.${third}`)
  return all
}

const toNumber = (address: string) =>
  address.split('.').reduce((sum, part) => (sum * 256 + Number(part)) >>> 0, 0)
