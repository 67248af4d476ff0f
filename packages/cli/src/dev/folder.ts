/**
 * The folder of one `boxcar dev`. Who owns it, and what it made outside of it, is on record in it from the first moment:
 * so the next run knows what a killed one left behind, and takes it away.
 */
import { readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { mkdtemp, readdir, readlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import { isAlive, self } from '../machine/procfs.ts'

/** Where the machine of namespaces lives below it; it has an owner on record of its own (machine/claim.ts). */
export const machineFolder = 'machine'

/** The engine, not started by us, on which the run made containers and images, and the name by which they are known. */
export interface Guest {
  readonly engine: string
  readonly cluster: string
}

const record = z.object({
  owner: z.object({ pid: z.number(), startTime: z.string() }),
  /** In which the owner has its id. */
  pidNamespace: z.string(),
  guest: z.object({ engine: z.string(), cluster: z.string() }).optional(),
})
type Record = z.infer<typeof record>

const prefix = 'boxcar-dev-'

/** Makes the folder, owned by this process. */
export async function makeFolder(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), prefix))
  write(dir, { owner: self(), pidNamespace: await pidNamespace() })
  return dir
}

/** Puts on record what is about to be made on an engine that goes on after this run. */
export async function recordGuest(dir: string, guest: Guest): Promise<void> {
  write(dir, { owner: self(), pidNamespace: await pidNamespace(), guest })
}

export interface Abandoned {
  readonly dir: string
  readonly guest: Guest | undefined
}

/** The folders of this user whose owners died before they could take them away. */
export async function abandonedFolders(): Promise<readonly Abandoned[]> {
  const here = await pidNamespace()
  const found: Abandoned[] = []
  for (const name of (await readdir(tmpdir())).filter(it => it.startsWith(prefix)).sort()) {
    const dir = join(tmpdir(), name)
    const it = read(dir)
    if (it !== undefined && it.pidNamespace === here && !isAlive(it.owner))
      found.push({ dir, guest: it.guest })
  }
  return found
}

const recordFile = (dir: string) => join(dir, 'owner.json')

function write(dir: string, it: Record): void {
  writeFileSync(`${recordFile(dir)}.new`, JSON.stringify(it))
  renameSync(`${recordFile(dir)}.new`, recordFile(dir))
}

/** Only of folders that this user made: anybody may write to the folder for temporary files. */
function read(dir: string): Record | undefined {
  try {
    if (statSync(dir).uid !== process.getuid?.()) return undefined
    return record.safeParse(JSON.parse(readFileSync(recordFile(dir), 'utf8'))).data
  } catch {
    return undefined
  }
}

const pidNamespace = () => readlink('/proc/self/ns/pid')
