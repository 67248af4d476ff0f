/** How the routes' schemas become `/openapi.json`: what zod and fastify leave out or say wrongly is put right here. */
import type { FastifyDynamicSwaggerOptions } from '@fastify/swagger'
import { createJsonSchemaTransform, createJsonSchemaTransformObject } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { isOpen } from './guard.ts'
import { bodyOrNothing } from './wrong-request.ts'

type JsonSchemaContext = Parameters<NonNullable<z.core.ToJSONSchemaParams['override']>>[0]

const zodToJsonConfig = {
  unrepresentable: 'any',
  override: ({ zodSchema, jsonSchema }: JsonSchemaContext) => {
    // `.readonly()` is about our types; to OpenAPI it would mean that a request may not have the field.
    delete jsonSchema.readOnly
    if (zodSchema._zod.def.type === 'undefined') jsonSchema.type = 'null'
    if (jsonSchema.anyOf !== undefined)
      jsonSchema.anyOf = jsonSchema.anyOf.filter(option => Object.keys(option).length > 0)
  },
} as const

const jsonTransform = createJsonSchemaTransform({ zodToJsonConfig })
const wholeTransform = createJsonSchemaTransformObject({ zodToJsonConfig })
/** Takes the mark of a body that may be left out from where a route is described to where its operation is written. */
const optionalMark = 'x-optional'

export const transform: NonNullable<FastifyDynamicSwaggerOptions['transform']> = document => {
  const { schema, url } = jsonTransform(document)
  const body: unknown = schema?.body
  const optional = document.route.validatorCompiler === bodyOrNothing && isObject(body)
  return {
    url,
    schema: {
      ...schema,
      ...(optional ? { body: { ...body, [optionalMark]: true } } : {}),
      ...(isOpen(url) ? { security: [] } : {}),
    },
  }
}

export const transformObject: NonNullable<FastifyDynamicSwaggerOptions['transformObject']> = document => {
  const whole = wholeTransform(document)
  if (!isObject(whole)) return whole
  const { paths, components } = described.parse(whole)
  for (const operations of Object.values(paths))
    for (const { requestBody } of Object.values(operations))
      for (const { schema } of Object.values(requestBody?.content ?? {}))
        if (requestBody !== undefined && schema !== undefined && optionalMark in schema) {
          requestBody['required'] = false
          delete schema[optionalMark]
        }
  const schemas = reachable(paths, components.schemas)
  return { ...whole, paths, components: { ...components, schemas } }
}

/** Every object is registered as it is sent and as it is answered; most are only one of them. */
function reachable(from: unknown, schemas: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const found: Record<string, unknown> = {}
  const open: unknown[] = [from]
  while (open.length > 0)
    for (const [, name = ''] of JSON.stringify(open.pop()).matchAll(/"#\/components\/schemas\/([^"]+)"/g)) {
      if (name in found) continue
      found[name] = schemas[name]
      open.push(schemas[name])
    }
  return found
}

const described = z.looseObject({
  paths: z.record(
    z.string(),
    z.record(
      z.string(),
      z.looseObject({
        requestBody: z
          .looseObject({
            content: z.record(z.string(), z.looseObject({ schema: z.looseObject({}).optional() })),
          })
          .optional(),
      }),
    ),
  ),
  components: z.looseObject({ schemas: z.record(z.string(), z.unknown()) }),
})

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null
