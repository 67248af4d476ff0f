import type { ActedView } from '@boxcar/api/views'
import { connect, serviceRef } from '../client.ts'
import type { CommandContext, RunCommand } from '../command.ts'
import { exitStatus } from '../exit.ts'
import { printObject } from '../render/print.ts'
import { rolloutLines } from '../render/rollout.ts'
import { watchUndone } from '../watch-undo.ts'
import { withProgress } from '../watch-until.ts'
import { millisecondsFlag, numberFlag } from './flags.ts'

/** Goes back to the generation before, and watches until it answers. */
export const undo: RunCommand = async context => {
  const { terminal, invocation } = context
  const { api, settings, actor } = connect(context)
  const ref = serviceRef(invocation.args[0] ?? '', settings.project)
  const to = numberFlag(invocation, 'to')
  const before = await api.rollout(ref)
  const acted = await api.undo(ref, { actor, ...(to === undefined ? {} : { to }) })
  if (acted.outcome === 'asked') terminal.err.write('Asked for; the leader has not acted yet.\n')
  if (invocation.flags['detach'] === true) {
    await show(context, acted.rollout)
    return exitStatus.done
  }
  const rollout = await withProgress(terminal, onChange =>
    watchUndone(api, ref, terminal, {
      before,
      acted: acted.outcome,
      to,
      ...millisecondsFlag(invocation, 'timeout'),
      again: `boxcar rollout watch ${ref.project}/${ref.name}`,
      onChange,
    }),
  )
  await show(context, rollout)
  return exitStatus.done
}

const show = (context: CommandContext, rollout: ActedView['rollout']) =>
  printObject(context, rollout, {
    name: rollout.service,
    lines: paint => rolloutLines(rollout, context.terminal.clock.wall(), paint),
  })
