/** The stores that the contract suite runs against, each with the faults that can be ordered. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { pauseProcess } from '@boxcar/cli/machine/process'
import { openEtcdStore } from '@boxcar/store/etcd/store'
import { MemoryEtcd } from '@boxcar/store/memory/memory-etcd'
import type { MemoryStore } from '@boxcar/store/memory/memory-store'
import type { Key, Store } from '@boxcar/store/store'
import { systemClock } from '@boxcar/store/system'
import { ownFolder } from '../lab/own-folder.ts'
import { openTcpProxy, type TcpProxy } from './tcp-proxy.ts'

/** One process's connection, and what may happen to it. */
export interface Line {
  readonly store: Store
  /** What is under way breaks off; new calls go through. */
  cut(): void
  /** Nothing goes through until `heal`. */
  part(): void
  heal(): void
  /** The next commit is done and its answer lost; heals by itself afterwards. */
  loseAnswerOf<T>(call: () => Promise<T>): Promise<T>
}

export interface StoreBench {
  connect(cluster: string): Promise<Line>
  /** Forgets the history so far. */
  compact(): Promise<void>
  revokeAllLeases(): Promise<void>
  /** Killed and started again on the same data. */
  restart(): Promise<void>
  /** As if the quota were reached. The bench is of no use afterwards. */
  fill(line: Line): Promise<void>
  stop(): Promise<void>
}

export async function memoryBench(): Promise<StoreBench> {
  const world = new MemoryEtcd(systemClock)
  const stores: MemoryStore[] = []
  return {
    connect: async cluster => {
      const store = world.connect({ cluster })
      stores.push(store)
      return {
        store,
        cut: () => store.faults.cutWatches(),
        part: () => store.faults.goAway(),
        heal: () => store.faults.comeBack(),
        loseAnswerOf: call => {
          store.faults.loseAnswers(1)
          return call()
        },
      }
    },
    compact: async () => world.compact(),
    revokeAllLeases: async () => world.revokeAll(),
    restart: async () => {
      for (const { faults } of stores) {
        faults.goAway()
        faults.cutWatches()
      }
      await systemClock.sleep(200)
      for (const { faults } of stores) faults.comeBack()
    },
    fill: async () => {
      world.full = true
    },
    stop: async () => {
      for (const store of stores) await store.close()
      world.close()
    },
  }
}

export interface EtcdBench extends StoreBench {
  /** Killed and started again with nothing in it. */
  wipe(): Promise<void>
}

export async function etcdBench(options: { readonly quotaBytes?: number } = {}): Promise<EtcdBench> {
  const dir = await ownFolder('store')
  const [clients, peers] = [await freePort(), await freePort()]
  const endpoint = `http://127.0.0.1:${clients}`
  let etcd = await start()
  const lines: { readonly store: Store; readonly proxy: TcpProxy }[] = []

  function start(): Promise<ChildProcess> {
    return startMember(endpoint, [
      ...['--data-dir', join(dir, 'data'), '--listen-peer-urls', `http://127.0.0.1:${peers}`],
      ...(options.quotaBytes === undefined ? [] : ['--quota-backend-bytes', String(options.quotaBytes)]),
    ])
  }
  async function kill(): Promise<void> {
    const gone = once(etcd, 'exit')
    etcd.kill('SIGKILL')
    await gone
  }

  /** etcd's own JSON gateway: what the store has no words for. */
  async function gateway(path: string, body: object): Promise<GatewayAnswer> {
    const answer = await fetch(`${endpoint}/v3/${path}`, { method: 'POST', body: JSON.stringify(body) })
    return (await answer.json()) as GatewayAnswer // etcd's documented form
  }

  return {
    connect: async cluster => {
      const proxy = await openTcpProxy({ host: '127.0.0.1', port: clients })
      const store = openEtcdStore({
        endpoints: [`http://127.0.0.1:${proxy.port}`],
        cluster,
        clock: systemClock,
      })
      lines.push({ store, proxy })
      return {
        store,
        cut: () => proxy.cut(),
        part: () => proxy.hold(),
        heal: () => proxy.heal(),
        loseAnswerOf: async call => {
          proxy.holdAnswers()
          try {
            return await call()
          } finally {
            proxy.heal()
          }
        },
      }
    },
    compact: async () => {
      const { header } = await gateway('kv/range', { key: 'Lw==', count_only: true })
      await gateway('kv/compaction', { revision: header?.revision, physical: true })
    },
    revokeAllLeases: async () => {
      const { leases = [] } = await gateway('lease/leases', {})
      for (const { ID } of leases) await gateway('lease/revoke', { ID })
    },
    restart: async () => {
      await kill()
      etcd = await start()
    },
    wipe: async () => {
      await kill()
      await rm(join(dir, 'data'), { recursive: true })
      etcd = await start()
    },
    fill: async ({ store }) => {
      const json = JSON.stringify({ since: 1, padding: 'x'.repeat(500_000) })
      for (let i = 0; i < 100; i += 1) {
        const write = { kind: 'put', key: `presence/filler-${i}` as Key, json, lease: undefined } as const
        if ((await store.commit({ guards: [], writes: [write] })).kind !== 'committed') return
      }
    },
    stop: async () => {
      for (const { store, proxy } of lines) {
        await store.close()
        await proxy.close()
      }
      await kill()
      await rm(dir, { recursive: true, force: true })
    },
  }
}

