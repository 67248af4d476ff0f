/** The API as client commands use it, and what its refusals mean to people and scripts. */
import { readFileSync } from 'node:fs'
import { userInfo } from 'node:os'
import {
  type Api,
  ApiProblem,
  ApiUnreachable,
  createClient,
  type InstanceRef,
  type ServiceRef,
} from '@boxcar/api/client'
import { tokenIn } from '@boxcar/api/token-file'
import type { ProblemView } from '@boxcar/api/views'
import { parseInstanceId, parseServiceName, serviceParts } from '@boxcar/core/model/ids'
import type { CommandContext } from './command.ts'
import { type ExitStatus, exitStatus, Trouble, type TroubleText } from './exit.ts'
import { loadSettings, originOf, remedyOf, type Settings } from './settings.ts'

export interface Client {
  readonly api: Api
  readonly settings: Settings
  /** Who asks, for the events. */
  readonly actor: string
}

export function connect(context: CommandContext): Client {
  const settings = settingsOf(context)
  const api = createClient({
    server: settings.server,
    ...(settings.token === undefined ? {} : { token: settings.token }),
  })
  return { api, settings, actor: actorName() }
}

function settingsOf({ terminal, invocation }: CommandContext): Settings {
  const { tokenFile, ...flags } = invocation.flags
  const token = typeof tokenFile === 'string' ? { token: readToken(tokenFile) } : {}
  return loadSettings({ flags: { ...flags, ...token }, env: terminal.env })
}

function readToken(file: string): string {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    throw new Trouble({
      status: exitStatus.usage,
      what: `the token file ${file} cannot be read`,
      why: error instanceof Error ? error.message : String(error),
      next: 'boxcar help settings',
    })
  }
  const token = tokenIn(text)
  if (token !== undefined) return token
  throw new Trouble({
    status: exitStatus.usage,
    what: `the token file ${file} has no token`,
    why: 'its first line that is not empty and no comment must be the token',
    next: 'boxcar help settings',
  })
}

function actorName(): string {
  try {
    return userInfo().username
  } catch {
    // A user id without a name, as in many containers.
    return `uid ${process.getuid?.() ?? 'unknown'}`
  }
}

/** `web` in the project in force, or `shop/web`. */
export function serviceRef(text: string, project: string): ServiceRef {
  const full = text.includes('/') ? text : `${project}/${text}`
  const name = parseServiceName(full)
  if (name !== undefined) {
    const parts = serviceParts(name)
    return { project: parts.project, name: parts.short }
  }
  throw new Trouble({
    status: exitStatus.usage,
    what: `${text} is not the name of a service`,
    why: 'a service is named web, or shop/web with its project: lower-case letters, digits and hyphens, starting with a letter, at most 40 characters',
    next: 'boxcar get services -A',
  })
}

export type Subject =
  | { readonly kind: 'service'; readonly ref: ServiceRef }
  | { readonly kind: 'instance'; readonly ref: InstanceRef }

/** `web`, `shop/web`, `web/7/2` or `shop/web/7/2`. */
export function subjectOf(text: string, project: string): Subject {
  const place = parseInstanceId(text) ?? parseInstanceId(`${project}/${text}`)
  if (place === undefined) return { kind: 'service', ref: serviceRef(text, project) }
  const parts = serviceParts(place.service)
  return {
    kind: 'instance',
    ref: { project: parts.project, name: parts.short, generation: place.generation, slot: place.slot },
  }
}

/** Why the server cannot tell just now, where that passes by itself: it restarts, or has lost its store for a while. */
export function awayReason(error: unknown): string | undefined {
  if (error instanceof ApiUnreachable) return error.message
  return error instanceof ApiProblem && error.problem.status === 503 ? error.problem.detail : undefined
}

/** What a refusal or a silence of the server means; nothing where the error is another one. */
export function troubleOfClient(error: unknown, context: CommandContext): TroubleText | undefined {
  if (error instanceof ApiUnreachable) {
    const settings = settingsInForce(context)
    // A command may have asked another server than that of the settings.
    const asked = settings?.server.replace(/\/+$/, '') === error.server ? settings : undefined
    return {
      status: exitStatus.unreachable,
      what: `the Boxcar server at ${error.server} cannot be reached`,
      why: error.message.replace(/^no answer from the Boxcar server at \S+: /, ''),
      next: `start one with \`boxcar server\` or \`boxcar dev\`, or ${remedyOf(asked, 'server')}`,
    }
  }
  if (!(error instanceof ApiProblem)) return undefined
  const { problem } = error
  const faults = problem.errors.map(
    fault => `${fault.pointer === '' ? '/' : fault.pointer}: ${fault.message}`,
  )
  return {
    status: statusOf(problem.status),
    what: lowerFirst(problem.title),
    why: faults.length > 0 ? faults.join('\n') : problem.detail,
    next: nextOf(problem, settingsInForce(context)),
  }
}

function statusOf(status: number): ExitStatus {
  if (status === 401 || status === 403) return exitStatus.notAuthorised
  if (status === 409 || status === 412) return exitStatus.conflict
  if (status === 503) return exitStatus.unreachable
  return exitStatus.failure
}

function nextOf({ status, next }: ProblemView, settings: Settings | undefined): string {
  // The server knows the token that it got, and not where it came from.
  const token = originOf(settings, 'token')
  if (status === 401 && token !== undefined) return `correct ${token}`
  if (next !== undefined) return next
  if (status === 401 || status === 403) return 'give a token with --token-file or BOXCAR_TOKEN'
  if (status === 404) return `boxcar get services -A${silentProject(settings)}`
  if (status === 409 || status === 412) return 'boxcar status, then try again'
  if (status === 503) return 'boxcar doctor, or try again in a moment'
  return 'boxcar explain'
}

/** Nothing where they cannot be read: then it is another fault that is told. */
function settingsInForce(context: CommandContext): Settings | undefined {
  try {
    return settingsOf(context)
  } catch (error) {
    if (error instanceof Trouble) return undefined
    throw error
  }
}

/** A project that was not said on this command line may not be the one that was meant. */
function silentProject(settings: Settings | undefined): string {
  const origin = originOf(settings, 'project')
  if (settings === undefined || origin === undefined || origin.startsWith('--')) return ''
  return `; the project in force is ${settings.project}, by ${origin}`
}

const lowerFirst = (text: string) => text.charAt(0).toLowerCase() + text.slice(1)
