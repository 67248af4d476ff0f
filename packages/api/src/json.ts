/**
 * A strict reader of JSON. `JSON.parse` lets through what a careful API must not: a key given twice (the last one wins,
 * silently), any depth (what then writes it overflows its stack), −0, and keys that touch prototypes. A fault names the
 * place by offset, line and column.
 */

export interface JsonFault {
  readonly code: 'invalid_json' | 'duplicate_key' | 'too_deep' | 'forbidden_key'
  readonly message: string
  readonly pointer: string
  readonly offset: number
}

export type JsonOutcome =
  | { readonly kind: 'read'; readonly value: unknown }
  | { readonly kind: 'unreadable'; readonly fault: JsonFault }

/** How deep objects and arrays may nest; a spec needs six levels. */
export const maxDepth = 32

/** Reads UTF-8 bytes. */
export function readJsonBytes(bytes: Uint8Array): JsonOutcome {
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return unreadable('invalid_json', 'the body is not UTF-8 text', '', 0)
  }
  return readJson(text)
}

export function readJson(text: string): JsonOutcome {
  if (text.startsWith('\uFEFF'))
    return unreadable('invalid_json', 'the body starts with a byte order mark; leave it out', '', 0)
  if (text.trim() === '') return unreadable('invalid_json', 'the body is empty; JSON is needed', '', 0)
  const reader = new Reader(text)
  try {
    return { kind: 'read', value: reader.whole() }
  } catch (error) {
    if (error instanceof Refused) return { kind: 'unreadable', fault: error.fault }
    throw error
  }
}

const unreadable = (
  code: JsonFault['code'],
  message: string,
  pointer: string,
  offset: number,
): JsonOutcome => ({
  kind: 'unreadable',
  fault: { code, message, pointer, offset },
})

/** Leaves the recursion below; never leaves this file. */
class Refused extends Error {
  readonly fault: JsonFault
  constructor(fault: JsonFault) {
    super(fault.message)
    this.fault = fault
  }
}

const numberAt = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?/y
const wordAt = /[A-Za-z_$][\w$]*/y

class Reader {
  readonly #text: string
  #at = 0
  readonly #path: (string | number)[] = []

  constructor(text: string) {
    this.#text = text
  }

