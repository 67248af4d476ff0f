/**
 * What is the matter with the store, from what its members say of themselves: each problem with the level that it has, and
 * the commands that mend it, ready to be run. Every screen (`status`, `doctor`, `/v1/cluster`, `/readyz`) shows these.
 */
import type { StoreMember, StoreStatus } from './store.ts'

export interface StoreProblem {
  readonly kind:
    | 'cluster-record'
    | 'newer-schema'
    | 'full'
    | 'corrupt'
    | 'alarm'
    | 'two-clusters'
    | 'two-leaders'
    | 'no-leader'
    | 'cut-off'
    | 'unreachable'
    | 'lagging'
    | 'learner'
    | 'near-quota'
    | 'old-version'
    | 'two-members'
  /** fail: something does not work now. warn: it may stop to. advice: it works, and would work better otherwise. */
  readonly level: 'fail' | 'warn' | 'advice'
  /** Of the member that it is about; left out where it is about all of them. */
  readonly endpoint?: string
  /** One sentence. */
  readonly message: string
  /** What to do, in order; commands are written as they are to be run. */
  readonly next: readonly string[]
}

/** Older ones may revoke leases of living holders after a pause of their leader (etcd-io/etcd#15247). */
export const recommendedEtcd = '3.5.13'
/** etcd's own default, where a member does not tell its quota. */
const usualQuotaBytes = 2 * 1024 ** 3
/** The most that etcd recommends. */
const largestQuotaBytes = 8 * 1024 ** 3
/** Above this part of the quota there is a warning. */
const nearQuota = 0.8
/** The members answer at slightly different moments, so that a busy store shows some difference; etcd itself refuses requests at 5000. */
const laggingEntries = 2000

/** In the order in which they should be looked at. */
export function storeProblems(status: StoreStatus): readonly StoreProblem[] {
  return [
    ...alarms(status),
    ...clusters(status),
    ...leadership(status),
    ...status.members.flatMap(member => ofMember(member, status)),
    ...(status.members.length === 2 ? [twoMembers] : []),
  ]
}

/** Whether nothing can be written for as long as the problem stands. */
export const refusesWrites = ({ kind }: StoreProblem): boolean =>
  kind === 'full' || kind === 'corrupt' || kind === 'no-leader'

function alarms(status: StoreStatus): readonly StoreProblem[] {
  return [...new Set((status.alarms ?? []).map(({ kind }) => kind))].sort().map(kind => {
    const where = (status.alarms ?? []).filter(it => it.kind === kind).map(it => it.endpoint)
    if (kind === 'NOSPACE') return full(status, where)
    if (kind === 'CORRUPT') return corrupt(status, where)
    return {
      kind: 'alarm',
      level: 'fail',
      message: `etcd has raised the alarm ${kind} (${where.join(', ')})`,
      next: [`${etcdctl(status)} alarm list`],
    }
  })
}

function full(status: StoreStatus, where: readonly string[]): StoreProblem {
  const member = status.members.find(it => it.endpoint === where[0]) ?? status.members[0]
  const quota = member?.quotaBytes ?? usualQuotaBytes
  const [size, inUse] = [member?.dbBytes ?? 0, member?.dbBytesInUse]
  const used = inUse === undefined ? '' : `, ${mib(inUse)} in use`
  const larger = largerQuota(quota)
  return {
    kind: 'full',
    level: 'fail',
    message: `the store is full (alarm NOSPACE on ${where.join(', ')}: ${mib(size)} of a quota of ${mib(quota)}${used}): every write is refused, and what runs goes on`,
    next: [
      `${etcdctl(status)} compact ${status.revision ?? 'REVISION'}`,
      `${etcdctl(status)} defrag`,
      `${etcdctl(status)} alarm disarm`,
      `so that it does not come again: start every member with --auto-compaction-retention=1${
        larger === undefined ? '' : ` and --quota-backend-bytes=${larger} (now ${quota})`
      }`,
    ],
  }
}

