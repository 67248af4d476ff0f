import { nearest } from '@boxcar/api/faults'
import type { RunCommand } from '../command.ts'
import { exitStatus, Trouble } from '../exit.ts'
import type { Paint } from '../render/paint.ts'
import { printList } from '../render/print.ts'
import { fields } from '../render/table.ts'
import { effectWords, type SpecField, specFields } from '../spec-fields.ts'

/** A field of the spec, or all of them. Asks no server. */
export const explain: RunCommand = async context => {
  const wanted = context.invocation.args[0]
    ?.replace(/^\//, '')
    .replaceAll('/', '.')
    .replace(/\.?(?:\[\d*\]|\.\d+(?=\.|$))/g, '[]')
  const field = specFields.find(it => it.path === wanted || it.path.replaceAll('[]', '') === wanted)
  if (wanted !== undefined && field === undefined) throw unknown(wanted)
  const below = specFields.filter(it => wanted === undefined || isBelow(it.path, field?.path ?? ''))
  await printList(context, [...(field === undefined ? [] : [field]), ...below], {
    columns: [],
    nameOf: it => it.path,
    none: '',
    lines: colors => [...(field === undefined ? [] : pageOf(field, colors)), ...listOf(below, colors)],
  })
  return exitStatus.done
}

const isBelow = (path: string, parent: string) =>
  path.startsWith(`${parent}.`) || path.startsWith(`${parent}[].`)

function pageOf(field: SpecField, colors: Paint): readonly string[] {
  return fields(
    [
      ['Field', colors.strong(field.path)],
      ['Meaning', field.meaning],
      ['Takes', field.takes],
      [
        'Default',
        field.support === 'not yet'
          ? undefined
          : (field.fallback ??
            (field.path === 'name' || field.path === 'image' ? 'none: it must be given' : 'none')),
      ],
      ['A change', effectWords(field)],
      [
        'Support',
        field.support === 'not yet' ? colors.busy('not supported yet: refused where it is given') : undefined,
      ],
    ],
    colors,
  )
}

function listOf(below: readonly SpecField[], colors: Paint): readonly string[] {
  if (below.length === 0) return []
  const width = Math.max(...below.map(it => it.path.length)) + 2
  return [
    '',
    ...below.map(
      it =>
        `${it.path.padEnd(width)}${it.meaning}${it.support === 'not yet' ? colors.busy(' (not supported yet)') : ''}`,
    ),
  ].slice(below.length === specFields.length ? 1 : 0)
}

function unknown(wanted: string): Trouble {
  const last = (path: string) => path.split('.').at(-1) ?? path
  const near =
    nearest(
      wanted,
      specFields.map(it => it.path),
    ) ??
    specFields.find(it => last(it.path) === last(wanted))?.path ??
    specFields.find(
      it =>
        last(it.path) ===
        nearest(
          last(wanted),
          specFields.map(field => last(field.path)),
        ),
    )?.path
  return new Trouble({
    status: exitStatus.failure,
    what: `a service spec has no field ${wanted}`,
    why: near === undefined ? 'no field has a name like it' : `did you mean ${near}?`,
    next: near === undefined ? 'boxcar explain' : `boxcar explain ${near}`,
  })
}
