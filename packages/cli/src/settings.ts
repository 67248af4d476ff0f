/**
 * What every command may be told: by flag, then by environment, then by a file, then by default. Read and checked once,
 * here; nothing else in the program looks at the environment for a setting.
 */
import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { nearest } from '@boxcar/api/faults'
import { clusterName, projectName } from '@boxcar/core/model/ids'
import { z } from 'zod'
import { exitStatus, Trouble } from './exit.ts'
import { textFields } from './text-fields.ts'
import { parseYamlText } from './yaml-text.ts'

const endpoint = z
  .string()
  .trim()
  .transform(withScheme)
  .refine(text => isPlainUrl(text), {
    error: 'must be addresses such as 10.0.0.1:2379 or https://etcd-1:2379',
  })

const fields = {
  /** Endpoints of the one etcd; a comma list, or a list in the file. */
  etcd: z
    .preprocess(
      value => (typeof value === 'string' ? value.split(',').filter(it => it.trim() !== '') : value),
      z.array(endpoint).min(1, { error: 'needs at least one address' }).readonly(),
    )
    .default(['http://127.0.0.1:2379']),
  /** Files in PEM form. */
  etcdCa: z.string().min(1).optional(),
  etcdCert: z.string().min(1).optional(),
  etcdKey: z.string().min(1).optional(),
  cluster: clusterName.prefault('default'),
  /** The API that client commands ask. */
  server: z
    .string()
    .transform(withScheme)
    .refine(isPlainUrl, { error: 'must be an address such as http://127.0.0.1:7070' })
    .prefault('http://127.0.0.1:7070'),
  project: projectName.prefault('default'),
  token: z.string().min(1).optional(),
  log: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
  docker: z.string().min(1).default('unix:///var/run/docker.sock'),
}

const schema = z.strictObject(fields)

export type Settings = z.output<typeof schema>
export type SettingName = keyof typeof fields

const variables: Readonly<Partial<Record<SettingName, string>>> = {
  etcd: 'BOXCAR_ETCD',
  cluster: 'BOXCAR_CLUSTER',
  server: 'BOXCAR_SERVER',
  project: 'BOXCAR_PROJECT',
  token: 'BOXCAR_TOKEN',
  log: 'BOXCAR_LOG',
  docker: 'DOCKER_HOST',
}

const flagNames: Readonly<Record<SettingName, string>> = {
  etcd: '--etcd',
  etcdCa: '--etcd-ca',
  etcdCert: '--etcd-cert',
  etcdKey: '--etcd-key',
  cluster: '--cluster',
  server: '--server',
  project: '--project',
  token: '--token-file',
  log: '--log',
  docker: '--docker',
}

export interface SettingsFrom {
  /** What the command line said, by the settings' names; other flags are not looked at. */
  readonly flags: Readonly<Record<string, unknown>>
  readonly env: Readonly<Record<string, string | undefined>>
  /** The settings file; left out: `~/.config/boxcar/config.yaml` (below `XDG_CONFIG_HOME` where that is set). */
  readonly file?: string
}

/** Throws Trouble (usage) that names every wrong setting and where it came from. */
export function loadSettings(from: SettingsFrom): Settings {
  const file = from.file ?? defaultFile(from.env)
  const given: Record<string, unknown> = {}
  const origin: Record<string, string> = {}
  for (const [name, value] of Object.entries(readSettingsFile(file))) {
    given[name] = value
    origin[name] = `${file}: ${name}`
  }
  for (const [name, variable] of Object.entries(variables)) {
    const value = from.env[variable]
    if (value === undefined || value === '') continue
    given[name] = value
    origin[name] = variable
  }
  for (const [name, flag] of Object.entries(flagNames)) {
    const value = from.flags[name]
    if (value === undefined) continue
    given[name] = value
    origin[name] = flag
  }
  const parsed = schema.safeParse(given)
  if (parsed.success) {
    origins.set(parsed.data, origin)
    return parsed.data
  }
  throw new Trouble({
    status: exitStatus.usage,
    what: 'the settings cannot be used',
    why: parsed.error.issues
      .flatMap(issue =>
        issue.code === 'unrecognized_keys'
          ? issue.keys.map(key => `${file}: ${unknownKey(key)}`)
          : [`${origin[String(issue.path[0])] ?? String(issue.path[0])}: ${issue.message}`],
      )
      .join('\n'),
    next: 'boxcar help settings',
  })
}

/** Where each value of some settings was said, beside them: settings are compared and printed without it. */
const origins = new WeakMap<Settings, Readonly<Partial<Record<string, string>>>>()

/** Where a setting was said: `--server`, `BOXCAR_SERVER`, `FILE: server`; nothing where it is the default. */
export function originOf(settings: Settings | undefined, name: SettingName): string | undefined {
  return settings === undefined ? undefined : origins.get(settings)?.[name]
}

/** What to do about a setting that does not work: it is put right where it was said, and no place is blamed where nobody said it. */
export function remedyOf(settings: Settings | undefined, name: SettingName): string {
  const origin = originOf(settings, name)
  if (origin !== undefined) return `correct ${origin}`
  const variable = variables[name]
  return `name it with ${flagNames[name]}${variable === undefined ? '' : ` or ${variable}`}`
}

function unknownKey(key: string): string {
  const near = nearest(key, Object.keys(fields))
  return `${key} is not a setting${near === undefined ? '' : `; did you mean ${near}?`}`
}

function defaultFile(env: Readonly<Record<string, string | undefined>>): string {
  const base = env.XDG_CONFIG_HOME
  return join(base === undefined || base === '' ? join(homedir(), '.config') : base, 'boxcar', 'config.yaml')
}

function readSettingsFile(file: string): Readonly<Record<string, unknown>> {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    // No file is the common case, and no folder either; a file that cannot be read is worth a word.
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR'))
      return {}
    throw new Trouble({
      status: exitStatus.usage,
      what: 'the settings file cannot be read',
      why: error instanceof Error ? error.message : String(error),
      next: `chmod u+r ${file}, or remove it`,
    })
  }
  const read = parseYamlText(text, textFields(schema))
  const values = read.documents[0]?.value ?? {}
  if (read.faults.length === 0 && read.documents.length <= 1 && isObject(values)) return values
  const faults = read.faults.map(fault => `${file}:${fault.line}:${fault.column}: ${fault.message}`)
  throw new Trouble({
    status: exitStatus.usage,
    what: 'the settings file cannot be used',
    why: faults.length > 0 ? faults.join('\n') : `${file}: must be one document of names and values`,
    next: 'boxcar help settings',
  })
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** `10.0.0.1:2379` is what people write. */
function withScheme(text: string): string {
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`
}

function isPlainUrl(text: string): boolean {
  const url = URL.parse(text)
  return url !== null && /^https?:$/.test(url.protocol) && url.hostname !== '' && url.username === ''
}
