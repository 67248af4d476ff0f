import type { ClusterName, HostId } from '@boxcar/core/model/ids'
import type { Reserve } from './capacity.ts'

/** What one agent is told at its start; it reads nothing else from its surroundings. */
export interface AgentConfig {
  readonly cluster: ClusterName
  readonly hostId: HostId
  /** The address at which other hosts reach this one's instances, edge and agent; ports are bound to it alone. */
  readonly advertise: string
  readonly labels: Readonly<Record<string, string>>
  /** Kept for the machine itself. */
  readonly reserve: Reserve
  /** Host ports that the leader may hand out, both ends included. */
  readonly ports: { readonly from: number; readonly to: number }
  /** The agent's own authenticated port, at `advertise`. */
  readonly agentPort: number
  readonly version: string
}

/** Host ports for instances where nothing else is said: below the kernel's own range for outgoing connections. */
export const usualPorts = { from: 20_000, to: 29_999 } as const
export const usualAgentPort = 7071

/** Of a host's presence, in small clusters. */
export const presenceTtlMs = 4000

/** An agent cannot start; a person has to do something. One sentence, and what to do next. */
export class StartError extends Error {
  override readonly name = 'StartError'
  readonly next: string
  /** What did not answer where the configuration says it is. */
  readonly silent: 'store' | 'engine' | undefined

  constructor(
    message: string,
    next: string,
    { silent, ...options }: ErrorOptions & { readonly silent?: 'store' | 'engine' } = {},
  ) {
    super(message, options)
    this.next = next
    this.silent = silent
  }
}
