/** The etcd of a process: opened with its files, and looked at once before anything relies on it. */
import { readFileSync } from 'node:fs'
import type { Log } from '@boxcar/store/log'
import { isOlder, recommendedEtcd, storeProblems } from '@boxcar/store/problems'
import type { Store, StoreStatus } from '@boxcar/store/store'
import { systemClock } from '@boxcar/store/system'
import { exitStatus, Trouble } from './exit.ts'
import { originOf, remedyOf, type Settings } from './settings.ts'

/** Opens the store of the settings; nothing is asked of it yet. Throws Trouble where a file cannot be read. */
export async function openStore(settings: Settings, log?: Log): Promise<Store> {
  const { openEtcdStore } = await import('@boxcar/store/etcd/store')
  const isTls = settings.etcd.some(it => it.startsWith('https:'))
  if (isTls && settings.etcdCa === undefined) {
    throw new Trouble({
      status: exitStatus.usage,
      what: 'etcd is spoken to over TLS, and nobody says whom to trust',
      why: `${settings.etcd.join(', ')} need a certificate authority`,
      next: 'add --etcd-ca FILE (and --etcd-cert, --etcd-key where etcd asks for ours)',
    })
  }
  const pem = (name: 'etcdCa' | 'etcdCert' | 'etcdKey') => readPem(settings, name)
  const ca = pem('etcdCa')
  const [cert, key] = [pem('etcdCert'), pem('etcdKey')]
  return openEtcdStore({
    endpoints: settings.etcd,
    cluster: settings.cluster,
    clock: systemClock,
    ...(log === undefined ? {} : { log }),
    ...(ca === undefined
      ? {}
      : {
          tls: {
            ca,
            ...(cert === undefined ? {} : { cert }),
            ...(key === undefined ? {} : { key }),
          },
        }),
  })
}

function readPem(settings: Settings, name: 'etcdCa' | 'etcdCert' | 'etcdKey'): Buffer | undefined {
  const file = settings[name]
  if (file === undefined) return undefined
  try {
    return readFileSync(file)
  } catch (error) {
    throw new Trouble({
      status: exitStatus.usage,
      what: `the file of ${originOf(settings, name) ?? name} cannot be read`,
      why: error instanceof Error ? error.message : String(error),
      next: 'boxcar help settings',
    })
  }
}

/** One clear sentence where no member answers: at the start that is a mistake of setting up more often than an outage. */
export async function needEtcd(store: Store, settings: Settings): Promise<StoreStatus> {
  const status = await store.status()
  const apart = storeProblems(status).find(it => it.kind === 'two-clusters')?.message
  if (apart !== undefined) {
    throw new Trouble({
      status: exitStatus.failure,
      what: 'the etcd endpoints do not belong together',
      why: apart,
      next: 'see docs/three-machines.md, part 2: stop etcd, clear its data folder, configure, start',
    })
  }
  if (status.members.some(it => it.reachable)) return status
  throw new Trouble({
    status: exitStatus.unreachable,
    what: 'etcd cannot be reached',
    why: `none of ${status.endpoints.join(', ')} answers`,
    next: `start etcd, or ${remedyOf(settings, 'etcd')}; boxcar doctor says more`,
  })
}

/** Members older than what is recommended, in a sentence; nothing where all are new enough or silent. */
export function oldEtcdWarning(status: StoreStatus): string | undefined {
  const old = status.members.filter(it => it.reachable && isOlder(it.version, recommendedEtcd))
  if (old.length === 0) return undefined
  const who = old.map(it => `${it.endpoint} runs ${it.version}`).join(', ')
  return `${who}: etcd ${recommendedEtcd} or newer is recommended, since older ones may revoke leases of living holders after a pause of their leader`
}
