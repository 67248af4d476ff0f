/**
 * The only two ways in which text of users becomes part of a configuration, a map file or a command: letter by letter
 * into a name, or whole into hexadecimal digits. Both are reversible, so two texts never become one.
 */

/**
 * A name of `[a-z0-9_]` for any text: other bytes become `_` and two digits, so `__` never occurs and may separate. No
 * text at all becomes `_`.
 */
export function encodeName(text: string): string {
  if (text === '') return '_'
  let name = ''
  for (const byte of Buffer.from(text, 'utf8')) {
    const char = String.fromCharCode(byte)
    name += /[a-z0-9]/.test(char) ? char : `_${byte.toString(16).padStart(2, '0')}`
  }
  return name
}

/** The text that `encodeName` made a name of. */
export function decodeName(name: string): string {
  if (name === '_') return ''
  const bytes: number[] = []
  for (let at = 0; at < name.length; at++) {
    if (name[at] === '_') {
      bytes.push(Number.parseInt(name.slice(at + 1, at + 3), 16))
      at += 2
    } else bytes.push(name.charCodeAt(at))
  }
  return Buffer.from(bytes).toString('utf8')
}

/** Upper-case hexadecimal digits of the text, as the proxy's own converter `hex` writes them. Prefixes stay prefixes. */
export function hexKey(text: string): string {
  return Buffer.from(text, 'utf8').toString('hex').toUpperCase()
}
