import { describe, expect, test } from 'vitest'
import { parseYamlText, textLimits } from './yaml-text.ts'

describe('what can be read', () => {
  test('several documents, JSON among them, and empty ones left out', () => {
    const read = parseYamlText('---\nname: a\n---\n{"name": "b", "replicas": 1e2}\n---\n# nothing\n')
    expect(read.faults).toEqual([])
    expect(read.documents.map(it => it.value)).toEqual([{ name: 'a' }, { name: 'b', replicas: 100 }])
  })

  test('the core schema: no is text, and there are no dates or sexagesimal numbers', () => {
    const [document] = parseYamlText('a: no\nb: 2024-01-01\nc: 1:30\nd: 0o17\n').documents
    expect(document?.value).toEqual({ a: 'no', b: '2024-01-01', c: '1:30', d: 15 })
  })

  test('anchors within reason', () => {
    const [document] = parseYamlText('a: &x { b: 1 }\nc: *x\n').documents
    expect(document?.value).toEqual({ a: { b: 1 }, c: { b: 1 } })
  })
})

describe('what cannot, with its place', () => {
  test.each([
    ['a: 1\nb: 2\na: 3\n', 3, 1, 'the same key is given twice'],
    ['{"a": 1, "a": 2}', 1, 10, 'the same key is given twice'],
    ['a:\n\tb: 1\n', 2, 1, 'a tab is used for indentation; YAML takes blanks only'],
    ['a: [1, 2\n', 2, 1, 'Flow sequence in block collection must be sufficiently indented and end with a ]'],
    ['a: !secret x\n', 1, 4, 'tags such as !name are not allowed here'],
    ['a: b\nc\0: d', 2, 2, 'the file contains a NUL character'],
    ['a: *nobody\n', 1, 1, 'Unresolved alias (the anchor must be set before the alias): nobody'],
  ])('%j', (text, line, column, message) => {
    const { faults } = parseYamlText(text)
    expect(faults[0]).toMatchObject({ line, column })
    expect(faults[0]?.message).toContain(message.split(' and end')[0])
  })

  test('a bomb of aliases is refused at once', () => {
    const lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x, x]']
    for (let i = 1; i < 10; i += 1)
      lines.push(
        `a${i}: &a${i} [${Array(10)
          .fill(`*a${i - 1}`)
          .join(', ')}]`,
      )
    const started = performance.now()
    const { documents, faults } = parseYamlText(lines.join('\n'))
    expect(documents).toEqual([])
    expect(faults[0]?.message).toMatch(/too many aliases/)
    expect(performance.now() - started).toBeLessThan(1_000)
  })

  test.each(['[', '{a: '])('nesting of %j without end', opening => {
    const { documents, faults } = parseYamlText(opening.repeat(40_000))
    expect(documents).toEqual([])
    expect(faults[0]?.message).toBe(`nested deeper than ${textLimits.depth} levels`)
  })

  test('blocks nested too deep', () => {
    const text = Array.from({ length: 40 }, (_, i) => `${' '.repeat(i)}a:`).join('\n')
    expect(parseYamlText(`${text} 1`).faults[0]?.message).toBe('nested deeper than 32 levels')
  })

  test('a file that is too large', () => {
    const { faults } = parseYamlText(`a: ${'x'.repeat(textLimits.bytes)}`)
    expect(faults[0]?.message).toMatch(/more than the 262144 that are allowed/)
  })
})

test('places of pointers: the key of a field, the item of a list, the nearest parent of what is not there', () => {
  const [document] = parseYamlText(
    'name: web\nports:\n  - { name: http, container: 8080 }\nenv:\n  A/B: x\n',
  ).documents
  expect(document?.place('/name')).toEqual({ line: 1, column: 1 })
  expect(document?.place('/ports/0')).toEqual({ line: 3, column: 5 })
  expect(document?.place('/ports/0/container')).toEqual({ line: 3, column: 19 })
  expect(document?.place('/env/A~1B')).toEqual({ line: 5, column: 3 })
  expect(document?.place('/resources/limits')).toEqual({ line: 1, column: 1 })
})
