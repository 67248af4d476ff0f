import type { ClusterView, HostView, ServiceView } from '@boxcar/api/views'
import { connect, serviceRef } from '../client.ts'
import type { RunCommand } from '../command.ts'
import { exitStatus } from '../exit.ts'
import { hostColumns, serviceColumns } from '../render/columns.ts'
import type { Paint } from '../render/paint.ts'
import { printObject } from '../render/print.ts'
import { serviceLines } from '../render/service.ts'
import { fields, table } from '../render/table.ts'
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
            ? paint.bad('none: no scheduler leads just now')
            : `${leader.address} (term ${leader.term})`,
        ],
        [
          store.kind,
          store.reachable
            ? members.join('\n') || store.endpoints.join(', ')
            : paint.bad('does not answer; what is shown is what was last known'),
        ],
        ['Hosts', `${counts.hostsReady} of ${counts.hosts} ready`],
        ['Services', `${counts.servicesReady} of ${counts.services} ready`],
        ['Instances', `${counts.instancesReady} of ${counts.instances} ready`],
      ],
      paint,
    ),
    ...(hosts.length === 0 ? [] : ['', ...table(hostColumns, hosts, paint)]),
    ...(services.length === 0 ? [] : ['', ...table(serviceColumns(now), services, paint)]),
  ]
}
