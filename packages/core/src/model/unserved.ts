/**
 * What a host's proxy cannot serve of the routes, although it has applied all else of them. Its acknowledgement says so, port by
 * port; a rollout waits for it, and every screen shows it (docs/adr/0019-an-acknowledgement-names-what-is-not-served.md).
 */
import { z } from 'zod'
import type { ServiceName } from './ids.ts'

export const unservedReasons = [
  /** Another process listens there. */
  'held',
  /** The proxy listens, and so does another process, which gets a part of the connections. */
  'shared',
  /** The user of the proxy may not listen there. */
  'not-permitted',
  /** The host does not have the address. */
  'no-address',
  /** The system refuses to listen, for a reason of its own. */
  'cannot-listen',
  /** The port speaks another protocol, or belongs to a TCP route of another service. */
  'protocol',
  /** Another service has the same host name and path there. */
  'claimed',
  /** The proxy cannot hold such a path or host name. */
  'unfit',
  /** The proxy refuses the routes of the service, or its agent fails at them; what was served of them before is served still. */
  'refused',
  /** An instance that shall answer has no such port, or no address. */
  'no-endpoint',
  /** The agent cannot read the newest route of the service: its proxy goes on with the one before, whatever is acknowledged. */
  'unreadable',
  /** What a newer agent says. */
  'other',
] as const

/** For people alone: in a form that is not known it is left out. */
const shown = z.string().optional().catch(undefined)

export const unserved = z.object({
  listen: z.int().min(1).max(65535),
  /** Left out: every service that listens there. */
  service: z.custom<ServiceName>(v => typeof v === 'string').optional(),
  /** The address of the host where it is not served; left out: nowhere on the host. */
  address: shown,
  /** public: routes with `expose: private` are served all the same. Left out, or what a newer agent says: none is. */
  only: z.literal('public').optional().catch(undefined),
  reason: z.enum(unservedReasons).catch('other'),
  /** Who has the port instead, where that is known: `process 812 (sshd)`, `this host's Boxcar agent`. */
  holder: shown,
  /** What else is known of it. */
  detail: shown,
})
export type Unserved = z.infer<typeof unserved>

/** An acknowledgement names so many: one for each service that it cannot serve, as far as that goes, before a second of any. */
export const mostUnserved = 256

/** The part of an acknowledgement that says what is not served; both are left out where all is. */
export interface UnservedList {
  readonly unserved?: readonly Unserved[] | undefined
  /** How many more there are than are named. Of which services is not known, so it is evidence against none. */
  readonly unnamed?: number | undefined
}

/**
 * Reads the list of an agent that may be newer. An entry without a listener that this version understands is counted as one that
 * is not named: the revision beside the list decides whether instances may stop, so it is read whatever the list says.
 */
export function readUnserved(list: unknown, count: unknown): UnservedList {
  const said: readonly unknown[] = list === undefined ? [] : Array.isArray(list) ? list : [list]
  const named = said.flatMap(one => {
    const read = unserved.safeParse(one)
    return read.success ? [read.data] : []
  })
  const counted = z.int().min(1).safeParse(count)
  const unnamed = said.length - named.length + (counted.success ? counted.data : 0)
  return { ...(named.length > 0 ? { unserved: named } : {}), ...(unnamed > 0 ? { unnamed } : {}) }
}

export interface Listening {
  readonly listen: number
  readonly expose: 'public' | 'private'
}

/** Whether it is about this listener. */
export const concerns = (one: Unserved, service: ServiceName, { listen, expose }: Listening): boolean =>
  one.listen === listen &&
  (one.service === undefined || one.service === service) &&
  (one.only === undefined || one.only === expose)

/** `port 7071 at 0.0.0.0 is held by process 812 (sshd)`. */
export function unservedWords({ listen, address, reason, holder, detail }: Unserved): string {
  const port = `port ${listen}${address === undefined ? '' : ` at ${address}`}`
  const more = detail === undefined ? '' : `: ${detail}`
  switch (reason) {
    case 'held':
      return `${port} is held by ${holder ?? 'another process'}`
    case 'shared':
      return `${port} is shared with ${holder ?? 'another process'}, which gets a part of the connections`
    case 'not-permitted':
      return `${port}: the user of the proxy may not listen there`
    case 'no-address':
      return `${port}: the host does not have the address`
    case 'cannot-listen':
    case 'protocol':
    case 'claimed':
    case 'unfit':
    case 'refused':
    case 'no-endpoint':
    case 'unreadable':
    case 'other':
      return `${port} is not served${more}`
  }
}

/** What a person can do about it. */
export function unservedNext({ listen, reason, holder }: Unserved, host: string): string {
  const otherPort = 'give the route another port'
  switch (reason) {
    case 'held':
    case 'shared':
      return holder === agentHolder
        ? otherPort
        : `free port ${listen} on ${host} ('ss -ltnp' there shows who has it), or ${otherPort}`
    case 'not-permitted':
      return `start the agent of ${host} as root, or give the route a port from 1024 up`
    case 'no-address':
      return `give ${host} the address, or start its agent with another --edge-address`
    case 'protocol':
    case 'claimed':
      return `give one of the two routes another port, host name or path`
    case 'unfit':
      return 'give the route a shorter path or host name'
    case 'no-endpoint':
      return 'see the ports of the instance: boxcar describe instance NAME'
    case 'unreadable':
      return `upgrade the agent of ${host}, or deploy the service again`
    case 'cannot-listen':
    case 'refused':
    case 'other':
      return `see the log of the agent of ${host}`
  }
}

export const agentHolder = "this host's Boxcar agent"
