import { attempt, errorText } from '@boxcar/core/model/attempt'
import { harmless, type Paint, widthOf } from './paint.ts'

export interface Column<Row> {
  readonly head: string
  readonly of: (row: Row, paint: Paint) => string
  /** Shown only by `-o wide`. */
  readonly only?: 'wide'
  readonly align?: 'right'
}

/** Rows under their heads, as wide as they need to be: nothing is cut. */
export function table<Row>(
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  paint: Paint,
  width: 'table' | 'wide' = 'table',
): readonly string[] {
  const shown = columns.filter(column => column.only === undefined || width === 'wide')
  const cells = rows.map(row => shown.map(column => cellOf(column, row, paint)))
  const widths = shown.map((column, i) =>
    Math.max(column.head.length, ...cells.map(line => widthOf(line[i] ?? ''))),
  )
  const line = (texts: readonly string[]) =>
    texts
      .map((text, i) => pad(text, widths[i] ?? 0, shown[i]?.align))
      .join('  ')
      .trimEnd()
  return [paint.faint(line(shown.map(column => column.head))), ...cells.map(line)]
}

/** What cannot be put into words in one row takes none of the other rows along. */
function cellOf<Row>(column: Column<Row>, row: Row, paint: Paint): string {
  const cell = attempt(() => column.of(row, paint))
  return 'value' in cell ? cell.value : paint.bad(harmless(`internal error: ${errorText(cell.error)}`))
}

function pad(text: string, width: number, align: 'right' | undefined): string {
  const blanks = ' '.repeat(Math.max(0, width - widthOf(text)))
  return align === 'right' ? blanks + text : text + blanks
}

/** Names and values below each other, for one object. */
export function fields(
  pairs: readonly (readonly [name: string, value: string | undefined])[],
  paint: Paint,
): readonly string[] {
  const given = pairs.filter(([, value]) => value !== undefined && value !== '')
  const width = Math.max(...given.map(([name]) => name.length)) + 2
  return given.flatMap(([name, value = '']) =>
    value
      .split('\n')
      .map((line, i) => paint.faint((i === 0 ? name : '').padEnd(width)) + harmlessIfPlain(line)),
  )
}

const harmlessIfPlain = (text: string) => (text.includes('\u001b[') ? text : harmless(text))
