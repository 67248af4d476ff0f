/** The container that an order asks for, in the engine's words. */
import { type HostId, serviceParts } from '@boxcar/core/model/ids'
import type { Template } from '@boxcar/core/model/spec'
import type { ContainerSpec } from './engine/engine.ts'
import { containerName, labelsOf } from './state/labels.ts'
import type { PlacedOrder } from './state/orders.ts'

export interface HostFacts {
  readonly cluster: string
  readonly hostId: HostId
  /** Ports are bound to it alone. */
  readonly advertise: string
}

export function containerSpec(
  host: HostFacts,
  order: PlacedOrder,
  template: Template,
  attempt: number,
): ContainerSpec {
  const { limits } = template.resources
  return {
    name: containerName(host.cluster, order, attempt),
    image: order.placed.image,
    labels: { ...template.labels, ...labelsOf(order, attempt, template.stop.grace) },
    // Ours come last: what an instance is told of itself is true.
    env: { ...template.env, ...identityOf(host, order) },
    command: template.command,
    entrypoint: template.entrypoint,
    user: template.user,
    workdir: template.workdir,
    init: template.init,
    stopSignal: template.stop.signal,
    readOnly: template.readOnly,
    tmpfs: template.tmpfs,
    shmSizeMiB: template.shmSize,
    capDrop: template.capabilities.drop,
    // The bridge's gateway: the edge of this host, whatever its address.
    extraHosts: { ...template.extraHosts, 'boxcar.internal': 'host-gateway' },
    ulimits: template.ulimits,
    resources: { cpuMilli: limits.cpus, memoryMiB: limits.memory, pids: limits.pids },
    ports: template.ports.flatMap(port => {
      const hostPort = order.placed.ports[port.name]
      return hostPort === undefined
        ? []
        : [
            {
              container: port.container,
              host: hostPort,
              hostAddress: host.advertise,
              protocol: 'tcp' as const,
            },
          ]
    }),
  }
}

function identityOf(host: HostFacts, { instance, placed }: PlacedOrder): Readonly<Record<string, string>> {
  const { project, short } = serviceParts(placed.service)
  return {
    BOXCAR_CLUSTER: host.cluster,
    BOXCAR_HOST: host.hostId,
    BOXCAR_PROJECT: project,
    BOXCAR_SERVICE: short,
    BOXCAR_GENERATION: String(placed.generation),
    BOXCAR_SLOT: String(placed.slot),
    BOXCAR_INSTANCE: instance,
  }
}