  whole(): unknown {
    this.#space()
    const value = this.#value(0)
    this.#space()
    if (this.#at < this.#text.length) this.#refuse('the document ends here, but more follows')
    return value
  }

  #value(depth: number): unknown {
    const char = this.#text[this.#at]
    if (char === '{') return this.#object(depth + 1)
    if (char === '[') return this.#array(depth + 1)
    if (char === '"') return this.#string()
    if (char === '-' || (char !== undefined && char >= '0' && char <= '9')) return this.#number()
    for (const [word, value] of constants) {
      if (!this.#text.startsWith(word, this.#at)) continue
      this.#at += word.length
      return value
    }
    if (char === undefined) this.#refuse('the text ends where a value should be')
    wordAt.lastIndex = this.#at
    const word = wordAt.exec(this.#text)?.[0]
    this.#refuse(
      word === undefined ? `${show(char)} is not the start of a value` : `'${word.slice(0, 20)}' is not JSON`,
    )
  }

  #object(depth: number): Record<string, unknown> {
    this.#deeper(depth)
    const object: Record<string, unknown> = {}
    this.#at += 1
    this.#space()
    if (this.#take('}')) return object
    for (;;) {
      if (this.#text[this.#at] !== '"') this.#refuse('a key in double quotes is needed here')
      const keyAt = this.#at
      const key = this.#string()
      this.#path.push(key)
      if (key === '__proto__') this.#refuse("the key '__proto__' is not allowed", 'forbidden_key', keyAt)
      if (Object.hasOwn(object, key))
        this.#refuse(`the key '${plain(key)}' is given twice`, 'duplicate_key', keyAt)
      this.#space()
      if (!this.#take(':')) this.#refuse("':' is needed after a key")
      this.#space()
      object[key] = this.#value(depth)
      this.#path.pop()
      this.#space()
      if (this.#take('}')) return object
      if (!this.#take(',')) this.#refuse("',' or '}' is needed here")
      this.#space()
    }
  }

  #array(depth: number): unknown[] {
    this.#deeper(depth)
    const array: unknown[] = []
    this.#at += 1
    this.#space()
    if (this.#take(']')) return array
    for (;;) {
      this.#path.push(array.length)
      array.push(this.#value(depth))
      this.#path.pop()
      this.#space()
      if (this.#take(']')) return array
      if (!this.#take(',')) this.#refuse("',' or ']' is needed here")
      this.#space()
    }
  }

  #string(): string {
    const from = this.#at
    let plain = true
    for (let i = from + 1; ; i += 1) {
      const code = this.#text.charCodeAt(i)
      if (Number.isNaN(code)) this.#refuse('the text ends inside a string', 'invalid_json', from)
      if (code < 0x20) this.#refuse('a control character in a string must be escaped', 'invalid_json', i)
      if (code === 0x5c) {
        plain = false
        i += 1
      } else if (code === 0x22) {
        this.#at = i + 1
        break
      }
    }
    const value = plain ? this.#text.slice(from + 1, this.#at - 1) : this.#unescape(from)
    if (!value.isWellFormed()) this.#refuse('half of a surrogate pair is not text', 'invalid_json', from)
    return value
  }

  #unescape(from: number): string {
    try {
      return String(JSON.parse(this.#text.slice(from, this.#at)))
    } catch {
      this.#refuse('a string has an escape that JSON does not know', 'invalid_json', from)
    }
  }

  #number(): number {
    numberAt.lastIndex = this.#at
    const digits = numberAt.exec(this.#text)?.[0]
    if (digits === undefined) this.#refuse('a number is not written as JSON has it')
    const value = Number(digits)
    if (Object.is(value, -0)) this.#refuse('-0 is not accepted; write 0')
    if (!Number.isFinite(value)) this.#refuse(`the number ${digits.slice(0, 20)} is too large`)
    this.#at += digits.length
    const next = this.#text[this.#at]
    if (next !== undefined && /[\w.+-]/.test(next)) this.#refuse('a number is not written as JSON has it')
    return value
  }

  #space(): void {
    for (;;) {
      const code = this.#text.charCodeAt(this.#at)
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return
      this.#at += 1
    }
  }

  #take(char: string): boolean {
    if (this.#text[this.#at] !== char) return false
    this.#at += 1
    return true
  }

  #deeper(depth: number): void {
    if (depth > maxDepth) this.#refuse(`nested deeper than ${maxDepth} levels`, 'too_deep')
  }

  #refuse(message: string, code: JsonFault['code'] = 'invalid_json', offset = this.#at): never {
    const before = this.#text.slice(0, offset)
    const line = before.split('\n').length
    const column = offset - before.lastIndexOf('\n')
    const where = `line ${line}, column ${column}`
    throw new Refused({ code, message: `${message} (${where})`, pointer: pointerOf(this.#path), offset })
  }
}

const constants = [
  ['true', true],
  ['false', false],
  ['null', null],
] as const

/** RFC 6901. */
export const pointerOf = (path: readonly PropertyKey[]): string =>
  path.map(step => `/${String(step).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('')

const unsafe = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu

/** Text for people: nothing invisible in it, at most 64 characters. */
export function plain(text: string): string {
  const visible = text
    .slice(0, longest + 1)
    .replace(unsafe, char => `\\u{${(char.codePointAt(0) ?? 0).toString(16)}}`)
  return visible.length <= longest ? visible : `${visible.slice(0, longest - 1)}…`
}

const longest = 64

/** A value for people: as JSON, nothing invisible in it, at most 64 characters. */
export const show = (value: unknown): string => plain(preview(value, 0))

/** Enough of a value to fill 64 characters, without writing out all of a large one. */
function preview(value: unknown, depth: number): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, longest + 1))
  if (typeof value === 'number') return String(value)
  if (Array.isArray(value))
    return value.length > 8 || depth > 2
      ? `an array of ${value.length}`
      : `[${value.map(part => preview(part, depth + 1)).join(',')}]`
  if (typeof value === 'object' && value !== null) {
    const keys = Object.keys(value)
    const shown = keys.slice(0, 4).map(key => key.slice(0, longest))
    return keys.length === 0 ? '{}' : `an object with ${shown.join(', ')}${keys.length > 4 ? ', …' : ''}`
  }
  return String(value)
}
