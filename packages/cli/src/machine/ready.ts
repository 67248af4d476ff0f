import { request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { type OwnedProcess, StartFailed } from './process.ts'

export interface ReadyTarget {
  /** A URL, or a path on a unix socket. */
  readonly url: string
  readonly socketPath?: string
}

/**
 * Waits until a process answers with a status below 400. Rejects with `StartFailed` when it ends
 * first, or when the time is over.
 */
export async function untilReady(
  owner: OwnedProcess,
  target: ReadyTarget,
  timeoutMs = 20_000,
): Promise<void> {
  const deadline = performance.now() + timeoutMs
  for (;;) {
    const answer = await probe(target)
    if (answer.kind === 'ready') return
    if (owner.end !== undefined)
      throw new StartFailed(`${owner.name} ended while starting.\n${owner.lastLines()}`)
    if (performance.now() > deadline) {
      throw new StartFailed(
        `${owner.name} is not ready after ${timeoutMs / 1000} s (${answer.why}).\n${owner.lastLines()}`,
      )
    }
    await sleep(25)
  }
}

type Answer = { readonly kind: 'ready' } | { readonly kind: 'not-yet'; readonly why: string }

function probe(target: ReadyTarget): Promise<Answer> {
  return new Promise(resolve => {
    const sent = request(
      target.url,
      {
        agent: false,
        timeout: 2_000,
        ...(target.socketPath === undefined ? {} : { socketPath: target.socketPath }),
      },
      response => {
        response.resume()
        const status = response.statusCode ?? 0
        resolve(status < 400 ? { kind: 'ready' } : { kind: 'not-yet', why: `status ${status}` })
      },
    )
    sent.on('timeout', () => sent.destroy(new Error('no answer')))
    sent.on('error', error => resolve({ kind: 'not-yet', why: error.message }))
    sent.end()
  })
}
