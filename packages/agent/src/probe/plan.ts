/** What is asked of a container to know whether it is well: the spec's probes, or what fits where it names none. */
import type { ProbeKind, ProbePlan, ProbeTiming } from '@boxcar/core/health/probe-state'
import type { Probe, Template } from '@boxcar/core/model/spec'

export type Question =
  | {
      readonly kind: 'http'
      readonly path: string
      readonly headers: Readonly<Record<string, string>>
      /** Left out: 200 to 399. */
      readonly status: readonly number[] | undefined
      readonly port: number
      readonly timeoutMs: number
    }
  | { readonly kind: 'tcp'; readonly port: number; readonly timeoutMs: number }
  | { readonly kind: 'exec'; readonly argv: readonly string[]; readonly timeoutMs: number }
  /** The engine's own verdict. */
  | { readonly kind: 'docker'; readonly timeoutMs: number }
  /** It cannot be asked; the answer is always this failure. */
  | { readonly kind: 'impossible'; readonly why: string }

export interface Probing {
  readonly plan: ProbePlan
  readonly questions: Readonly<Partial<Record<ProbeKind, Question>>>
}

export interface ProbeTarget {
  readonly template: Pick<Template, 'health' | 'ports'>
  /** Host port by port name. */
  readonly hostPorts: Readonly<Record<string, number>>
  /** The first port that a route leads to, where one is known. */
  readonly routedPort: string | undefined
  readonly imageHealthcheck: 'present' | 'absent'
}

/** Whether the image has to be asked for a health check of its own to plan the probes. */
export const needsImage = ({ health }: Pick<Template, 'health'>): boolean =>
  health.readiness === undefined && health.startup === undefined

export function planProbes(target: ProbeTarget): Probing {
  const { startup, readiness, liveness } = target.template.health
  const questions: Partial<Record<ProbeKind, Question>> = {}
  if (startup !== undefined) questions.startup = questionOf(startup, target)
  if (liveness !== undefined) questions.liveness = questionOf(liveness, target)
  const ready =
    readiness === undefined
      ? usualReadiness(target)
      : { ...timingOf(readiness), asks: questionOf(readiness, target) }
  if (ready !== undefined) questions.readiness = ready.asks
  return {
    plan: {
      startup: startup && timingOf(startup),
      readiness: ready ?? 'started',
      liveness: liveness && timingOf(liveness),
    },
    questions,
  }
}

/** As the spec has it where a readiness probe is given without these. */
const usual = { every: 2000, failures: 2, timeoutMs: 1000 } as const

/** None given: the startup probe's word; else the image's HEALTHCHECK, else TCP on the routed port, else it runs. */
function usualReadiness(target: ProbeTarget): (ProbeTiming & { readonly asks: Question }) | undefined {
  if (target.template.health.startup !== undefined) return undefined
  if (target.imageHealthcheck === 'present')
    return { ...usual, pace: 'as-told', asks: { kind: 'docker', timeoutMs: usual.timeoutMs } }
  // A route may lead to a port that only other generations have.
  const names = [target.routedPort, target.template.ports[0]?.name]
  const port = names.map(name => (name === undefined ? undefined : target.hostPorts[name])).find(isGiven)
  if (port === undefined) return undefined
  return { ...usual, pace: 'quick', asks: { kind: 'tcp', port, timeoutMs: usual.timeoutMs } }
}

const isGiven = (port: number | undefined): port is number => port !== undefined

const timingOf = (probe: Probe): ProbeTiming => ({
  every: probe.every,
  failures: probe.failures,
  // The engine asks at its own pace, and tells when its verdict changes.
  pace: probe.docker === undefined ? 'quick' : 'as-told',
})

function questionOf(probe: Probe, { template, hostPorts }: ProbeTarget): Question {
  const timeoutMs = probe.timeout
  if (probe.exec !== undefined) return { kind: 'exec', argv: probe.exec, timeoutMs }
  if (probe.docker !== undefined) return { kind: 'docker', timeoutMs }
  const name = probe.port ?? template.ports[0]?.name
  const port = name === undefined ? undefined : hostPorts[name]
  if (port === undefined) return { kind: 'impossible', why: `no host port was given to ${name ?? 'it'}` }
  if (probe.http === undefined) return { kind: 'tcp', port, timeoutMs }
  return {
    kind: 'http',
    path: probe.http,
    headers: probe.headers ?? {},
    status: probe.status,
    port,
    timeoutMs,
  }
}
