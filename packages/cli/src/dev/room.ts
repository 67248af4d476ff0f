/** What `boxcar dev` runs on, whichever way the hosts are made. */
import type { ListenAddress } from '@boxcar/api/listen'

export interface DevHost {
  readonly id: string
  readonly address: string
  /** The command line of its agent, without the flags that all agents share; may begin with how to enter the host. */
  readonly enter: readonly string[]
  readonly agentFlags: readonly string[]
  /** How a person looks at its engine, and how its link is cut; for the tour. */
  readonly docker: string
  readonly cut: string | undefined
  readonly restore: string | undefined
}

export interface DevRoom {
  readonly cluster: string
  readonly etcd: string
  readonly hosts: readonly DevHost[]
  /** For every process that belongs to the cluster. */
  readonly env: NodeJS.ProcessEnv
  /** Where the servers of the cluster should listen, beside the first one's address. */
  readonly serverAddress: (index: number) => Promise<ListenAddress>
  /** What is not here as on real hosts, a sentence each; for the tour. */
  readonly limits: readonly string[]
  /** Builds the sample in one version and gives its image as hosts know it. */
  buildSample(version: string): Promise<string>
  /** Stops what people may want to look at later, and copies it into the folder. */
  keep(folder: string): Promise<void>
  /** Takes everything away, looks whether it is gone, and rejects where something is left. Can be called again. */
  stop(): Promise<void>
}

export interface RoomOptions {
  readonly hosts: number
  /** A folder of our own (folder.ts). */
  readonly dir: string
  /** Aborted when the user wants to stop: what takes long ends at once and rejects. */
  readonly signal: AbortSignal
  readonly tell: (line: string) => void
}

/** The folder of the sample, in a clone and in a package alike. */
export const sampleFolder = new URL('../../../../examples/hello', import.meta.url).pathname
export const sampleSpec = new URL('../../../../examples/hello.yaml', import.meta.url).pathname
