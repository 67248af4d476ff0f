/** What could not be taken away at the end, in three lines: what, why, and what a person can do. */
import { exitStatus, Trouble } from '../exit.ts'
import { LeftBehind } from '../machine/residue.ts'

export function troubleOfLeft(failures: readonly unknown[]): Trouble {
  const commands = failures.flatMap(it => (it instanceof LeftBehind ? it.commands : []))
  return new Trouble({
    status: exitStatus.failure,
    what: 'not everything could be taken away',
    why: failures.map(wordsOf).join('\n'),
    next: [
      ...commands,
      `${commands.length > 0 ? 'then ' : ''}boxcar dev, once more: it takes away first what an earlier run left behind`,
    ].join('\n'),
  })
}

export const wordsOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
