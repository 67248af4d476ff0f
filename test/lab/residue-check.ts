/**
 * What the tests left behind. `--note FILE` before them puts on record what is there already; `--since FILE`, the last step of
 * `npm test`, names all that is there besides, takes it away, and counts it as a failure.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { parseArgs } from 'node:util'
import { titleOf } from '@boxcar/cli/machine/procfs'
import { residue, sweep } from '@boxcar/cli/machine/residue'
import { abandoned, takeAway } from './own-folder.ts'

// Not from as-root.ts, which needs vitest around it.
const isRoot = process.getuid?.() === 0
const { values } = parseArgs({ options: { note: { type: 'string' }, since: { type: 'string' } } })
const ofContracts = await abandoned()
const found = [
  ...(isRoot ? await residue() : []),
  ...ofContracts.processes.map(pid => `process ${pid}: ${titleOf(pid)}`),
  ...ofContracts.namespaces.map(it => `namespace ${it}`),
  ...ofContracts.cgroups.map(it => `control group ${it}`),
  ...ofContracts.folders.map(it => `folder ${it}`),
  // Of an engine or a containerd that was asked for its stacks. Not taken away: any engine of this computer may write one.
  ...(await readdir(tmpdir()))
    .filter(name => /^(?:containerd\.\d+\.stacks|goroutine-stacks-.*)\.log$/.test(name))
    .map(name => `file ${name} in ${tmpdir()}`),
]
if (values.note === undefined) await check(values.since === undefined ? [] : noted(values.since))
else writeFileSync(values.note, JSON.stringify(found))

async function check(before: readonly string[]): Promise<void> {
  const left = found.filter(line => !before.includes(line))
  const old = found.filter(line => before.includes(line))
  if (old.length > 0) print('there before the tests already', old)
  if (left.length === 0) return void process.stdout.write('nothing is left behind\n')
  print('left behind by tests', left)
  await takeAway(ofContracts)
  if (isRoot) await sweep()
  process.exitCode = 1
}

function print(what: string, lines: readonly string[]): void {
  process.stdout.write(`${what}:\n${lines.map(line => `  ${line}\n`).join('')}`)
}

/** No record where the step before could not make one. */
function noted(file: string): readonly string[] {
  try {
    return JSON.parse(readFileSync(file, 'utf8'))
  } catch {
    return []
  }
}
