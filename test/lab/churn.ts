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
}

export interface Churn {
  /** The other service from one replica to two, during the churn and on idle hosts: the longer of once before and once after. */
  readonly scaleMs: { readonly idle: number; readonly busy: number }
  /** The deletion of a service with as many replicas as had been started, all ready, on idle hosts. */
  readonly stopMs: number
  readonly started: number
  /** From the deletion until nothing is left. */
  readonly goneMs: number
  readonly report: StartReport
}

/**
 * Killed at once, so that no grace is waited for: a process that is told to end before it listens to signals would wait it out, and
 * some are stopped that early here.
 */
const command = ['httpd', '-f', '-p', '8080', '-h', '/etc']
const stop = { signal: 'SIGKILL' }
const project = 'churn'
const many = { project, name: 'many' }
const other = { project, name: 'other' }
const limitMs = 240_000
/** From the creation of the many to the other service's change, and to their deletion. */
const scaledAfterMs = 1500
const deletedAfterMs = 3000

/** How long it may take until the service is gone: as many that were ready take half of that on idle hosts, or it is short. */
const goneBoundMs = ({ stopMs }: Churn): number => Math.max(10_000, 2 * stopMs)

/** Which part of its bound it takes until the service is gone; the median, since one round may meet a busy machine. */
export const goneRatio = (rounds: readonly Churn[]): number =>
  median(rounds.map(one => one.goneMs / goneBoundMs(one)))

/** How many times longer the other service's change takes during the churn; the median, since each is one short moment. */
export const scaleRatio = (rounds: readonly Churn[]): number =>
  median(rounds.map(({ scaleMs }) => scaleMs.busy / scaleMs.idle))

/** Not a number where there is none, which is within no bound. */
const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN

/** The figures of one round, a line each. */
export function spelled(
  { started, goneMs, stopMs, scaleMs, report }: Churn,
  replicas: number,
): readonly string[] {
  const seconds = (ms: number): string => `${(ms / 1000).toFixed(2)} s`
  return [
    `${replicas} replicas deleted after 3 s, ${started} started by then: gone after ${seconds(goneMs)}; as many that were ready, on idle hosts: ${seconds(stopMs)}`,
    `another service's scale to 2 meanwhile: ${seconds(scaleMs.busy)}; on idle hosts: ${seconds(scaleMs.idle)}`,
    `started after the deletion, since the engines had begun it: ${report.starts.unwanted}; created and never started: ${report.neverStarted}`,
  ]
}

export async function churn(lab: Lab, options: ChurnOptions): Promise<Churn> {
  const spec = (name: string, replicas: number) => ({
    name,
    image: options.image,
    command,
    stop,
    replicas,
    ports: [{ name: 'http', container: 8080 }],
    resources: { reservations: { cpus: 0.001, memory: '4MiB' } },
  })
  await lab.api.put(other, spec('other', 1))
  await untilReady(lab, 1, limitMs, other)
  const before = await scale(lab, 2)
  await scale(lab, 1)

  const history = await recordHistory(lab.machine.etcd.endpoint, lab.name, now)
  const engines = await recordContainers(lab.hosts, lab.name, now)
  try {
    const began = now()
    await lab.api.put(many, spec('many', options.replicas))
    const scaling = reached(began + scaledAfterMs).then(() => scale(lab, 2))
    await reached(began + deletedAfterMs)
    const deletedAt = now()
    const goneMs = await remove(lab)
    const busy = await scaling
    const happenings = [...placementsIn(history.changes), ...engines.happenings].filter(isOfMany)
    const report = checkNotWantedNotStarted(happenings, now(), { startMs: startBegunMs })
    const started = happenings.filter(
      it => 'action' in it && it.action === 'start' && it.at <= deletedAt,
    ).length

    await lab.api.put(many, spec('many', Math.max(1, started)))
    await untilReady(lab, 1, limitMs, many)
    const stopMs = await remove(lab)
    await scale(lab, 1)
    const idle = Math.max(before, await scale(lab, 2))
    return { scaleMs: { idle, busy }, stopMs, started, goneMs, report }
  } finally {
    engines.stop()
    await history.stop()
  }
}

/** How long a start that an engine of a busy lab had begun takes to its end: three engines share two cores. */
const startBegunMs = 3000

const isOfMany = ({ instance }: Happening): boolean => instance.startsWith(`${project}/${many.name}/`)

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

async function remove(lab: Lab): Promise<number> {
  const began = now()
  await lab.api.remove(many)
  await until(
    () => lab.api.services(project),
    left => left.every(it => it.name !== many.name),
    { timeoutMs: limitMs, what: `${many.name} gone` },
  )
  return now() - began
}

async function reached(at: number): Promise<void> {
  await new Promise(resolve => setTimeout(resolve, Math.max(0, at - now())))
}

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
