import type { RunCommand } from '../command.ts'
import { exitStatus } from '../exit.ts'
import { pages } from '../syntax/topics.ts'

/** A page of help that belongs to no command. */
export const topic: RunCommand = async ({ terminal, invocation }) => {
  terminal.out.write(pages[invocation.command.replace(/^topic /, '')] ?? '')
  return exitStatus.done
}
