/** What the documents show is true: specs parse, command lines parse, links lead somewhere, tables are those of the program. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { verbFirst } from '@boxcar/cli/command-line'
import { buildProgram } from '@boxcar/cli/program'
import { specTables } from '@boxcar/cli/render/spec-table'
import { loadSettings } from '@boxcar/cli/settings'
import { checkSpecs } from '@boxcar/cli/spec-files'
import { parseYamlText } from '@boxcar/cli/yaml-text'
import { describe, expect, test } from 'vitest'

const root = join(import.meta.dirname, '../..')
const read = (file: string) => readFileSync(join(root, file), 'utf8')
const documents = ['README.md', 'docs/cli.md', 'docs/spec.md', 'docs/three-machines.md']

interface Block {
  readonly language: string
  readonly text: string
}

function blocksOf(file: string): readonly Block[] {
  return [...read(file).matchAll(/^```(\w*)\n([\s\S]*?)^```/gm)].map(([, language = '', text = '']) => ({
    language,
    text,
  }))
}

describe('specs', () => {
  const files = readdirSync(join(root, 'examples')).filter(name => name.endsWith('.yaml'))

  test.each(files)('examples/%s can be deployed', name => {
    expect(checkSpecs([{ file: name, text: read(`examples/${name}`) }], []).length).toBeGreaterThan(0)
  })

  const shown = documents.flatMap(file =>
    blocksOf(file)
      .filter(it => it.language === 'yaml')
      .map((it, i) => ({ what: `${file}, yaml block ${i + 1}`, text: it.text })),
  )
  test.each(shown)('$what', ({ what, text }) => {
    // What has an image is a service; anything else that is shown is the settings file.
    if (/^image:/m.test(text)) return void expect(checkSpecs([{ file: what, text }], [])).toHaveLength(1)
    const [settings] = parseYamlText(text).documents
    expect(loadSettings({ flags: Object(settings?.value), env: {}, file: '/nonexistent' })).toBeDefined()
  })
})

describe('command lines', () => {
  const lines = documents.flatMap(file => commandLines(read(file)).map(line => ({ file, line })))

  test('there are many', () => expect(lines.length).toBeGreaterThan(40))

  test.each(lines)('$file: $line', async ({ line }) => {
    await expect(parsed(line)).resolves.toBe('parsed')
  })
})

describe('help', () => {
  // Help text shows command lines as well, and nobody runs them otherwise.
  test.each(allHelp())('$command: $line', async ({ line }) => {
    await expect(parsed(line)).resolves.toBe('parsed')
  })
})

test('docs/spec.md holds the tables of the program', () => {
  expect(read('docs/spec.md')).toContain(specTables())
})

test.each(documents)('%s: links lead somewhere', file => {
  const links = [...read(file).matchAll(/\]\(([^)#]+)[^)]*\)/g)].map(([, target = '']) => target)
  for (const link of links.filter(it => !/^https?:/.test(it))) {
    expect(existsSync(join(root, dirname(file), link)), link).toBe(true)
  }
})

/** Every `boxcar …` in code: in blocks a line each, in running text what stands between backticks. */
function commandLines(text: string): readonly string[] {
  const inBlocks = [...text.matchAll(/^(?:\$ )?(?:\S*\/)?boxcar ([^\n]*)$/gm)].map(([, line = '']) => line)
  const inText = [...text.matchAll(/`boxcar ([^`]+)`/g)].map(([, line = '']) => line)
  return [...inBlocks, ...inText].map(line => line.replace(/\s+#.*$/, '').trim()).filter(line => line !== '')
}

/** The words of a line as a shell would split it, as far as documents go: quotes, no expansion. */
function words(line: string): readonly string[] {
  return [...line.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(
    ([, double, single, plain]) => double ?? single ?? plain ?? '',
  )
}

/** Placeholders of documents, with something in their place that has the right form. */
const placeholders: Readonly<Record<string, string>> = {
  'SVC=N': 'web=1',
  SVC: 'web',
  KIND: 'service',
  NAME: 'web',
  FIELD: 'replicas',
  FILE: 'web.yaml',
  COMMAND: 'deploy',
  N: '3',
}

async function parsed(line: string): Promise<'parsed'> {
  const program = buildProgram(() => Promise.resolve(), { out: () => {}, err: () => {}, columns: 100 })
  const argv = words(line).map(word => placeholders[word] ?? word)
  try {
    await program.parseAsync(verbFirst(program, argv), { from: 'user' })
  } catch (error) {
    // Help was asked for and shown.
    const isHelp = error instanceof Error && 'exitCode' in error && error.exitCode === 0
    if (!isHelp) throw error
  }
  return 'parsed'
}

function allHelp(): readonly { readonly command: string; readonly line: string }[] {
  const found: { readonly command: string; readonly line: string }[] = []
  const program = buildProgram(() => Promise.resolve(), { out: () => {}, err: () => {}, columns: 200 })
  const visit = (command: typeof program, path: string) => {
    const pieces: string[] = []
    command.configureOutput({ writeOut: piece => void pieces.push(piece) })
    command.outputHelp()
    const text = pieces.join('')
    for (const [, line = ''] of text.matchAll(/^\s*\$ boxcar (.*?)(?:\s{2,}.*)?$/gm)) {
      found.push({ command: path, line: line.replace(/ && .*$/, '') })
    }
    for (const sub of command.commands) visit(sub, `${path} ${sub.name()}`)
  }
  visit(program, 'boxcar')
  return found
}
