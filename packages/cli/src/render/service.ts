import type { InstanceView, RouteView, ServiceView } from '@boxcar/api/views'
import { instanceColumns, statusColor } from './columns.ts'
import { unservedLines } from './evidence.ts'
import { harmless, type Paint } from './paint.ts'
import { rolloutLines } from './rollout.ts'
import { fields, table } from './table.ts'
import { moment } from './words.ts'

export interface ServicePage {
  readonly service: ServiceView
  readonly instances: readonly InstanceView[]
  readonly routes: readonly RouteView[]
}

/** One service on a page: what was asked, what is, where users find it. */
export function serviceLines(
  { service, instances, routes }: ServicePage,
  now: number,
  paint: Paint,
  how: 'brief' | 'whole',
): readonly string[] {
  return [
    ...fields(
      [
        ['Service', paint.strong(service.service)],
        ['Status', `${statusColor(service.status, paint)(service.status)}: ${harmless(service.reason)}`],
        ['Next', service.next === undefined ? undefined : harmless(service.next)],
        ['Ready', `${service.ready} of ${service.replicas}`],
        ['Image', service.image],
        ['Generation', String(service.generation)],
        ...(how === 'brief'
          ? []
          : ([
              ['Asked', `${moment(service.at)} by ${service.by}`],
              ['Uid', service.uid],
              ['Revision', service.revision],
            ] as const)),
        ['Addresses', routes.flatMap(route => route.addresses).join('\n')],
        ['Not served', unservedLines(service.serving?.unserved).join('\n')],
      ],
      paint,
    ),
    '',
    ...rolloutLines(service.rollout, now, paint).slice(1),
    ...(instances.length === 0 ? [] : ['', ...table(instanceColumns(now), instances, paint)]),
  ]
}
