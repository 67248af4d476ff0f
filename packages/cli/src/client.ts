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
import { parseInstanceId, parseServiceName, serviceParts } from '@boxcar/core/model/ids'
import type { CommandContext } from './command.ts'
import { type ExitStatus, exitStatus, Trouble, type TroubleText } from './exit.ts'
import { loadSettings, type Settings } from './settings.ts'

export interface Client {
  readonly api: Api
  readonly settings: Settings
  /** Who asks, for the events. */
  readonly actor: string
}

export function connect({ terminal, invocation }: CommandContext): Client {
  const { tokenFile, ...flags } = invocation.flags
  const token = typeof tokenFile === 'string' ? { token: readToken(tokenFile) } : {}
  const settings = loadSettings({ flags: { ...flags, ...token }, env: terminal.env })
  const api = createClient({
    server: settings.server,
    ...(settings.token === undefined ? {} : { token: settings.token }),
  })
  return { api, settings, actor: actorName() }
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
export function troubleOfClient(error: unknown): TroubleText | undefined {
  if (error instanceof ApiUnreachable) {
    return {
      status: exitStatus.unreachable,
      what: `the Boxcar server at ${error.server} cannot be reached`,
      why: error.message.replace(/^no answer from the Boxcar server at \S+: /, ''),
      next: 'start one with `boxcar server` or `boxcar dev`, or name it with --server or BOXCAR_SERVER',
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
    next: problem.next ?? nextOf(problem.status),
  }
}

function statusOf(status: number): ExitStatus {
  if (status === 401 || status === 403) return exitStatus.notAuthorised
  if (status === 409 || status === 412) return exitStatus.conflict
  if (status === 503) return exitStatus.unreachable
  return exitStatus.failure
}

function nextOf(status: number): string {
  if (status === 401 || status === 403) return 'give a token with --token-file or BOXCAR_TOKEN'
  if (status === 404) return 'boxcar get services -A'
  if (status === 409 || status === 412) return 'boxcar status, then try again'
  if (status === 503) return 'boxcar doctor, or try again in a moment'
  return 'boxcar explain'
}

const lowerFirst = (text: string) => text.charAt(0).toLowerCase() + text.slice(1)
