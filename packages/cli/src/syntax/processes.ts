import type { Command } from 'commander'
import type { Say } from '../program.ts'
import { collect, etcd, examples, groups, wholeNumber } from './common.ts'

/** Commands that run until they are told to stop. */
export function addProcesses(program: Command, say: Say): void {
  program.commandsGroup(groups.processes)
  program
    .command('dev')
    .description('a whole cluster on this machine, with a sample service; Ctrl-C takes all of it away')
    .option('--hosts <count>', 'how many hosts', wholeNumber(1, 20), 3)
    .option('--keep', 'leave the folder with logs and state behind')
    .option('--engine <url>', 'logical hosts on this one engine, each on its own 127.0.0.N; needs no root')
    .option('--no-sample', 'without the sample service')
    .option('--listen <address>', 'where the first server listens (default: 127.0.0.1:7070)')
    .action(say('dev'))
    .addHelpText(
      'after',
      examples(
        '$ boxcar dev                                        as root: three hosts, each with an engine of its own',
        '$ boxcar dev --engine unix:///var/run/docker.sock   three logical hosts on the engine that runs',
        '$ boxcar dev --hosts 5 --keep',
      ),
    )
  etcd(
    program
      .command('server')
      .description('a scheduler candidate and the API; run one to five')
      .option('--listen <address>', 'where the API listens (default: 127.0.0.1:7070)')
      .option(
        '--token-file <file>',
        'a file with the bearer token that callers must show; needed on any address but loopback',
      )
      .option('--insecure', 'listen on any address without a token')
      .action(say('server'))
      .addHelpText(
        'after',
        examples(
          '$ boxcar server --etcd http://10.0.0.1:2379,http://10.0.0.2:2379,http://10.0.0.3:2379',
          '$ boxcar server --listen 10.0.0.1:7070 --token-file /etc/boxcar/token',
        ),
      ),
  )
  etcd(
    program
      .command('agent')
      .description('keeps the containers and the proxy of one Docker host as the cluster wants them')
      .option('--host-id <id>', 'what the cluster calls this host (default: its host name)')
      .option('--advertise <address>', 'where other hosts reach this one (default: found by itself)')
      .option('--label <key=value>', 'a label for placing; can be repeated', collect)
      .option('--reserve <amounts>', 'room that is not given to instances, such as cpus=0.5,memory=512MiB')
      .option('--docker <url>', 'the engine (DOCKER_HOST; default: unix:///var/run/docker.sock)')
      .option('--haproxy <program>', 'the HAProxy program (default: haproxy)')
      .option('--edge', 'answer for routes on this host (the default)')
      .option('--no-edge', 'no proxy on this host')
      .option('--edge-address <address>', 'where public routes listen (default: all addresses)')
      .option('--state-dir <dir>', 'where the agent keeps its state (default: /var/lib/boxcar)')
      .option('--agent-port <port>', "the agent's own port (default: 7071)", wholeNumber(0, 65_535))
      .option('--ports <range>', 'host ports for instances (default: 20000-29999)')
      .action(say('agent'))
      .addHelpText(
        'after',
        examples(
          '$ boxcar agent --etcd http://10.0.0.1:2379 --label zone=a --label disk=ssd',
          '$ boxcar agent --etcd http://10.0.0.1:2379 --advertise 10.0.0.7 --reserve cpus=0.5,memory=512MiB',
        ),
      ),
  )
}
