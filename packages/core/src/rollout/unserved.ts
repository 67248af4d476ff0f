/**
 * What of all that live hosts cannot serve counts against a new generation: what it would make worse, or newly promises. That is
 * a port on which the generation that answers users was not listened for yet, or one that the host served when traffic was moved. A
 * host that did not serve a port before keeps no running service from being mended: moving traffic makes nothing worse there. A
 * first generation has none before it, so all counts. A way back is held up by nothing.
 *
 * Why: docs/adr/0019-an-acknowledgement-names-what-is-not-served.md.
 */
import type { GenerationNumber } from '../model/ids.ts'
import type { Evidence, Rollout, UnservedPort } from '../model/rollout.ts'

/** Something that a live host cannot serve of a service. */
export interface UnservedOnHost {
  readonly host: string
  /** The ports of the service that it concerns; a proxy that fails serves none. */
  readonly ports: readonly number[]
  /** In words, for people. */
  readonly what: string
  /** The host came after the phase was stored, so it served nothing of the generation before. */
  readonly isNewHost: boolean
}

/** What live hosts cannot serve of the service, on ports that are asked for; the first so many of it. */
export type UnservedLookup = (which?: {
  readonly isAsked?: (port: number) => boolean
  readonly most?: number
}) => readonly UnservedOnHost[]

/** A port that is held on every host is told of for so many of them. */
const mostEvidence = 8
/** A port that stays unserved on more hosts than this is one entry for all hosts: the record must stay well under 64 KiB. */
const mostHostsOfPort = 64

/** What holds up the rollout in its phase, and is the evidence where it is given up for it. */
export function countedUnserved(rollout: Rollout, unserved: UnservedLookup): readonly Evidence[] {
  return lookUp(rollout, unserved)
    .slice(0, mostEvidence)
    .map(({ host, what }) => ({ host, what }))
}

function lookUp(rollout: Rollout, unserved: UnservedLookup): readonly UnservedOnHost[] {
  const { now } = rollout
  switch (now.phase) {
    case 'warming':
      if (now.undo === true) return []
      return unserved({ isAsked: port => isNewPort(rollout, now.stable, port), most: mostEvidence })
    case 'draining':
      if (now.undo) return []
      return unserved().filter(({ host, ports, isNewHost }) =>
        ports.some(port => holdsUpRollout(rollout, { host, port, isNewHost })),
      )
    case 'resolving':
    case 'settled':
    case 'reverted':
      return []
  }
}

/** Whether the rollout waits for a port that a host cannot serve. */
export function holdsUpRollout(
  rollout: Rollout,
  { host, port, isNewHost }: { readonly host: string; readonly port: number; readonly isNewHost: boolean },
): boolean {
  const { now } = rollout
  switch (now.phase) {
    case 'warming':
      return now.undo !== true && isNewPort(rollout, now.stable, port)
    case 'draining':
      if (now.undo) return false
      return isNewPort(rollout, now.old, port) || !(isNewHost || isAmong(now.unserved, host, port))
    case 'resolving':
    case 'settled':
    case 'reverted':
      return false
  }
}

/** What hosts do not serve at the moment when traffic is moved: it counts no more afterwards. */
export function unservedAtSwitch(unserved: readonly UnservedOnHost[]): readonly UnservedPort[] {
  const hostsOf = new Map<number, Set<string>>()
  for (const { host, ports } of unserved)
    for (const port of ports) hostsOf.set(port, (hostsOf.get(port) ?? new Set()).add(host))
  return [...hostsOf]
    .sort(([a], [b]) => a - b)
    .flatMap(([port, hosts]) =>
      hosts.size > mostHostsOfPort ? [{ port }] : [...hosts].sort().map(host => ({ port, host })),
    )
}

/**
 * The ports that count as listened on before the rollout that begins. One that was given up has brought its ports into the routes
 * already, and promised them to nobody: the next attempt is measured by what the one before was measured by.
 */
export function portsBeforeRollout(
  rollout: Rollout,
  live: GenerationNumber | undefined,
  routed: readonly number[],
): readonly number[] | undefined {
  if (live === undefined) return undefined
  const isSettledOn =
    rollout.now.phase === 'settled' && (rollout.same[String(rollout.asked)] ?? rollout.asked) === live
  return isSettledOn ? routed : rollout.portsBefore
}

/** A record of an older version does not tell which ports are new; then none is. */
const isNewPort = ({ portsBefore }: Rollout, before: GenerationNumber | undefined, port: number): boolean =>
  before === undefined || (portsBefore !== undefined && !portsBefore.includes(port))

const isAmong = (unserved: readonly UnservedPort[] = [], host: string, port: number): boolean =>
  unserved.some(one => one.port === port && (one.host === undefined || one.host === host))
