import { z } from 'zod'
import type { GenerationNumber, ServiceName } from './ids.ts'
import { type Listener, listener } from './route.ts'
import {
  type ServiceSpec,
  type ServiceSpecText,
  serviceSpec,
  type Template,
  type TemplateText,
  template,
} from './spec.ts'

const generationNumber = z
  .int()
  .min(1)
  .transform(n => n as GenerationNumber)
const serviceNameText = z.string().transform(s => s as ServiceName)

/** What was asked for: the spec as written, and the generation that it asks for. */
export const specRecord = z
  .looseObject({
    service: serviceNameText,
    /** Drawn when the service is created; a deleted and recreated service has another one. */
    uid: z.string(),
    text: z.record(z.string(), z.unknown()),
    /** In force: as written, or as scaled to where the spec does not say. */
    replicas: z.int().min(0),
    generation: generationNumber,
    by: z.string(),
    at: z.number(),
    requestId: z.string().optional(),
  })
  .transform((stored, ctx): SpecRecord => {
    const parsed = serviceSpec.safeParse(stored.text)
    if (parsed.success) return { ...stored, text: stored.text as ServiceSpecText, spec: parsed.data }
    ctx.addIssue({ code: 'custom', message: `the stored spec does not parse: ${parsed.error.message}` })
    return z.NEVER
  })

export interface SpecRecord {
  readonly service: ServiceName
  readonly uid: string
  readonly text: ServiceSpecText
  readonly replicas: number
  readonly generation: GenerationNumber
  readonly by: string
  readonly at: number
  readonly requestId?: string | undefined
  /** `text` with its defaults filled in; never stored. */
  readonly spec: ServiceSpec
}

/** One immutable version of a service's template. */
export const generationRecord = z
  .looseObject({
    service: serviceNameText,
    uid: z.string(),
    number: generationNumber,
    text: z.record(z.string(), z.unknown()),
    listeners: z.array(listener).readonly().optional(),
    at: z.number(),
    by: z.string(),
  })
  .transform((stored, ctx): GenerationRecord => {
    const parsed = template.safeParse(stored.text)
    if (parsed.success) return { ...stored, text: stored.text as TemplateText, template: parsed.data }
    ctx.addIssue({ code: 'custom', message: `the stored template does not parse: ${parsed.error.message}` })
    return z.NEVER
  })

export interface GenerationRecord {
  readonly service: ServiceName
  readonly uid: string
  readonly number: GenerationNumber
  readonly text: TemplateText
  /** Which of its ports answered which address when it was deployed: a later spec may name ports that it does not have. */
  readonly listeners?: readonly Listener[] | undefined
  readonly at: number
  readonly by: string
  /** `text` with its defaults filled in; never stored. */
  readonly template: Template
}

/** What a person asks of a rollout; the leader removes it in the transaction that acts on it. */
export const intent = z.looseObject({
  id: z.string(),
  uid: z.string(),
  kind: z.enum(['undo', 'abort']),
  /** Only for an undo: the generation to go back to; left out: the warm one, else the one before. */
  to: generationNumber.optional(),
  by: z.string(),
  at: z.number(),
})
export type Intent = z.infer<typeof intent>
