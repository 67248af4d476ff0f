/** The agent's folder on disk. A write is whole or not there at all, also after a crash of the machine. */
import { createHash } from 'node:crypto'
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'

export interface Files {
  /** Nothing where there is no such file; throws where it is broken, and it is put aside then. */
  read(name: string): Promise<string | undefined>
  /** Only its owner may read it. */
  write(name: string, text: string): Promise<void>
}

/** Makes the folder where it is missing. A file that is not as it was written is kept beside as `<name>.broken`. */
export async function openFolder(path: string): Promise<Files> {
  await mkdir(path, { recursive: true, mode: 0o700 })
  // Writes of one file follow one another.
  const writing = new Map<string, Promise<void>>()
  const write = async (name: string, text: string) => {
    const [final, partial] = [join(path, name), join(path, `.${name}.partial`)]
    try {
      const file = await open(partial, 'w', 0o600)
      try {
        await file.writeFile(`${text}\n${sumOf(text)}\n`)
        await file.datasync()
      } finally {
        await file.close()
      }
      await rename(partial, final)
      await syncFolder(path)
    } catch (error) {
      await rm(partial, { force: true })
      throw error
    }
  }
  return {
    read: async name => {
      const file = join(path, name)
      let content: string
      try {
        content = await readFile(file, 'utf8')
      } catch (error) {
        if (isMissing(error)) return undefined
        throw error
      }
      const cut = content.lastIndexOf('\n', content.length - 2)
      const text = content.slice(0, Math.max(cut, 0))
      if (content.slice(cut + 1) === `${sumOf(text)}\n`) return text
      await rename(file, `${file}.broken`)
      throw new Error(`it was not as it was written, and is kept as ${name}.broken`)
    },
    write: (name, text) => {
      const before = writing.get(name) ?? Promise.resolve()
      const mine = before.then(() => write(name, text))
      writing.set(
        name,
        mine.catch(() => {}),
      )
      return mine
    },
  }
}

/** Until then, a crash of the machine may bring the old name back. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

const sumOf = (text: string): string => createHash('sha256').update(text).digest('hex')

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
