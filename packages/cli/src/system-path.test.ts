import { expect, test } from 'vitest'
import { systemPath } from './system-path.ts'

test.each([
  [
    'a plain user of Debian',
    '/usr/local/bin:/usr/bin',
    '/usr/local/bin:/usr/bin:/usr/local/sbin:/usr/sbin:/sbin',
  ],
  ['root', '/usr/sbin:/usr/bin:/sbin', '/usr/sbin:/usr/bin:/sbin:/usr/local/sbin'],
  ['nobody', undefined, '/usr/local/sbin:/usr/sbin:/sbin'],
])('the programs of root are on the PATH of %s, last', (_who, path, wanted) => {
  expect(systemPath(path)).toBe(wanted)
})
