import type { LogLine } from '@boxcar/api/views'
import { connect, subjectOf } from '../client.ts'
import type { RunCommand } from '../command.ts'
import { exitStatus } from '../exit.ts'
import { harmless, type Paint, paint } from '../render/paint.ts'
import { dataLine, formatOf } from '../render/print.ts'
import { moment } from '../render/words.ts'
import { numberFlag } from './flags.ts'

/** What the instances print. Lines of several instances say whose they are. */
export const logs: RunCommand = async context => {
  const { terminal, invocation } = context
  const { api, settings } = connect(context)
  const subject = subjectOf(invocation.args[0] ?? '', settings.project)
  const tail = numberFlag(invocation, 'tail')
  const sinceMs = numberFlag(invocation, 'since')
  const follow = invocation.flags['follow'] === true
  const lines = api.logs(subject.ref, {
    follow,
    ...(tail === undefined ? {} : { tail }),
    ...(sinceMs === undefined ? {} : { since: terminal.clock.wall() - sinceMs }),
    signal: terminal.interrupted,
  })
  const colors = paint(terminal.out.color)
  const format = formatOf(context)
  const how = { who: subject.kind === 'service', when: invocation.flags['timestamps'] === true }
  if (follow) terminal.endWithReader()
  for await (const line of lines) {
    terminal.out.write((await dataLine(format, line, line.instance)) ?? `${textOf(line, how, colors)}\n`)
    await terminal.drained()
  }
  return terminal.interrupted.aborted ? exitStatus.interrupted : exitStatus.done
}

function textOf(
  line: LogLine,
  how: { readonly who: boolean; readonly when: boolean },
  colors: Paint,
): string {
  const when = how.when ? `${typeof line.at === 'number' ? moment(line.at) : line.at} ` : ''
  const who = how.who ? `${line.instance} | ` : ''
  return colors.faint(when + who) + harmless(line.line)
}
