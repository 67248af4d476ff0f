import { z } from 'zod'
import type { InstanceId } from './ids.ts'

/**
 * What a host sees of one instance. One lifecycle for both sides: see instance/lifecycle.ts for who moves it where.
 *
 * pulling → starting → unready ⇄ ready → (backoff → starting …) → stopping → stopped
 */
export const instanceState = z.enum([
  'pulling',
  'starting',
  'unready',
  'ready',
  'backoff',
  'stopping',
  'stopped',
])
export type InstanceState = z.infer<typeof instanceState>

export const report = z.looseObject({
  instance: z.string().transform(s => s as InstanceId),
  uid: z.string(),
  state: instanceState,
  /** In one sentence, for people: why it is in this state. */
  reason: z.string().optional(),
  /** Starts so far on this host, from 1. */
  attempt: z.int(),
  /** Restarts in place that were not asked for. */
  restarts: z.int(),
  /** How the last run ended. */
  exit: z.object({ code: z.int(), oomKilled: z.boolean(), at: z.number() }).optional(),
  /** The last failing probe and what it answered, at most 1 KiB. `silent`: it got no answer in time. */
  probe: z.object({ kind: z.string(), output: z.string(), silent: z.boolean().optional() }).optional(),
  /** The last lines of the run that failed, at most 20 of 200 characters. */
  lastLog: z.array(z.string()).optional(),
  container: z.string().optional(),
  /** When the state was entered, by the host's wall clock; for people. */
  since: z.number(),
  /** The create revision of the placement that it tells of; an earlier placement of the same name is another one. */
  placement: z.string().optional(),
})
export type Report = z.infer<typeof report>
