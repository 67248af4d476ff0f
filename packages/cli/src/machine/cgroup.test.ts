import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { cgroupFolders, cgroupNames, cgroupPids, killCgroup, removeCgroup } from './cgroup.ts'
import { frozenBy } from './freezer.ts'
import { type OwnedProcess, startProcess } from './process.ts'

/** A folder that stands for /sys/fs/cgroup: the kernel's files are plain ones in it. */
let root: string
let victims: OwnedProcess[]
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'boxcar-cgroup-'))
  victims = []
})
afterEach(async () => {
  await Promise.all(victims.map(it => it.kill()))
  rmSync(root, { recursive: true, force: true })
})

function put(path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true })
  writeFileSync(join(root, path), text)
}
const get = (path: string) => readFileSync(join(root, path), 'utf8')

async function sleeper(): Promise<OwnedProcess> {
  const it = await startProcess({ name: 'sleeper', argv: ['sleep', '60'], logFile: '/dev/null' })
  victims.push(it)
  return it
}

describe.skipIf(process.platform !== 'linux')('version 1: a folder for each controller', () => {
  test('a group is thawed from the top down, and its processes are killed', async () => {
    const [outer, inner] = [await sleeper(), await sleeper()]
    put('freezer/boxcar-m1/freezer.state', 'FROZEN\n')
    put('freezer/boxcar-m1/cgroup.procs', `${outer.pid}\n`)
    put('freezer/boxcar-m1/c1/freezer.state', 'FROZEN\n')
    put('freezer/boxcar-m1/c1/cgroup.procs', `${inner.pid}\n`)
    put('memory/boxcar-m1/cgroup.procs', `${outer.pid}\n${inner.pid}\n`)
    put('freezer/other/freezer.state', 'FROZEN\n')
    expect(cgroupFolders('boxcar-m1', root)).toHaveLength(2)
    expect(cgroupNames(root)).toContain('boxcar-m1')
    expect([...cgroupPids('boxcar-m1', root)].sort()).toEqual([outer.pid, inner.pid].sort())
    killCgroup('boxcar-m1', root)
    expect(get('freezer/boxcar-m1/freezer.state')).toBe('THAWED')
    expect(get('freezer/boxcar-m1/c1/freezer.state')).toBe('THAWED')
    expect(get('freezer/other/freezer.state')).toBe('FROZEN\n')
    expect((await outer.exited).signal).toBe('SIGKILL')
    expect((await inner.exited).signal).toBe('SIGKILL')
  })

  test('a frozen process is told with the group that somebody froze, be it one above', () => {
    put('freezer/boxcar-m1/freezer.self_freezing', '1\n')
    put('freezer/boxcar-m1/c1/freezer.self_freezing', '0\n')
    put('proc/7/cgroup', '9:freezer:/boxcar-m1/c1\n4:memory:/boxcar-m1/c1\n0::/\n')
    const group = join(root, 'freezer/boxcar-m1')
    expect(frozenBy(7, join(root, 'proc'), root)).toEqual({
      group,
      command: `echo THAWED > ${group}/freezer.state`,
    })
    put('freezer/boxcar-m1/freezer.self_freezing', '0\n')
    expect(frozenBy(7, join(root, 'proc'), root)).toBeUndefined()
    expect(frozenBy(8, join(root, 'proc'), root)).toBeUndefined()
  })
})

describe.skipIf(process.platform !== 'linux')('version 2: one folder', () => {
  test('a group is thawed and told to kill all below it', () => {
    put('boxcar-m1/cgroup.freeze', '0\n')
    put('boxcar-m1/cgroup.kill', '')
    put('boxcar-m1/c1/cgroup.freeze', '1\n')
    put('boxcar-m1/c1/cgroup.kill', '')
    expect(cgroupFolders('boxcar-m1', root)).toEqual([join(root, 'boxcar-m1')])
    killCgroup('boxcar-m1', root)
    expect(get('boxcar-m1/c1/cgroup.freeze')).toBe('0')
    expect(get('boxcar-m1/cgroup.kill')).toBe('1')
  })

  test('before Linux 5.14 its processes are killed one by one', async () => {
    const it = await sleeper()
    put('boxcar-m1/cgroup.freeze', '1\n')
    put('boxcar-m1/c1/cgroup.procs', `${it.pid}\n`)
    killCgroup('boxcar-m1', root)
    expect(get('boxcar-m1/cgroup.freeze')).toBe('0')
    expect((await it.exited).signal).toBe('SIGKILL')
  })

  test.each(['', 'unified'])('a frozen process is told with its group (mounted at "%s")', mount => {
    put(join(mount, 'a/cgroup.freeze'), '1\n')
    put(join(mount, 'a/b/cgroup.freeze'), '0\n')
    put('proc/7/cgroup', '0::/a/b\n')
    const group = join(root, mount, 'a')
    expect(frozenBy(7, join(root, 'proc'), root)).toEqual({
      group,
      command: `echo 0 > ${group}/cgroup.freeze`,
    })
  })
})

test('a process that cannot be seen from here is 0 in the list, and nobody is sent a signal for it', () => {
  put('boxcar-m1/cgroup.procs', '0\n0\n')
  expect(cgroupPids('boxcar-m1', root)).toEqual([])
  // To process 0 would be to this test.
  killCgroup('boxcar-m1', root)
})

test('a group that stays is named', async () => {
  put('boxcar-m1/cgroup.procs', '')
  await expect(removeCgroup('boxcar-m1', 0, root)).rejects.toThrow(join(root, 'boxcar-m1'))
  expect(existsSync(join(root, 'boxcar-m1'))).toBe(true)
  await expect(removeCgroup('nothing', 0, root)).resolves.toBeUndefined()
})
