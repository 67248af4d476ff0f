import type { RolloutView, ServiceView } from '@boxcar/api/views'
import { connect, serviceRef } from '../client.ts'
import type { CommandContext, RunCommand } from '../command.ts'
import { type ExitStatus, exitStatus } from '../exit.ts'
import { isWanted } from '../question.ts'
import { generationColumns } from '../render/columns.ts'
import { printList, printObject } from '../render/print.ts'
import { rolloutLines } from '../render/rollout.ts'
import { isUndone, revertedText, watchUntilReady } from '../watch.ts'
import { millisecondsFlag } from './flags.ts'

/** Where a rollout stands. */
export const status: RunCommand = async context => {
  if (context.invocation.flags['watch'] === true) return watch(context)
  const { api, settings } = connect(context)
  const service = await api.service(nameOf(context, settings.project))
  await show(context, service.rollout)
  return statusOf(service, context)
}

/** Watches a rollout to its end. */
export const watch: RunCommand = async context => {
  const { api, settings } = connect(context)
  const ref = nameOf(context, settings.project)
  const again = `boxcar rollout watch ${ref.project}/${ref.name}`
  const options = { ...millisecondsFlag(context.invocation, 'timeout'), again }
  const [service] = await watchUntilReady(api, [{ ref }], context.terminal, options)
  if (service !== undefined) await show(context, service.rollout)
  return exitStatus.done
}

/** The generations of a service. */
export const history: RunCommand = async context => {
  const { api, settings } = connect(context)
  await printList(context, await api.generations(nameOf(context, settings.project)), {
    columns: generationColumns(context.terminal.clock.wall()),
    nameOf: it => `${it.service}/${it.generation}`,
    none: 'No generations.',
  })
  return exitStatus.done
}

/** Gives the next generation up. */
export const abort: RunCommand = async context => {
  const { terminal } = context
  const { api, settings, actor } = connect(context)
  const ref = nameOf(context, settings.project)
  const { words } = await api.rollout(ref)
  const name = `${ref.project}/${ref.name}`
  const question = `Abort the rollout of ${name} (${words})?`
  if (!(await isWanted(context, question, `whether to abort the rollout of ${name}`)))
    return exitStatus.failure
  const acted = await api.abort(ref, { actor })
  if (acted.outcome === 'asked') terminal.err.write('Asked for; the leader has not acted yet.\n')
  await show(context, acted.rollout)
  return exitStatus.done
}

const nameOf = ({ invocation }: CommandContext, project: string) =>
  serviceRef(invocation.args[0] ?? '', project)

const show = (context: CommandContext, rollout: RolloutView) =>
  printObject(context, rollout, {
    name: rollout.service,
    lines: paint => rolloutLines(rollout, context.terminal.clock.wall(), paint),
  })

function statusOf(service: ServiceView, { terminal }: CommandContext): ExitStatus {
  if (service.rollout.outcome !== 'rejected' || isUndone(service.rollout)) return exitStatus.done
  terminal.err.write(`Next: ${revertedText(service).next}\n`)
  return exitStatus.reverted
}
