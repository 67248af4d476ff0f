import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { run } from '../machine/command.ts'
import { abandonedFolders, makeFolder, recordGuest } from './folder.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'boxcar-folder-'))
  vi.stubEnv('TMPDIR', dir)
})
afterEach(() => {
  vi.unstubAllEnvs()
  rmSync(dir, { recursive: true, force: true })
})

describe.skipIf(process.platform !== 'linux')('folders of boxcar dev', () => {
  test('belong to their owner while it lives, and are abandoned once it is dead', async () => {
    await recordGuest(await makeFolder(), { engine: 'unix:///e', cluster: 'dev-1' })
    const other = `
      import { makeFolder, recordGuest } from '${join(import.meta.dirname, 'folder.ts')}'
      const dir = await makeFolder()
      await recordGuest(dir, { engine: 'unix:///e', cluster: 'dev-2' })
      process.stdout.write(dir)
      process.kill(process.pid, 'SIGKILL')`
    const command = `"$0" --input-type=module --eval "$1" || true`
    const left = await run(['sh', '-c', command, process.execPath, other])
    expect(await abandonedFolders()).toEqual([
      { dir: left, guest: { engine: 'unix:///e', cluster: 'dev-2' } },
    ])
    expect(readdirSync(dir)).toHaveLength(2)
  })

  test('what has nobody on record is let be', async () => {
    mkdirSync(join(dir, 'boxcar-dev-XXXXXX-kept'))
    expect(await abandonedFolders()).toEqual([])
  })
})
