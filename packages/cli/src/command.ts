import type { ExitStatus } from './exit.ts'
import type { Invocation } from './invocation.ts'
import type { Terminal } from './terminal.ts'

export interface CommandContext {
  readonly terminal: Terminal
  readonly invocation: Invocation
}

/** What a file of commands/ exports: does what was said, and tells how it ended. Throws Trouble where it could not. */
export type RunCommand = (context: CommandContext) => Promise<ExitStatus>
