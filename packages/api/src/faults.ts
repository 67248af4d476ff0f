/**
 * From what a schema found wrong to what a person is told: every fault with its pointer, a stable code, one sentence, what
 * was there, and the nearest known key for an unknown one. The CLI uses it for files, so both say the same.
 */
import type { z } from 'zod'
import { maxDepth, plain, pointerOf, show } from './json.ts'
import type { FaultView } from './views.ts'

export type Checked<Value> =
  | { readonly kind: 'good'; readonly value: Value }
  | { readonly kind: 'wrong'; readonly faults: readonly FaultView[] }

/** More than so many faults are not listed: the first ones are usually the cause of the rest. */
export const maxFaults = 20

/** Checks a value, collecting every fault. `at` goes before each pointer: `/services/0`, `path`, `query`. */
export function check<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
  at = '',
): Checked<z.output<Schema>> {
  const crowded = crowdedIn(value)
  if (crowded.length > 0) return { kind: 'wrong', faults: listed(crowded, at) }
  const parsed = schema.safeParse(value, { reportInput: true, error: wordsOf })
  if (parsed.success) return { kind: 'good', value: parsed.data }
  return { kind: 'wrong', faults: listed(faultsOf(parsed.error.issues, schema, value), at) }
}

/** The first faults, each worked out only as it is listed. */
export function listed(faults: Iterable<FaultView>, at = ''): readonly FaultView[] {
  const list: FaultView[] = []
  for (const fault of faults) {
    list.push({ ...fault, pointer: at + fault.pointer })
    if (list.length === maxFaults) break
  }
  return list
}

/** A list or an object has no more entries than this, and a body no more values: what is larger is not looked at. */
const maxEntries = 1000
const maxValues = 20_000

/** Whether a value is too large to be looked at, entry by entry, by a schema. */
function crowdedIn(root: unknown): readonly FaultView[] {
  const faults: FaultView[] = []
  let left = maxValues
  walk(root, [])
  return left < 0
    ? [{ pointer: '', code: 'too_many', message: `must not hold more than ${maxValues} values in all` }]
    : faults

  function walk(value: unknown, path: readonly PropertyKey[]): void {
    left -= 1
    // What a file refers to by an alias may hold itself.
    if (typeof value !== 'object' || value === null || left < 0 || path.length > maxDepth) return
    const size = Array.isArray(value) ? value.length : Object.keys(value).length
    if (size > maxEntries)
      faults.push({
        pointer: pointerOf(path),
        code: 'too_many',
        message: `must not have more than ${maxEntries} ${Array.isArray(value) ? 'entries' : 'keys'}; has ${size}`,
      })
    else for (const [key, part] of Object.entries(value)) walk(part, [...path, key])
  }
}

type Issue = z.core.$ZodIssue

function* faultsOf(issues: readonly Issue[], schema: z.ZodType, root: unknown): Generator<FaultView> {
  for (const issue of issues)
    if (issue.code === 'unrecognized_keys')
      for (const key of issue.keys) yield unknownKey(issue.path, key, schema, root)
    else yield faultOf(issue, root)
}

function faultOf(issue: Issue, root: unknown): FaultView {
  const pointer = pointerOf(issue.path)
  const got = valueAt(root, issue.path)
  const fault = { pointer, code: codeOf(issue, got), message: issue.message }
  const allowed = allowedOf(issue)
  return {
    ...fault,
    ...(got === undefined ? {} : { got: show(got) }),
    ...(allowed === undefined ? {} : { allowed }),
  }
}

function codeOf(issue: Issue, got: unknown): string {
  switch (issue.code) {
    case 'invalid_type':
      if (issue.expected === 'never') return 'not_supported'
      if (got === undefined) return 'required'
      return issue.expected === 'int' && typeof got === 'number' ? 'range' : 'type'
    case 'too_big':
    case 'too_small':
      if (issue.origin === 'string') return 'length'
      if (issue.origin !== 'array' && issue.origin !== 'record' && issue.origin !== 'map') return 'range'
      return issue.code === 'too_big' ? 'too_many' : 'length'
    case 'invalid_format':
      return 'format'
    case 'invalid_key':
      return 'name'
    case 'invalid_value':
      return /not supported yet|supported yet/.test(issue.message) ? 'not_supported' : 'value'
    case 'invalid_union':
      return typeof got === 'string' || typeof got === 'number' ? 'value' : 'type'
    case 'not_multiple_of':
      return 'range'
    case 'custom': {
      const code: unknown = issue.params?.['code']
      return typeof code === 'string' ? code : 'format'
    }
    default:
      return 'value'
  }
}

