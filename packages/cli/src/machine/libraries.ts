import { readFile } from 'node:fs/promises'
import { tryRun } from './command.ts'
import type { TarEntry } from './tar.ts'

/** The shared libraries that a program of this computer loads, the loader included, each where it is looked for. */
export async function librariesOf(program: string): Promise<readonly TarEntry[]> {
  const listed = await tryRun(['ldd', program])
  // Of a static program ldd says that it is none, with another status.
  if (listed.status !== 0) return []
  const paths = listed.stdout.split('\n').flatMap(line => /(?:=> )?(\/\S+) \(0x/.exec(line)?.[1] ?? [])
  return Promise.all(
    paths.map(async path => ({ kind: 'file' as const, path, mode: 0o755, content: await readFile(path) })),
  )
}
