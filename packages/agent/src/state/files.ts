/** The agent's folder on disk. A write is whole or not there at all, also after a crash of the machine. */
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'

export interface Files {
  /** Nothing where there is no such file. */
  read(name: string): Promise<string | undefined>
  /** Only its owner may read it. */
  write(name: string, text: string): Promise<void>
}

/** The folder is made where it is missing. */
export async function openFolder(path: string): Promise<Files> {
  await mkdir(path, { recursive: true, mode: 0o700 })
  return {
    read: async name => {
      try {
        return await readFile(join(path, name), 'utf8')
      } catch (error) {
        if (isMissing(error)) return undefined
        throw error
      }
    },
    write: async (name, text) => {
      const [final, partial] = [join(path, name), join(path, `.${name}.partial`)]
      try {
        const file = await open(partial, 'w', 0o600)
        try {
          await file.writeFile(text)
          await file.datasync()
        } finally {
          await file.close()
        }
        await rename(partial, final)
      } catch (error) {
        await rm(partial, { force: true })
        throw error
      }
    },
  }
}

/** For tests and the simulation: what an agent's disk keeps while agents come and go. */
export function memoryFolder(): Files & { readonly files: Map<string, string> } {
  const files = new Map<string, string>()
  return {
    files,
    read: name => Promise.resolve(files.get(name)),
    write: (name, text) => {
      files.set(name, text)
      return Promise.resolve()
    },
  }
}

const isMissing = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === 'ENOENT'