function corrupt(status: StoreStatus, where: readonly string[]): StoreProblem {
  return {
    kind: 'corrupt',
    level: 'fail',
    message: `a member's data differ from the others' (alarm CORRUPT on ${where.join(', ')}): etcd refuses reads and writes, and what runs goes on`,
    next: [
      `${etcdctl(status)} endpoint hashkv --write-out=table`,
      'stop the member whose hash differs, remove it (etcdctl member remove), clear its data folder, and add it again (etcdctl member add)',
      `${etcdctl(status)} alarm disarm`,
    ],
  }
}

/** Endpoints that are no members of one cluster: each would take writes that the others never hear of. */
function clusters({ members }: StoreStatus): readonly StoreProblem[] {
  const ids = new Set(members.flatMap(it => it.cluster ?? []))
  if (ids.size <= 1) return []
  const each = members
    .filter(it => it.cluster !== undefined)
    .map(it => `${it.endpoint} belongs to cluster ${it.cluster}${it.leader ? ' and leads it' : ''}`)
  return [
    {
      kind: 'two-clusters',
      level: 'fail',
      message: `${each.join(', ')}: each takes writes that the others never hear of`,
      next: [
        'stop etcd on each, clear its data folder, configure it, and start it: docs/three-machines.md, part 2',
      ],
    },
  ]
}

function leadership({ members }: StoreStatus): readonly StoreProblem[] {
  const leaders = members.filter(it => it.leader)
  const isOneCluster = new Set(members.flatMap(it => it.cluster ?? [])).size <= 1
  if (leaders.length > 1 && isOneCluster)
    return [
      {
        kind: 'two-leaders',
        level: 'fail',
        message: `${leaders.map(it => it.endpoint).join(' and ')} say both that they lead`,
        next: ['look again in a moment; if it stays so, see their logs'],
      },
    ]
  const reached = members.filter(it => it.reachable)
  // A leader that is not among the endpoints leads all the same: its followers know it.
  const isLed = leaders.length > 0 || reached.some(it => it.hasLeader === true)
  return isLed || reached.length === 0 || (reached.length < members.length && !reached.every(knowsNoLeader))
    ? []
    : [
        {
          kind: 'no-leader',
          level: 'fail',
          message: 'no member leads: nothing can be read for certain or written, and what runs goes on',
          next: ['bring back enough members for a majority'],
        },
      ]
}

const knowsNoLeader = (member: StoreMember): boolean => member.hasLeader === false

function ofMember(member: StoreMember, status: StoreStatus): readonly StoreProblem[] {
  const { endpoint } = member
  if (!member.reachable)
    return [
      {
        kind: 'unreachable',
        level: status.members.some(it => it.reachable) ? 'warn' : 'fail',
        endpoint,
        message: `${endpoint} does not answer`,
        next: ['start etcd there, or name others with --etcd (apt-get install etcd-server)'],
      },
    ]
  return [
    ...version(member),
    ...quota(member, status),
    ...(member.learner === true ? [learner(endpoint, status)] : []),
    ...lag(member, status),
    ...(knowsNoLeader(member) && status.members.some(it => it.leader) ? [cutOff(endpoint)] : []),
  ]
}

function version({ endpoint, version }: StoreMember): readonly StoreProblem[] {
  if (!isOlder(version, recommendedEtcd)) return []
  return isOlder(version, '3.4.0')
    ? [
        {
          kind: 'old-version',
          level: 'fail',
          endpoint,
          message: `${endpoint} runs etcd ${version}, which is not supported`,
          next: [`use etcd ${recommendedEtcd} or newer`],
        },
      ]
    : [
        {
          kind: 'old-version',
          level: 'advice',
          endpoint,
          message: `${endpoint} runs etcd ${version}`,
          next: [
            `etcd ${recommendedEtcd} or newer is recommended: older ones may revoke leases of living holders after a pause of their leader`,
          ],
        },
      ]
}

