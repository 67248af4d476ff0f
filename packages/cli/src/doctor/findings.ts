/** What `boxcar doctor` looks at. Each look finds something in any case: that is what it is for. */
import { existsSync } from 'node:fs'
import { statfs } from 'node:fs/promises'
import { request } from 'node:http'
import { createServer } from 'node:net'
import { dirname } from 'node:path'
import { recordProblem } from '@boxcar/store/cluster'
import { living } from '@boxcar/store/collection'
import { type ClusterRecord, clusters, type LeaderRecord, leaders } from '@boxcar/store/keys'
import { isOlder, storeProblems } from '@boxcar/store/problems'
import {
  type Listing,
  type Store,
  type StoreMember,
  type StoreStatus,
  StoreUnavailable,
} from '@boxcar/store/store'
import { openStore } from '../etcd.ts'
import { Trouble } from '../exit.ts'
import { tryRun } from '../machine/command.ts'
import { remedyOf, type Settings } from '../settings.ts'

export interface Finding {
  readonly check: string
  readonly result: 'ok' | 'warn' | 'fail'
  readonly found: string
  /** What to do about it; each line is a step. */
  readonly todo?: string
}

export async function lookAtNode(system: string, uid: number | undefined): Promise<readonly Finding[]> {
  const version = process.versions.node
  const node: Finding = isOlder(version, '24.0.0')
    ? {
        check: 'node',
        result: 'fail',
        found: version,
        todo: 'use Node 24 or newer (./boxcar in the clone brings its own)',
      }
    : { check: 'node', result: 'ok', found: version }
  if (system !== 'linux') {
    const todo = 'agents and boxcar dev run on Linux only'
    return [node, { check: 'system', result: 'fail', found: system, todo }]
  }
  const user: Finding =
    uid === 0
      ? { check: 'user', result: 'ok', found: 'root on Linux' }
      : {
          check: 'user',
          result: 'warn',
          found: `uid ${uid ?? 'unknown'} on Linux`,
          todo: 'boxcar dev with hosts of their own needs root; without it, it uses the engine that runs',
        }
  return [node, user]
}

/** The engine answers, and is new enough. */
export async function lookAtDocker(settings: Settings): Promise<readonly Finding[]> {
  const check = 'docker'
  const engine = settings.docker
  const answer = await askEngine(engine, '/version')
  if (answer.kind === 'silent') {
    return [
      {
        check,
        result: 'fail',
        found: `${engine}: ${answer.why}`,
        todo: `install and start Docker (apt-get install docker.io; systemctl start docker), or ${remedyOf(settings, 'docker')}; boxcar dev as root starts engines of its own`,
      },
    ]
  }
  const { Version: version, ApiVersion: api, Arch: arch } = answer.body
  const found = `${engine}: ${String(version)} (API ${String(api)}, ${String(arch)})`
  return isOlder(String(version), '20.10.0')
    ? [{ check, result: 'fail', found, todo: 'use Docker 20.10 or newer' }]
    : [{ check, result: 'ok', found }]
}

type EngineAnswer =
  | { readonly kind: 'answer'; readonly body: Readonly<Record<string, unknown>> }
  | { readonly kind: 'silent'; readonly why: string }

function askEngine(engine: string, path: string): Promise<EngineAnswer> {
  const socketPath = /^unix:\/\/(.+)$/.exec(engine)?.[1]
  const url = socketPath === undefined ? engine.replace(/^tcp:/, 'http:') + path : `http://engine${path}`
  if (!URL.canParse(url)) return Promise.resolve({ kind: 'silent', why: 'not the address of an engine' })
  return new Promise(resolve => {
    const sent = request(
      url,
      { timeout: 3_000, ...(socketPath === undefined ? {} : { socketPath }) },
      response => {
        let text = ''
        response.setEncoding('utf8').on('data', (piece: string) => {
          text += piece
        })
        response.on('end', () => {
          try {
            const body: unknown = JSON.parse(text)
            const isObject = typeof body === 'object' && body !== null && !Array.isArray(body)
            resolve(
              isObject
                ? { kind: 'answer', body: { ...body } }
                : { kind: 'silent', why: 'no Docker engine answers there' },
            )
          } catch {
            resolve({ kind: 'silent', why: 'no Docker engine answers there' })
          }
        })
      },
    )
    sent.on('timeout', () => sent.destroy(new Error('no answer within 3 s')))
    sent.on('error', error => resolve({ kind: 'silent', why: error.message }))
    sent.end()
  })
}

