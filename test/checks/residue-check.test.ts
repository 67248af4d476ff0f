/** The last step of `npm test` finds what engines leave in the folder for temporary files. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { tryRun } from '@boxcar/cli/machine/command'
import { afterEach, beforeEach, expect, test } from 'vitest'

const program = new URL('../lab/residue-check.ts', import.meta.url).pathname

let dir: string
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'boxcar-residue-'))
})
afterEach(() => rm(dir, { recursive: true }))

const check = (...args: readonly string[]) =>
  tryRun([process.execPath, program, ...args], { env: { ...process.env, TMPDIR: dir } })

test
  .skipIf(process.platform !== 'linux')
  .each(['containerd.4711.stacks.log', 'goroutine-stacks-2026-11-27T120000Z.log'])(
  '%s is found, unless it was there before the tests',
  async name => {
    const note = join(dir, 'before.json')
    expect((await check('--note', note)).status).toBe(0)
    await writeFile(join(dir, name), 'goroutine 1 [running]')
    const found = await check('--since', note)
    expect(found.stdout).toContain(`left behind by tests:\n  file ${name} in ${dir}\n`)
    expect(found.status).toBe(1)
    expect((await check('--note', note)).status).toBe(0)
    const known = await check('--since', note)
    expect(known.stdout).toContain(`there before the tests already:\n`)
    expect(known.status).toBe(0)
  },
)
