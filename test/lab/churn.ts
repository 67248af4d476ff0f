/**
 * A service of many small replicas that is deleted while most of them wait for their start, while another service is scaled:
 * what it takes, beside what the same hosts take for the same when nothing else goes on.
 */
import { placement } from '@boxcar/core/model/placement'
import { type HostInstance, placements } from '@boxcar/store/keys'
import {
  checkNotWantedNotStarted,
  type Happening,
  type StartReport,
} from '../checks/not-wanted-not-started.ts'
import { recordContainers } from './container-events.ts'
import { type RecordedChange, recordHistory } from './history.ts'
import type { Lab } from './lab.ts'
import { now } from './load.ts'
import { until } from './until.ts'
import { untilReady } from './web.ts'

export interface ChurnOptions {
  readonly image: string
  readonly replicas: number
  /** From the creation to the deletion. */
  readonly deletedAfterMs: number
  /** From the creation to the other service's change. */
  readonly scaledAfterMs: number
}

export interface Churn {
  /** The other service from one replica to two, on idle hosts and during the churn. */
  readonly scaleMs: { readonly idle: number; readonly busy: number }
  /** The deletion of a service with as many replicas as had been started, all ready, on idle hosts. */
  readonly stopMs: number
  readonly started: number
  /** From the deletion until nothing is left. */
  readonly goneMs: number
  readonly report: StartReport
}

/** Ends when it is told to, so that no grace is waited for. */
const command = ['sh', '-c', 'trap "exit 0" TERM; httpd -p 8080 -h /etc; while :; do sleep 3600 & wait; done']
const project = 'churn'
const many = { project, name: 'many' }
const other = { project, name: 'other' }
const limitMs = 240_000

export async function churn(lab: Lab, options: ChurnOptions): Promise<Churn> {
  const spec = (name: string, replicas: number) => ({
    name,
    image: options.image,
    command,
    replicas,
    ports: [{ name: 'http', container: 8080 }],
    resources: { reservations: { cpus: 0.001, memory: '4MiB' } },
  })
  await lab.api.put(other, spec('other', 1))
  await untilReady(lab, 1, limitMs, other)
  const idle = await scale(lab, 2)
  await scale(lab, 1)

  const history = await recordHistory(lab.machine.etcd.endpoint, lab.name, now)
  const engines = await recordContainers(lab.hosts, lab.name, now)
  try {
    const began = now()
    await lab.api.put(many, spec('many', options.replicas))
    const scaling = reached(began + options.scaledAfterMs).then(() => scale(lab, 2))
    await reached(began + options.deletedAfterMs)
    const deletedAt = now()
    const goneMs = await remove(lab, many)
    const busy = await scaling
    const started = startsOf(engines.happenings, many.name, deletedAt)
    // As many as there were, or at least one a host: what is ready of them is stopped on hosts that do nothing else.
    await lab.api.put(many, spec('many', Math.max(lab.hosts.length, started)))
    await untilReady(lab, 1, limitMs, many)
    const stopMs = await remove(lab, many)
    const report = checkNotWantedNotStarted(
      [...placementsIn(history.changes), ...engines.happenings],
      now(),
      { startMs: startBegunMs },
    )
    return { scaleMs: { idle, busy }, stopMs, started, goneMs, report }
  } finally {
    engines.stop()
    await history.stop()
  }
}

/** How long a start that an engine of a busy lab had begun takes to its end: three engines share two cores. */
const startBegunMs = 3000

async function scale(lab: Lab, replicas: number): Promise<number> {
  const began = now()
  await lab.api.patch(other, { replicas })
  await until(
    async () => ({ service: await lab.api.service(other), instances: await lab.api.instances(other) }),
    ({ service, instances }) =>
      service.ready === replicas && service.replicas === replicas && instances.length === replicas,
    { timeoutMs: limitMs, everyMs: 20, what: `${replicas} of ${other.name} ready` },
  )
  return now() - began
}

async function remove(lab: Lab, ref: typeof many): Promise<number> {
  const began = now()
  await lab.api.remove(ref)
  await until(
    () => lab.api.services(project),
    left => left.every(it => it.name !== ref.name),
    { timeoutMs: limitMs, what: `${ref.name} gone` },
  )
  return now() - began
}

async function reached(at: number): Promise<void> {
  await new Promise(resolve => setTimeout(resolve, Math.max(0, at - now())))
}

const startsOf = (happenings: readonly Happening[], service: string, before: number): number =>
  happenings.filter(
    each =>
      each.kind === 'container' &&
      each.action === 'start' &&
      each.at <= before &&
      each.instance.startsWith(`${project}/${service}/`),
  ).length

function placementsIn(changes: readonly RecordedChange[]): readonly Happening[] {
  return changes.flatMap(({ at, change }): readonly Happening[] => {
    if (change.collection !== placements) return []
    if (change.kind === 'removed') {
      const { host, instance } = change.id as HostInstance // the id of `placements`
      return [{ kind: 'placement', at, host, instance, wants: 'gone' }]
    }
    const { host, instance, desired } = placement.parse(change.entry.value)
    return [{ kind: 'placement', at, host, instance, wants: desired }]
  })
}
