/** What the engines of a lab do with containers, as they tell it themselves. */
import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { createInterface } from 'node:readline'
import type { Happening } from '../checks/not-wanted-not-started.ts'
import type { LabHost } from './cluster.ts'

export interface ContainerEvents {
  readonly happenings: readonly Happening[]
  stop(): void
}

/** Records creations, starts and removals of one cluster's containers, by the clock `now`. */
export async function recordContainers(
  hosts: readonly LabHost[],
  cluster: string,
  now: () => number,
): Promise<ContainerEvents> {
  const happenings: Happening[] = []
  const streams = await Promise.all(hosts.map(host => listen(host, cluster)))
  streams.forEach((stream, index) => {
    const host = hosts[index]?.id ?? ''
    createInterface({ input: stream }).on('line', line => {
      const { Action: action, Actor: actor } = JSON.parse(line)
      const instance = actor.Attributes['boxcar.instance']
      happenings.push({ kind: 'container', at: now(), host, instance, container: actor.ID, action })
    })
    // How the test's own end breaks it off tells nothing.
    stream.on('error', () => undefined)
  })
  return {
    happenings,
    stop() {
      for (const stream of streams) stream.destroy()
    },
  }
}

async function listen({ machine }: LabHost, cluster: string): Promise<IncomingMessage> {
  const filters = { event: ['create', 'start', 'destroy'], label: [`boxcar.cluster=${cluster}`] }
  const asking = request({
    socketPath: machine.dockerSocket.replace('unix://', ''),
    path: `/events?filters=${encodeURIComponent(JSON.stringify(filters))}`,
  }).end()
  const [answer] = (await once(asking, 'response')) as [IncomingMessage]
  return answer
}
