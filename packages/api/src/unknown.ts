/** What is shown of something of which little can be known: its name, and why. Nothing in it is made up. */
import { errorText } from '@boxcar/core/model/attempt'
import { type InstanceId, parseInstanceId, type ServiceName, serviceParts } from '@boxcar/core/model/ids'
import type {
  GenerationView,
  HostView,
  InstanceView,
  ProblemOfEntry,
  RolloutView,
  RouteView,
  ServiceView,
} from './views.ts'

/** The problem of an entry whose view threw: a bug of the server's own. */
export const internalProblem = (error: unknown): ProblemOfEntry => ({
  kind: 'internal-error',
  reason: `internal error: this server cannot show it: ${errorText(error).slice(0, 500)}`,
})

export const unreadProblem = (words: string): ProblemOfEntry => ({ kind: 'unreadable', reason: words })

export function unknownService(cluster: string, service: ServiceName, problem: ProblemOfEntry): ServiceView {
  const { project, short } = serviceParts(service)
  return {
    cluster,
    project,
    name: short,
    service,
    uid: '',
    revision: '0',
    spec: {},
    generation: 0,
    image: '',
    replicas: 0,
    ready: 0,
    misplaced: 0,
    available: false,
    status: 'unknown',
    reason: problem.reason,
    rollout: unknownRollout(service, problem),
    by: '',
    at: 0,
    problem,
  }
}

export const unknownRollout = (service: ServiceName, problem: ProblemOfEntry): RolloutView => ({
  service,
  phase: 'unknown',
  words: problem.reason,
  outcome: 'under-way',
  asked: 0,
  shares: [],
  counts: [],
  images: {},
  problem,
})

export function unknownInstance(id: InstanceId, host: string, problem: ProblemOfEntry): InstanceView {
  const { service = '', generation = 0, slot = 0 } = parseInstanceId(id) ?? {}
  return {
    id,
    project: service.slice(0, Math.max(0, service.indexOf('/'))),
    service,
    generation,
    slot,
    role: 'unknown',
    host,
    hostState: 'unknown',
    desired: 'unknown',
    because: '',
    state: 'unknown',
    reason: problem.reason,
    attempt: 0,
    restarts: 0,
    image: '',
    cpuMilli: 0,
    memoryMiB: 0,
    ports: {},
    problem,
  }
}

export function unknownHost(
  cluster: string,
  id: string,
  present: boolean,
  instances: number,
  problem: ProblemOfEntry,
): HostView {
  const nothing = { cpuMilli: 0, memoryMiB: 0 }
  return {
    cluster,
    id,
    state: 'unknown',
    reason: problem.reason,
    present,
    address: '',
    agentPort: 0,
    capacity: nothing,
    used: nothing,
    free: nothing,
    instances,
    misplaced: [],
    labels: {},
    engine: { version: '', state: 'unknown' },
    proxy: { version: '', state: 'unknown' },
    agentVersion: '',
    ports: { from: 0, to: 0 },
    problem,
  }
}

export const unknownGeneration = (
  service: ServiceName,
  generation: number,
  problem: ProblemOfEntry,
): GenerationView => ({
  service,
  generation,
  uid: '',
  image: '',
  role: 'unknown',
  template: {},
  by: '',
  at: 0,
  problem,
})

/** The addresses that a service asks for, where its record of routes does not say what became of them. */
export const unknownRoute = (
  service: ServiceName,
  listener: Pick<RouteView, 'protocol' | 'listen' | 'hostnames' | 'path' | 'expose' | 'port'>,
  hosts: number,
  problem: ProblemOfEntry,
): RouteView => ({
  service,
  ...listener,
  hostnames: [...listener.hostnames],
  revision: '0',
  addresses: [],
  backings: [],
  applied: { hosts: 0, of: hosts },
  problem,
})
