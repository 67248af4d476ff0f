import { run, tryRun } from './command.ts'
import { bridgeOf, hostIdOf, linkOf, namespaceOf, ruleCommentOf } from './names.ts'

export interface NetworkPlan {
  readonly machine: string
  readonly subnet: string
  readonly hosts: number
}

export const gatewayOf = (subnet: string): string => `${subnet}.1`
export const addressOf = (subnet: string, index: number): string => `${subnet}.${11 + index}`

/** Makes the bridge, a network namespace for each host, and the cable between them. */
export async function makeNetwork(plan: NetworkPlan): Promise<void> {
  const { machine, subnet } = plan
  const bridge = bridgeOf(machine)
  const hosts = Array.from({ length: plan.hosts }, (_, index) => ({
    namespace: namespaceOf(machine, hostIdOf(index)),
    link: linkOf(machine, hostIdOf(index)),
    address: addressOf(subnet, index),
  }))
  await ipBatch([
    `link add name ${bridge} type bridge`,
    `addr add ${gatewayOf(subnet)}/24 dev ${bridge}`,
    `link set ${bridge} up`,
    ...hosts.flatMap(host => [
      `netns add ${host.namespace}`,
      `link add name ${host.link} type veth peer name eth0 netns ${host.namespace}`,
      `link set ${host.link} master ${bridge}`,
      `link set ${host.link} up`,
    ]),
  ])
  await Promise.all(
    hosts.map(host =>
      ipBatch(['link set lo up', `addr add ${host.address}/24 dev eth0`, 'link set eth0 up'], host.namespace),
    ),
  )
  await openFirewall(machine)
}

/** Pulls a host's cable, or plugs it in again; nothing passes in either direction meanwhile. */
export async function setLink(machine: string, host: string, state: 'up' | 'down'): Promise<void> {
  await run(['ip', 'link', 'set', linkOf(machine, host), state])
}

/**
 * Frames on a bridge pass this computer's firewall where bridge netfilter is on, and an engine of its own there,
 * started before or later, drops what it does not know. So the rules are there in any case.
 */
async function openFirewall(machine: string): Promise<void> {
  for (const rule of firewallRules(machine)) await run(['iptables', '-w', '-I', ...rule])
}

/** Takes our firewall rules away, as often as they are there. */
export async function closeFirewall(machine: string): Promise<void> {
  for (const rule of firewallRules(machine)) {
    while ((await tryRun(['iptables', '-w', '-C', ...rule])).status === 0) {
      await run(['iptables', '-w', '-D', ...rule])
    }
  }
}

function firewallRules(machine: string): readonly (readonly string[])[] {
  const bridge = bridgeOf(machine)
  const accept = ['-m', 'comment', '--comment', ruleCommentOf(machine), '-j', 'ACCEPT']
  return [
    ['FORWARD', '-i', bridge, '-o', bridge, ...accept],
    ['INPUT', '-i', bridge, ...accept],
  ]
}

/** Several `ip` commands in one process: a machine of three hosts needs some twenty. */
async function ipBatch(commands: readonly string[], namespace?: string): Promise<void> {
  const where = namespace === undefined ? [] : ['-n', namespace]
  await run(['ip', ...where, '-batch', '-'], { input: `${commands.join('\n')}\n` })
}
