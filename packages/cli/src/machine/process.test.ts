import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { CommandFailed, run, tryRun } from './command.ts'
import { startProcess } from './process.ts'
import { isAlive, standsStill, startTimeOf } from './procfs.ts'
import { untilReady } from './ready.ts'

let dir: string
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'boxcar-process-'))
})
afterAll(() => rm(dir, { recursive: true, force: true }))

const start = (script: string) =>
  startProcess({ name: 'it', argv: ['sh', '-c', script], logFile: join(dir, `${Math.random()}.log`) })

describe.skipIf(process.platform !== 'linux')('a process that we own', () => {
  test('stops on SIGTERM, and says how it ended', async () => {
    const it = await start('trap "exit 3" TERM; echo on; while :; do sleep 0.05; done')
    const id = { pid: it.pid, startTime: startTimeOf(it.pid) ?? '' }
    expect(isAlive(id)).toBe(true)
    await new Promise(resolve => setTimeout(resolve, 200))
    expect(await it.stop()).toEqual({ status: 3, signal: undefined })
    expect(isAlive(id)).toBe(false)
    expect(it.lastLines()).toBe('on')
  })

  test('is killed when it does not listen, also while it is paused', async () => {
    const it = await start('trap "" TERM; while :; do sleep 0.05; done')
    await new Promise(resolve => setTimeout(resolve, 100))
    await it.pause()
    expect(await it.stop(200)).toEqual({ status: undefined, signal: 'SIGKILL' })
    it.signal('SIGTERM')
  })

  test('stands still once it is paused, with all its threads, and goes on', async () => {
    const busy = `
      const { Worker } = require('node:worker_threads')
      for (let i = 0; i < 4; i++) new Worker('for (;;);', { eval: true })
      console.log('on')`
    const it = await startProcess({
      name: 'it',
      argv: [process.execPath, '-e', busy],
      logFile: join(dir, 'busy.log'),
    })
    try {
      await vi.waitFor(() => expect(it.lastLines()).toBe('on'), 10_000)
      await it.pause()
      expect(standsStill(it.pid)).toBe(true)
      it.resume()
      await vi.waitFor(() => expect(standsStill(it.pid)).toBe(false))
    } finally {
      await it.kill()
    }
  })

  test('that ends before it is ready is reported with its last words', async () => {
    const it = await start('echo "no room"; exit 1')
    await expect(untilReady(it, { url: 'http://127.0.0.1:1/' })).rejects.toThrow('no room')
  })

  test('dies with its owner', async () => {
    // Once `sleep` runs, `setpriv` before it has asked the kernel to end it with its owner.
    const owner = `
      import { setTimeout as sleep } from 'node:timers/promises'
      import { startProcess } from '@boxcar/cli/machine/process'
      import { commandLineOf } from '@boxcar/cli/machine/procfs'
      const it = await startProcess({ name: 'it', argv: ['sleep', '60'], logFile: '/dev/null' })
      while (commandLineOf(it.pid)[0] !== 'sleep') await sleep(5)
      process.stdout.write(String(it.pid), () => process.kill(process.pid, 'SIGKILL'))`
    const pid = Number((await tryRun([process.execPath, '--input-type=module', '--eval', owner])).stdout)
    expect(pid).toBeGreaterThan(1)
    await expect.poll(() => startTimeOf(pid)).toBeUndefined()
  })
})

test('a program that is not there cannot be started', async () => {
  const failing = startProcess({ name: 'it', argv: ['/nowhere/program'], logFile: join(dir, 'none.log') })
  const it = await failing.catch((error: unknown) => error)
  // On Linux `setpriv` stands in front and says so itself.
  if (it instanceof Error) expect(it.message).toContain('cannot be started')
  else expect((await (await failing).exited).status).not.toBe(0)
})

test('a command that fails carries what it said', async () => {
  await expect(run(['sh', '-c', 'echo why >&2; exit 7'])).rejects.toThrow(/status 7: why/)
  await expect(run(['sh', '-c', 'exit 1'])).rejects.toBeInstanceOf(CommandFailed)
  expect((await tryRun(['/nowhere/program'])).status).toBe(127)
  expect((await tryRun(['sleep', '10'], { timeoutMs: 50 })).status).toBeUndefined()
  expect(await run(['cat'], { input: 'through' })).toBe('through')
})

test('a command that nobody wants any more is killed at once', async () => {
  const ending = new AbortController()
  const running = tryRun(['sleep', '10'], { signal: ending.signal })
  ending.abort()
  expect((await running).status).toBeUndefined()
  expect((await tryRun(['sleep', '10'], { signal: ending.signal })).status).toBeUndefined()
})
