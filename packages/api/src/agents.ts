/** What is fetched straight from a host: logs, from its agent's own authenticated port. */
import type { HostRecord } from '@boxcar/core/model/host'
import type { InstanceId } from '@boxcar/core/model/ids'
import { agentToken, agentUrl } from '@boxcar/store/agent-token'
import { z } from 'zod'

export interface LogQuery {
  readonly tail?: number
  readonly follow?: boolean
  /** Milliseconds since 1970. */
  readonly since?: number
  readonly signal: AbortSignal
}

const agentLine = z.looseObject({
  /** By the host's wall clock, milliseconds since 1970. */
  at: z.number(),
  stream: z.enum(['stdout', 'stderr']),
  line: z.string(),
})
export type AgentLine = z.infer<typeof agentLine>

export type LogAnswer =
  | { readonly kind: 'lines'; readonly lines: AsyncIterable<AgentLine> }
  /** The host has no such instance, or has taken it away. */
  | { readonly kind: 'absent' }
  | { readonly kind: 'unreachable'; readonly reason: string }

export interface Agents {
  logs(host: HostRecord, instance: InstanceId, query: LogQuery): Promise<LogAnswer>
}

/** How long an agent may take to begin its answer. */
const answerMs = 4_000

/** Asks agents over HTTP, showing each the token that is made for it. */
export function agentsOverHttp(secret: string, doFetch: typeof fetch = fetch): Agents {
  return {
    logs: async (host, instance, { tail, follow, since, signal }) => {
      const query = new URLSearchParams()
      if (tail !== undefined) query.set('tail', String(tail))
      if (follow === true) query.set('follow', 'true')
      if (since !== undefined) query.set('since', String(since))
      const url = agentUrl(host, `/v1/instances/${instance}/logs?${query}`)
      const ended = new AbortController()
      const stop = AbortSignal.any([signal, ended.signal])
      const late = setTimeout(() => ended.abort(new Error('no answer in time')), answerMs)
      try {
        const response = await doFetch(url, {
          headers: { authorization: `Bearer ${agentToken(secret, host.id)}` },
          redirect: 'error',
          signal: stop,
        })
        if (response.status === 404) return { kind: 'absent' }
        if (!response.ok || response.body === null)
          return { kind: 'unreachable', reason: `the agent answered with status ${response.status}` }
        return { kind: 'lines', lines: linesOf(response.body) }
      } catch (error) {
        return { kind: 'unreachable', reason: reasonOf(error) }
      } finally {
        clearTimeout(late)
      }
    },
  }
}

/** Longer lines are cut by the agent; one that is not is not from an agent. */
const longestLine = 1024 * 1024

async function* linesOf(body: ReadableStream<Uint8Array>): AsyncGenerator<AgentLine> {
  let rest = ''
  for await (const chunk of body.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + chunk).split('\n')
    rest = lines.pop() ?? ''
    if (rest.length > longestLine) return
    for (const line of lines) {
      const read = readLine(line)
      if (read !== undefined) yield read
    }
  }
}

function readLine(text: string): AgentLine | undefined {
  try {
    return agentLine.safeParse(JSON.parse(text)).data
  } catch {
    return undefined
  }
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.cause instanceof Error && error.cause.message !== '' ? error.cause.message : error.message
}
