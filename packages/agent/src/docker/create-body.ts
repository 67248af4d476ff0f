import { type ContainerSpec, type HealthcheckSpec, labels } from '../engine/engine.ts'
import type { Owner } from '../engine/owner.ts'

/** A container as the engine's API wants it; keys without a value are left out when it is written as JSON. */
export function createBody(spec: ContainerSpec, owner: Owner): object {
  const { cpuMilli, memoryMiB, pids } = spec.resources
  return {
    Image: spec.image,
    Labels: { ...spec.labels, [labels.cluster]: owner.cluster, [labels.host]: owner.host },
    Env: Object.entries(spec.env).map(([name, value]) => `${name}=${value}`),
    Cmd: spec.command,
    Entrypoint: spec.entrypoint,
    User: spec.user,
    WorkingDir: spec.workdir,
    Hostname: spec.hostname,
    StopSignal: spec.stopSignal,
    ExposedPorts: Object.fromEntries(spec.ports.map(port => [`${port.container}/${port.protocol}`, {}])),
    Healthcheck: spec.healthcheck === undefined ? undefined : healthcheck(spec.healthcheck),
    HostConfig: {
      // Restarts are the agent's: it counts them, and knows when not to.
      RestartPolicy: { Name: 'no', MaximumRetryCount: 0 },
      NanoCpus: cpuMilli === undefined ? undefined : cpuMilli * 1e6,
      Memory: bytes(memoryMiB),
      // The sum of memory and swap; left out, the engine allows as much swap again.
      MemorySwap: bytes(memoryMiB),
      PidsLimit: pids,
      PortBindings: portBindings(spec),
      ReadonlyRootfs: spec.readOnly,
      Tmpfs: spec.tmpfs && Object.fromEntries(spec.tmpfs.map(path => [path, ''])),
      ShmSize: bytes(spec.shmSizeMiB),
      CapAdd: spec.capAdd,
      CapDrop: spec.capDrop,
      ExtraHosts:
        spec.extraHosts && Object.entries(spec.extraHosts).map(([name, address]) => `${name}:${address}`),
      Ulimits:
        spec.ulimits &&
        Object.entries(spec.ulimits).map(([name, { soft, hard }]) => ({
          Name: name,
          Soft: soft,
          Hard: hard,
        })),
      Init: spec.init,
      LogConfig: {
        Type: spec.logging?.driver ?? 'local',
        Config: spec.logging?.options ?? { 'max-size': '20m', 'max-file': '5' },
      },
      SecurityOpt: spec.securityOpt ?? ['no-new-privileges'],
    },
  }
}

const bytes = (mib: number | undefined) => (mib === undefined ? undefined : mib * 1024 ** 2)
const ns = (ms: number | undefined) => (ms === undefined ? undefined : Math.round(ms * 1e6))

/** One container port may have several host ports. */
function portBindings(spec: ContainerSpec): Record<string, { HostIp: string; HostPort: string }[]> {
  const bindings: Record<string, { HostIp: string; HostPort: string }[]> = {}
  for (const { container, protocol, host, hostAddress } of spec.ports) {
    bindings[`${container}/${protocol}`] ??= []
    bindings[`${container}/${protocol}`]?.push({ HostIp: hostAddress, HostPort: String(host) })
  }
  return bindings
}

function healthcheck(check: 'none' | HealthcheckSpec): object {
  if (check === 'none') return { Test: ['NONE'] }
  return {
    Test: check.test,
    Interval: ns(check.intervalMs),
    Timeout: ns(check.timeoutMs),
    StartPeriod: ns(check.startPeriodMs),
    Retries: check.retries,
  }
}
