/** What all routes share: their context, the parts of their addresses, and how their answers are described. */
import { hostId, projectName, serviceName, serviceShortName } from '@boxcar/core/model/ids'
import type {
  FastifyBaseLogger,
  FastifyInstance,
  RawReplyDefaultExpression,
  RawRequestDefaultExpression,
  RawServerDefault,
} from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { z } from 'zod'
import type { ApiDeps } from '../deps.ts'
import type { HostActions } from '../host-settings.ts'
import type { Intents } from '../intents.ts'
import type { LeaderWatch } from '../leadership.ts'
import type { Picture } from '../picture.ts'
import type { Services } from '../services.ts'
import type { StoreHealth } from '../store-health.ts'
import { problemView } from '../views.ts'

export type App = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  FastifyBaseLogger,
  ZodTypeProvider
>

export interface RouteContext {
  readonly deps: ApiDeps
  readonly health: StoreHealth
  readonly leadership: LeaderWatch
  readonly picture: Picture
  readonly services: Services
  readonly intents: Intents
  readonly hosts: HostActions
}

/** A number in an address. */
export const whole = (max: number) =>
  z
    .string()
    .regex(/^(?:0|[1-9]\d{0,8})$/, { error: 'must be a whole number' })
    .transform(Number)
    .refine(n => n <= max, { error: `must be at most ${max}` })

export const projectPath = z.strictObject({ project: projectName })
export const servicePath = z.strictObject({ project: projectName, name: serviceShortName })
export const generationPath = servicePath.extend({
  number: whole(999_999_999).refine(n => n > 0, { error: 'generations are numbered from 1' }),
})
export const instancePath = servicePath.extend({
  generation: whole(999_999_999).refine(n => n > 0, { error: 'generations are numbered from 1' }),
  slot: whole(999_999),
})
export const hostPath = z.strictObject({ id: hostId })

export const nameOf = (params: z.output<typeof servicePath>) => serviceName(params.project, params.name)

/** Who asks, as events tell it; any write takes it. */
export const actorHeader = z.object({
  'Boxcar-Actor': z.string().optional().describe('Who asks, for the events'),
})

/** What a write of a service takes besides; `answers.ts` reads it. */
export const writeHeaders = z.object({
  'If-Match': z.string().optional().describe('An ETag of the service, several, or *: it must be there'),
  'If-None-Match': z.string().optional().describe('*: it must not be there yet'),
  'Idempotency-Key': z
    .string()
    .optional()
    .describe('1 to 128 letters, digits or . _ ~ : - that nobody else draws; kept for a day'),
  ...actorHeader.shape,
})

const problem = {
  description: 'Why it was not done',
  content: { 'application/problem+json': { schema: problemView } },
}

/** The answers of a route, for its description: the good one, and the problem for everything else. */
export const answers = <Schema extends z.ZodType>(schema: Schema) => ({ 200: schema, default: problem })
export const answersWith = <Answers extends Readonly<Record<number, z.ZodType>>>(given: Answers) => ({
  ...given,
  default: problem,
})

/** A text, or a stream of them: of each media type what one of them is. */
export const textOf = (description: string, types: Readonly<Record<string, z.ZodType>>) => ({
  200: {
    description,
    content: Object.fromEntries(Object.entries(types).map(([type, schema]) => [type, { schema }])),
  },
  default: problem,
})

export const flag = z
  .enum(['', 'true', 'false', '1', '0'])
  .transform(text => text === '' || text === 'true' || text === '1')
