import type { Command } from 'commander'
import type { Say } from '../program.ts'
import { groups } from './common.ts'

/** `boxcar help settings`: things that are no command and need a page. */
export function addTopics(program: Command, say: Say): void {
  program.commandsGroup(groups.topics)
  for (const [topic, about] of topics) {
    const command = program
      .command(topic)
      .description(about)
      .action(say(`topic ${topic}`))
    command.helpInformation = () => pages[topic] ?? ''
  }
}

const topics = [
  ['settings', 'flags, environment and the settings file'],
  ['exit-status', 'what scripts can tell apart'],
] as const

export const pages: Readonly<Record<string, string>> = {
  settings: `Settings: a flag wins over the environment, the environment over the file, the file over the default.

  flag          environment      in the file   default
  --etcd        BOXCAR_ETCD      etcd          http://127.0.0.1:2379 (several: a comma list)
  --etcd-ca                      etcdCa
  --etcd-cert                    etcdCert
  --etcd-key                     etcdKey
  --cluster     BOXCAR_CLUSTER   cluster       default
  --server      BOXCAR_SERVER    server        http://127.0.0.1:7070
  --project     BOXCAR_PROJECT   project       default
  --token-file  BOXCAR_TOKEN     token         none (the flag names a file, the others hold the token)
  --log         BOXCAR_LOG       log           info
  --docker      DOCKER_HOST      docker        unix:///var/run/docker.sock

The file is ~/.config/boxcar/config.yaml (below XDG_CONFIG_HOME where that is set), for example:

  server: https://boxcar.example:7070
  project: shop
  token: a-long-secret

NO_COLOR and FORCE_COLOR mean what they mean everywhere; --no-color wins over both.
`,
  'exit-status': `Exit status:

    0  done and healthy
    1  failure
    2  the command line or the settings are wrong
    3  accepted, but some instances cannot be placed, or stand where they could not be placed now, some hosts do not serve a route,
       or something keeps instances of a deleted service from being stopped
    4  the rollout was reverted or aborted
    5  conflict: the plan or the revision is stale, or an address is taken
    6  not authorised
    7  the cluster cannot be reached
    8  plan --exit-code: changes are pending
    9  waits for a person
  124  --timeout is over; work on the cluster goes on
  130  interrupted; work on the cluster goes on
  141  whoever read the output closed it before its end; in place of 0 only
`,
}
