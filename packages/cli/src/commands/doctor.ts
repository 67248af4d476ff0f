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
import { type Paint, paint } from '../render/paint.ts'
import { table } from '../render/table.ts'
import { loadSettings } from '../settings.ts'
import { textFlag } from './flags.ts'

/** Checks what Boxcar needs on this machine. Changes nothing; status 1 when something must be done. */
export const doctor: RunCommand = async ({ terminal, invocation }) => {
  const settings = loadSettings({ flags: invocation.flags, env: terminal.env })
  const stateDir = textFlag(invocation, 'stateDir') ?? '/var/lib/boxcar'
  const groups = await Promise.all([
    lookAtNode(platform, getuid?.()),
    lookAtDocker(settings.docker),
    lookAtEtcd(settings),
    lookAtProxy(textFlag(invocation, 'haproxy') ?? 'haproxy'),
    lookAtPorts(),
    lookAtClock(),
    lookAtDisk(stateDir),
  ])
  const findings = groups.flat()
  if (textFlag(invocation, 'output') === 'json') {
    terminal.out.write(`${JSON.stringify(findings, undefined, 2)}\n`)
  } else {
    const colors = paint(terminal.out.color)
    const lines = table(
      [
        { head: 'CHECK', of: it => it.check },
        { head: 'RESULT', of: it => colorOf(it, colors)(it.result) },
        { head: 'FOUND', of: it => it.found },
      ],
      findings,
      colors,
    )
    terminal.out.write(`${lines.join('\n')}\n`)
    const todo = findings.filter(it => it.todo !== undefined)
    if (todo.length > 0) {
      terminal.out.write(`\nWhat to do:\n${todo.map(it => `  ${it.check}: ${it.todo}\n`).join('')}`)
    }
  }
  return findings.some(it => it.result === 'fail') ? exitStatus.failure : exitStatus.done
}

function colorOf(it: Finding, colors: Paint): (text: string) => string {
  return { ok: colors.good, warn: colors.busy, fail: colors.bad }[it.result]
}
