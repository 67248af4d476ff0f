import type { DifferenceView, PlanView } from '@boxcar/api/views'
import { misplacedLines } from './evidence.ts'
import { harmless, type Paint } from './paint.ts'

type PlannedService = PlanView['services'][number]

/** What a deploy would do, service by service, with every difference. */
export function planLines(plan: PlanView, paint: Paint): readonly string[] {
  return plan.services.flatMap(service => serviceLines(service, paint))
}

function serviceLines(it: PlannedService, paint: Paint): readonly string[] {
  return [
    `${markOf(it, paint)} ${paint.strong(it.service)}  ${changeWords(it)}`,
    ...(it.because === '' ? [] : [`    ${paint.faint(harmless(it.because))}`]),
    ...it.differences.map(difference => `    ${differenceLine(difference, paint)}`),
    ...(it.strategy === undefined
      ? []
      : [`    rollout: ${it.strategy.name}: ${harmless(it.strategy.because)}`]),
    ...it.warnings.map(
      warning =>
        `    ${paint.busy('warning:')} ${warning.pointer === '' ? '' : `${warning.pointer}: `}${harmless(warning.message)}`,
    ),
    ...misplacedLines(it.misplaced).map((line, i) => `    ${i === 0 ? paint.busy(line) : line}`),
    ...(it.next === undefined ? [] : [`    next: ${harmless(it.next)}`]),
  ]
}

function markOf(it: PlannedService, paint: Paint): string {
  switch (it.change) {
    case 'create':
      return paint.good('+')
    case 'new-generation':
      return paint.busy('↑')
    case 'in-place':
      return paint.busy('~')
    case 'unchanged':
      return paint.faint('=')
  }
}

function changeWords(it: PlannedService): string {
  switch (it.change) {
    case 'create':
      return `new service, generation ${it.generation}`
    case 'new-generation':
      return `new generation ${it.generation}`
    case 'in-place':
      return 'changes in place, no new generation'
    case 'unchanged':
      return 'no change'
  }
}

function differenceLine(it: DifferenceView, paint: Paint): string {
  const from = it.from === undefined ? '' : `, ${harmless(it.from)}`
  const effect = it.effect === 'generation' ? '' : paint.faint(`  (in place${from})`)
  if (it.before === undefined)
    return `${paint.good('+')} ${it.pointer}: ${paint.good(valueText(it.after))}${effect}`
  if (it.after === undefined)
    return `${paint.bad('-')} ${it.pointer}: ${paint.bad(valueText(it.before))}${effect}`
  return `${paint.busy('~')} ${it.pointer}: ${paint.bad(valueText(it.before))} → ${paint.good(valueText(it.after))}${effect}`
}

const valueText = (value: unknown) => harmless(typeof value === 'string' ? value : JSON.stringify(value))
