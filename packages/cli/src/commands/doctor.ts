import { getuid, platform } from 'node:process'
import type { RunCommand } from '../command.ts'
import {
  type Finding,
  lookAtClock,
  lookAtDisk,
  lookAtDocker,
  lookAtEtcd,
  lookAtNode,
  lookAtPorts,
  lookAtProxy,
} from '../doctor/findings.ts'
import { exitStatus } from '../exit.ts'
import type { Paint } from '../render/paint.ts'
import { formatOf, printLines, printList } from '../render/print.ts'
import { loadSettings } from '../settings.ts'
import { textFlag } from './flags.ts'

/** Checks what Boxcar needs on this machine. Changes nothing; status 1 when something must be done. */
export const doctor: RunCommand = async context => {
  const { terminal, invocation } = context
  const settings = loadSettings({ flags: invocation.flags, env: terminal.env })
  const stateDir = textFlag(invocation, 'stateDir') ?? '/var/lib/boxcar'
  const groups = await Promise.all([
    lookAtNode(platform, getuid?.()),
    lookAtDocker(settings),
    lookAtEtcd(settings),
    lookAtProxy(textFlag(invocation, 'haproxy') ?? 'haproxy'),
    lookAtPorts(),
    lookAtClock(),
    lookAtDisk(stateDir),
  ])
  const findings = groups.flat()
  await printList(context, findings, {
    columns: [
      { head: 'CHECK', of: it => it.check },
      { head: 'RESULT', of: (it, colors) => colorOf(it, colors)(it.result) },
      { head: 'FOUND', of: it => it.found },
    ],
    nameOf: it => it.check,
    none: '',
  })
  const todo = findings.filter(it => it.todo !== undefined)
  const format = formatOf(context)
  if (todo.length > 0 && (format === 'table' || format === 'wide'))
    await printLines(context, ['', 'What to do:', ...todo.flatMap(todoLines)])
  return findings.some(it => it.result === 'fail') ? exitStatus.failure : exitStatus.done
}

/** The steps of one finding, below each other. */
function todoLines({ check, todo = '' }: Finding): readonly string[] {
  const head = `  ${check}: `
  return todo.split('\n').map((step, i) => (i === 0 ? head : ' '.repeat(head.length)) + step)
}

function colorOf(it: Finding, colors: Paint): (text: string) => string {
  return { ok: colors.good, warn: colors.busy, fail: colors.bad }[it.result]
}
