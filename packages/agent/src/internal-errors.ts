/**
 * Errors of the agent's own making, each contained to the one thing that it concerns (invariant L11): what throws while it is
 * dealt with is noted here, and the loop goes on with the others. Each distinct error is told once.
 */
import { errorText } from '@boxcar/core/model/attempt'
import { type InstanceId, parseInstanceId, type ServiceName, serviceParts } from '@boxcar/core/model/ids'
import type { EventText } from '@boxcar/store/events'
import type { Log } from '@boxcar/store/log'
import type { Tell } from './tell.ts'

/** What the agent was dealing with. */
export type About =
  | { readonly instance: InstanceId }
  | { readonly service: ServiceName }
  /** Something of the host itself: a task, a file, one container of no instance. */
  | { readonly what: string }

export class InternalErrors {
  readonly #log: Log
  readonly #tell: Tell
  readonly #told = new Set<string>()

  constructor({ log, tell }: { readonly log: Log; readonly tell: Tell }) {
    this.#log = log
    this.#tell = tell
  }

  /** Does what concerns one of many; nothing comes of it where it throws. */
  contain<Value>(about: About, doing: string, run: () => Value): Value | undefined {
    try {
      return run()
    } catch (error) {
      this.note(about, doing, error)
      return undefined
    }
  }

  /** The same for what takes time. Never rejects. */
  async containLater<Value>(
    about: About,
    doing: string,
    run: () => Promise<Value>,
  ): Promise<Value | undefined> {
    try {
      return await run()
    } catch (error) {
      this.note(about, doing, error)
      return undefined
    }
  }

  /** Tells of an error, unless it was told before; gives the reason to show. */
  note(about: About, doing: string, error: unknown): string {
    const reason = internalError(error)
    const message = `${nameOf(about)}: ${doing}: ${reason}`
    if (this.#told.has(message)) return reason
    if (this.#told.size >= mostTold) this.#told.clear()
    this.#told.add(message)
    // Shown: an event `internal-error`; whoever asks puts the reason into a report or an acknowledgement.
    this.#log.error({ ...about, doing, error: stackOf(error) }, 'an internal error, which is a bug; going on')
    this.#tell({ ...partsOf(about), kind: 'internal-error', level: 'error', message })
    return reason
  }
}

/** The reason that a report or an acknowledgement shows. */
export const internalError = (error: unknown): string =>
  `internal error: ${errorText(error).slice(0, longestReason)}`

const nameOf = (about: About): string =>
  'instance' in about ? about.instance : 'service' in about ? about.service : about.what

function partsOf(about: About): Partial<EventText> {
  const instance = 'instance' in about ? about.instance : undefined
  const place = instance === undefined ? undefined : parseInstanceId(instance)
  const service = 'service' in about ? about.service : place?.service
  if (service === undefined) return {}
  const { project, short } = serviceParts(service)
  return {
    project,
    service: short,
    ...(instance !== undefined && { instance }),
    ...(place !== undefined && { generation: place.generation }),
  }
}

const stackOf = (error: unknown): string =>
  error instanceof Error ? (error.stack ?? error.message) : String(error)

const longestReason = 1000
/** Errors remembered as told; beyond that some are told again. */
const mostTold = 1000
