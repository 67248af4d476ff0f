import type { Command } from 'commander'
import type { Say } from '../program.ts'

/** Commands that are to come, and are refused by name until then: none is taken for a mistyped one, none is ignored. */
export const notYetCommands = [
  ...[
    'apply',
    'audit',
    'backup',
    'cert',
    'completion',
    'diff',
    'exec',
    'host rm',
    'host taint',
    'port-forward',
  ],
  ...['preview', 'rebalance', 'registry', 'restart', 'restore', 'run', 'secret', 'token', 'top', 'volume'],
] as const

/** Hidden: help lists what there is. Called after the groups are there that some of them belong to. */
export function addNotYet(program: Command, say: Say): void {
  for (const path of notYetCommands) {
    const words = path.split(' ')
    const name = words.at(-1) ?? path
    const group = words.length > 1 ? program.commands.find(it => it.name() === words[0]) : program
    group
      ?.command(name, { hidden: true })
      .description('not supported yet')
      .argument('[anything...]')
      .allowUnknownOption()
      .action(say(path))
  }
}
