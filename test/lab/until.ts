import { setTimeout as sleep } from 'node:timers/promises'

export interface UntilOptions {
  /** 10 s unless told. */
  readonly timeoutMs?: number
  /** 50 ms unless told. */
  readonly everyMs?: number
  /** What is waited for, for the error. */
  readonly what?: string
}

/** Looks again and again until the predicate holds, and gives that value; fails with the last value seen. */
export async function until<T>(
  look: () => T | Promise<T>,
  holds: (value: T) => boolean,
  options: UntilOptions = {},
): Promise<T> {
  const timeoutMs = options.timeoutMs ?? 10_000
  const deadline = performance.now() + timeoutMs
  let seen:
    | { readonly kind: 'value'; readonly value: T }
    | { readonly kind: 'failure'; readonly error: unknown }
  do {
    try {
      const value = await look()
      if (holds(value)) return value
      seen = { kind: 'value', value }
    } catch (error) {
      // Things that start refuse connections: a look that fails is a look that saw nothing yet.
      seen = { kind: 'failure', error }
    }
    await sleep(options.everyMs ?? 50)
  } while (performance.now() < deadline)
  const last = seen.kind === 'value' ? inBrief(seen.value) : String(seen.error)
  throw new Error(
    `${options.what ?? 'what was waited for'} did not come within ${timeoutMs / 1000} s; last: ${last}`,
  )
}

function inBrief(value: unknown): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(value, undefined, 1) ?? String(value))
  return text.length > 2_000 ? `${text.slice(0, 2_000)}…` : text
}
