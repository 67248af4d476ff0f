/** The log lines of instances, fetched from their hosts and put together. */

import { errorText } from '@boxcar/core/model/attempt'
import type { HostId, InstanceId } from '@boxcar/core/model/ids'
import { hosts } from '@boxcar/store/keys'
import type { AgentLine, LogAnswer } from './agents.ts'
import type { ApiDeps } from './deps.ts'
import type { InstanceView, LogLine } from './views.ts'

export interface LogAsk {
  readonly follow: boolean
  readonly tail: number
  readonly since: number | undefined
  readonly signal: AbortSignal
}

export interface Logs {
  readonly lines: AsyncIterable<LogLine>
  readonly opened: number
  /** Instances whose host did not answer or no longer has them. */
  readonly missing: readonly {
    readonly instance: string
    readonly kind: 'absent' | 'unreachable'
    readonly why: string
  }[]
}

/** So many lines in all where nobody follows: they are put in order in memory. */
const maxLines = 20_000

export async function openLogs(
  deps: Pick<ApiDeps, 'agents' | 'mirror'>,
  instances: readonly InstanceView[],
  ask: LogAsk,
): Promise<Logs> {
  const tail = Math.min(ask.tail, Math.max(1, Math.floor(maxLines / Math.max(instances.length, 1))))
  const opened: { readonly instance: string; readonly lines: AsyncIterable<AgentLine> }[] = []
  const missing: Logs['missing'][number][] = []
  await Promise.all(
    instances.map(async ({ id, host }) => {
      const record = deps.mirror.get(hosts, host as HostId)?.value
      if (record === undefined) {
        missing.push({ instance: id, kind: 'absent', why: `host ${host} is not known any more` })
        return
      }
      const answer = await asked(() =>
        deps.agents.logs(record, id as InstanceId, {
          tail,
          follow: ask.follow,
          signal: ask.signal,
          ...(ask.since === undefined ? {} : { since: ask.since }),
        }),
      )
      if (answer.kind === 'lines') opened.push({ instance: id, lines: answer.lines })
      else if (answer.kind === 'absent')
        missing.push({ instance: id, kind: 'absent', why: `host ${host} has no logs of it` })
      else missing.push({ instance: id, kind: 'unreachable', why: `host ${host}: ${answer.reason}` })
    }),
  )
  const streams = opened.map(({ instance, lines }) => named(instance, lines, ask.signal))
  return { lines: ask.follow ? merged(streams) : inOrder(streams), opened: opened.length, missing }
}

/** One host at which asking itself throws holds back the logs of no other. */
async function asked(ask: () => Promise<LogAnswer>): Promise<LogAnswer> {
  try {
    return await ask()
  } catch (error) {
    return { kind: 'unreachable', reason: `internal error: ${errorText(error)}` }
  }
}

/** A host that goes away in the middle ends its own part and nothing else. */
async function* named(
  instance: string,
  lines: AsyncIterable<AgentLine>,
  signal: AbortSignal,
): AsyncGenerator<LogLine> {
  let last = 0
  try {
    for await (const { at, stream, line } of lines) {
      last = at
      yield { at, stream, line, instance }
    }
  } catch (error) {
    if (!signal.aborted)
      yield {
        at: last,
        stream: 'stderr',
        line: `boxcar: the logs of ${instance} broke off: ${error instanceof Error ? error.message : String(error)}`,
        instance,
      }
  }
}

async function* inOrder(streams: readonly AsyncIterable<LogLine>[]): AsyncGenerator<LogLine> {
  const lists = await Promise.all(streams.map(collected))
  // Sorting is stable: lines of one instance at one moment stay in their order.
  yield* lists.flat().sort((a, b) => a.at - b.at)
}

async function collected(stream: AsyncIterable<LogLine>): Promise<readonly LogLine[]> {
  const lines: LogLine[] = []
  for await (const line of stream) lines.push(line)
  return lines
}

/** Each line as it comes, from whoever has one. */
async function* merged(streams: readonly AsyncGenerator<LogLine>[]): AsyncGenerator<LogLine> {
  const next = new Map(streams.map(stream => [stream, step(stream)]))
  try {
    while (next.size > 0) {
      const { stream, result } = await Promise.race(next.values())
      if (result.done === true) next.delete(stream)
      else {
        next.set(stream, step(stream))
        yield result.value
      }
    }
  } finally {
    await Promise.allSettled([...next.keys()].map(stream => stream.return(undefined)))
  }
}

const step = (stream: AsyncGenerator<LogLine>) => stream.next().then(result => ({ stream, result }))
