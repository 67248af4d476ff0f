import type { ClusterRecord, LeaderRecord } from '@boxcar/store/keys'
import type { Entry, LeaseId, Listing, Revision, StoreStatus } from '@boxcar/store/store'
import { expect, test } from 'vitest'
import { clusterFindings, etcdFindings } from './findings.ts'

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

test('a full store and an old member: what is the matter, and each step that mends it', () => {
  const members = [member(1, { version: '3.4.23' })]
  const endpoints = members.map(it => it.endpoint)
  const alarms = [{ kind: 'NOSPACE', endpoint: endpoints[0] ?? '' }]
  const found = etcdFindings({ kind: 'etcd', endpoints, members, alarms, revision: '9' as Revision })
  expect(found.map(it => it.result)).toEqual(['ok', 'fail', 'warn'])
  expect(found[1]?.found).toMatch(/^the store is full \(alarm NOSPACE/)
  expect(found[1]?.todo?.split('\n')).toEqual([
    'etcdctl --endpoints=http://10.0.0.1:2379 compact 9',
    'etcdctl --endpoints=http://10.0.0.1:2379 defrag',
    'etcdctl --endpoints=http://10.0.0.1:2379 alarm disarm',
    expect.stringContaining('--quota-backend-bytes='),
  ])
})

const listing = <Value>(value: Value | undefined, rest: { lease?: string; unreadable?: string } = {}) => {
  const entry = (of: Value): Entry<string, Value> => ({
    id: 'self',
    value: of,
    created: '1' as Revision,
    modified: '1' as Revision,
    lease: rest.lease as LeaseId | undefined,
  })
  const found: Listing<string, Value> = {
    revision: '1' as Revision,
    entries: value === undefined ? [] : [entry(value)],
    unreadable:
      rest.unreadable === undefined ? [] : [{ collection: 'c', key: 'c/self', reason: rest.unreadable }],
  }
  return found
}
const record: ClusterRecord = { uid: 'u', epoch: 1, schema: 1, secret: 'secret' }
const leads: LeaderRecord = { address: 'http://10.0.0.1:7070', token: 't' }

test.each<{
  name: string
  records: Listing<string, ClusterRecord>
  leader: Listing<string, LeaderRecord>
  found: readonly string[]
}>([
  {
    name: 'led',
    records: listing(record),
    leader: listing(leads, { lease: '7' }),
    found: ['ok uid u, epoch 1', 'ok the scheduler at http://10.0.0.1:7070 leads'],
  },
  {
    name: 'copied with its leader record',
    records: listing(record),
    leader: listing(leads),
    found: [
      'ok uid u, epoch 1',
      'warn no scheduler leads: the leader record has no lease or cannot be read, and candidates take it over',
    ],
  },
  {
    name: 'without a leader',
    records: listing(record),
    leader: listing<LeaderRecord>(undefined),
    found: ['ok uid u, epoch 1', 'warn no scheduler leads'],
  },
  {
    name: 'not there yet',
    records: listing<ClusterRecord>(undefined),
    leader: listing<LeaderRecord>(undefined),
    found: ['ok not in this store yet: its first server makes it'],
  },
  {
    name: 'whose record cannot be read',
    records: listing<ClusterRecord>(undefined, { unreadable: 'not JSON' }),
    leader: listing(leads, { lease: '7' }),
    found: ['fail cluster/self cannot be read (not JSON): agents go on with what runs and take no new work'],
  },
])('a cluster $name', ({ records, leader, found }) => {
  const findings = clusterFindings({ name: 'prod', endpoints: ['http://10.0.0.1:2379'], records, leader })
  expect(findings.map(it => `${it.result} ${it.found}`)).toEqual(found)
  for (const { result, todo } of findings) expect(todo === undefined).toBe(result === 'ok')
  expect(JSON.stringify(findings)).not.toContain('secret')
})
