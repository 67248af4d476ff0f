import { type SpecField, specFields, topOf } from '../spec-fields.ts'

/** The fields of a spec as tables of a document: docs/spec.md holds this text, and a test compares the two. */
export function specTables(): string {
  const tops = [...new Set(specFields.map(topOf))]
  const single = tops.filter(top => fieldsOf(top).length === 1)
  const groups = tops.filter(top => fieldsOf(top).length > 1)
  return [
    '### Single fields',
    '',
    ...tableOf(single.flatMap(fieldsOf)),
    ...groups.flatMap(top => ['', `### ${top}`, '', ...tableOf(fieldsOf(top))]),
  ].join('\n')
}

const fieldsOf = (top: string) => specFields.filter(field => topOf(field) === top)

const tableOf = (fields: readonly SpecField[]) => [
  '| field | meaning | takes | default | a change |',
  '|---|---|---|---|---|',
  ...fields.map(
    field =>
      `| \`${field.path}\` | ${[field.meaning, field.takes, defaultOf(field), changeOf(field)].map(cell).join(' | ')} |`,
  ),
]

const cell = (text: string) => text.replaceAll('|', '\\|')

function defaultOf(field: SpecField): string {
  if (field.support === 'not yet') return ''
  return field.fallback ?? (field.path === 'name' || field.path === 'image' ? 'must be given' : '')
}

function changeOf(field: SpecField): string {
  if (field.support === 'not yet') return '**not supported yet**'
  return { generation: 'new generation', 'in-place': 'in place', identity: 'another service' }[field.effect]
}
