import { expect, test } from 'vitest'
import { quotaIn } from './quota.ts'
import { alarmsIn } from './store.ts'

test.each([
  ['# HELP x\netcd_server_quota_backend_bytes 2.147483648e+09\nother 1\n', 2_147_483_648],
  ['etcd_server_quota_backend_bytes 0\n', undefined],
  ['<html>not metrics</html>', undefined],
])('the quota among the metrics of a member (%#)', (text, bytes) => {
  expect(quotaIn(text)).toBe(bytes)
})

test('alarms are told by every member, and counted once each', () => {
  const errors = ['memberID:10501334649042878790 alarm:NOSPACE ', 'etcdserver: no leader']
  expect(alarmsIn([{ errors }, { errors: [...errors, 'memberID:7 alarm:CORRUPT '] }])).toEqual([
    { kind: 'NOSPACE', member: '10501334649042878790' },
    { kind: 'CORRUPT', member: '7' },
  ])
})
