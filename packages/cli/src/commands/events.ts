import type { EventView } from '@boxcar/api/views'
import { connect, serviceRef } from '../client.ts'
import type { RunCommand } from '../command.ts'
import { exitStatus } from '../exit.ts'
import { harmless, type Paint, paint } from '../render/paint.ts'
import { dataLine, formatOf } from '../render/print.ts'
import { moment } from '../render/words.ts'
import { numberFlag, onlyProject, textFlag } from './flags.ts'

/** What happened; `-f` goes on until Ctrl-C, without a gap when the server changes or restarts. */
export const events: RunCommand = async context => {
  const { terminal, invocation } = context
  const { api, settings } = connect(context)
  const name = invocation.args[0]
  const ref = name === undefined ? undefined : serviceRef(name, settings.project)
  const after = textFlag(invocation, 'after')
  const tail = numberFlag(invocation, 'tail')
  const project = onlyProject(context)
  const whose =
    ref !== undefined
      ? { project: ref.project, service: `${ref.project}/${ref.name}` }
      : project === undefined
        ? {}
        : { project }
  const colors = paint(terminal.out.color)
  const format = formatOf(context)
  // A list that ends is one JSON text.
  const follow = invocation.flags['follow'] === true
  const isWhole = format === 'json' && !follow
  const collected: EventView[] = []
  const stream = api.events({
    ...whose,
    ...(after === undefined ? { ...(tail === undefined ? {} : { tail }) } : { after }),
    mode: follow ? 'follow' : 'recent',
    signal: terminal.interrupted,
    onTrouble: why =>
      terminal.err.write(`the stream was cut (${why}); going on as soon as the server answers\n`),
  })
  if (follow) terminal.endWithReader()
  for await (const step of stream) {
    if (step.kind === 'reset') {
      terminal.err.write('older history is gone; what follows starts with all recent events again\n')
    } else if (isWhole) collected.push(step.event)
    else {
      const data = await dataLine(format, step.event, step.event.id)
      terminal.out.write(data ?? `${lineOf(step.event, format, colors)}\n`)
      await terminal.drained()
    }
  }
  if (isWhole) terminal.out.write(`${JSON.stringify(collected, undefined, 2)}\n`)
  return terminal.interrupted.aborted ? exitStatus.interrupted : exitStatus.done
}

function lineOf(event: EventView, format: string, colors: Paint): string {
  const color =
    event.level === 'error' ? colors.bad : event.level === 'warning' ? colors.busy : (text: string) => text
  const about = event.instance ?? event.service ?? event.host ?? '-'
  const by = event.actor ?? event.writer
  const id = format === 'wide' ? `  ${colors.faint(event.id)}` : ''
  return `${colors.faint(moment(event.at))}  ${about}  ${color(harmless(event.message))}  ${colors.faint(`(${harmless(by)})`)}${id}`
}