/** Three members of one etcd; a member keeps its place in `endpoints` for good. */
export interface EtcdTrio {
  readonly endpoints: readonly string[]
  kill(index: number): Promise<void>
  start(index: number): Promise<void>
  pause(index: number): Promise<void>
  resume(index: number): void
  stop(): Promise<void>
}

export async function etcdTrio(): Promise<EtcdTrio> {
  const dir = await ownFolder('store')
  const indices = [0, 1, 2]
  const ports = await Promise.all(indices.map(() => freePort()))
  const peerUrls = (await Promise.all(indices.map(() => freePort()))).map(port => `http://127.0.0.1:${port}`)
  const endpoints = ports.map(port => `http://127.0.0.1:${port}`)
  const launch = (index: number): Promise<ChildProcess> => {
    const peer = peerUrls[index] ?? ''
    return startMember(endpoints[index] ?? '', [
      ...['--name', `m${index}`, '--data-dir', join(dir, `m${index}`)],
      ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer],
      ...['--initial-cluster', peerUrls.map((url, i) => `m${i}=${url}`).join(',')],
    ])
  }
  const members = await Promise.all(indices.map(launch))
  const at = (index: number): ChildProcess => {
    const member = members[index]
    if (member === undefined) throw new Error(`there is no member ${index}`)
    return member
  }
  async function kill(index: number): Promise<void> {
    const member = at(index)
    if (member.exitCode !== null || member.signalCode !== null) return
    const gone = once(member, 'exit')
    member.kill('SIGKILL')
    await gone
  }
  return {
    endpoints,
    kill,
    start: async index => {
      members[index] = await launch(index)
    },
    async pause(index) {
      const { pid } = at(index)
      if (pid === undefined) throw new Error(`member ${index} does not run`)
      await pauseProcess(pid)
    },
    resume: index => void at(index).kill('SIGCONT'),
    stop: async () => {
      await Promise.all(indices.map(kill))
      await rm(dir, { recursive: true, force: true })
    },
  }
}

/** Starts a member, which dies with this process, and waits until it answers. */
async function startMember(endpoint: string, args: readonly string[]): Promise<ChildProcess> {
  const member = spawn(
    'setpriv',
    [
      ...['--pdeathsig', 'KILL', '--', 'etcd'],
      ...args,
      ...['--log-level', 'error', '--logger', 'zap'],
      ...['--listen-client-urls', endpoint, '--advertise-client-urls', endpoint],
    ],
    { stdio: 'ignore' },
  )
  for (let tries = 0; tries < 300; tries += 1) {
    try {
      const answer = await fetch(`${endpoint}/health`)
      if (answer.ok && JSON.stringify(await answer.json()).includes('true')) return member
    } catch {
      // not up yet
    }
    await systemClock.sleep(50)
  }
  member.kill('SIGKILL')
  throw new Error('etcd did not come up')
}

interface GatewayAnswer {
  readonly header?: { readonly revision: string }
  readonly leases?: readonly { readonly ID: string }[]
}

async function freePort(): Promise<number> {
  const listener = createServer().listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const address = listener.address()
  listener.close()
  if (address === null || typeof address === 'string') throw new Error('a TCP listener has a port')
  return address.port
}
