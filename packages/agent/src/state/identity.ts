/** What a host knows of itself over restarts of its agent. */
import type { Chance } from '@boxcar/core/model/clock'
import { z } from 'zod'
import type { SavedState } from './saved-state.ts'

const saved = z.object({
  format: z.literal(1),
  /** Tells this host from another machine that was given its id. */
  token: z.string().min(1),
  /** What the engine said of the machine when it was last asked. */
  engine: z
    .object({
      id: z.string(),
      version: z.string(),
      cpuMilli: z.int(),
      memoryMiB: z.int(),
      rootDir: z.string(),
      os: z.string(),
      arch: z.string(),
    })
    .optional(),
})
export type Identity = Omit<z.output<typeof saved>, 'format'>

const fileName = 'host.json'

/** The saved identity, or a new one, which is saved at once. */
export async function readIdentity(state: SavedState, chance: Chance): Promise<Identity> {
  const text = await state.read(fileName)
  if (text !== undefined) {
    try {
      return saved.parse(JSON.parse(text))
    } catch {
      state.unusable(fileName, 'it cannot be understood; this host gets a new token')
    }
  }
  const identity = { token: chance.id() }
  await saveIdentity(state, identity)
  return identity
}

/** Without what the engine said, an agent that starts while it is away says less of its host. */
export const saveIdentity = (state: SavedState, { token, engine }: Identity): Promise<void> =>
  state.save(fileName, JSON.stringify({ format: 1, token, ...(engine !== undefined && { engine }) }))
