/** Long texts that nearly fit: what reads them must not take longer than their length is worth, wherever they stand. */
import { clusterName, hostId, projectName, serviceShortName } from '@boxcar/core/model/ids'
import { serviceSpec } from '@boxcar/core/model/spec'
import { parseDurationMs, parseMemoryMiB } from '@boxcar/core/model/units'
import { parseWhere } from '@boxcar/core/placement/where'
import { describe, expect, test } from 'vitest'
import type { z } from 'zod'
import { parsePlace } from './event-stream.ts'
import { check } from './faults.ts'
import { readJson } from './json.ts'
import { testServer } from './testing.ts'

/** What a near miss is made of: the start of something right, a piece again and again, and an end that spoils it. */
const starts = ['', '/', 'a', '1', '.', '! ', 'a ', 'a in (a', 'a:', 'a/', '[', '"']
const pieces = ['a', 'A', '1', ' ', '/', '-', '.', 'a.', 'a-', 'a_', 'a/', '_', ':', ',a', ' , a', '\t', ';']
const ends = ['!', '~\n']
/** The first step finds what grows exponentially before a longer text would never end. */
const sizes = [20, 24, 400, 6_400]

/**
 * Finds a text for which the work grows much faster than its length. Work is the processor's time of this process, which
 * others on the machine do not lengthen; below `noiseMs` nothing is said.
 */
function growth(read: (text: string) => unknown): string | undefined {
  const noiseMs = 15
  for (const start of starts)
    for (const piece of pieces)
      for (const end of ends) {
        let before = { size: 1, ms: Number.POSITIVE_INFINITY }
        for (const size of sizes) {
          const text = start + piece.repeat(Math.ceil(size / piece.length)) + end
          const ms = workOf(() => read(text))
          const limit = Math.max(noiseMs, before.ms * 6 * (size / before.size))
          if (ms > limit && workOf(() => read(text)) > limit)
            return `${JSON.stringify(start + piece)}… of ${size} characters: ${ms} ms after ${before.ms} ms`
          before = { size, ms }
        }
      }
  return undefined
}

function workOf(run: () => unknown): number {
  const from = process.cpuUsage()
  run()
  const { user, system } = process.cpuUsage(from)
  return (user + system) / 1000
}

/** Every schema of a text, of a key too, by where it stands. */
function textsOf(root: z.core.$ZodType): ReadonlyMap<string, z.core.$ZodType> {
  const found = new Map<string, z.core.$ZodType>()
  walk(root, '')
  return found

  function walk(schema: z.core.$ZodType, at: string): void {
    const def = schema._zod.def as z.core.$ZodTypeDef & {
      readonly [part in 'in' | 'out' | 'innerType' | 'element' | 'keyType' | 'valueType']?: z.core.$ZodType
    } & {
      readonly options?: readonly z.core.$ZodType[]
      readonly shape?: Readonly<Record<string, z.core.$ZodType>>
    }
    if (def.type === 'string' || (def.type === 'pipe' && def.in?._zod.def.type === 'string')) {
      found.set(at, schema)
      return
    }
    for (const inner of [def.in, def.out, def.innerType]) if (inner !== undefined) walk(inner, at)
    def.options?.forEach((option, i) => {
      walk(option, `${at}|${i}`)
    })
    if (def.element !== undefined) walk(def.element, `${at}/*`)
    if (def.keyType !== undefined) walk(def.keyType, `${at}/key`)
    if (def.valueType !== undefined) walk(def.valueType, `${at}/*`)
    for (const [key, field] of Object.entries(def.shape ?? {})) walk(field, `${at}/${key}`)
  }
}

const fields = textsOf(serviceSpec)

test('the fields of a spec are found', () => {
  expect([...fields.keys()]).toEqual(
    expect.arrayContaining([
      '/image',
      '/env/key',
      '/stop/grace',
      '/routes/*|0/path',
      '/routes/*|0/hostnames/*',
      '/placement/where/*',
      '/health/readiness/headers/*',
    ]),
  )
})

test.each([...fields])('a spec: %s', (_, schema) => {
  expect(growth(text => check(schema as z.ZodType, text))).toBeUndefined()
})

test.each([
  ['cluster name', (text: string) => clusterName.safeParse(text)],
  ['project name', (text: string) => projectName.safeParse(text)],
  ['service name', (text: string) => serviceShortName.safeParse(text)],
  ['host id', (text: string) => hostId.safeParse(text)],
  ['duration', parseDurationMs],
  ['memory', parseMemoryMiB],
  ['event id', parsePlace],
  ['JSON', readJson],
  ['a key twice', (text: string) => readJson(`{${JSON.stringify(text)}:1,${JSON.stringify(text)}:1}`)],
  [
    'where',
    (text: string) => {
      try {
        return parseWhere(text)
      } catch {
        return undefined
      }
    },
  ],
] satisfies [string, (text: string) => unknown][])('%s', (_, read) => {
  expect(growth(read)).toBeUndefined()
})

describe('headers', () => {
  test.each([
    'host',
    'authorization',
    'content-type',
    'content-encoding',
    'if-match',
    'if-none-match',
    'idempotency-key',
    'boxcar-actor',
    'last-event-id',
    'origin',
    'accept',
  ])('%s', async name => {
    const server = await testServer({ token: 'a-token-of-many-letters' })
    const ask = async (value: string): Promise<number> => {
      const from = process.cpuUsage()
      await server.app.inject({
        method: 'PUT',
        url: '/v1/projects/shop/services/web',
        headers: {
          'content-type': 'application/json',
          authorization: 'Bearer a-token-of-many-letters',
          [name]: value,
        },
        payload: '{"image":"A"}',
      })
      const { user, system } = process.cpuUsage(from)
      return (user + system) / 1000
    }
    for (const start of ['', 'Bearer ', 'application/json;charset=', '"'])
      for (const piece of ['a', '1', ' ', ':1', '; ', '"1",', '.']) {
        const text = (size: number) => `${start}${piece.repeat(size / piece.length)}!x`
        await ask(text(20))
        const short = await ask(text(1_000))
        const long = await ask(text(15_000))
        if (long > Math.max(100, short * 100))
          expect(await ask(text(15_000)), piece).toBeLessThan(Math.max(100, short * 100))
      }
    await server.close()
  })
})
