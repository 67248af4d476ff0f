import { agentsOverHttp as apiAgents } from '@boxcar/api/agents'
import { apiScopes } from '@boxcar/api/deps'
import { CannotListen, defaultListen, startApi } from '@boxcar/api/main'
import { agentsOverHttp as schedulerAgents } from '@boxcar/scheduler/agents'
import { followed } from '@boxcar/scheduler/feed'
import { startScheduler } from '@boxcar/scheduler/main'
import {
  NewerSchema,
  type OfCluster,
  openCluster,
  recordProblem,
  UnreadableRecord,
} from '@boxcar/store/cluster'
import { EventWriter } from '@boxcar/store/events'
import type { ClusterRecord } from '@boxcar/store/keys'
import { Mirror } from '@boxcar/store/mirror'
import { type Scope, type Store, StoreUnavailable } from '@boxcar/store/store'
import { systemChance } from '@boxcar/store/system'
import type { RunCommand } from '../command.ts'
import { needEtcd, oldEtcdWarning, openStore } from '../etcd.ts'
import { exitStatus, Trouble } from '../exit.ts'
import { processLog } from '../process-log.ts'
import { loadSettings } from '../settings.ts'
import { programVersion } from '../version.ts'

/** A scheduler candidate and the API over one store and one mirror, until it is told to stop. */
export const server: RunCommand = async ({ terminal, invocation }) => {
  const { flags } = invocation
  // `--token-file` is the token that callers must show here, and no setting of this process as a client.
  const settings = loadSettings({ flags, env: terminal.env })
  const log = processLog(settings, 'server')
  const { clock } = terminal
  const store = await openStore(settings, log)
  const ending = new AbortController()
  const { signal } = ending
  try {
    const status = await needEtcd(store, settings)
    const warning = oldEtcdWarning(status)
    // Shown: the problem `old-version` in `status` and `doctor`.
    if (warning !== undefined) log.warn({ members: status.members }, warning)
    const cluster = await clusterOf(store, { name: settings.cluster, endpoints: settings.etcd })
    const mirror = new Mirror({ store, clock, scopes: mirrored(), signal, log })
    const shared = { store, mirror, clock, chance: systemChance, log }
    const events = (writer: string) =>
      new EventWriter({ store, clock, chance: systemChance, writer, signal, log })
    const api = await listening(() =>
      startApi(
        {
          ...shared,
          events: events('api'),
          agents: apiAgents(cluster.secret),
          clusterName: settings.cluster,
          cluster,
          version: programVersion(),
          storeEndpoints: settings.etcd,
          signal,
        },
        listenOptions(flags),
      ),
    )
    const scheduler = startScheduler({
      ...shared,
      events: events('scheduler'),
      agents: schedulerAgents(cluster.secret),
      address: api.url,
    })
    log.info({ url: api.url, etcd: settings.etcd, version: programVersion() }, 'the server is up')
    if (!terminal.interrupted.aborted) {
      await new Promise(resolve => terminal.interrupted.addEventListener('abort', resolve, { once: true }))
    }
    log.info({}, 'the server stops: it gives up the office first, then it stops to answer')
    await scheduler.stop()
    await api.close()
    ending.abort()
    await mirror.ended
    return exitStatus.done
  } finally {
    ending.abort()
    await store.close()
  }
}

/** One mirror for both: what the scheduler decides from and what the API shows. */
function mirrored(): readonly Scope[] {
  const scopes = new Map(apiScopes.map(scope => [scope.collection.name, scope]))
  for (const collection of followed) scopes.set(collection.name, { collection })
  return [...scopes.values()]
}

function listenOptions(
  flags: Readonly<Record<string, unknown>>,
): NonNullable<Parameters<typeof startApi>[1]> {
  const { listen, tokenFile, insecure } = flags
  return {
    listen: typeof listen === 'string' ? listen : defaultListen,
    ...(typeof tokenFile === 'string' ? { tokenFile } : {}),
    access: insecure === true ? 'insecure' : 'guarded',
  }
}

async function clusterOf(store: Store, of: OfCluster): Promise<ClusterRecord> {
  try {
    return await openCluster(store, systemChance)
  } catch (error) {
    if (error instanceof StoreUnavailable) {
      throw new Trouble({
        status: exitStatus.unreachable,
        what: 'etcd does not let the server in',
        why: error.message,
        next: `boxcar doctor --etcd ${of.endpoints.join(',')}`,
      })
    }
    if (error instanceof UnreadableRecord) {
      const problem = recordProblem({ record: undefined, unreadable: error.message }, of)
      throw new Trouble({
        status: exitStatus.failure,
        what: 'the server does not know whose store this is',
        why: error.message,
        next: problem?.next.join('\n') ?? 'boxcar doctor',
      })
    }
    if (!(error instanceof NewerSchema)) throw error
    throw new Trouble({
      status: exitStatus.failure,
      what: 'this program is too old for the cluster',
      why: error.message,
      next: 'upgrade boxcar on this machine',
    })
  }
}

async function listening<T>(start: () => Promise<T>): Promise<T> {
  try {
    return await start()
  } catch (error) {
    if (!(error instanceof CannotListen)) throw error
    throw new Trouble({
      status: exitStatus.failure,
      what: 'the server cannot listen',
      why: error.message,
      next: 'boxcar server --help',
    })
  }
}
