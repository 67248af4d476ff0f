import { z } from 'zod'
import type { GenerationNumber, InstanceId, ServiceName } from './ids.ts'

const number = z
  .int()
  .min(1)
  .transform(n => n as GenerationNumber)

/** What was seen of one instance of a generation that did not make it. */
export const evidence = z.object({
  instance: z
    .string()
    .transform(s => s as InstanceId)
    .optional(),
  host: z.string().optional(),
  what: z.string(),
  exitCode: z.int().optional(),
  probe: z.string().optional(),
  lastLog: z.array(z.string()).optional(),
})
export type Evidence = z.infer<typeof evidence>

export const rejection = z.object({
  generation: number,
  because: z.enum([
    'image-not-found',
    'not-ready-by-deadline',
    /** Its instances were ready, and a live host could not serve a listener of the service. */
    'not-served-by-deadline',
    'aborted',
    'undone',
    'superseded',
  ]),
  evidence: z.array(evidence).readonly(),
  at: z.number(),
})
export type Rejection = z.infer<typeof rejection>

/** A port that a host did not serve already when traffic was moved; without a host: on too many hosts to name them. */
export const unservedPort = z.object({ port: z.int(), host: z.string().optional() })
export type UnservedPort = z.infer<typeof unservedPort>

/** Says that the way leads back to an earlier generation. */
const undo = z.boolean().optional()

/**
 * The way from the stable generation to the next, one variant per phase. Shares are read from the phase, so they cannot
 * disagree with it (rollout/rollout.ts).
 */
export const phase = z.discriminatedUnion('phase', [
  /** A host's engine turns the tag into a digest. */
  z.object({
    phase: z.literal('resolving'),
    stable: number.optional(),
    next: number,
    /** Stays warm until it is known that something really changes. */
    warm: number.optional(),
    undo,
  }),
  /** The next generation starts beside the stable one, without traffic. */
  z.object({ phase: z.literal('warming'), stable: number.optional(), next: number, undo }),
  /** Traffic was switched by one write; live proxies are applying it. */
  z.object({
    phase: z.literal('draining'),
    live: number,
    old: number.optional(),
    undo: z.boolean(),
    /** What was not served when traffic was moved, and so is not waited for; left out: all was. */
    unserved: z.array(unservedPort).readonly().optional(),
  }),
  /** Done. `warm` still runs for an undo. */
  z.object({ phase: z.literal('settled'), live: number, warm: number.optional() }),
  /** The next generation never got traffic, or lost it again; the stable one answers. */
  z.object({ phase: z.literal('reverted'), stable: number.optional(), rejected: number }),
])
export type Phase = z.infer<typeof phase>

/** The leader's record of a service: which generations are stable and next, and what became of the others. */
export const rollout = z.looseObject({
  service: z.string().transform(s => s as ServiceName),
  uid: z.string(),
  term: z.string(),
  /** The generation of the spec that was last taken up. */
  asked: number,
  now: phase,
  /** Pinned images by generation. */
  images: z.record(z.string(), z.string()).readonly(),
  /** Generations that were given up, newest last, at most 20. */
  rejections: z.array(rejection).readonly(),
  /** Generations that turned out to be the same container as one before: by number, what they equal. */
  same: z.record(z.string(), number).readonly().default({}),
  /**
   * The ports of the service's routes when the newest rollout began; a port that is not among them is newly promised. Left out:
   * nothing answered then, or an older version wrote the record.
   */
  portsBefore: z.array(z.int()).readonly().optional(),
  /** When this phase began, for people. */
  since: z.number(),
})
export type Rollout = z.infer<typeof rollout>
