import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { logLines, unmarked } from './log-lines.ts'

const root = join(import.meta.dirname, '../..')
const sources = globSync('packages/*/src/**/*.ts', { cwd: root }).filter(file => !file.endsWith('.test.ts'))
const read = (file: string) => readFileSync(join(root, file), 'utf8')

test('every warning and error that is logged says where a user sees it, or why nobody does', () => {
  const found = sources.flatMap(file =>
    unmarked(read(file)).map(({ line, text }) => `${file}:${line} ${text}`),
  )
  expect(
    found,
    'add `// Shown: <where>` or `// Not shown: <why>` above each (test/checks/log-lines.ts)',
  ).toEqual([])
})

test('there are many of them, in all processes', () => {
  const files = sources.filter(file => logLines(read(file)).length > 0)
  expect(new Set(files.map(file => file.split('/')[1]))).toEqual(
    new Set(['agent', 'api', 'cli', 'scheduler', 'store']),
  )
  expect(files.length).toBeGreaterThan(20)
})

describe('a logged line', () => {
  test.each([
    ['without a word', "log.warn({}, 'odd')"],
    ['on a property', "this.#log.error({}, 'odd')"],
    ['on an option', "options.log?.error({}, 'odd')"],
    ['in a callback', "server.on('error', error => options.log.error({ error }, 'odd'))"],
    ['over several lines', "log.warn(\n  {},\n  'odd',\n)"],
    ['passed on', 'hear(log.warn)'],
    ['of the worst level', "// Why.\nthis.log.fatal({}, 'odd')"],
    ['below another comment', "// It is tried again.\nlog.warn({}, 'odd')"],
    ['with an empty marker', "// Shown:\nlog.warn({}, 'odd')"],
    ['apart from its marker', "// Shown: the record.\nreturn later()\nlog.warn({}, 'odd')"],
    ['after an empty line', "// Shown: the record.\n\nlog.warn({}, 'odd')"],
  ])('%s is unmarked', (_, source) => {
    expect(unmarked(source)).toHaveLength(1)
  })

  test.each([
    ['below its marker', "// Shown: the host's record.\nlog.warn({}, 'odd')"],
    ['below one of several lines', "// Not shown: it is tried again,\n// at once.\nlog.warn({}, 'odd')"],
    ['beside it', "log.warn({}, 'odd') // Shown: the report."],
  ])('%s is marked', (_, source) => {
    expect(unmarked(source)).toEqual([])
  })

  test.each([
    ['information', "log.info({}, 'odd')"],
    ['a comment', "// log.warn({}, 'odd')"],
    ['another thing', "catalog.warned({}, 'odd')"],
  ])('%s needs none', (_, source) => {
    expect(logLines(source)).toEqual([])
  })
})
