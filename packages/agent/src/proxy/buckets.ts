/**
 * Traffic is split by buckets: a request without a bucket draws one of a thousand evenly, a returning user keeps the one
 * drawn first, and each lane owns a run of them as long as its share. So the split is exact by construction, and a share
 * that rises only takes buckets from the older generation: nobody goes back.
 */
export const bucketCount = 1000

export interface LaneShare {
  readonly lane: number
  readonly generation: number
  /** In tenths of a percent. */
  readonly share: number
}

export interface Run {
  readonly lane: number
  /** The lane answers for every bucket below this that no run before it took. */
  readonly below: number
}

/** Which buckets each lane answers, the newest generation first; nothing where no lane has a share. */
export function runs(shares: readonly LaneShare[]): readonly Run[] {
  const taking = shares.filter(s => s.share > 0).toSorted((a, b) => b.generation - a.generation)
  const result: Run[] = []
  let below = 0
  for (const { lane, share } of taking) {
    below = Math.min(bucketCount, below + share)
    if (below > (result.at(-1)?.below ?? 0)) result.push({ lane, below })
  }
  // Shares add up to a thousand by their parser; should they ever not, no bucket stays without a lane.
  const last = result.at(-1)
  return last === undefined ? [] : [...result.slice(0, -1), { lane: last.lane, below: bucketCount }]
}

/** The runs in one word, so that a switch is one command: `2`, or `2:100:0:1000`. Nothing where no lane has a share. */
export function planWord(shares: readonly LaneShare[]): string | undefined {
  const list = runs(shares)
  const only = list[0]
  if (only === undefined) return undefined
  return list.length === 1 ? `${only.lane}` : list.map(run => `${run.lane}:${run.below}`).join(':')
}

/** The lane that a plan word gives a bucket to; what the proxy's rules compute. */
export function laneOf(word: string, bucket: number): number {
  const fields = word.split(':').map(Number)
  let lane = fields[0] ?? 0
  for (let at = 2; at < fields.length; at += 2) {
    if (bucket >= (fields[at - 1] ?? 0)) lane = fields[at] ?? lane
  }
  return lane
}
