import { expect, test } from 'vitest'
import { capacityOf } from './capacity.ts'

const info = {
  id: 'x',
  version: '20.10.24',
  cpuMilli: 4000,
  memoryMiB: 8000,
  rootDir: '/',
  os: 'linux',
  arch: 'amd64',
}

test.each([
  [
    { cpuMilli: 0, memoryMiB: 0 },
    { cpuMilli: 4000, memoryMiB: 8000 },
  ],
  [
    { cpuMilli: 500, memoryMiB: 512 },
    { cpuMilli: 3500, memoryMiB: 7488 },
  ],
  [
    { cpuMilli: 5000, memoryMiB: 9000 },
    { cpuMilli: 0, memoryMiB: 0 },
  ],
])('a reserve of %o leaves %o', (reserve, left) => {
  expect(capacityOf(info, reserve)).toEqual({ ...left, engineVersion: '20.10.24' })
})
