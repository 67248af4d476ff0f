/** Nothing is changed behind a person's back: who may say yes is asked, and who wants to stop is heard before anything is sent. */
import type { CommandContext } from './command.ts'
import { exitStatus, Trouble } from './exit.ts'
import { outputLost, type Terminal } from './terminal.ts'

/**
 * Whether a person wants it: `--yes` says so, or the answer to a question. Throws Trouble where nobody can be asked, and
 * where Ctrl-C is the answer.
 */
export async function isWanted(
  { terminal, invocation }: CommandContext,
  question: string,
  /** What it is about: `whether to remove shop/web`. */
  whether: string,
): Promise<boolean> {
  if (invocation.flags['yes'] === true) return true
  if (!terminal.canAsk) {
    throw new Trouble({
      status: exitStatus.usage,
      what: `nobody can be asked ${whether}`,
      why: 'standard input or standard error is not a terminal',
      next: 'add --yes',
    })
  }
  const answer = await terminal.confirm(question)
  // Whatever ended the question, a lost output included: nobody has said yes.
  if (terminal.interrupted.aborted) throw interrupted('nothing was changed')
  if (!answer) terminal.err.write('Nothing was changed.\n')
  return answer
}

/** Throws Trouble once Ctrl-C was pressed; for use before something is changed. */
export function stopIfInterrupted(terminal: Terminal, why = 'nothing was changed'): void {
  if (isInterrupted(terminal)) throw interrupted(why)
}

/** A person, or who started the command, wants it to stop. An output that nobody reads is no such wish: what was asked for is done. */
export const isInterrupted = ({ interrupted }: Pick<Terminal, 'interrupted'>): boolean =>
  interrupted.aborted && interrupted.reason !== outputLost

const interrupted = (why: string): Trouble =>
  new Trouble({
    status: exitStatus.interrupted,
    what: 'it was interrupted',
    why,
    next: 'the same command again, to go on',
  })
