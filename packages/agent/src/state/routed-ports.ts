/**
 * Which port of each service a route leads to, on every host, whatever proxy it has: the usual probe asks there. Kept over
 * restarts, so that an agent that comes back asks where it asked before.
 */
import type { ServiceName } from '@boxcar/core/model/ids'
import { type Route, routeOf } from '@boxcar/core/model/route'
import { routes } from '@boxcar/store/keys'
import type { FollowStep } from '@boxcar/store/store'
import { z } from 'zod'
import type { InternalErrors } from '../internal-errors.ts'
import type { SavedState } from './saved-state.ts'

const saved = z.object({ format: z.literal(1), ports: z.record(z.string(), z.string()) })

const fileName = 'routed-ports.json'

export class RoutedPorts {
  readonly #state: SavedState
  readonly #errors: InternalErrors
  #ports = new Map<string, string>()
  #isKnown = false
  #written = ''

  constructor(state: SavedState, errors: InternalErrors) {
    this.#state = state
    this.#errors = errors
  }

  /** Whether routes were heard, now or by an earlier run. */
  get isKnown(): boolean {
    return this.#isKnown
  }

  /** The first port of a service that a route leads to. */
  of(service: ServiceName): string | undefined {
    return this.#ports.get(service)
  }

  /** What an earlier run saved. */
  async load(): Promise<void> {
    const text = await this.#state.read(fileName)
    if (text === undefined) return
    try {
      this.#ports = new Map(Object.entries(saved.parse(JSON.parse(text)).ports))
      this.#isKnown = true
    } catch {
      this.#state.unusable(fileName, 'it cannot be understood; the ports come from the store again')
    }
  }

  /** A step of a believed store. */
  take(step: FollowStep): void {
    if (step.kind !== 'snapshot' && step.kind !== 'changes') return
    // What cannot be read says nothing new.
    const unreadable = new Set(step.unreadable.map(one => one.key))
    if (step.kind === 'snapshot') {
      const before = this.#ports
      this.#ports = new Map([...before].filter(([service]) => unreadable.has(`${routes.name}/${service}`)))
      this.#isKnown = true
    }
    for (const change of step.kind === 'snapshot' ? step.entries : step.changes) {
      if (change.collection !== routes) continue
      if (change.kind === 'put') {
        const service = change.entry.id as ServiceName // the id of `routes`
        // One that throws says nothing new.
        this.#errors.contain({ service }, 'reading its route', () =>
          this.#put(routeOf(service, change.entry.value)),
        )
      } else {
        const service = change.id as ServiceName // the id of `routes`
        if (!unreadable.has(`${routes.name}/${routes.spell(service)}`)) this.#ports.delete(service)
      }
    }
    void this.#save()
  }

  #put({ service, listeners }: Route): void {
    const port = listeners[0]?.port
    if (port === undefined) this.#ports.delete(service)
    else this.#ports.set(service, port)
  }

  /** An agent that restarts without it hears the routes from the store. */
  async #save(): Promise<void> {
    const text = JSON.stringify({ format: 1, ports: Object.fromEntries([...this.#ports].sort()) })
    if (text === this.#written) return
    this.#written = text
    await this.#state.save(fileName, text)
  }
}
