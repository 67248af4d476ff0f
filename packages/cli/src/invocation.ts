/** What a command line says, once it is known to be one: which command, its arguments and its flags. */
export interface Invocation {
  /** Such as `deploy` or `host drain`; a name of commands/catalogue.ts. */
  readonly command: string
  readonly args: readonly string[]
  /** By camel-case name; what was not said is not in it, apart from a few defaults. */
  readonly flags: Readonly<Record<string, unknown>>
}

export type Perform = (invocation: Invocation) => Promise<void>
