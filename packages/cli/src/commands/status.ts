import type { ClusterView, HostView, ServiceView } from '@boxcar/api/views'
import { connect, serviceRef } from '../client.ts'
import type { RunCommand } from '../command.ts'
import { exitStatus } from '../exit.ts'
import { hostColumns, serviceColumns } from '../render/columns.ts'
import { harmless, type Paint } from '../render/paint.ts'
import { printObject } from '../render/print.ts'
import { serviceLines } from '../render/service.ts'
import { fields, table } from '../render/table.ts'
import { moment, span } from '../render/words.ts'
import { onlyProject } from './flags.ts'

/** The cluster at a glance, or one service. */
export const status: RunCommand = async context => {
  const { api, settings } = connect(context)
  const name = context.invocation.args[0]
  const now = context.terminal.clock.wall()
  if (name !== undefined) {
    const ref = serviceRef(name, settings.project)
    const [service, instances, routes] = await Promise.all([
      api.service(ref),
      api.instances(ref),
      api.routes(),
    ])
    const own = routes.filter(route => route.service === service.service)
    await printObject(context, service, {
      name: service.service,
      lines: paint => serviceLines({ service, instances, routes: own }, now, paint, 'brief'),
    })
    return exitStatus.done
  }
  const [cluster, hosts, services] = await Promise.all([
    api.cluster(),
    api.hosts(),
    api.services(onlyProject(context)),
  ])
  await printObject(
    context,
    { cluster, hosts, services },
    {
      name: cluster.name,
      lines: paint => clusterLines({ cluster, hosts, services }, now, paint),
    },
  )
  return exitStatus.done
}

interface Whole {
  readonly cluster: ClusterView
  readonly hosts: readonly HostView[]
  readonly services: readonly ServiceView[]
}

function clusterLines({ cluster, hosts, services }: Whole, now: number, paint: Paint): readonly string[] {
  const { counts, store, leader } = cluster
  const members = store.members.map(
    it =>
      `${it.endpoint} ${it.version === '' ? 'version unknown' : it.version}${it.leader ? ', leads' : ''}${it.reachable ? '' : ', does not answer'}`,
  )
  return [
    ...fields(
      [
        ['Cluster', cluster.name],
        [
          'Leader',
          leader === undefined
            ? paint.bad(leaderlessWords(cluster, now))
            : `${leader.address} (term ${leader.term})`,
        ],
        [
          store.kind,
          store.reachable
            ? members.join('\n') || store.endpoints.join(', ')
            : paint.bad('does not answer; what is shown is what was last known'),
        ],
        ['Problem', problemWords(cluster, paint)],
        ['Hosts', `${counts.hostsReady} of ${counts.hosts} ready`],
        ['Conditions', conditionWords(hosts, paint)],
        ['Services', `${counts.servicesReady} of ${counts.services} ready`],
        [
          'Instances',
          `${counts.instancesReady} of ${counts.instances} ready${
            counts.instancesMisplaced === 0
              ? ''
              : `, ${counts.instancesMisplaced} misplaced: boxcar why SERVICE tells where and why`
          }`,
        ],
      ],
      paint,
    ),
    ...(hosts.length === 0 ? [] : ['', ...table(hostColumns, hosts, paint)]),
    ...(services.length === 0 ? [] : ['', ...table(serviceColumns(now), services, paint)]),
  ]
}

/** The hosts where something is not as it should be; the table below says what. */
function conditionWords(hosts: readonly HostView[], paint: Paint): string | undefined {
  const found = hosts.filter(it => (it.conditions ?? []).length > 0)
  if (found.length === 0) return undefined
  const named = found
    .slice(0, 3)
    .map(it => `${it.id} (${(it.conditions ?? []).map(one => one.kind).join(', ')})`)
  const more = found.length - named.length
  const all = more > 0 ? [...named, `${more} more`] : named
  return `${paint.busy(harmless(all.join(', ')))}; next: boxcar describe host ${found[0]?.id}`
}

/** After so long without a leader it does not come by itself. */
const longMs = 10_000

function leaderlessWords({ leaderless }: ClusterView, now: number): string {
  if (leaderless === undefined) return 'none: no scheduler leads just now'
  const { since, reason } = leaderless
  const text = `none for ${span(now - since)}, since ${moment(since)}: ${reason}`
  return now - since < longMs
    ? text
    : `${text}\nNext: see that a boxcar server runs and reaches etcd; boxcar events and its log say what keeps it from leading`
}

/** The worst of what is the matter with the store, and what to do next. */
function problemWords({ store }: ClusterView, paint: Paint): string | undefined {
  const found = store.problems.filter(it => it.level !== 'advice')
  const worst = found.find(it => it.level === 'fail') ?? found[0]
  if (worst === undefined) return undefined
  const more = found.length === 1 ? '' : ` (and ${found.length - 1} more)`
  const doctor = `boxcar doctor --etcd ${store.endpoints.join(',')}`
  const next = worst.next.length === 1 && found.length === 1 ? worst.next[0] : doctor
  return `${paint[worst.level === 'fail' ? 'bad' : 'busy'](worst.message)}${more}; next: ${next}`
}
