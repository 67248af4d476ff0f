/** What a host knows of itself over restarts of its agent. */
import type { Chance } from '@boxcar/core/model/clock'
import type { Log } from '@boxcar/store/log'
import { z } from 'zod'
import type { EngineInfo } from '../engine/engine.ts'
import type { Files } from './files.ts'

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
export async function readIdentity(files: Files, chance: Chance, log: Log): Promise<Identity> {
  const text = await files.read(fileName)
  if (text !== undefined) {
    try {
      return saved.parse(JSON.parse(text))
    } catch {
      log.warn({}, `${fileName} cannot be read; this host gets a new token`)
    }
  }
  const identity = { token: chance.id() }
  await files.write(fileName, JSON.stringify({ format: 1, ...identity }))
  return identity
}

/** Best effort: without it, an agent that starts while its engine is away says less of its host. */
export async function saveEngineInfo(
  files: Files,
  identity: Identity,
  engine: EngineInfo,
  log: Log,
): Promise<void> {
  try {
    await files.write(fileName, JSON.stringify({ format: 1, token: identity.token, engine }))
  } catch (error) {
    log.warn({ error: String(error) }, `${fileName} was not saved`)
  }
}
