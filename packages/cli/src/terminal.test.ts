import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { tryRun } from './machine/command.ts'

let dir: string
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'boxcar-terminal-'))
})
afterAll(() => rmSync(dir, { recursive: true, force: true }))

/**
 * Asks in a terminal of its own, presses keys once the question stands there, and gives what came of it. The program ends by itself:
 * the terminal does not keep it alive.
 */
async function asked(keys: string): Promise<string> {
  const source = `
    import { systemTerminal } from '${join(import.meta.dirname, 'terminal.ts')}'
    const terminal = systemTerminal()
    const answer = await terminal.confirm('Sure?')
    process.stdout.write('answer ' + answer + ', interrupted ' + terminal.interrupted.aborted)`
  const press = `
    import { spawn } from 'node:child_process'
    const [keys, node, source, dir] = process.argv.slice(1)
    const command = '"$NODE" --input-type=module --eval "$SOURCE"'
    const env = { ...process.env, NODE: node, SOURCE: source }
    const child = spawn('script', ['--quiet', '--return', '--command', command, dir + '/typescript'], { env })
    child.stdout.on('data', piece => {
      process.stdout.write(piece)
      if (String(piece).includes('[y/N]')) child.stdin.write(keys)
    })`
  const argv = [process.execPath, '--input-type=module', '--eval', press, keys, process.execPath, source, dir]
  return (await tryRun(argv, { timeoutMs: 20_000 })).stdout
}

describe.skipIf(process.platform !== 'linux')('a question in a terminal', () => {
  test.each([
    ['y', 'y\r', 'answer true, interrupted false'],
    ['n', 'n\r', 'answer false, interrupted false'],
    ['Ctrl-C', '\u0003', 'answer false, interrupted true'],
  ])('%s', async (_key, keys, outcome) => {
    expect(await asked(keys)).toContain(outcome)
  })
})
