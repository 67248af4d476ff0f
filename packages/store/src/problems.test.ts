import { describe, expect, test } from 'vitest'
import { refusesWrites, type StoreProblem, storeProblems } from './problems.ts'
import type { Revision, StoreMember, StoreStatus } from './store.ts'

const mib = 1024 ** 2
const url = (n: number) => `http://10.0.0.${n}:2379`
const member = (n: number, says: Partial<StoreMember> = {}): StoreMember => ({
  endpoint: url(n),
  version: '3.5.16',
  reachable: true,
  leader: n === 1,
  dbBytes: 5 * mib,
  cluster: 'c1',
  dbBytesInUse: 3 * mib,
  quotaBytes: 2048 * mib,
  raftIndex: 90_000,
  raftAppliedIndex: 90_000,
  hasLeader: true,
  learner: false,
  ...says,
})
const away = (n: number): StoreMember => ({
  endpoint: url(n),
  version: '',
  reachable: false,
  leader: false,
  dbBytes: 0,
})
const problems = (members: readonly StoreMember[], rest: Partial<StoreStatus> = {}) =>
  storeProblems({
    kind: 'etcd',
    endpoints: members.map(it => it.endpoint),
    members,
    revision: '4711' as Revision,
    ...rest,
  })
const three = [member(1), member(2), member(3)]
const brief = ({ kind, level, endpoint }: StoreProblem) =>
  [kind, level, endpoint].filter(it => it !== undefined).join(' ')

test('three members that are well have none', () => {
  expect(problems(three)).toEqual([])
})

test.each<{ name: string; members: readonly StoreMember[]; found: readonly string[] }>([
  { name: 'away', members: [member(1), member(2), away(3)], found: [`unreachable warn ${url(3)}`] },
  { name: 'the only one away', members: [away(1)], found: [`unreachable fail ${url(1)}`] },
  {
    name: 'without a majority',
    members: [member(1, { leader: false, hasLeader: false }), away(2), away(3)],
    found: ['no-leader fail', `unreachable warn ${url(2)}`, `unreachable warn ${url(3)}`],
  },
  {
    name: 'whose leader is not among the endpoints',
    members: [member(2), member(3)],
    found: ['two-members advice'],
  },
  {
    name: 'one that was cut off from the others',
    members: [member(1), member(2), member(3, { hasLeader: false })],
    found: [`cut-off warn ${url(3)}`],
  },
  {
    name: 'one that lags',
    members: [member(1), member(2), member(3, { raftIndex: 80_000, raftAppliedIndex: 80_000 })],
    found: [`lagging warn ${url(3)}`],
  },
  {
    name: 'one that has not applied what it has',
    members: [member(1), member(2), member(3, { raftAppliedIndex: 87_000 })],
    found: [`lagging warn ${url(3)}`],
  },
  {
    name: 'one a few entries behind, as a busy store has it',
    members: [member(1), member(2), member(3, { raftIndex: 89_000, raftAppliedIndex: 89_000 })],
    found: [],
  },
  {
    name: 'a learner',
    members: [member(1), member(2), member(3, { learner: true })],
    found: [`learner warn ${url(3)}`],
  },
  {
    name: 'one close to its quota',
    members: [member(1), member(2), member(3, { dbBytes: 1700 * mib })],
    found: [`near-quota warn ${url(3)}`],
  },
  {
    name: "one close to etcd's own quota, where it tells none",
    members: [{ endpoint: url(1), version: '3.5.16', reachable: true, leader: true, dbBytes: 1700 * mib }],
    found: [`near-quota warn ${url(1)}`],
  },
  {
    name: 'an old one',
    members: [member(1, { version: '3.4.23' })],
    found: [`old-version advice ${url(1)}`],
  },
  {
    name: 'a very old one',
    members: [member(1, { version: '3.3.9' })],
    found: [`old-version fail ${url(1)}`],
  },
  {
    name: 'clusters of their own',
    members: [member(1), member(2, { leader: true, cluster: 'c2' }), member(3)],
    found: ['two-clusters fail'],
  },
  {
    name: 'two that say they lead',
    members: [member(1), member(2, { leader: true }), member(3)],
    found: ['two-leaders fail'],
  },
])('members: $name', ({ members, found }) => {
  expect(problems(members).map(brief)).toEqual(found)
  for (const { message, next } of problems(members)) {
    expect(message).not.toMatch(/undefined|NaN/)
    expect(next.length).toBeGreaterThan(0)
  }
})

describe('alarms', () => {
  const full = { alarms: [{ kind: 'NOSPACE', endpoint: url(2) }] }
  const members = [member(1), member(2, { dbBytes: 16 * mib, quotaBytes: 16 * mib }), member(3)]

  test('a full store: which member, how full, and the commands that mend it, as they are to be run', () => {
    const [problem] = problems(members, full)
    const etcdctl = `etcdctl --endpoints=${url(1)},${url(2)},${url(3)}`
    expect(problem).toMatchObject({ kind: 'full', level: 'fail' })
    expect(problem?.message).toContain(`NOSPACE on ${url(2)}: 16 MiB of a quota of 16 MiB, 3 MiB in use`)
    expect(problem?.next).toEqual([
      `${etcdctl} compact 4711`,
      `${etcdctl} defrag`,
      `${etcdctl} alarm disarm`,
      `so that it does not come again: start every member with --auto-compaction-retention=1 and --quota-backend-bytes=${2048 * mib} (now ${16 * mib})`,
    ])
    expect(problem === undefined ? false : refusesWrites(problem)).toBe(true)
  })

  test('over TLS the commands take the files that they need', () => {
    const secure = { endpoint: 'https://10.0.0.1:2379' }
    const [problem] = problems([member(1, secure)], { alarms: [{ kind: 'NOSPACE', ...secure }] })
    expect(problem?.next[1]).toBe(
      'etcdctl --endpoints=https://10.0.0.1:2379 --cacert=FILE --cert=FILE --key=FILE defrag',
    )
  })

  test('the largest quota is not raised', () => {
    const most = [member(1, { dbBytes: 8192 * mib, quotaBytes: 8192 * mib })]
    const [problem] = problems(most, { alarms: [{ kind: 'NOSPACE', endpoint: url(1) }] })
    expect(problem?.next.at(-1)).not.toContain('quota-backend-bytes')
  })

  test('corrupt data, and an alarm of a later etcd, are told as well', () => {
    const alarms = [
      { kind: 'CORRUPT', endpoint: url(3) },
      { kind: 'SOMETHING', endpoint: url(1) },
    ]
    expect(problems(three, { alarms }).map(brief)).toEqual(['corrupt fail', 'alarm fail'])
    expect(problems(three, { alarms })[0]?.message).toContain(`CORRUPT on ${url(3)}`)
  })
})
