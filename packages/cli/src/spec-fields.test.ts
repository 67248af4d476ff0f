import { serviceSpec, template } from '@boxcar/core/model/spec'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { specFields } from './spec-fields.ts'

type Schema = Readonly<Record<string, unknown>>

const isSchema = (value: unknown): value is Schema =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Every path of a schema with what it says there; free keys (`env`, `ulimits`) are one path. */
function pathsOf(schema: Schema, at = ''): ReadonlyMap<string, Schema> {
  const found = new Map<string, Schema>()
  for (const branch of ['allOf', 'anyOf', 'oneOf'].flatMap(key => schema[key] ?? [])) {
    if (isSchema(branch)) for (const [path, below] of pathsOf(branch, at)) found.set(path, below)
  }
  const { properties, items } = schema
  if (isSchema(properties)) {
    for (const [key, below] of Object.entries(properties)) {
      if (!isSchema(below)) continue
      const path = at === '' ? key : `${at}.${key}`
      found.set(path, below)
      for (const [deeper, value] of pathsOf(below, path)) found.set(deeper, value)
    }
  }
  if (isSchema(items)) for (const [path, below] of pathsOf(items, `${at}[]`)) found.set(path, below)
  return found
}

const schema = pathsOf(z.toJSONSchema(serviceSpec, { io: 'output', unrepresentable: 'any' }))

test('every field of the schema is explained, and nothing else', () => {
  expect([...specFields.map(it => it.path)].sort()).toEqual([...schema.keys()].sort())
})

test('what the schema refuses is said not to be supported yet', () => {
  const refused = [...schema].filter(([, it]) => 'not' in it).map(([path]) => path)
  const said = specFields.filter(it => it.support === 'not yet').map(it => it.path)
  // Those two are refused by the one value that they may have.
  expect([...said].sort()).toEqual([...refused, 'placement.priority', 'resources.reservations.gpus'].sort())
})

test('what makes a generation is what is in the template', () => {
  const inTemplate = new Set(
    pathsOf(z.toJSONSchema(template, { io: 'output', unrepresentable: 'any' })).keys(),
  )
  for (const field of specFields) {
    expect(`${field.path}: ${field.effect === 'generation'}`).toBe(
      `${field.path}: ${inTemplate.has(field.path)}`,
    )
  }
})
