/** Why a host cannot take an instance. Shown to people and asserted in tests, never parsed. */
import { z } from 'zod'

export const obstacle = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('suspect') }),
  z.object({ kind: z.literal('lost') }),
  z.object({ kind: z.literal('cordoned'), why: z.string() }),
  z.object({ kind: z.literal('draining') }),
  z.object({ kind: z.literal('engine-down'), reason: z.string() }),
  /** It does not believe the store. */
  z.object({ kind: z.literal('orders-refused'), reason: z.string() }),
  z.object({ kind: z.literal('cpus'), needMilli: z.number(), freeMilli: z.number(), totalMilli: z.number() }),
  z.object({ kind: z.literal('memory'), needMiB: z.number(), freeMiB: z.number(), totalMiB: z.number() }),
  z.object({ kind: z.literal('port'), port: z.number(), heldBy: z.string() }),
  z.object({ kind: z.literal('no-free-port'), from: z.number(), to: z.number() }),
  z.object({ kind: z.literal('label'), want: z.string(), have: z.string() }),
  z.object({ kind: z.literal('max-per-host'), max: z.number(), have: z.number() }),
  /** It kept failing there; other hosts are tried first. */
  z.object({ kind: z.literal('failed-here'), forMs: z.number() }),
  /** The leader itself failed at the service or the host: at what (`planning it`), and with which error. It tries again. */
  z.object({ kind: z.literal('internal-error'), doing: z.string(), error: z.string() }),
])
export type Obstacle = z.infer<typeof obstacle>

/** Obstacles of one waiting instance, host by host. */
export const pending = z.looseObject({
  service: z.string(),
  uid: z.string(),
  term: z.string(),
  waiting: z
    .array(
      z.object({
        instance: z.string(),
        hosts: z.array(z.object({ host: z.string(), obstacles: z.array(obstacle) })),
      }),
    )
    .readonly(),
  /** What is in the way of the whole service, wherever it would run. */
  obstacles: z.array(obstacle).readonly().optional(),
  /** How many wait in all; `waiting` tells of one, since replicas of a service wait for the same. */
  count: z.int(),
  at: z.number(),
})
export type Pending = z.infer<typeof pending>
