/** The preparation of a computer leaves no trace of how it kept services from starting. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'

const script = new URL('../../scripts/prepare.mjs', import.meta.url).pathname

let dir: string
let file: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'boxcar-prepare-'))
  file = join(dir, 'policy-rc.d')
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

/** Runs a few lines with the script's functions and `file`; gives what they printed. */
async function run(lines: string): Promise<string> {
  const source = `
    import { spawnSync } from 'node:child_process'
    import { existsSync } from 'node:fs'
    const { withoutServices, takeAwayPolicy } = await import(process.argv[2])
    const file = process.argv[1]
    ${lines}`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', source, file, script])
  let text = ''
  child.stdout.setEncoding('utf8').on('data', (piece: string) => {
    text += piece
  })
  await once(child, 'close')
  return text
}

test.each(['INT', 'TERM', 'HUP'])('SIG%s during the installation: the policy is taken away', async signal => {
  const printed = await run(`
    withoutServices(() => {
      console.log('there: ' + existsSync(file))
      spawnSync('sh', ['-c', 'kill -${signal} ' + process.pid])
    }, file)`)
  expect(printed).toBe('there: true\n')
  expect(existsSync(file)).toBe(false)
})

test("a policy of somebody else's is obeyed, and stays", async () => {
  writeFileSync(file, '#!/bin/sh\nexit 0\n')
  await run('withoutServices(() => undefined, file); takeAwayPolicy(file)')
  expect(existsSync(file)).toBe(true)
})

test.skipIf(process.getuid?.() !== 0)(
  'what a killed preparation left is taken away by the next',
  async () => {
    await run("withoutServices(() => process.kill(process.pid, 'SIGKILL'), file)")
    expect(existsSync(file)).toBe(true)
    await run('takeAwayPolicy(file)')
    expect(existsSync(file)).toBe(false)
  },
)
