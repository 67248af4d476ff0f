import { Argument, type Command } from 'commander'
import type { Say } from '../program.ts'
import { client, examples, groups, noClient, output, timeSpan, wholeNumber } from './common.ts'
import { describedKind, listedKind, listedKinds } from './kinds.ts'

/** Commands that change nothing. */
export function addLook(program: Command, say: Say): void {
  program.commandsGroup(groups.look)
  const status = program
    .command('status')
    .description('the cluster and its services at a glance')
    .argument('[service]', 'only this one')
    .action(say('status'))
    .addHelpText('after', examples('$ boxcar status', '$ boxcar status web'))
  client(output(status))
  const get = program
    .command('get')
    .addArgument(new Argument('<kind>', `one of ${listedKinds}`).argParser(listedKind))
    .argument('[name]', 'a service for instances and generations; else the object itself')
    .description('list objects')
    .option('-A, --all-projects', 'services and instances of all projects')
    .action(say('get'))
    .addHelpText(
      'after',
      examples(
        '$ boxcar get services',
        '$ boxcar get instances web -o wide',
        '$ boxcar get hosts -o json',
        '$ boxcar get generations web',
      ),
    )
  client(output(get))
  const describe = program
    .command('describe')
    .addArgument(new Argument('<kind>', 'service, instance or host').argParser(describedKind))
    .argument('<name>', 'such as web, web/7/2 or h1')
    .description('everything about one object')
    .action(say('describe'))
    .addHelpText(
      'after',
      examples(
        '$ boxcar describe service web',
        '$ boxcar describe instance web/7/2',
        '$ boxcar describe host h1',
      ),
    )
  client(output(describe))
  const why = program
    .command('why')
    .argument('<service-or-instance>')
    .description('why something does not run, with the numbers')
    .action(say('why'))
    .addHelpText('after', examples('$ boxcar why web', '$ boxcar why web/7/2'))
  client(output(why))
  const events = program
    .command('events')
    .argument('[service]', 'only of this one')
    .description('what happened, and what was decided')
    .option('-f, --follow', 'go on with new ones')
    .option('-n, --tail <count>', 'so many recent ones first', wholeNumber(0, 10_000), 50)
    .option('--after <id>', 'go on after this event')
    .action(say('events'))
    .addHelpText(
      'after',
      examples('$ boxcar events', '$ boxcar events -f web', '$ boxcar events -f -o jsonl'),
    )
  client(output(events))
  const logs = program
    .command('logs')
    .argument('<service-or-instance>')
    .description('what the instances print')
    .option('-f, --follow', 'go on with new lines')
    .option('-n, --tail <count>', 'the last so many lines of each instance', wholeNumber(0, 100_000), 100)
    .option('--since <time>', 'not older than this, such as 10m', timeSpan)
    .option('--timestamps', 'when each line was printed')
    .action(say('logs'))
    .addHelpText(
      'after',
      examples('$ boxcar logs web', '$ boxcar logs -f web/7/2', '$ boxcar logs web --since 10m'),
    )
  client(output(logs))
  const explain = program
    .command('explain')
    .argument('[field]', 'such as resources.limits.memory; left out: all of them')
    .description('a field of the service spec: meaning, unit, default, and whether it makes a generation')
    .action(say('explain'))
    .addHelpText(
      'after',
      examples('$ boxcar explain replicas', '$ boxcar explain rollout', '$ boxcar explain'),
    )
  noClient(output(explain))
  const version = program
    .command('version')
    .description('the version of this program and of the server')
    .action(say('version'))
  client(output(version))
}
