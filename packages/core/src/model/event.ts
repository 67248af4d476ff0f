import { z } from 'zod'

/** Something that happened or was decided, in the transaction of the change it tells of. */
export const clusterEvent = z.looseObject({
  /** By the writer's wall clock. */
  at: z.number(),
  kind: z.string(),
  /** One sentence. */
  message: z.string(),
  level: z.enum(['info', 'warning', 'error']).default('info'),
  /** The process that wrote it: `scheduler`, `api` or `agent/<host>`. */
  writer: z.string(),
  term: z.string().optional(),
  actor: z.string().optional(),
  project: z.string().optional(),
  service: z.string().optional(),
  host: z.string().optional(),
  instance: z.string().optional(),
  generation: z.number().optional(),
})
export type ClusterEvent = z.infer<typeof clusterEvent>
