/** What the leader asks an agent itself, over the agent's authenticated port. No decision travels this way. */
import type { HostRecord } from '@boxcar/core/model/host'
import type { Resolution } from '@boxcar/core/rollout/rollout'
import { agentToken, agentUrl } from '@boxcar/store/agent-token'
import { z } from 'zod'

export interface Agents {
  /** Whether the agent answers at all; never throws. */
  isAlive(host: HostRecord): Promise<boolean>
  /** Which digest a host's engine finds behind an image's tag; never throws. */
  resolve(host: HostRecord, image: string): Promise<Resolution>
}

/** An agent has so many ticks to say that it lives. */
const aliveTicks = 6
const aliveTickMs = 100
/** A registry that no name server knows keeps an engine busy for 20 s and more. */
const resolveTimeoutMs = 60_000

/** As the agent answers: packages/agent/src/engine/engine.ts, ResolveOutcome. */
const answer = z.discriminatedUnion('kind', [
  z.looseObject({ kind: z.literal('resolved'), reference: z.string() }),
  z.looseObject({ kind: z.literal('local'), imageId: z.string() }),
  z.looseObject({ kind: z.enum(['not-found', 'denied', 'invalid', 'registry-away']), reason: z.string() }),
])

export function agentsOverHttp(secret: string): Agents {
  const ask = (host: HostRecord, path: string, signal: AbortSignal, body?: unknown) =>
    fetch(agentUrl(host, path), {
      method: body === undefined ? 'GET' : 'POST',
      headers: { authorization: `Bearer ${agentToken(secret, host.id)}`, 'content-type': 'application/json' },
      body: body === undefined ? null : JSON.stringify(body),
      signal,
    })
  return {
    async isAlive(host) {
      // In ticks, since only one passes while this process is too busy to hear an answer.
      const enough = new AbortController()
      let ticks = 0
      const ticking = setInterval(() => ++ticks < aliveTicks || enough.abort(), aliveTickMs)
      try {
        const response = await ask(host, '/v1/alive', enough.signal)
        await response.arrayBuffer()
        return response.ok
      } catch {
        return false
      } finally {
        clearInterval(ticking)
      }
    },
    async resolve(host, image) {
      try {
        const response = await ask(host, '/v1/images/resolve', AbortSignal.timeout(resolveTimeoutMs), {
          image,
        })
        const parsed = answer.safeParse(await response.json())
        if (!parsed.success)
          return failed(`host ${host.id} answered ${response.status} to the question for ${image}`)
        return resolutionOf(parsed.data)
      } catch (error) {
        return failed(
          `host ${host.id} cannot be asked: ${error instanceof Error ? error.message : String(error)}`,
        )
      }
    },
  }
}

function resolutionOf(found: z.output<typeof answer>): Resolution {
  switch (found.kind) {
    case 'resolved':
      return { kind: 'resolved', image: found.reference }
    case 'local':
      return { kind: 'resolved', image: found.imageId }
    case 'registry-away':
      return failed(found.reason)
    default:
      return { kind: 'failed', reason: found.reason, permanent: true }
  }
}

const failed = (reason: string): Resolution => ({ kind: 'failed', reason, permanent: false })