function quota({ endpoint, dbBytes, dbBytesInUse, quotaBytes }: StoreMember, status: StoreStatus) {
  const quota = quotaBytes ?? usualQuotaBytes
  if ((status.alarms ?? []).some(it => it.kind === 'NOSPACE') || dbBytes <= nearQuota * quota) return []
  const larger = largerQuota(quota)
  const raise = larger === undefined ? [] : [`or start it with --quota-backend-bytes=${larger}`]
  const used = dbBytesInUse === undefined ? '' : `, ${mib(dbBytesInUse)} in use`
  const problem: StoreProblem = {
    kind: 'near-quota',
    level: 'warn',
    endpoint,
    message: `the database of ${endpoint} is close to its quota: ${mib(dbBytes)} of ${mib(quota)}${used}; at the quota every write is refused`,
    next: [
      `${etcdctl(status)} compact ${status.revision ?? 'REVISION'}`,
      `${etcdctl(status, endpoint)} defrag`,
      ...raise,
    ],
  }
  return [problem]
}

const learner = (endpoint: string, status: StoreStatus): StoreProblem => ({
  kind: 'learner',
  level: 'warn',
  endpoint,
  message: `${endpoint} is a learner: it has no vote, and serves nobody`,
  next: [
    `when it has caught up: ${etcdctl(status)} member promote ID (${etcdctl(status)} member list)`,
    'or leave it out of --etcd',
  ],
})

function lag({ endpoint, raftIndex, raftAppliedIndex }: StoreMember, status: StoreStatus) {
  if (raftIndex === undefined) return []
  const newest = Math.max(...status.members.map(it => it.raftIndex ?? 0))
  const behind = newest - Math.min(raftIndex, raftAppliedIndex ?? raftIndex)
  if (behind <= laggingEntries) return []
  const problem: StoreProblem = {
    kind: 'lagging',
    level: 'warn',
    endpoint,
    message: `${endpoint} lags: it is ${behind} entries behind the others`,
    next: [
      'see its log and its disk (a slow disk is the usual reason), and its link to the others on port 2380',
    ],
  }
  return [problem]
}

const cutOff = (endpoint: string): StoreProblem => ({
  kind: 'cut-off',
  level: 'warn',
  endpoint,
  message: `${endpoint} knows no leader, while another member leads`,
  next: ['see its log, and its link to the others on port 2380'],
})

const twoMembers: StoreProblem = {
  kind: 'two-members',
  level: 'advice',
  message: '2 members',
  next: ['use 1, 3 or 5 members: 2 stop when either stops'],
}

/** The command with the addresses of these members. */
export function etcdctl({ endpoints }: Pick<StoreStatus, 'endpoints'>, only?: string): string {
  const tls = endpoints.some(it => it.startsWith('https:')) ? ' --cacert=FILE --cert=FILE --key=FILE' : ''
  return `etcdctl --endpoints=${only ?? endpoints.join(',')}${tls}`
}

function largerQuota(bytes: number): number | undefined {
  const larger = Math.min(2 * Math.max(bytes, usualQuotaBytes / 2), largestQuotaBytes)
  return larger > bytes ? larger : undefined
}

const mib = (bytes: number): string => `${Math.ceil(bytes / 1024 / 1024)} MiB`

/** Compares the numbers of versions such as `3.4.23` and `3.5.0-rc.1`. */
export function isOlder(version: string, than: string): boolean {
  const [a, b] = [version, than].map(text =>
    (/^\d+\.\d+\.\d+/.exec(text)?.[0] ?? '0.0.0').split('.').map(Number),
  )
  for (let i = 0; i < 3; i += 1) {
    const difference = (a?.[i] ?? 0) - (b?.[i] ?? 0)
    if (difference !== 0) return difference < 0
  }
  return false
}
