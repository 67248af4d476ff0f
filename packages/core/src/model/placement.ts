import { z } from 'zod'
import { type GenerationNumber, hostId, type InstanceId, type ServiceName } from './ids.ts'

/** The leader's decision that an instance runs on a host, or stops there. It stands until the host confirms the stop. */
export const placement = z.looseObject({
  instance: z.string().transform(s => s as InstanceId),
  service: z.string().transform(s => s as ServiceName),
  generation: z.int().transform(n => n as GenerationNumber),
  slot: z.int(),
  host: hostId,
  /** The service's uid: tells a recreated service of the same name apart. */
  uid: z.string(),
  /** The term that wrote it. */
  term: z.string(),
  desired: z.enum(['run', 'stop']),
  because: z.enum(['missing', 'host-lost', 'unwanted', 'drain', 'failing', 'deleted', 'reverted']),
  /** What it counts against its host. */
  cpuMilli: z.int(),
  memoryMiB: z.int(),
  /** Host port by port name. */
  ports: z.record(z.string(), z.int()).readonly(),
  /** The image pinned by digest (or by image id where the engine alone has it). */
  image: z.string(),
})
export type Placement = z.infer<typeof placement>
