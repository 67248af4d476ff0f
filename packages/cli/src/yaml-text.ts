/**
 * YAML and JSON as people write them, with the place of every value: so that a fault found later, by its JSON pointer, can be
 * shown with its line and column. The limits hold before anything is built: size, depth, aliases.
 */
import {
  type Document,
  isAlias,
  isMap,
  isNode,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  parseAllDocuments,
} from 'yaml'

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

/** Reads all documents of a text. Never throws: what cannot be read is a fault. */
export function parseYamlText(text: string): TextRead {
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
    merge: false,
    prettyErrors: false,
    stringKeys: true,
  })
  const documents: TextDocument[] = []
  const faults: TextFault[] = []
  for (const document of Array.isArray(parsed) ? parsed : []) {
    const found = [...document.errors, ...document.warnings]
    faults.push(...found.map(fault => ({ ...placeAt(lines, fault.pos[0]), message: inWords(fault) })))
    if (found.length > 0 || isEmpty(document)) continue
    const value = contentOf(document)
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
): { kind: 'value'; value: unknown } | { kind: 'fault'; why: string } {
  try {
    const value: unknown = document.toJS({ maxAliasCount: textLimits.aliases })
    return depthOf(value) > textLimits.depth
      ? { kind: 'fault', why: `nested deeper than ${textLimits.depth} levels` }
      : { kind: 'value', value }
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

function placeOf(document: Document.Parsed, lines: LineCounter, pointer: string): Place {
  const parts = pointer
    .split('/')
    .slice(1)
    .map(part => part.replaceAll('~1', '/').replaceAll('~0', '~'))
  let node: unknown = document.contents
  let offset = offsetOf(node) ?? 0
  for (const [index, part] of parts.entries()) {
    if (isAlias(node)) node = node.resolve(document)
    if (isMap(node)) {
      const pair = node.items.find(it => isPair(it) && keyText(it.key) === part)
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

const keyText = (key: unknown): string | undefined => (isScalar(key) ? String(key.value) : undefined)
const offsetOf = (node: unknown): number | undefined => (isNode(node) ? node.range?.[0] : undefined)
