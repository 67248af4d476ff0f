/**
 * Invariant C11: once a host has seen that an instance is to stop, or that its placement is gone, none of its containers is
 * started, and one that was created and not started is removed without a start.
 */

export type Happening =
  /** What a host saw of an instance's placement. */
  | {
      readonly kind: 'placement'
      /** Milliseconds, by one clock for the whole history. */
      readonly at: number
      readonly host: string
      readonly instance: string
      readonly wants: 'run' | 'stop' | 'gone'
    }
  /** What the host's engine did. */
  | {
      readonly kind: 'container'
      readonly at: number
      readonly host: string
      readonly instance: string
      readonly container: string
      readonly action: 'create' | 'start' | 'destroy'
    }

export interface Allowed {
  /** A start that the engine had begun is not taken back. */
  readonly startMs?: number
  /** What nobody asks for is removed only once its orders are known to be complete. */
  readonly removeMs?: number
}

export interface StartReport {
  readonly violations: readonly string[]
  /** Starts of what was wanted, and of what was not any more, however shortly before. */
  readonly starts: { readonly wanted: number; readonly unwanted: number }
  /** Containers that were removed without ever having been started. */
  readonly neverStarted: number
  /** Containers of what is not wanted that were created and neither started nor removed. */
  readonly left: number
}

/** Reads a history that ends at `until`. Instances of which no placement was seen are not judged. */
export function checkNotWantedNotStarted(
  history: readonly Happening[],
  until: number,
  { startMs = 500, removeMs = 15_000 }: Allowed = {},
): StartReport {
  const violations: string[] = []
  const unwantedSince = new Map<string, number>()
  const created = new Map<string, Happening>()
  const starts = { wanted: 0, unwanted: 0 }
  let neverStarted = 0
  for (const happening of [...history].sort((a, b) => a.at - b.at)) {
    const place = placeOf(happening)
    if (happening.kind === 'placement') {
      if (happening.wants === 'run') unwantedSince.delete(place)
      else if (!unwantedSince.has(place)) unwantedSince.set(place, happening.at)
      continue
    }
    const { action, container, at } = happening
    if (action === 'create') created.set(container, happening)
    if (action === 'destroy' && created.delete(container)) neverStarted++
    if (action !== 'start') continue
    created.delete(container)
    const since = unwantedSince.get(place)
    if (since === undefined) starts.wanted++
    else starts.unwanted++
    if (since !== undefined && at - since > startMs)
      violations.push(`C11: ${container} of ${place} was started ${at - since} ms after it was not wanted`)
  }
  let left = 0
  for (const [container, happening] of created) {
    const place = placeOf(happening)
    const unwanted = unwantedSince.get(place)
    if (unwanted === undefined) continue
    left++
    const since = Math.max(unwanted, happening.at)
    if (until - since > removeMs)
      violations.push(`C11: ${container} of ${place}, never started, still stands ${until - since} ms later`)
  }
  return { violations, starts, neverStarted, left }
}

const placeOf = ({ host, instance }: Happening): string => `${instance} on ${host}`
