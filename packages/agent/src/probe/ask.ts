/** Asks one question of one container; whatever goes wrong is an answer. */
import type { ProbeAnswer } from '@boxcar/core/health/probe-state'
import type { Clock } from '@boxcar/core/model/clock'
import type { ContainerId, Engine } from '../engine/engine.ts'
import type { Network, NetworkAnswer } from './network.ts'
import type { Question } from './plan.ts'
import { watchStandstill } from './standstill.ts'

export interface Asker {
  readonly engine: Engine
  readonly network: Network
  readonly clock: Clock
  /** At which the instance's host ports are bound. */
  readonly address: string
}

export async function ask(
  { engine, network, clock, address }: Asker,
  container: ContainerId,
  question: Question,
  signal: AbortSignal,
): Promise<ProbeAnswer> {
  switch (question.kind) {
    case 'impossible':
      return failed(question.why)
    case 'tcp':
      return judged(question, await network.tcp({ address, ...question }))
    case 'http':
      return judged(question, await network.http({ address, ...question }))
    case 'exec': {
      const { argv, timeoutMs } = question
      const standstill = watchStandstill(clock)
      const outcome = await engine.exec(container, argv, { timeoutMs, signal }).finally(standstill.end)
      if (outcome.kind === 'not-running') return failed(outcome.reason)
      if (outcome.kind === 'timed-out')
        return standstill.spoils(timeoutMs)
          ? undecided
          : failed(`no end within ${timeoutMs} ms: ${outcome.output}`, 'silent')
      return outcome.exitCode === 0
        ? { kind: 'passed' }
        : failed(`exit status ${outcome.exitCode}: ${outcome.output}`)
    }
    case 'docker': {
      const health = (await engine.inspect(container, signal))?.health
      if (health === undefined) return failed('the container has no health check')
      if (health.status === 'healthy') return { kind: 'passed' }
      // Its first check may be half a minute away.
      if (health.status === 'starting') return undecided
      const last =
        health.last === undefined ? '' : `: exit status ${health.last.exitCode}: ${health.last.output}`
      return failed(`${health.status}${last}`)
    }
  }
}

function judged(question: Extract<Question, { kind: 'tcp' | 'http' }>, answer: NetworkAnswer): ProbeAnswer {
  const what =
    question.kind === 'http' ? `GET ${question.path} on port ${question.port}` : `port ${question.port}`
  switch (answer.kind) {
    case 'failed':
      return failed(`${what}: ${answer.why}`)
    case 'silent':
      return failed(`${what}: ${answer.why}`, 'silent')
    case 'unheard':
      return undecided
    case 'connected':
      return { kind: 'passed' }
    case 'answered': {
      const wanted = question.kind === 'http' ? question.status : undefined
      const good = wanted?.includes(answer.status) ?? (answer.status >= 200 && answer.status < 400)
      return good ? { kind: 'passed' } : failed(`${what}: status ${answer.status}: ${answer.body}`)
    }
  }
}

const undecided: ProbeAnswer = { kind: 'undecided' }
const failed = (output: string, how: 'told' | 'silent' = 'told'): ProbeAnswer => ({
  kind: 'failed',
  output: output.trim().slice(0, 1024),
  silent: how === 'silent',
})