/** Members answer, are one cluster with one leader, are new enough, and have room. */
export async function lookAtEtcd(settings: Settings): Promise<readonly Finding[]> {
  try {
    const store = await openStore(settings)
    try {
      const status = await store.status()
      return [...etcdFindings(status), ...(await lookAtCluster(store, status, settings.cluster))]
    } finally {
      await store.close()
    }
  } catch (error) {
    if (!(error instanceof Trouble)) throw error
    const found = `${error.text.what}: ${error.text.why}`
    return [{ check: 'etcd', result: 'fail', found, todo: error.text.next }]
  }
}

export function etcdFindings(status: StoreStatus): readonly Finding[] {
  const check = 'etcd'
  const members = status.members.filter(it => it.reachable).map(memberFinding)
  const problems = storeProblems(status).map(
    ({ level, message, next }): Finding => ({
      check,
      result: level === 'fail' ? 'fail' : 'warn',
      found: message,
      todo: next.join('\n'),
    }),
  )
  return [...members, ...problems]
}

function memberFinding(it: StoreMember): Finding {
  const quota = it.quotaBytes === undefined ? '' : ` of ${mib(it.quotaBytes)}`
  const found = `${it.endpoint}: ${it.version}, ${mib(it.dbBytes)}${quota}${it.leader ? ', leads' : ''}`
  return { check: 'etcd', result: 'ok', found }
}

const mib = (bytes: number): string => `${Math.ceil(bytes / 1024 / 1024)} MiB`

/** The record of the cluster, and who leads, where the store lets us read them. */
async function lookAtCluster(
  store: Store,
  { endpoints }: StoreStatus,
  name: string,
): Promise<readonly Finding[]> {
  try {
    const [records, leader] = await Promise.all([store.list(clusters), store.list(leaders)])
    return clusterFindings({ name, endpoints, records, leader })
  } catch (error) {
    if (error instanceof StoreUnavailable) return [] // what is the matter is told above
    throw error
  }
}

export function clusterFindings({
  name,
  endpoints,
  records,
  leader,
}: {
  readonly name: string
  readonly endpoints: readonly string[]
  readonly records: Listing<string, ClusterRecord>
  readonly leader: Listing<string, LeaderRecord>
}): readonly Finding[] {
  const check = `cluster ${name}`
  const seen = { record: records.entries[0]?.value, unreadable: records.unreadable[0]?.reason }
  const problem = recordProblem(seen, { name, endpoints })
  if (problem !== undefined)
    return [{ check, result: 'fail', found: problem.message, todo: problem.next.join('\n') }]
  if (seen.record === undefined)
    return [{ check, result: 'ok', found: 'not in this store yet: its first server makes it' }]
  const record: Finding = { check, result: 'ok', found: `uid ${seen.record.uid}, epoch ${seen.record.epoch}` }
  return [record, leaderFinding(check, leader)]
}

function leaderFinding(check: string, { entries, unreadable }: Listing<string, LeaderRecord>): Finding {
  const [entry] = entries
  const leads = living(entry)
  if (leads !== undefined)
    return { check, result: 'ok', found: `the scheduler at ${leads.value.address} leads` }
  const odd =
    entry !== undefined || unreadable.length > 0
      ? ': the leader record has no lease or cannot be read, and candidates take it over'
      : ''
  return {
    check,
    result: 'warn',
    found: `no scheduler leads${odd}`,
    todo: 'see that a boxcar server runs and reaches etcd; boxcar events and its log say what keeps it from leading',
  }
}

