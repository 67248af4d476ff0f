/** The network between an agent and the containers of an engine in memory: who runs listens, unless told otherwise. */
import type { MemoryDocker } from '../engine/memory.ts'
import { labels } from '../state/labels.ts'
import type { Network, NetworkAnswer } from './network.ts'

export class MemoryNetwork implements Network {
  readonly #docker: MemoryDocker
  /** Host ports behind which something runs and does not answer as it should. */
  readonly #faults = new Map<number, NetworkAnswer>()

  constructor(docker: MemoryDocker) {
    this.#docker = docker
  }

  /** What is behind a host port answers so from now on; nothing given: as it should. */
  answers(port: number, answer: NetworkAnswer | undefined): void {
    if (answer === undefined) this.#faults.delete(port)
    else this.#faults.set(port, answer)
  }

  tcp({ port }: { readonly port: number }): Promise<NetworkAnswer> {
    return Promise.resolve(this.#ask(port, { kind: 'connected' }))
  }

  http({ port }: { readonly port: number }): Promise<NetworkAnswer> {
    return Promise.resolve(this.#ask(port, { kind: 'answered', status: 200, body: 'ok' }))
  }

  #ask(port: number, well: NetworkAnswer): NetworkAnswer {
    const isListening = this.#docker
      .all()
      .some(
        container =>
          container.state === 'running' &&
          (container.labels[labels.print] ?? '').split(' ').some(part => part.endsWith(`=${port}`)),
      )
    return isListening ? (this.#faults.get(port) ?? well) : { kind: 'failed', why: 'connection refused' }
  }
}
