/** Invariants S1 and S2: every write of the leader bears the term that led at that revision, and terms never go back. */
import type { Change } from '@boxcar/store/store'
import { compareRevisions } from '@boxcar/store/store'

export interface LeaderWrite {
  readonly revision: string
  readonly collection: string
  readonly id: string
  readonly term: string
}

export interface FencingReport {
  readonly writes: readonly LeaderWrite[]
  readonly violations: readonly string[]
  /** Terms in the order in which they led. */
  readonly terms: readonly string[]
}

const fenced = new Set(['placements', 'rollouts', 'routes', 'pending'])

/** Reads a history of changes, in revision order, from the beginning of the first term that is in it. */
export function checkFencing(history: readonly Change[]): FencingReport {
  const [writes, violations, terms]: [LeaderWrite[], string[], string[]] = [[], [], []]
  let leading: string | undefined
  for (const change of history) {
    const { name } = change.collection
    if (name === 'leader') {
      leading = change.kind === 'put' ? change.entry.created : undefined
      if (leading !== undefined && terms.at(-1) !== leading) terms.push(leading)
      continue
    }
    if (change.kind !== 'put' || !fenced.has(name)) continue
    const { entry } = change
    const term = termOf(entry.value)
    const write = { revision: entry.modified, collection: name, id: JSON.stringify(entry.id), term }
    const last = writes.at(-1)
    writes.push(write)
    if (term !== leading)
      violations.push(
        `S1: ${name} ${write.id} at ${write.revision} bears term ${term}, ${leading ?? 'nobody'} leads`,
      )
    if (last !== undefined && compareRevisions(term, last.term) < 0)
      violations.push(`S2: term ${term} at ${write.revision} follows term ${last.term} at ${last.revision}`)
  }
  return { writes, violations, terms }
}

function termOf(value: unknown): string {
  return typeof value === 'object' && value !== null && 'term' in value ? String(value.term) : ''
}
