/**
 * What a log alone says helps nobody who looks at a screen. So each warning and error that is logged says beside it where a user sees
 * the same, or why nobody needs to: `// Shown: <where>` or `// Not shown: <why>`, on the line of the call, or in the comment above it.
 */

export interface LogLine {
  /** From 1. */
  readonly line: number
  readonly text: string
}

/** Every place of a source text that logs a warning or an error. */
export function logLines(source: string): readonly LogLine[] {
  return source
    .split('\n')
    .map((text, i) => ({ line: i + 1, text: text.trim() }))
    .filter(({ text }) => !isComment(text) && logs.test(text))
}

/** Those of them that do not say where it is shown. */
export function unmarked(source: string): readonly LogLine[] {
  const lines = source.split('\n').map(text => text.trim())
  return logLines(source).filter(
    ({ line, text }) => !marker.test(text) && !commentAbove(lines, line).some(isMarker),
  )
}

/** The lines of the comment that ends right above a line, which is counted from 1. */
function commentAbove(lines: readonly string[], line: number): readonly string[] {
  const above = lines.slice(0, line - 1)
  return above.slice(above.findLastIndex(text => !isComment(text)) + 1)
}

const logs = /\b(?:log|logger)\??\s*\.(?:warn|error|fatal)\b/i
const marker = /\/\/ (?:Shown|Not shown): \S.*/
const isComment = (text: string) => text.startsWith('//') || text.startsWith('*') || text.startsWith('/*')
const isMarker = (text: string) => marker.test(text)
