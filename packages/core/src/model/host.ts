import { z } from 'zod'
import { hostId } from './ids.ts'

const labels = z.record(z.string(), z.string()).readonly()

/**
 * Something of a host that is not as it should be at present, as a condition of a node in Kubernetes. At most one of each kind; agents
 * of other versions may write kinds that are not known here.
 */
export const hostCondition = z
  .object({
    kind: z.string(),
    /** In one sentence. */
    reason: z.string(),
    /** By the wall clock of the host. */
    since: z.number().optional(),
  })
  .readonly()
export type HostCondition = z.infer<typeof hostCondition>

/** What a host says of itself; written when it changes. */
export const hostRecord = z.looseObject({
  id: hostId,
  /** Where its instances and its edge are reached by the other hosts. */
  address: z.string(),
  /** The agent's own authenticated port, at `address`. */
  agentPort: z.int(),
  capacity: z.object({ cpuMilli: z.int().min(0), memoryMiB: z.int().min(0) }).readonly(),
  labels,
  /** Host ports that the leader may hand out, both ends included. */
  ports: z.object({ from: z.int(), to: z.int() }).readonly(),
  engine: z
    .object({ version: z.string(), state: z.enum(['up', 'down']), reason: z.string().optional() })
    .readonly(),
  proxy: z
    .object({ version: z.string(), state: z.enum(['up', 'failing', 'off']), reason: z.string().optional() })
    .readonly(),
  agentVersion: z.string(),
  /** What is not as it should be beside engine and proxy, which have their own states; agents of before write none. */
  conditions: z.array(hostCondition).readonly().optional(),
})
export type HostRecord = z.infer<typeof hostRecord>

/** Why it takes no order of the store just now, in one sentence: what runs goes on. */
export const whyOrdersRefused = (record: HostRecord | undefined): string | undefined =>
  record?.conditions?.find(one => one.kind === 'orders-refused')?.reason

/** What operators say of a host. */
export const hostSettings = z.looseObject({
  cordon: z.object({ by: z.string(), why: z.string(), at: z.number() }).optional(),
  drain: z.object({ by: z.string(), why: z.string(), at: z.number() }).optional(),
  labels: labels.default({}),
})
export type HostSettings = z.infer<typeof hostSettings>

/** Being there: the key's lease is the message. */
export const presence = z.looseObject({ since: z.number() })
export type Presence = z.infer<typeof presence>
