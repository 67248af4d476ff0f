import { StartError, startAgent } from '@boxcar/agent/main'
import { agentFlags, ownAddress } from '../agent-flags.ts'
import type { RunCommand } from '../command.ts'
import { openStore } from '../etcd.ts'
import { exitStatus, Trouble } from '../exit.ts'
import { needLinux } from '../linux.ts'
import { processLog } from '../process-log.ts'
import { loadSettings, remedyOf, type Settings } from '../settings.ts'
import { programVersion } from '../version.ts'

/** The agent of this host, until it is told to stop. Its containers and its proxy stay. */
export const agent: RunCommand = async ({ terminal, invocation }) => {
  needLinux('boxcar agent')
  const flags = agentFlags(invocation.flags)
  const settings = loadSettings({ flags: invocation.flags, env: terminal.env })
  const log = processLog(settings, 'agent').child({ host: flags.hostId })
  const advertise = flags.advertise ?? (await ownAddress(settings.etcd))
  const store = await openStore(settings, log)
  try {
    const running = await starting(settings, () =>
      startAgent({
        store,
        cluster: settings.cluster,
        hostId: flags.hostId,
        advertise,
        labels: flags.labels,
        reserve: flags.reserve,
        docker: settings.docker,
        edge: flags.edge,
        stateDir: flags.stateDir,
        version: programVersion(),
        log,
        ...(flags.ports === undefined ? {} : { ports: flags.ports }),
        ...(flags.agentPort === undefined ? {} : { agentPort: flags.agentPort }),
      }),
    )
    log.info({ advertise, port: running.port, version: programVersion() }, 'the agent is up')
    await stopping(terminal.interrupted)
    log.info({}, 'the agent stops; its containers and its proxy go on')
    await running.leave()
    return exitStatus.done
  } finally {
    await store.close()
  }
}

async function starting<T>(settings: Settings, start: () => Promise<T>): Promise<T> {
  try {
    return await start()
  } catch (error) {
    if (!(error instanceof StartError)) throw error
    throw new Trouble({
      status: exitStatus.failure,
      what: 'the agent cannot start',
      why: error.message,
      next: nextOf(error, settings),
    })
  }
}

/** The agent does not know where its addresses were said. */
function nextOf({ silent, next }: StartError, settings: Settings): string {
  if (silent === 'store') return `start etcd, or ${remedyOf(settings, 'etcd')}; boxcar doctor says more`
  if (silent === 'engine') return `start Docker, or ${remedyOf(settings, 'docker')}; boxcar doctor says more`
  return next
}

function stopping(interrupted: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    if (interrupted.aborted) return resolve()
    interrupted.addEventListener('abort', () => resolve(), { once: true })
  })
}