/** Said where a schema itself says nothing: it has the last word, this the first. */
const wordsOf: z.core.$ZodErrorMap = issue => {
  switch (issue.code) {
    case 'invalid_type':
      return issue.input === undefined
        ? `is missing: needs ${kindOf(issue.expected)}`
        : `must be ${kindOf(issue.expected)}`
    case 'too_small':
      return `must ${sized(issue.origin)} at least ${issue.minimum}${unitOf(issue.origin)}`
    case 'too_big':
      return `must ${sized(issue.origin)} at most ${issue.maximum}${unitOf(issue.origin)}`
    case 'invalid_value':
      return issue.values.length === 1
        ? `must be ${show(issue.values[0])}`
        : `must be one of ${issue.values.map(show).join(', ')}`
    case 'invalid_format':
      return `must be ${formats[issue.format ?? ''] ?? 'written in another form'}`
    case 'invalid_key':
      return issue.issues[0]?.message ?? 'is not a key that may stand here'
    case 'invalid_union':
      return issue.note === 'No matching discriminator'
        ? 'is not a kind that is known here'
        : (issue.errors[0]?.[0]?.message ?? 'fits none of the forms that may stand here')
    default:
      return undefined
  }
}

const kinds: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'an object',
  record: 'an object',
  never: 'left out',
}
const kindOf = (expected: string) => kinds[expected] ?? expected
const formats: Readonly<Record<string, string>> = {
  ipv4: 'an IP address',
  ipv6: 'an IP address',
  regex: 'written in another form',
}
const sized = (origin: string) =>
  origin === 'number' || origin === 'int' || origin === 'bigint' ? 'be' : 'have'
const unitOf = (origin: string) =>
  origin === 'string'
    ? ' characters'
    : origin === 'array'
      ? ' entries'
      : origin === 'number' || origin === 'int'
        ? ''
        : ' keys'

function allowedOf(issue: Issue): string[] | undefined {
  if (issue.code === 'invalid_value') return issue.values.map(value => String(value))
  return undefined
}

/** What the system says of itself: seen in answers, so people send it back; never taken from them. */
const serverOwned = new Set([
  'status',
  'uid',
  'revision',
  'generation',
  'term',
  'host',
  'node',
  'rollout_status',
  'ready',
])

function unknownKey(path: readonly PropertyKey[], key: string, schema: z.ZodType, root: unknown): FaultView {
  const pointer = pointerOf([...path, key])
  const known = knownKeys(schema, path, root)
  const got = show(valueAt(root, [...path, key]))
  if (path.length === 0 && serverOwned.has(key))
    return { pointer, code: 'read_only', message: `'${key}' is said by the cluster and cannot be set`, got }
  const near = nearest(key, known)
  const hint = near === undefined ? '' : `; did you mean '${near}'?`
  const message = `unknown key '${plain(key)}'${hint}`
  return {
    pointer,
    code: 'unknown_field',
    message,
    got,
    ...(known.length === 0 || known.length > 40 ? {} : { allowed: [...known] }),
  }
}

function valueAt(root: unknown, path: readonly PropertyKey[]): unknown {
  let value = root
  for (const step of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, step)) return undefined
    value = Reflect.get(value, step)
  }
  return value
}

/** The keys that a schema knows at a path, read from the schema itself. */
function knownKeys(schema: z.ZodType, path: readonly PropertyKey[], root: unknown): readonly string[] {
  let here: z.core.$ZodType | undefined = schema
  let value = root
  for (const step of path) {
    here = here === undefined ? undefined : below(unwrap(here, value), step)
    value = valueAt(value, [step])
  }
  const object = here === undefined ? undefined : unwrap(here, value)
  if (object === undefined) return []
  if (!isObjectSchema(object)) return namedKeys(object)
  return Object.keys(object._zod.def.shape).filter(key => {
    const field = object._zod.def.shape[key]
    return field !== undefined && !isNever(field)
  })
}

