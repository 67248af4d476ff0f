/** The service that most end-to-end tests deploy: six replicas of the test app behind a route. */
import type { InstanceView, ServiceView } from '@boxcar/api/views'
import type { Lab } from './lab.ts'
import { until } from './until.ts'

export const webPort = 8080
export const web = { project: 'shop', name: 'web' }

/** A spec of the test app in a version; changes are laid over it. */
export function webSpec(
  lab: Lab,
  version: string,
  changes: Readonly<Record<string, unknown>> = {},
): Record<string, unknown> {
  return {
    name: 'web',
    image: lab.image(version).tagged,
    replicas: 6,
    ports: [{ name: 'http', container: 8080 }],
    routes: [{ port: 'http', listen: webPort }],
    health: { readiness: { http: '/ready', port: 'http', every: '1s', timeout: '1s' } },
    resources: { reservations: { cpus: 0.05, memory: '32MiB' } },
    ...changes,
  }
}

/** Waits until the service is ready in a generation with all its replicas. */
export function untilReady(
  lab: Pick<Lab, 'api'>,
  generation: number,
  timeoutMs = 60_000,
  ref = web,
): Promise<ServiceView> {
  return until(
    () => lab.api.service(ref),
    it => it.status === 'ready' && it.rollout.live === generation && it.ready === it.replicas,
    { timeoutMs, what: `generation ${generation} of ${ref.name} ready` },
  )
}

export async function readyInstances(lab: Pick<Lab, 'api'>, ref = web): Promise<readonly InstanceView[]> {
  return (await lab.api.instances(ref)).filter(it => it.state === 'ready' && it.desired === 'run')
}

export function perHost(instances: readonly InstanceView[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {}
  for (const { host } of instances) counts[host] = (counts[host] ?? 0) + 1
  return Object.fromEntries(Object.entries(counts).sort(([a], [b]) => (a < b ? -1 : 1)))
}

/** The figures of a test, where a person reading its output finds them. */
export function figure(line: string): void {
  process.stdout.write(`  figure: ${line}\n`)
}
