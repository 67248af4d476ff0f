import { expect, test } from 'vitest'
import { Trouble } from '../exit.ts'
import { needLinux } from '../linux.ts'
import { needPrograms } from './programs.ts'

test('every missing program is named, with where it comes from and a next step', () => {
  const missing = troubleOf(() => needPrograms(['etcd', 'haproxy'], '/nonexistent'))
  expect(missing.why).toBe(
    'etcd is not there; Debian has it in etcd-server\nhaproxy is not there; Debian has it in haproxy',
  )
  expect(missing.next).toContain('npm start')
})

test('nothing is said of what is there', () => {
  expect(() => needPrograms([], '/nonexistent')).not.toThrow()
})

test('off Linux one sentence says so', () => {
  expect(() => needLinux('boxcar dev', 'linux')).not.toThrow()
  expect(troubleOf(() => needLinux('boxcar dev', 'darwin'))).toMatchObject({
    what: 'boxcar dev runs on Linux only',
    why: 'this is darwin',
  })
})

function troubleOf(act: () => void): Trouble['text'] {
  try {
    act()
  } catch (error) {
    if (error instanceof Trouble) return error.text
    throw error
  }
  throw new Error('nothing was refused')
}
