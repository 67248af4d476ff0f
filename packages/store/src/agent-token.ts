import { createHmac, timingSafeEqual } from 'node:crypto'

/**
 * What a caller shows to the port of one agent: only who has read the cluster's record can make it, and it opens the port of
 * that host alone.
 */
export function agentToken(secret: string, host: string): string {
  return createHmac('sha256', secret).update(`agent:${host}`).digest('hex')
}

/** Whether a presented token is that of the host; takes the same time whatever is wrong with it. */
export function isAgentToken(presented: string, secret: string, host: string): boolean {
  return sameText(presented, agentToken(secret, host))
}

/** Compares two texts in constant time; their hashes have one length, so not even that shows. */
export function sameText(a: string, b: string): boolean {
  const [left, right] = [a, b].map(text => createHmac('sha256', 'compare').update(text).digest())
  return left !== undefined && right !== undefined && timingSafeEqual(left, right)
}

/** Where something is asked of an agent; its port is plain HTTP (docs/adr/0005). */
export function agentUrl(
  { address, agentPort }: { readonly address: string; readonly agentPort: number },
  path: string,
): string {
  return `http://${address.includes(':') ? `[${address}]` : address}:${agentPort}${path}`
}
