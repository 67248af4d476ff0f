import { expect, test } from 'vitest'
import { troubleLines } from '../exit.ts'
import { LeftBehind } from '../machine/residue.ts'
import { troubleOfLeft } from './left.ts'

const claim = { name: 'm1', subnet: '10.77.0', dir: '/tmp/m1', owner: { pid: 1, startTime: '1' } }

test('what could not be taken away is named, and how it can be', () => {
  const frozen = {
    what: 'process 12: sleep 60 (frozen in control group /sys/fs/cgroup/freezer/mine)',
    next: 'echo THAWED > /sys/fs/cgroup/freezer/mine/freezer.state',
  }
  const waiting = { what: 'process 13: cp (takes no signal while it waits in nfs_wait)' }
  const failures = [new LeftBehind(claim, [frozen, waiting], ['processes that do not end: 12, 13'])]
  expect(troubleLines(troubleOfLeft(failures).text)).toEqual([
    'Error: not everything could be taken away',
    '  Why: of machine m1 is left:',
    '       process 12: sleep 60 (frozen in control group /sys/fs/cgroup/freezer/mine)',
    '       process 13: cp (takes no signal while it waits in nfs_wait)',
    ' Next: echo THAWED > /sys/fs/cgroup/freezer/mine/freezer.state',
    '       then boxcar dev, once more: it takes away first what an earlier run left behind',
  ])
})

test('what has gone by the time of the look is told as the steps told it', () => {
  const failures = [new LeftBehind(claim, [], ['processes that do not end: 12']), new Error('disk full')]
  const { why, next } = troubleOfLeft(failures).text
  expect(why).toBe('of machine m1 is left:\nprocesses that do not end: 12\ndisk full')
  expect(next).toMatch(/^boxcar dev, once more/)
})
