import type { StoreStatus } from '@boxcar/store/store'
import { expect, test } from 'vitest'
import { etcdFindings } from './findings.ts'

type Member = StoreStatus['members'][number]

const member = (n: number, rest: Partial<Member> = {}): Member => ({
  endpoint: `http://10.0.0.${n}:2379`,
  version: '3.5.16',
  reachable: true,
  leader: n === 1,
  dbBytes: 0,
  cluster: 'c1',
  ...rest,
})
const away = { endpoint: 'http://10.0.0.3:2379', version: '', reachable: false, leader: false, dbBytes: 0 }

test.each<{ readonly name: string; readonly members: readonly Member[]; readonly fails: readonly RegExp[] }>([
  { name: 'three members of one cluster', members: [member(1), member(2), member(3)], fails: [] },
  { name: 'one of them away', members: [member(1), member(2), away], fails: [] },
  {
    name: 'three that each lead a cluster of their own',
    members: [1, 2, 3].map(n => member(n, { leader: true, cluster: `c${n}` })),
    fails: [/10\.0\.0\.1:2379 belongs to cluster c1 and leads it, .*10\.0\.0\.3:2379 belongs to cluster c3/],
  },
  {
    name: 'two that say they lead',
    members: [member(1), member(2, { leader: true }), member(3)],
    fails: [/10\.0\.0\.1:2379 and http:\/\/10\.0\.0\.2:2379 say both that they lead/],
  },
  {
    name: 'nobody leads',
    members: [1, 2, 3].map(n => member(n, { leader: false })),
    fails: [/no member leads/],
  },
])('etcd: $name', ({ members, fails }) => {
  const found = etcdFindings({ kind: 'etcd', endpoints: members.map(it => it.endpoint), members })
  const failed = found.filter(it => it.result === 'fail')
  expect(failed).toHaveLength(fails.length)
  for (const [i, pattern] of fails.entries()) expect(failed[i]?.found).toMatch(pattern)
})
