import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { yamlOf } from './yaml-output.ts'
import { parseYamlText } from './yaml-text.ts'

/** Texts that some reader of YAML takes for something else. */
const odd = [
  ...['1.10', '007', '0123', '1e3', '0x1F', '0o17', '.5', '+1', '-0', '1_000', '.inf', '.nan', '1:30'],
  ...[
    'yes',
    'no',
    'on',
    'off',
    'y',
    'true',
    'True',
    'null',
    '~',
    '',
    '2024-01-01',
    '2001-12-14t21:59:43.10-05:00',
  ],
  ...[
    '<<',
    '=',
    'x-a',
    '- a',
    '#',
    ' #',
    'a #b',
    'a: b',
    '*a',
    '&a',
    '!a',
    '|',
    '>',
    '%a',
    '@a',
    '`a',
    '{',
    '[a]',
    '?',
    ': ',
  ],
  ...[
    '---',
    '...',
    '--- a',
    ' a',
    'a ',
    '\n',
    'a\nb',
    '\na',
    'a\n',
    'a\n\n',
    '\ta',
    'a\tb',
    '\r\n',
    'a\r',
    '\u0085',
    '\u2028',
  ],
  ...[
    '"',
    "'",
    '\\',
    '\\n',
    '\u0001',
    '\u007f',
    '\ufeff',
    '😀',
    'é',
    '\u202e',
    'x'.repeat(200),
    'word '.repeat(60),
  ],
]
const text = fc
  .oneof(fc.constantFrom(...odd), fc.string({ unit: 'grapheme' }), fc.string({ unit: 'binary' }))
  // Lone surrogates have no UTF-8, and so stand in no file.
  .filter(it => it.isWellFormed())
const data = fc.letrec(tie => ({
  any: fc.oneof(
    { depthSize: 'small' },
    text,
    fc.integer(),
    fc.double({ noDefaultInfinity: true, noNaN: true }),
    fc.boolean(),
    fc.constant(null),
    fc.array(tie('any'), { maxLength: 4 }),
    fc.dictionary(text, tie('any'), { maxKeys: 4 }),
  ),
})).any

const readBack = (yaml: string) => {
  const { documents, faults } = parseYamlText(yaml)
  expect(faults).toEqual([])
  return documents.map(it => it.value)
}

test.each(odd)('%j is printed so that it is read back as the same text', it => {
  expect(readBack(yamlOf({ env: { A: it }, command: [it], [it]: it }))).toEqual([
    { env: { A: it }, command: [it], [it]: it },
  ])
})

test('what is printed is read back as it was', () => {
  fc.assert(
    fc.property(data, it => {
      expect(readBack(yamlOf({ it }))).toEqual([{ it }])
    }),
    { numRuns: 500 },
  )
})

test('readers of YAML 1.1 read the same, to which yes is a boolean and 1:30 a number', () => {
  for (const it of odd.filter(text => text !== '='))
    expect(parse(yamlOf({ it }), { version: '1.1' }), JSON.stringify(it)).toEqual({ it })
})

test('the same object twice is written twice, since readers count aliases', () => {
  const shared = { a: 1 }
  expect(yamlOf([shared, shared])).not.toMatch(/[&*]/)
})
