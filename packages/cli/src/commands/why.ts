import type { InstanceView, WhyView } from '@boxcar/api/views'
import { plural } from '@boxcar/core/model/plural'
import { connect, subjectOf } from '../client.ts'
import type { RunCommand } from '../command.ts'
import { exitStatus } from '../exit.ts'
import { reasonOf, stateWords } from '../render/columns.ts'
import { misplacedLines, obstacleLines, rejectionLines, unservedLines } from '../render/evidence.ts'
import { harmless, type Paint } from '../render/paint.ts'
import { printObject } from '../render/print.ts'
import { exitWords } from '../render/words.ts'

/** Why something does not run, with the numbers. */
export const why: RunCommand = async context => {
  const { api, settings } = connect(context)
  const subject = subjectOf(context.invocation.args[0] ?? '', settings.project)
  const view = await api.why({ project: subject.ref.project, name: subject.ref.name })
  if (subject.kind === 'service') {
    await printObject(context, view, { name: view.about, lines: paint => whyLines(view, paint) })
    return exitStatus.done
  }
  const { project, name, generation, slot } = subject.ref
  const id = `${project}/${name}/${generation}/${slot}`
  const waiting = view.waiting.filter(it => it.instance === id)
  if (waiting.length > 0) {
    const about: WhyView = {
      ...view,
      about: id,
      waiting,
      waitingCount: 1,
      unready: [],
      misplaced: [],
      rejection: undefined,
    }
    await printObject(context, about, { name: id, lines: paint => whyLines(about, paint) })
    return exitStatus.done
  }
  const instance = await api.instance(subject.ref)
  await printObject(context, instance, { name: id, lines: paint => unreadyLines(instance, paint) })
  return exitStatus.done
}

function whyLines(it: WhyView, paint: Paint): readonly string[] {
  const summary = harmless(it.summary)
  return [
    paint.strong(summary),
    ...section(obstacleLines(it).filter(line => line !== summary)),
    ...section(misplacedLines(it.misplaced)),
    ...section(it.unready.flatMap(instance => unreadyLines(instance, paint))),
    ...section(unservedLines(it.unserved)),
    ...section(it.rejection === undefined ? [] : rejectionLines(it.rejection)),
    ...section(it.fix === undefined ? [] : [`What would help: ${it.fix}`]),
  ]
}

const section = (lines: readonly string[]) => (lines.length === 0 ? [] : ['', ...lines])

/** One instance: its state, how it ended last, its probe, its last words. */
export function unreadyLines(it: InstanceView, paint: Paint): readonly string[] {
  const reason = harmless(reasonOf(it))
  return [
    `${it.id} on ${it.host}: ${stateWords(it)}${reason === '' ? '' : `: ${reason}`}`,
    ...(it.exit === undefined
      ? []
      : [`  last end: ${exitWords(it.exit)}, ${plural(it.restarts, 'restart')}, attempt ${it.attempt}`]),
    ...(it.probe === undefined ? [] : [`  probe ${it.probe.kind}: ${harmless(it.probe.output)}`]),
    ...(it.lastLog ?? []).map(line => paint.faint(`  | ${harmless(line)}`)),
  ]
}