/** The keys of a map that may have only these. */
function namedKeys(schema: z.core.$ZodType): readonly string[] {
  const { keyType } = schema._zod.def as z.core.$ZodTypeDef & { readonly keyType?: z.core.$ZodType }
  return [...(keyType?._zod.values ?? [])].map(String)
}

const isObjectSchema = (s: z.core.$ZodType): s is z.core.$ZodObject => s._zod.def.type === 'object'

function isNever(schema: z.core.$ZodType): boolean {
  const inner = unwrap(schema, undefined)
  return inner._zod.def.type === 'never'
}

/** Through defaults, options and transformations to the schema that has keys. */
function unwrap(schema: z.core.$ZodType, value: unknown): z.core.$ZodType {
  // The kind of a schema is known by `def.type` alone; zod's types do not narrow by it.
  const def = schema._zod.def as z.core.$ZodTypeDef & {
    readonly innerType?: z.core.$ZodType
    readonly in?: z.core.$ZodType
    readonly out?: z.core.$ZodType
    readonly options?: readonly z.core.$ZodType[]
  }
  if (def.innerType !== undefined) return unwrap(def.innerType, value)
  if (def.type === 'pipe' && def.in !== undefined && def.out !== undefined)
    return unwrap(def.in._zod.def.type === 'transform' ? def.out : def.in, value)
  if (def.type === 'union' && def.options !== undefined) {
    const fits = def.options.find(option => fitsDiscriminator(option, value))
    return fits === undefined ? schema : unwrap(fits, value)
  }
  return schema
}

/** Whether an object's fixed fields (`protocol: tcp`) are those of this option. */
function fitsDiscriminator(option: z.core.$ZodType, value: unknown): boolean {
  const object = unwrap(option, value)
  if (!isObjectSchema(object)) return false
  return Object.entries(object._zod.def.shape).every(([key, field]) => {
    if (field._zod.def.type !== 'literal') return true
    if (valueAt(value, [key]) === undefined) return true // left out: the first option is meant
    return field._zod.values?.has(valueAt(value, [key]) as z.core.util.Primitive) === true
  })
}

function below(schema: z.core.$ZodType, step: PropertyKey): z.core.$ZodType | undefined {
  const def = schema._zod.def as z.core.$ZodTypeDef & {
    readonly shape?: Readonly<Record<string, z.core.$ZodType>>
    readonly element?: z.core.$ZodType
    readonly valueType?: z.core.$ZodType
  }
  return def.shape?.[String(step)] ?? def.element ?? def.valueType
}

/** The known key that a misspelt one is most likely to mean, or none. */
export function nearest(key: string, known: readonly string[]): string | undefined {
  if (key.length > 64) return undefined
  const folded = fold(key)
  let best: { readonly key: string; readonly distance: number } | undefined
  for (const candidate of [...known].sort()) {
    const distance = fold(candidate) === folded ? 0 : editDistance(folded, fold(candidate))
    if (best === undefined || distance < best.distance) best = { key: candidate, distance }
  }
  const reach = Math.max(1, Math.floor(key.length / 3))
  if (best !== undefined && best.distance <= reach) return best.key
  // `healthchek` and `environment`: a known key with something after it, or the beginning of one.
  return [...known].sort().find(candidate => {
    const other = fold(candidate)
    return (other.length >= 3 && folded.startsWith(other)) || (folded.length >= 3 && other.startsWith(folded))
  })
}

const fold = (key: string) => key.toLowerCase().replaceAll(/[-_]/g, '')

/** Letters to insert, delete, replace or swap (optimal string alignment). */
function editDistance(a: string, b: string): number {
  let [before, last] = [[] as number[], Array.from({ length: b.length + 1 }, (_, i) => i)]
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i]
    for (let j = 1; j <= b.length; j += 1) {
      const swap =
        i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
          ? (before[j - 2] ?? 0) + 1
          : Number.POSITIVE_INFINITY
      row[j] = Math.min(
        (last[j] ?? 0) + 1,
        (row[j - 1] ?? 0) + 1,
        (last[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1),
        swap,
      )
    }
    ;[before, last] = [last, row]
  }
  return last[b.length] ?? 0
}