/** The proxy that each host runs. */
export async function lookAtProxy(program: string): Promise<readonly Finding[]> {
  const check = 'haproxy'
  const end = await tryRun([program, '-v'], { timeoutMs: 5_000 })
  if (end.status !== 0) {
    return [
      {
        check,
        result: 'fail',
        found: `${program} cannot be run: ${end.stderr.trim() || `status ${end.status}`}`,
        todo: 'apt-get install haproxy, or name it with --haproxy',
      },
    ]
  }
  const version = /version (\d+\.\d+(?:\.\d+)?)/.exec(end.stdout)?.[1] ?? 'unknown'
  const full = /^\d+\.\d+$/.test(version) ? `${version}.0` : version
  return isOlder(full, '2.6.0')
    ? [{ check, result: 'fail', found: version, todo: 'use HAProxy 2.6 or newer' }]
    : [{ check, result: 'ok', found: version }]
}

/** Ports that the processes take by default. One in use is fine where Boxcar itself has it. */
export async function lookAtPorts(): Promise<readonly Finding[]> {
  const ports = [
    { port: 7070, what: 'the API' },
    { port: 7071, what: 'the agent' },
    { port: 80, what: 'routes of services that listen on 80' },
  ]
  return Promise.all(
    ports.map(async ({ port, what }): Promise<Finding> => {
      const check = `port ${port}`
      const answer = await tryListen(port)
      if (answer === 'free') return { check, result: 'ok', found: `free, for ${what}` }
      if (answer === 'EADDRINUSE')
        return {
          check,
          result: 'warn',
          found: `in use, wanted for ${what}`,
          todo: `fine if it is Boxcar's own; else see who has it: ss -ltnp 'sport = :${port}'`,
        }
      return {
        check,
        result: 'warn',
        found: `cannot be bound: ${answer}`,
        todo: `needed only for ${what}; ports below 1024 need root`,
      }
    }),
  )
}

function tryListen(port: number): Promise<string> {
  return new Promise(resolve => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve('free')))
  })
}

/** Nothing is decided by the wall clock, but logs and events are read by it, and certificates hang on it. */
export async function lookAtClock(): Promise<readonly Finding[]> {
  const check = 'clock'
  const year = new Date().getFullYear()
  if (year < 2024)
    return [
      {
        check,
        result: 'fail',
        found: `it says ${new Date().toISOString()}`,
        todo: 'set the clock, and keep it with chrony or systemd-timesyncd',
      },
    ]
  const end = await tryRun(['timedatectl', 'show', '--property=NTPSynchronized', '--value'], {
    timeoutMs: 3_000,
  })
  const said = end.stdout.trim()
  if (end.status !== 0 || said === '')
    return [{ check, result: 'ok', found: `${new Date().toISOString()} (who keeps it is not known here)` }]
  return said === 'yes'
    ? [{ check, result: 'ok', found: 'kept in step over the network' }]
    : [
        {
          check,
          result: 'warn',
          found: 'not kept in step over the network',
          todo: 'apt-get install chrony, or timedatectl set-ntp true',
        },
      ]
}

/** Room where the agent keeps its state and the engine its images. */
export async function lookAtDisk(stateDir: string): Promise<readonly Finding[]> {
  return Promise.all(
    [
      { check: 'disk, agent', dir: stateDir, leastMiB: 100 },
      { check: 'disk, docker', dir: '/var/lib/docker', leastMiB: 2_048 },
    ].map(async ({ check, dir, leastMiB }): Promise<Finding> => {
      const there = nearestFolder(dir)
      const { bavail, bsize } = await statfs(there)
      const freeMiB = Math.floor((bavail * bsize) / 1024 / 1024)
      const found = `${there}: ${freeMiB} MiB free`
      return freeMiB < leastMiB
        ? { check, result: 'warn', found, todo: `keep at least ${leastMiB} MiB free there` }
        : { check, result: 'ok', found }
    }),
  )
}

function nearestFolder(dir: string): string {
  let here = dir
  while (!existsSync(here) && dirname(here) !== here) here = dirname(here)
  return here
}
