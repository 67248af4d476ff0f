/** What a part of a loop over many came to: its value, or what it threw. */
export type Attempt<Value> = { readonly value: Value } | { readonly error: unknown }

/** Runs what concerns one of many. A throw is given back as data, so that the loop goes on with the others. */
export function attempt<Value>(run: () => Value): Attempt<Value> {
  try {
    return { value: run() }
  } catch (error) {
    return { error }
  }
}

/** What was thrown, in one line. */
export const errorText = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).replaceAll(/\s+/g, ' ').trim() || 'no message'
