import type { Command } from 'commander'
import type { Say } from '../program.ts'
import { client, etcd, examples, groups, noClient, output, yes } from './common.ts'

/** Commands for those who look after the hosts. */
export function addOperate(program: Command, say: Say): void {
  program.commandsGroup(groups.operate)
  const host = program.command('host').description('the hosts of the cluster')
  const ls = host
    .command('ls')
    .description('list hosts')
    .action(say('host ls'))
    .addHelpText('after', examples('$ boxcar host ls', '$ boxcar host ls -o wide'))
  client(output(ls))
  const cordon = host
    .command('cordon')
    .argument('<host...>')
    .description('place nothing new on hosts; what runs goes on')
    .option('--why <text>', 'for those who come after')
    .action(say('host cordon'))
    .addHelpText('after', examples('$ boxcar host cordon h2 --why "disk is being replaced"'))
  client(output(yes(cordon)))
  const uncordon = host
    .command('uncordon')
    .argument('<host...>')
    .description('let hosts take work again')
    .action(say('host uncordon'))
    .addHelpText('after', examples('$ boxcar host uncordon h2'))
  client(output(yes(uncordon)))
  const drain = host
    .command('drain')
    .argument('<host...>')
    .description('move everything off hosts, traffic first, and keep them empty')
    .option('--cancel', 'stop draining')
    .option('--why <text>', 'for those who come after')
    .action(say('host drain'))
    .addHelpText(
      'after',
      examples('$ boxcar host drain h2 --why "kernel upgrade"', '$ boxcar host drain h2 --cancel'),
    )
  client(output(yes(drain)))
  const label = host
    .command('label')
    .argument('<host>')
    .argument('<key=value...>', 'labels to set; key- takes one away')
    .description('label a host for placing; wins over what its agent says')
    .action(say('host label'))
    .addHelpText('after', examples('$ boxcar host label h2 zone=b disk=ssd', '$ boxcar host label h2 disk-'))
  client(output(yes(label)))
  const doctor = program
    .command('doctor')
    .description('check Docker, etcd, HAProxy, ports, clock and disk of this machine, and say what to do')
    .option('--docker <url>', 'the engine (DOCKER_HOST; default: unix:///var/run/docker.sock)')
    .option('--haproxy <program>', 'the HAProxy program', 'haproxy')
    .option('--state-dir <dir>', 'where the agent keeps its state', '/var/lib/boxcar')
    .action(say('doctor'))
    .addHelpText('after', examples('$ boxcar doctor', '$ boxcar doctor --etcd http://10.0.0.1:2379'))
  noClient(etcd(output(doctor)))
}
