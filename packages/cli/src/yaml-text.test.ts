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

describe('merge keys', () => {
  const read = (text: string) => {
    const { documents, faults } = parseYamlText(text)
    expect(faults).toEqual([])
    return documents[0]
  }

  test('a map takes what it merges, and its own keys come first', () => {
    const document = read('x: &x { a: 1, b: 1 }\ny: { b: 2, <<: *x }\nz:\n  <<: *x\n  b: 3\n')
    expect(document?.value).toEqual({ x: { a: 1, b: 1 }, y: { a: 1, b: 2 }, z: { a: 1, b: 3 } })
  })

  test('several at once: of two that have a key, the first one counts', () => {
    const document = read('x: &x { a: 1 }\ny: &y { a: 2, b: 2 }\nz: { <<: [*x, *y, { c: 3 }] }\n')
    expect(document?.value).toMatchObject({ z: { a: 1, b: 2, c: 3 } })
  })

  test('merges of merges, and of the whole document', () => {
    const document = read('x: &x { a: 1 }\ny: &y { <<: *x, b: 2 }\n<<: *y\n')
    expect(document?.value).toEqual({ x: { a: 1 }, y: { a: 1, b: 2 }, a: 1, b: 2 })
  })

  test('in quotes << is a key like any other', () => {
    expect(read('"<<": { a: 1 }\n')?.value).toEqual({ '<<': { a: 1 } })
  })

  test('a key that was merged is found where it was written', () => {
    const document = read('x: &x\n  a: 1\n  b: { c: 1 }\ny: &y { a: 2, d: 4 }\nz:\n  <<: [*x, *y]\n  e: 1\n')
    expect(document?.place('/z/a')).toEqual({ line: 2, column: 3 })
    expect(document?.place('/z/b/c')).toEqual({ line: 3, column: 8 })
    expect(document?.place('/z/d')).toEqual({ line: 4, column: 15 })
    expect(document?.place('/z/e')).toEqual({ line: 7, column: 3 })
    expect(document?.place('/z/nothing')).toEqual({ line: 6, column: 3 })
  })

  test.each([
    ['x: 5\ny:\n  <<: 5\n', 3, 7, '<< takes a map, an alias of one such as *common, or a list of these'],
    ['x: &x [1]\ny: { <<: *x }\n', 1, 8, '<< takes a map'],
    ['y:\n  <<:\n', 2, 6, '<< takes a map'],
    ['y: { <<: *nobody }\n', 1, 10, 'no anchor &nobody stands before this alias'],
    ['x: &x { a: 1 }\ny:\n  <<: *x\n  <<: *x\n', 4, 3, 'the same key is given twice'],
    ['x: &x { <<: *x }\n', 1, 1, 'too many aliases'],
  ])('%j is refused', (text, line, column, message) => {
    const { documents, faults } = parseYamlText(text)
    expect(documents).toEqual([])
    expect(faults).toEqual([{ line, column, message: expect.stringContaining(message) }])
  })

  test('a bomb of merges is refused at once', () => {
    const lines = ['a0: &a0 { k: 1 }']
    for (let i = 1; i < 12; i += 1)
      lines.push(
        `a${i}: &a${i} { <<: [${Array(8)
          .fill(`*a${i - 1}`)
          .join(', ')}] }`,
      )
    const started = performance.now()
    const { documents, faults } = parseYamlText(lines.join('\n'))
    expect(documents).toEqual([])
    expect(faults[0]?.message).toMatch(/too many aliases/)
    expect(performance.now() - started).toBeLessThan(1_000)
  })
})

describe('where text is taken', () => {
  const isText = (path: readonly string[]) => path[0] === 'text'
  const read = (text: string) => parseYamlText(text, isText).documents[0]?.value

  test.each([
    ...['1.10', '007', '0123', '1e3', '0x1F', '0o17', '.5', '+1', '-0', '.inf', '12345678901234567890'],
    ...['true', 'True', 'FALSE', 'yes', 'on', '1_000', '2024-01-01', '1:30'],
  ])('%s stays what was written', it => {
    expect(read(`text: [ ${it} ]`)).toEqual({ text: [it] })
    expect(read(`text:\n  a: ${it} # a comment\n`)).toEqual({ text: { a: it } })
  })

  test('elsewhere a number is a number', () => {
    expect(read('other: [1.10, 007, 1e3, true]\ntext: 1.10\n')).toEqual({
      other: [1.1, 7, 1000, true],
      text: '1.10',
    })
  })

  test('where a value is used decides, not where it stands', () => {
    expect(read('other: &o { n: 1.10 }\nm: &m 007\ntext: { <<: *o, m: *m }\n')).toEqual({
      other: { n: 1.1 },
      m: 7,
      text: { n: '1.10', m: '007' },
    })
  })

  test.each(['', '~', 'null', 'Null', 'NULL'])('%j is null still, so that a schema can refuse it', it => {
    expect(read(`text: ${it}`)).toEqual({ text: null })
  })

  test('__proto__ is a key like any other', () => {
    const value = read('text: { __proto__: 1.10 }')
    expect(JSON.stringify(value)).toBe('{"text":{"__proto__":"1.10"}}')
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
