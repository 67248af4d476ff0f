/** The last step of `npm test`: whatever a test's machine left behind is named, taken away, and counts as a failure. */
import { residue, sweep } from '@boxcar/cli/machine/residue'

const found = process.platform === 'linux' && process.getuid?.() === 0 ? await residue() : []
if (found.length > 0) {
  process.stdout.write(`left behind by tests:\n${found.map(line => `  ${line}\n`).join('')}`)
  await sweep()
  process.exitCode = 1
} else {
  process.stdout.write('nothing is left behind\n')
}
