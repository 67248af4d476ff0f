/** Allowed, and not what a careful operator would do. */
import { defaultReservation, type ServiceSpec } from '@boxcar/core/model/spec'
import type { WarningView } from '../views.ts'
import { isPinned } from './generation.ts'

export function warningsOf(spec: ServiceSpec): readonly WarningView[] {
  const warnings: WarningView[] = []
  const { cpus, memory } = spec.resources.reservations
  if (cpus === undefined || memory === undefined)
    warnings.push({
      pointer: '/resources/reservations',
      code: 'no-reservation',
      message: `no ${cpus !== undefined ? 'memory' : memory !== undefined ? 'cpus' : 'cpus and memory'} reserved: placing counts ${[
        ...(cpus === undefined ? [`${defaultReservation.cpuMilli / 1000} cores`] : []),
        ...(memory === undefined ? [`${defaultReservation.memoryMiB} MiB`] : []),
      ].join(' and ')} for each instance`,
    })
  if (spec.routes.length > 0 && spec.health.readiness === undefined)
    warnings.push({
      pointer: '/health/readiness',
      code: 'no-readiness-probe',
      message:
        "no readiness probe: the image's HEALTHCHECK decides, else that the routed port accepts connections",
    })
  if (!isPinned(spec.image) && /(?:^|\/)[^:/]+$|:latest$/.test(spec.image))
    warnings.push({
      pointer: '/image',
      code: 'latest-tag',
      message: `'${spec.image}' moves whenever somebody pushes: each deploy resolves it anew; name a version or a digest`,
    })
  return warnings
}
