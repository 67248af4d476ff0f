import type { CommandContext } from '../command.ts'
import { type Paint, paint } from './paint.ts'
import { type Column, table } from './table.ts'

export type Format = 'table' | 'wide' | 'json' | 'yaml' | 'name' | 'jsonl'

export const formatOf = ({ invocation }: CommandContext): Format => {
  const format = invocation.flags['output']
  return format === 'wide' ||
    format === 'json' ||
    format === 'yaml' ||
    format === 'name' ||
    format === 'jsonl'
    ? format
    : 'table'
}

/** Prints a list of the API's objects in the form that was asked for. */
export async function printList<Row>(
  context: CommandContext,
  rows: readonly Row[],
  how: {
    readonly columns: readonly Column<Row>[]
    readonly nameOf: (row: Row) => string
    /** Said on standard error where there is nothing to show. */
    readonly none: string
    /** What people see, where that is no table. */
    readonly lines?: (paint: Paint) => readonly string[]
  },
): Promise<void> {
  const { terminal } = context
  const format = formatOf(context)
  if (format === 'table' || format === 'wide') {
    const colors = paint(terminal.out.color)
    if (how.lines !== undefined) await printLines(context, how.lines(colors))
    else if (rows.length === 0) terminal.err.write(`${how.none}\n`)
    else await printLines(context, table(how.columns, rows, colors, format))
  } else if (format === 'name') await printLines(context, rows.map(how.nameOf))
  else if (format === 'jsonl')
    await printLines(
      context,
      rows.map(row => JSON.stringify(row)),
    )
  else await printData(context, rows)
}

/** Prints one object: as data where that was asked for, else as the lines that are made of it. */
export async function printObject(
  context: CommandContext,
  object: unknown,
  how: { readonly name: string; readonly lines: (paint: Paint) => readonly string[] },
): Promise<void> {
  const format = formatOf(context)
  if (format === 'name') await printLines(context, [how.name])
  else if (format === 'jsonl') await printLines(context, [JSON.stringify(object)])
  else if (format === 'json' || format === 'yaml') await printData(context, object)
  else await printLines(context, how.lines(paint(context.terminal.out.color)))
}

async function printData(context: CommandContext, data: unknown): Promise<void> {
  if (formatOf(context) === 'json') return printLines(context, [JSON.stringify(data, undefined, 2)])
  const { yamlOf } = await import('../yaml-output.ts')
  context.terminal.out.write(yamlOf(data))
}

export async function printLines({ terminal }: CommandContext, lines: readonly string[]): Promise<void> {
  for (let i = 0; i < lines.length; i += linesAtOnce) {
    terminal.out.write(`${lines.slice(i, i + linesAtOnce).join('\n')}\n`)
    await terminal.drained()
  }
}

/** Enough that a short list is one write, few enough that a long one is not held twice in memory. */
const linesAtOnce = 200

/**
 * One object of a stream that may have no end, as data: a line of JSON, or an item of a YAML list; nothing where text for
 * people is wanted.
 */
export async function dataLine(format: Format, object: unknown, name: string): Promise<string | undefined> {
  if (format === 'table' || format === 'wide') return undefined
  if (format === 'name') return `${name}\n`
  if (format === 'yaml') return (await import('../yaml-output.ts')).yamlOf([object])
  return `${JSON.stringify(object)}\n`
}
