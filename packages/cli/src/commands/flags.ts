import type { Invocation } from '../invocation.ts'

/** The values of a flag that can be repeated. */
export function textsFlag(invocation: Invocation, name: string): readonly string[] {
  const value = invocation.flags[name]
  return Array.isArray(value) ? value.map(String) : value === undefined ? [] : [String(value)]
}

export function textFlag(invocation: Invocation, name: string): string | undefined {
  const value = invocation.flags[name]
  return typeof value === 'string' ? value : undefined
}

export function numberFlag(invocation: Invocation, name: string): number | undefined {
  const value = invocation.flags[name]
  return typeof value === 'number' ? value : undefined
}

/** `--timeout`, ready to be spread into options. */
export function millisecondsFlag(invocation: Invocation, name: 'timeout'): { readonly timeoutMs?: number } {
  const value = numberFlag(invocation, name)
  return value === undefined ? {} : { timeoutMs: value }
}
