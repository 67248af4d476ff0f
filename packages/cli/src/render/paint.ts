import type { Sink } from '../terminal.ts'

/** Colours by what they mean. Plain where nobody sees them, so that text in pipes and tests is just text. */
export interface Paint {
  readonly good: (text: string) => string
  readonly busy: (text: string) => string
  readonly bad: (text: string) => string
  readonly faint: (text: string) => string
  readonly strong: (text: string) => string
}

const code = (on: number, off: number) => (text: string) =>
  text === '' ? '' : `\u001b[${on}m${text}\u001b[${off}m`
const same = (text: string) => text

const colors: Paint = {
  good: code(32, 39),
  busy: code(33, 39),
  bad: code(31, 39),
  faint: code(2, 22),
  strong: code(1, 22),
}
const plain: Paint = { good: same, busy: same, bad: same, faint: same, strong: same }

export const paint = (color: Sink['color']): Paint => (color === 'color' ? colors : plain)

// biome-ignore lint/suspicious/noControlCharactersInRegex: the escape character is what a colour starts with
const escapes = /\u001b\[[0-9;]*m/g

/** The columns that a text takes, colours left out. */
export const widthOf = (text: string): number => [...text.replace(escapes, '')].length

/** Cut to a width with colours kept whole; only for the live tree, where a line that wraps would spoil the picture. */
export function cut(text: string, width: number): string {
  if (widthOf(text) <= width) return text
  let [out, columns] = ['', 0]
  // biome-ignore lint/suspicious/noControlCharactersInRegex: see above
  for (const piece of text.split(/(\u001b\[[0-9;]*m)/)) {
    if (piece.startsWith('\u001b')) {
      out += piece
      continue
    }
    for (const char of piece) {
      if (columns >= width - 1) break
      out += char
      columns += 1
    }
  }
  return `${out}…`
}

/** What comes from outside (logs, names, reasons) cannot move the cursor or ring the bell. */
export const harmless = (text: string): string =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is taken out
  text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '\uFFFD')
