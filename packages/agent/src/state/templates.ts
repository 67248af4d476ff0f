/**
 * The templates of the generations that this host runs, and how their services want to be restarted. Read from the store when
 * first needed and kept on disk, so that an instance can be started again while the store is away.
 */
import { type Backoff, defaultBackoff } from '@boxcar/core/instance/backoff'
import type { InstanceId, ServiceName } from '@boxcar/core/model/ids'
import { type GenerationRecord, generationRecord } from '@boxcar/core/model/service'
import type { Template } from '@boxcar/core/model/spec'
import { generations, specs } from '@boxcar/store/keys'
import { type Store, StoreUnavailable } from '@boxcar/store/store'
import { z } from 'zod'
import type { InternalErrors } from '../internal-errors.ts'
import type { PlacedOrder } from './orders.ts'
import type { SavedState } from './saved-state.ts'

const backoff = z.object({
  first: z.number(),
  // biome-ignore lint/suspicious/noThenProperty: the spec's own word; its value is never a function
  then: z.number(),
  cap: z.number(),
  resetAfter: z.number(),
})
const savedTemplates = z.object({
  format: z.literal(1),
  generations: z.array(z.unknown()),
  backoffs: z.record(z.string(), z.unknown()),
})

const fileName = 'templates.json'

/** The template cannot be had just now; a sentence. */
export class TemplateMissing extends Error {
  override readonly name = 'TemplateMissing'
}

export interface TemplatesOptions {
  readonly store: Store
  readonly state: SavedState
  readonly errors: InternalErrors
}

export class Templates {
  readonly #store: Store
  readonly #state: SavedState
  readonly #errors: InternalErrors
  readonly #records = new Map<string, GenerationRecord>()
  readonly #backoffs = new Map<string, Backoff>()
  readonly #reading = new Map<string, Promise<Template>>()

  constructor({ store, state, errors }: TemplatesOptions) {
    this.#store = store
    this.#state = state
    this.#errors = errors
  }

  /** What an earlier run kept; what cannot be read is read from the store again. */
  async load(): Promise<void> {
    const text = await this.#state.read(fileName)
    if (text === undefined) return
    const parsed = savedTemplates.safeParse(jsonOf(text))
    if (!parsed.success)
      return this.#state.unusable(fileName, 'it cannot be understood; templates come from the store again')
    for (const one of parsed.data.generations)
      this.#errors.contain({ what: fileName }, 'reading one template', () => {
        const record = generationRecord.safeParse(one)
        if (record.success) this.#records.set(keyOf(record.data.uid, record.data.number), record.data)
      })
    for (const [uid, one] of Object.entries(parsed.data.backoffs)) {
      const value = backoff.safeParse(one)
      if (value.success) this.#backoffs.set(uid, value.data)
    }
  }

  /** Throws TemplateMissing where there is none to be had. Orders of one generation share a read. */
  async of(order: PlacedOrder): Promise<Template> {
    const key = keyOf(order.uid, order.placed.generation)
    const known = this.#records.get(key)
    if (known !== undefined) return known.template
    const reading = this.#reading.get(key) ?? this.#read(order, key)
    this.#reading.set(key, reading)
    try {
      return await reading
    } finally {
      this.#reading.delete(key)
    }
  }

  backoffOf(order: PlacedOrder): Backoff {
    return this.#backoffs.get(order.uid) ?? defaultBackoff
  }

  /** The spec's back-off takes effect in place, so it is read again when it is about to matter. Best effort: never rejects. */
  async refreshBackoff({ instance, placed, uid }: PlacedOrder): Promise<void> {
    await this.#errors.containLater({ instance }, 'reading how it is restarted', async () => {
      try {
        await this.#readBackoff(placed.service, uid)
      } catch (error) {
        if (!(error instanceof StoreUnavailable)) throw error
      }
    })
  }

  /** Keeps on disk only what the orders need. Never rejects. */
  async keepFor(orders: ReadonlyMap<InstanceId, PlacedOrder>): Promise<void> {
    const needed = new Set([...orders.values()].map(order => keyOf(order.uid, order.placed.generation)))
    const uids = new Set([...orders.values()].map(order => order.uid))
    let dropped = 0
    for (const key of this.#records.keys()) if (!needed.has(key) && this.#records.delete(key)) dropped++
    for (const uid of this.#backoffs.keys()) if (!uids.has(uid)) this.#backoffs.delete(uid)
    if (dropped > 0) await this.#save()
  }

  async #read(order: PlacedOrder, key: string): Promise<Template> {
    const { service, generation } = order.placed
    try {
      const [entry] = await Promise.all([
        this.#store.get(generations, { service, number: generation }),
        this.#readBackoff(service, order.uid),
      ])
      if (entry === undefined || entry.value.uid !== order.uid)
        throw new TemplateMissing(`generation ${generation} of ${service} is not in the store`)
      this.#records.set(key, entry.value)
      await this.#save()
      return entry.value.template
    } catch (error) {
      if (error instanceof StoreUnavailable)
        throw new TemplateMissing(`the template cannot be read: ${error.message}`, { cause: error })
      throw error
    }
  }

  async #readBackoff(service: ServiceName, uid: string): Promise<void> {
    const spec = await this.#store.get(specs, service)
    if (spec?.value.uid === uid) this.#backoffs.set(uid, spec.value.spec.restart.backoff)
  }

  async #save(): Promise<void> {
    const text = JSON.stringify({
      format: 1,
      generations: [...this.#records.values()].map(({ template: _, ...stored }) => stored),
      backoffs: Object.fromEntries(this.#backoffs),
    })
    await this.#state.save(fileName, text)
  }
}

const keyOf = (uid: string, generation: number): string => `${uid}/${generation}`

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
