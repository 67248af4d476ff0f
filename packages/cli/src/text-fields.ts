/**
 * Where a schema takes text. It is read from the schema itself, so that a new field is known here as soon as it is there.
 */
import { z } from 'zod'

/** Whether text may stand at a path: keys, and indices of lists. */
export type TakesText = (path: readonly string[]) => boolean

type JsonSchema = Readonly<Record<string, unknown>>

/** A field that takes text and something else besides, such as a value of `env`, counts as one that takes text. */
export function textFields(schema: z.ZodType): TakesText {
  let root: JsonSchema | undefined
  return path => {
    root ??= z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' })
    const found = path.reduce<readonly JsonSchema[]>(
      (schemas, step) => schemas.flatMap(it => below(it, step)),
      alternatives(root),
    )
    return found.some(it => it['type'] === 'string')
  }
}

/** A schema, and all that it is put together from. */
function alternatives(schema: unknown): readonly JsonSchema[] {
  if (!isSchema(schema)) return []
  const parts = ['anyOf', 'oneOf', 'allOf'].flatMap(key => schema[key] ?? [])
  return [schema, ...parts.flatMap(alternatives)]
}

function below(schema: JsonSchema, step: string): readonly JsonSchema[] {
  const { properties, additionalProperties, items } = schema
  if (isSchema(properties) && Object.hasOwn(properties, step)) return alternatives(properties[step])
  return [...alternatives(additionalProperties), ...alternatives(items)]
}

const isSchema = (value: unknown): value is JsonSchema =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
