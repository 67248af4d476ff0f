import { connect } from '../client.ts'
import type { RunCommand } from '../command.ts'
import { exitStatus } from '../exit.ts'
import { planLines } from '../render/plan.ts'
import { printObject } from '../render/print.ts'
import { readSpecs } from '../spec-files.ts'
import { textsFlag } from './flags.ts'

/** Shows what a deploy would change. */
export const plan: RunCommand = async context => {
  const { terminal, invocation } = context
  const specs = await readSpecs(textsFlag(invocation, 'file'), {
    images: textsFlag(invocation, 'image'),
    readInput: terminal.readInput,
  })
  const { api, settings } = connect(context)
  const view = await api.plan(
    settings.project,
    specs.map(it => it.text),
  )
  const changed = view.services.filter(it => it.change !== 'unchanged')
  await printObject(context, view, {
    name: changed.map(it => it.service).join('\n'),
    lines: paint => planLines(view, paint),
  })
  return invocation.flags['exitCode'] === true && changed.length > 0
    ? exitStatus.changesPending
    : exitStatus.done
}
