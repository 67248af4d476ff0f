import { type Command, Option } from 'commander'
import type { Say } from '../program.ts'
import { client, collect, examples, groups, output, watched, yes } from './common.ts'

const file = '-f, --file <file>'
const fileWords =
  'a service spec, YAML or JSON, several documents allowed; - for standard input; can be repeated'
const imageWords = 'another image than the file says: IMAGE, or NAME=IMAGE where there are several services'

/** Commands that change what shall run. */
export function addShip(program: Command, say: Say): void {
  program.commandsGroup(groups.ship)
  const deploy = program
    .command('deploy')
    .description('hand services to the cluster: show the plan, ask, apply, and watch until they are ready')
    .requiredOption(file, fileWords, collect)
    .option('--image <image>', imageWords, collect)
    .addOption(new Option('--prune').hideHelp())
    .action(say('deploy'))
    .addHelpText(
      'after',
      examples(
        '$ boxcar deploy -f web.yaml                      plan, confirm, apply, watch',
        '$ boxcar deploy -f web.yaml --yes --timeout 5m   from a script',
        '$ boxcar deploy -f web.yaml --image shop:1.5.0   the same service, another image',
        '$ boxcar deploy -f web.yaml -f cache.yaml        several at once',
      ),
    )
  client(output(watched(yes(deploy, 'asks'))))
  const plan = program
    .command('plan')
    .description('show what a deploy would change, and change nothing')
    .requiredOption(file, fileWords, collect)
    .option('--image <image>', imageWords, collect)
    .option('--exit-code', 'exit with status 8 when there are changes')
    .action(say('plan'))
    .addHelpText(
      'after',
      examples('$ boxcar plan -f web.yaml', '$ boxcar plan -f web.yaml --exit-code && echo nothing to do'),
    )
  client(output(plan))
  const scale = program
    .command('scale')
    .argument('<service=count...>', 'a service and how many instances of it')
    .description('change how many instances run; makes no new generation')
    .action(say('scale'))
    .addHelpText('after', examples('$ boxcar scale web=6', '$ boxcar scale web=6 worker=0'))
  client(output(yes(scale)))
  const rm = program
    .command('rm')
    .argument('<service...>', 'services to take away')
    .description('stop services and forget them, and watch until they are gone; never deletes data')
    .action(say('rm'))
    .addHelpText(
      'after',
      examples(
        '$ boxcar rm web',
        '$ boxcar rm web worker --yes --timeout 1m',
        '$ boxcar rm web --yes --detach            the instances stop by themselves',
      ),
    )
  client(output(watched(yes(rm, 'asks'))))
}
