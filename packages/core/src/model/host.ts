import { z } from 'zod'
import { hostId } from './ids.ts'

const labels = z.record(z.string(), z.string()).readonly()

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
  /** Why it takes no order of the store just now, in one sentence: what runs goes on. */
  ordersRefused: z.string().optional(),
})
export type HostRecord = z.infer<typeof hostRecord>

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
