/** Service specs from files: read, checked, and every fault shown where it stands. */
import { readFileSync } from 'node:fs'
import { check } from '@boxcar/api/faults'
import type { FaultView } from '@boxcar/api/views'
import { type ServiceSpec, serviceSpec, serviceSpecAsSent } from '@boxcar/core/model/spec'
import { exitStatus, Trouble } from './exit.ts'
import { harmless } from './render/paint.ts'
import { textFields } from './text-fields.ts'
import { parseYamlText, stepsOf, type TextDocument } from './yaml-text.ts'

export interface SpecFile {
  readonly file: string
  /** As written: what is sent. */
  readonly text: Readonly<Record<string, unknown>>
  /** With its defaults. */
  readonly spec: ServiceSpec
}

export interface SpecText {
  /** For people: where the text came from. */
  readonly file: string
  readonly text: string
}

/** Reads files, `-` being standard input. Throws Trouble with all faults of all files at once. */
export async function readSpecs(
  files: readonly string[],
  how: { readonly images: readonly string[]; readonly readInput: () => Promise<string> },
): Promise<readonly SpecFile[]> {
  const texts: SpecText[] = []
  for (const file of files) {
    texts.push(
      file === '-' ? { file: '<stdin>', text: await how.readInput() } : { file, text: readText(file) },
    )
  }
  return checkSpecs(texts, how.images)
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new Trouble({
      status: exitStatus.failure,
      what: `${file} cannot be read`,
      why: error instanceof Error ? error.message : String(error),
      next: 'boxcar deploy -f FILE',
    })
  }
}

/** `images` are `IMAGE` or `NAME=IMAGE`, put in the place of what the files say. */
export function checkSpecs(texts: readonly SpecText[], images: readonly string[]): readonly SpecFile[] {
  const specs: SpecFile[] = []
  const faults: string[] = []
  const placed: { readonly file: string; readonly document: TextDocument }[] = []
  for (const { file, text } of texts) {
    const read = parseYamlText(text, takesText)
    faults.push(...read.faults.map(fault => `${file}:${fault.line}:${fault.column}: ${fault.message}`))
    if (read.faults.length === 0 && read.documents.length === 0)
      faults.push(`${file}:1:1: there is no service in it`)
    placed.push(...read.documents.map(document => ({ file, document })))
  }
  const wanted = imagesByName(images, placed.length)
  for (const { file, document } of placed) {
    const at = (pointer: string, message: string) => {
      const { line, column } = document.place(pointer)
      return `${file}:${line}:${column}: ${pointer === '' ? '' : `${pointer}: `}${harmless(message)}`
    }
    if (isComposeFile(document.value)) {
      faults.push(at('/services', 'Compose files are not supported yet; write one document for each service'))
      continue
    }
    const value = withImage(withoutExtensions(document.value), wanted)
    const checked = check(serviceSpec, value)
    if (checked.kind === 'wrong')
      faults.push(...checked.faults.map(fault => at(fault.pointer, `${fault.message}${hintOf(fault)}`)))
    else if (isObject(value)) {
      if (specs.some(it => it.spec.name === checked.value.name)) {
        faults.push(at('/name', `a service named '${checked.value.name}' is given twice`))
      } else specs.push({ file, text: value, spec: checked.value })
    }
  }
  for (const name of wanted.keys()) {
    if (name !== anyService && faults.length === 0 && !specs.some(it => it.spec.name === name)) {
      faults.push(`--image ${name}=…: no service in the files is named '${name}'`)
    }
  }
  if (faults.length === 0) return specs
  throw new Trouble({
    status: exitStatus.failure,
    what: `${[...new Set(texts.map(it => it.file))].join(', ')} cannot be deployed as it is`,
    why: faults.join('\n'),
    next: 'boxcar explain FIELD tells what a field takes',
  })
}

const anyService = ''

function imagesByName(images: readonly string[], services: number): ReadonlyMap<string, string> {
  const wanted = new Map<string, string>()
  for (const text of images) {
    const named = /^([a-z][-a-z0-9]*)=(.+)$/.exec(text)
    wanted.set(named?.[1] ?? anyService, named?.[2] ?? text)
  }
  if (!wanted.has(anyService) || services <= 1) return wanted
  throw new Trouble({
    status: exitStatus.usage,
    what: '--image does not say which service it is for',
    why: `the files hold ${services} services`,
    next: 'boxcar deploy -f FILE --image NAME=IMAGE',
  })
}

function withImage(value: unknown, wanted: ReadonlyMap<string, string>): unknown {
  if (!isObject(value)) return value
  const image = wanted.get(String(value['name'])) ?? wanted.get(anyService)
  return image === undefined ? value : { ...value, image }
}

const takesText = textFields(serviceSpecAsSent)

/** `KEY:` with nothing behind it is null in YAML, though empty text may be meant. */
function hintOf({ pointer, got }: FaultView): string {
  return got === 'null' && takesText(stepsOf(pointer))
    ? '; an empty value and a bare null are none: write "" for empty text, "null" for the word'
    : ''
}

/** Keys such as `x-common` at the top hold what anchors name, as in Compose files; they are no part of the service. */
function withoutExtensions(value: unknown): unknown {
  if (!isObject(value)) return value
  return Object.fromEntries(Object.entries(value).filter(([key]) => !key.startsWith('x-')))
}

const isComposeFile = (value: unknown) =>
  isObject(value) && isObject(value['services']) && value['image'] === undefined

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
