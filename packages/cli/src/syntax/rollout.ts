import type { Command } from 'commander'
import type { Say } from '../program.ts'
import { client, examples, groups, output, timeSpan, watched, wholeNumber, yes } from './common.ts'

/** Commands about the way from one generation to the next. */
export function addRollout(program: Command, say: Say): void {
  program.commandsGroup(groups.rollout)
  const rollout = program.command('rollout').description('look at a rollout, or take part in it')
  const status = rollout
    .command('status')
    .argument('<service>')
    .description('where a rollout stands; exit status 0 done, 4 reverted')
    .option('-w, --watch', 'watch until it is done')
    .option('--timeout <time>', 'with --watch: stop after so long (exit status 124)', timeSpan)
    .action(say('rollout status'))
    .addHelpText('after', examples('$ boxcar rollout status web', '$ boxcar rollout status web --watch'))
  client(output(status))
  const watch = rollout
    .command('watch')
    .argument('<service>')
    .description('watch a rollout until it is done')
    .option('--timeout <time>', 'stop after so long (exit status 124)', timeSpan)
    .action(say('rollout watch'))
    .addHelpText('after', examples('$ boxcar rollout watch web', '$ boxcar rollout watch web --timeout 5m'))
  client(output(watch))
  const history = rollout
    .command('history')
    .argument('<service>')
    .description('the generations of a service and what became of them')
    .action(say('rollout history'))
    .addHelpText('after', examples('$ boxcar rollout history web'))
  client(output(history))
  const abort = rollout
    .command('abort')
    .argument('<service>')
    .description('give up the next generation; the stable one answers')
    .action(say('rollout abort'))
    .addHelpText('after', examples('$ boxcar rollout abort web'))
  client(output(yes(abort, 'asks')))
  for (const verb of ['promote', 'pause', 'resume']) {
    const command = rollout
      .command(verb)
      .argument('<service>')
      .description('not supported yet')
      .allowUnknownOption()
      .allowExcessArguments()
      .action(say(`rollout ${verb}`))
    client(command)
  }
  const undo = program
    .command('undo')
    .alias('rollback')
    .argument('<service>')
    .description('go back to the generation before; at once while it is warm')
    .option('--to <generation>', 'go back to this generation', wholeNumber(1, 999_999_999))
    .action(say('undo'))
    .addHelpText('after', examples('$ boxcar undo web', '$ boxcar undo web --to 3', '$ boxcar rollback web'))
  client(output(watched(yes(undo))))
}
