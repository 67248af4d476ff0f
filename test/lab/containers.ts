/** What really runs on the hosts, asked from their engines and from nobody else. */
import type { LabHost } from './cluster.ts'

export interface SeenContainer {
  readonly host: string
  readonly id: string
  readonly instance: string
  readonly cluster: string
  readonly uid: string
  readonly running: boolean
  /** Changes with every start. */
  readonly startedAt: string
}

/** All containers of Boxcar's on these hosts, of one cluster or of any, in the order of hosts and instances. */
export async function containersOn(
  hosts: readonly LabHost[],
  cluster?: string,
): Promise<readonly SeenContainer[]> {
  const label = cluster === undefined ? 'boxcar.cluster' : `boxcar.cluster=${cluster}`
  const perHost = await Promise.all(
    hosts.map(async ({ id: host, machine }) => {
      const ids = (await machine.docker(['ps', '-aq', '--no-trunc', '--filter', `label=${label}`]))
        .split(/\s+/)
        .filter(id => id !== '')
      if (ids.length === 0) return []
      const format =
        '{{.Id}} {{index .Config.Labels "boxcar.cluster"}} {{index .Config.Labels "boxcar.instance"}} {{index .Config.Labels "boxcar.uid"}} {{.State.Running}} {{.State.StartedAt}}'
      const lines = (await machine.docker(['inspect', '--format', format, ...ids])).trim().split('\n')
      return lines.map((line): SeenContainer => {
        const [id = '', name = '', instance = '', uid = '', running = '', startedAt = ''] = line.split(' ')
        return { host, id, instance, cluster: name, uid, running: running === 'true', startedAt }
      })
    }),
  )
  const order = (c: SeenContainer) => `${c.host} ${c.instance} ${c.id}`
  return perHost.flat().sort((a, b) => (order(a) < order(b) ? -1 : 1))
}

/** One line a start: equal lists mean that nothing was started, stopped or restarted between. */
export const starts = (containers: readonly SeenContainer[]): readonly string[] =>
  containers.filter(c => c.running).map(c => `${c.host} ${c.instance} ${c.id.slice(0, 12)} ${c.startedAt}`)
