/**
 * YAML and JSON as people write them, with the place of every value: so that a fault found later, by its JSON pointer, can be
 * shown with its line and column. The limits hold before anything is built: size, depth, aliases.
 */
import {
  type Document,
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  type Pair,
  parseAllDocuments,
  Scalar,
  visit,
  type YAMLMap,
} from 'yaml'
import type { TakesText } from './text-fields.ts'

export interface Place {
  readonly line: number
  readonly column: number
}

export interface TextFault extends Place {
  readonly message: string
}

export interface TextDocument {
  readonly value: unknown
  /** Where the value (or the key, for an unknown field) of a JSON pointer stands; its nearest parent where it is not there. */
  place(pointer: string): Place
}

export interface TextRead {
  readonly documents: readonly TextDocument[]
  /** Faults of the text itself; what they are in is not among the documents. */
  readonly faults: readonly TextFault[]
}

export const textLimits = { bytes: 256 * 1024, depth: 32, aliases: 50 } as const

/**
 * Reads all documents of a text. Never throws: what cannot be read is a fault. Where text is taken, an unquoted number or
 * boolean is the text that was written: `1.10` stays `1.10`. Merge keys (`<<`) are followed.
 */
export function parseYamlText(text: string, takesText: TakesText = () => false): TextRead {
  const start = { line: 1, column: 1 }
  const bytes = Buffer.byteLength(text)
  if (bytes > textLimits.bytes) {
    const message = `the file has ${bytes} bytes, more than the ${textLimits.bytes} that are allowed`
    return { documents: [], faults: [{ ...start, message }] }
  }
  const nul = text.indexOf('\0')
  const lines = new LineCounter()
  if (nul >= 0) {
    const before = text.slice(0, nul).split('\n')
    const place = { line: before.length, column: (before.at(-1)?.length ?? 0) + 1 }
    return { documents: [], faults: [{ ...place, message: 'the file contains a NUL character' }] }
  }
  const deep = tooDeep(text)
  if (deep !== undefined) {
    return { documents: [], faults: [{ ...deep, message: `nested deeper than ${textLimits.depth} levels` }] }
  }
  const parsed = parseAllDocuments(text, {
    lineCounter: lines,
    schema: 'core',
    version: '1.2',
    uniqueKeys: true,
    customTags: null,
    merge: true,
    prettyErrors: false,
    stringKeys: true,
  })
  const documents: TextDocument[] = []
  const faults: TextFault[] = []
  for (const document of Array.isArray(parsed) ? parsed : []) {
    const found = [...document.errors, ...document.warnings]
    faults.push(...found.map(fault => ({ ...placeAt(lines, fault.pos[0]), message: inWords(fault) })))
    if (found.length > 0 || isEmpty(document)) continue
    const merges = wrongMerges(document)
    faults.push(...merges.map(({ offset, message }) => ({ ...placeAt(lines, offset), message })))
    if (merges.length > 0) continue
    const value = contentOf(document, takesText)
    if (value.kind === 'value')
      documents.push({ value: value.value, place: pointer => placeOf(document, lines, pointer) })
    else faults.push({ ...start, message: value.why })
  }
  return { documents, faults }
}

/** `---` at the start or the end of a file makes an empty document; nobody means it. */
const isEmpty = (document: Document.Parsed) =>
  document.contents === null || (isScalar(document.contents) && document.contents.value === null)

function contentOf(
  document: Document.Parsed,
  takesText: TakesText,
): { kind: 'value'; value: unknown } | { kind: 'fault'; why: string } {
  keepWritten(document)
  try {
    const value: unknown = document.toJS({ maxAliasCount: textLimits.aliases })
    return depthOf(value) > textLimits.depth
      ? { kind: 'fault', why: `nested deeper than ${textLimits.depth} levels` }
      : { kind: 'value', value: settle(value, takesText, []) }
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    return {
      kind: 'fault',
      why: /excessive alias/i.test(why)
        ? `too many aliases, or aliases that repeat too much; at most ${textLimits.aliases}`
        : why,
    }
  }
}

/** A number or boolean of which it is not known yet whether text is wanted: that shows where an alias or a merge puts it. */
class Written {
  readonly #source: string
  readonly #value: unknown

  constructor(source: string, value: unknown) {
    this.#source = source
    this.#value = value
  }

  as(kind: 'text' | 'value'): unknown {
    return kind === 'text' ? this.#source : this.#value
  }
}

function keepWritten(document: Document.Parsed): void {
  visit(document, {
    Scalar(at, node) {
      const { source, value } = node
      if (at === 'key' || node.type !== Scalar.PLAIN || source === undefined) return
      if (typeof value === 'number' || typeof value === 'boolean') node.value = new Written(source, value)
    },
  })
}

