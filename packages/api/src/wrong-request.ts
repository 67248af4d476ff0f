/** Faults found before a route was asked: thrown inside fastify, turned into a problem by the error handler of app.ts. */
import { z } from 'zod'
import { check } from './faults.ts'
import type { FaultView } from './views.ts'

export class WrongRequest extends Error {
  readonly part: 'address' | 'body' | 'media'
  readonly faults: readonly FaultView[]
  constructor(part: WrongRequest['part'], faults: readonly FaultView[]) {
    super('the request is wrong')
    this.part = part
    this.faults = faults
  }
}

/** A body that is not JSON as we read it. */
export class UnreadableBody extends Error {
  readonly faults: readonly FaultView[]
  constructor(faults: readonly FaultView[]) {
    super('the body cannot be read')
    this.faults = faults
  }
}

interface Part {
  readonly schema: unknown
  readonly httpPart?: string | undefined
}
type Validator = (data: unknown) => { value: unknown } | { error: Error }

const pointerPrefix: Readonly<Record<string, string>> = {
  params: 'path',
  querystring: 'query',
  body: '',
}

/** Checks one part of a request by the schema that also describes it. Headers are only described: `answers.ts` reads them. */
export function validatorOf({ schema, httpPart = 'body' }: Part): Validator {
  if (!(schema instanceof z.ZodType)) throw new Error('routes are described by zod schemas')
  if (httpPart === 'headers') return value => ({ value })
  return data => {
    const checked = check(schema, data, pointerPrefix[httpPart] ?? '')
    if (checked.kind === 'good') return { value: checked.value }
    return { error: new WrongRequest(httpPart === 'body' ? 'body' : 'address', checked.faults) }
  }
}

/** Where the body is parsed behind the route, since what is kept is the text as written; its schema only describes it. */
export const bodyAsWritten = (part: Part): Validator =>
  part.httpPart === 'body' ? value => ({ value }) : validatorOf(part)

/** A body that may be left out: nothing is read as `{}`. */
export const bodyOrNothing = (part: Part): Validator => {
  const validate = validatorOf(part)
  return part.httpPart === 'body' ? data => validate(data ?? {}) : validate
}
