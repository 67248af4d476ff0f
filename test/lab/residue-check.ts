/** The last step of `npm test`: whatever the tests left behind is named, taken away, and counts as a failure. */

import { titleOf } from '@boxcar/cli/machine/procfs'
import { residue, sweep } from '@boxcar/cli/machine/residue'
import { abandoned, takeAway } from './own-folder.ts'

// Not from as-root.ts, which needs vitest around it.
const isRoot = process.getuid?.() === 0
const ofContracts = await abandoned()
const found = [
  ...(isRoot ? await residue() : []),
  ...ofContracts.processes.map(pid => `process ${pid}: ${titleOf(pid)}`),
  ...ofContracts.namespaces.map(it => `namespace ${it}`),
  ...ofContracts.folders.map(it => `folder ${it}`),
]
if (found.length > 0) {
  process.stdout.write(`left behind by tests:\n${found.map(line => `  ${line}\n`).join('')}`)
  await takeAway(ofContracts)
  if (isRoot) await sweep()
  process.exitCode = 1
} else {
  process.stdout.write('nothing is left behind\n')
}