function settle(value: unknown, takesText: TakesText, path: readonly string[]): unknown {
  if (value instanceof Written) return value.as(takesText(path) ? 'text' : 'value')
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map((part, i) => settle(part, takesText, [...path, String(i)]))
  return Object.fromEntries(
    Object.entries(value).map(([key, part]) => [key, settle(part, takesText, [...path, key])]),
  )
}

function depthOf(value: unknown): number {
  let level: unknown[] = [value]
  for (let depth = 0; ; depth++) {
    level = level.flatMap(it => (typeof it === 'object' && it !== null ? Object.values(it) : []))
    if (level.length === 0 || depth > textLimits.depth) return depth
  }
}

/** Brackets nested so deep that the parser's own recursion would be at risk; text in quotes may fool it, to the safe side. */
function tooDeep(text: string): Place | undefined {
  let [depth, line, lineStart] = [0, 1, 0]
  for (let at = 0; at < text.length; at++) {
    const char = text[at]
    if (char === '\n') [line, lineStart] = [line + 1, at + 1]
    else if (char === '[' || char === '{') depth++
    else if ((char === ']' || char === '}') && depth > 0) depth--
    if (depth > textLimits.depth * 4) return { line, column: at - lineStart + 1 }
  }
  return undefined
}

function inWords(fault: { readonly code: string; readonly message: string }): string {
  switch (fault.code) {
    case 'DUPLICATE_KEY':
      return 'the same key is given twice'
    case 'TAB_AS_INDENT':
      return 'a tab is used for indentation; YAML takes blanks only'
    case 'TAG_RESOLVE_FAILED':
      return 'tags such as !name are not allowed here'
    default:
      return fault.message.replace(/\s+/g, ' ').trim()
  }
}

const placeAt = (lines: LineCounter, offset: number): Place => {
  const { line, col } = lines.linePos(offset)
  return { line: Math.max(1, line), column: Math.max(1, col) }
}

/** The steps of a JSON pointer. */
export const stepsOf = (pointer: string): readonly string[] =>
  pointer
    .split('/')
    .slice(1)
    .map(part => part.replaceAll('~1', '/').replaceAll('~0', '~'))

function placeOf(document: Document.Parsed, lines: LineCounter, pointer: string): Place {
  const parts = stepsOf(pointer)
  let node: unknown = document.contents
  let offset = offsetOf(node) ?? 0
  for (const [index, part] of parts.entries()) {
    node = resolved(document, node)
    if (isMap(node)) {
      const pair = pairOf(document, node, part)
      if (pair === undefined) break
      // The fault of a whole field is shown at its key: there the eye looks for it.
      const isLast = index === parts.length - 1
      offset = offsetOf(isLast || pair.value === null ? pair.key : pair.value) ?? offset
      node = pair.value
    } else if (isSeq(node)) {
      const item: unknown = node.items[Number(part)]
      if (item === undefined) break
      offset = offsetOf(item) ?? offset
      node = item
    } else break
  }
  return placeAt(lines, offset)
}

/** The pair that gives a map a key: its own, else one of the maps that are merged into it. */
function pairOf(document: Document.Parsed, map: YAMLMap, key: string): Pair | undefined {
  const own = map.items.find(it => !isMerge(it) && keyText(it.key) === key)
  if (own !== undefined) return own
  for (const source of map.items.filter(isMerge).flatMap(it => mergedBy(document, it))) {
    const merged = resolved(document, source)
    const found = isMap(merged) ? pairOf(document, merged, key) : undefined
    if (found !== undefined) return found
  }
  return undefined
}

/** Merges of what is no map. */
function wrongMerges(document: Document.Parsed): readonly { offset: number; message: string }[] {
  const found: { offset: number; message: string }[] = []
  visit(document, {
    Pair(_, pair) {
      if (!isMerge(pair)) return
      for (const source of mergedBy(document, pair)) {
        const merged = resolved(document, source)
        if (isMap(merged)) continue
        const message =
          isAlias(source) && merged === undefined
            ? `no anchor &${source.source} stands before this alias`
            : '<< takes a map, an alias of one such as *common, or a list of these'
        found.push({ offset: offsetOf(source) ?? offsetOf(pair.key) ?? 0, message })
      }
    },
  })
  return found
}

/** What a merge key names: one map, or each of a list. */
function mergedBy(document: Document.Parsed, { value }: Pair): readonly unknown[] {
  const source = resolved(document, value)
  return isSeq(source) ? source.items : [value]
}

/** In quotes it is a key like any other. */
const isMerge = ({ key }: Pair) => isScalar(key) && key.type === Scalar.PLAIN && key.value === '<<'

const resolved = (document: Document.Parsed, node: unknown): unknown =>
  isAlias(node) ? node.resolve(document) : node

const keyText = (key: unknown): string | undefined => (isScalar(key) ? String(key.value) : undefined)
const offsetOf = (node: unknown): number | undefined => (isNode(node) ? node.range?.[0] : undefined)
