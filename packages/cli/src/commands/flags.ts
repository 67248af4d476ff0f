import type { ProjectName } from '@boxcar/core/model/ids'
import type { CommandContext } from '../command.ts'
import type { Invocation } from '../invocation.ts'
import { loadSettings } from '../settings.ts'

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

/** The project of `-p`, for what shows all projects unless told. */
export function onlyProject({ terminal, invocation }: CommandContext): ProjectName | undefined {
  if (textFlag(invocation, 'project') === undefined) return undefined
  return loadSettings({ flags: invocation.flags, env: terminal.env }).project
}

/** Of objects that name their service as `project/name`: those of one project, or all. */
export const within = <Row extends { readonly service: string }>(
  rows: readonly Row[],
  project: string | undefined,
): readonly Row[] =>
  project === undefined ? rows : rows.filter(row => row.service.startsWith(`${project}/`))
