/**
 * At most so many bytes as part of a JSON text in UTF-8. What is stored must stay below the store's limits, whoever wrote the text
 * that it quotes; one that is too long loses its end and gets an ellipsis.
 */
export function cutText(text: string, mostBytes: number): string {
  if (text.length * 6 <= mostBytes) return text
  let bytes = 0
  let kept = 0
  let fitting = 0
  for (const point of text) {
    bytes += jsonBytes(point)
    kept += point.length
    if (bytes <= mostBytes - ellipsisBytes) fitting = kept
    if (bytes > mostBytes) return `${text.slice(0, fitting)}…`
  }
  return text
}

const ellipsisBytes = 3

/** Of one code point, escaped as JSON.stringify does. */
function jsonBytes(point: string): number {
  const code = point.codePointAt(0) ?? 0
  if ('\b\t\n\f\r"\\'.includes(point)) return 2
  if (code < 0x20 || (code >= 0xd800 && code <= 0xdfff)) return 6
  if (code < 0x80) return 1
  if (code < 0x800) return 2
  return code < 0x10000 ? 3 : 4
}
