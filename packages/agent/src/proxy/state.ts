/** What the proxy room remembers on the disk: a restarted agent takes up the same slots and goes on. */
import { readFile } from 'node:fs/promises'
import type { GenerationNumber, ServiceName } from '@boxcar/core/model/ids'
import { endpoint, type Route, route } from '@boxcar/core/model/route'
import { z } from 'zod'
import type { Door } from './picture.ts'
import type { Layout } from './slots.ts'

const slot = z.discriminatedUnion('use', [
  z.object({ use: z.literal('free') }),
  z.object({ use: z.literal('serving'), endpoint }),
  z.object({ use: z.literal('draining'), endpoint }),
])

const saved = z.object({
  version: z.literal(1),
  revision: z.string(),
  routes: z.array(route),
  doors: z.array(z.object({ address: z.string(), port: z.int() })),
  layout: z.array(
    z.object({
      service: z.custom<ServiceName>(v => typeof v === 'string'),
      uid: z.string(),
      gates: z.array(z.object({ port: z.string(), protocol: z.enum(['http', 'tcp']) })),
      lanes: z.array(
        z.object({
          generation: z.custom<GenerationNumber>(v => typeof v === 'number').optional(),
          slots: z.array(slot),
        }),
      ),
    }),
  ),
})

export interface ProxyState {
  readonly revision: string
  readonly routes: ReadonlyMap<ServiceName, Route>
  readonly layout: Layout
  /** The doors that the process holds. */
  readonly doors: readonly Door[]
}

export const statePath = (dir: string) => `${dir}/state.json`

/** What was saved last; nothing where nothing was or it cannot be read. */
export async function loadState(dir: string): Promise<ProxyState | undefined> {
  const text = await readFile(statePath(dir), 'utf8').catch(() => undefined)
  if (text === undefined) return undefined
  const parsed = saved.safeParse(parseJson(text))
  if (!parsed.success) return undefined
  const { revision, routes, layout, doors } = parsed.data
  return {
    revision,
    doors,
    routes: new Map(routes.map(r => [r.service, r])),
    layout: new Map(
      layout.map(({ service, uid, gates, lanes }) => [
        service,
        { uid, gates, lanes: lanes.map(lane => ({ generation: lane.generation, slots: lane.slots })) },
      ]),
    ),
  }
}

export function stateText(state: ProxyState): string {
  return JSON.stringify({
    version: 1,
    revision: state.revision,
    routes: [...state.routes.values()],
    doors: state.doors,
    layout: [...state.layout].map(([service, layout]) => ({ service, ...layout })),
  })
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
