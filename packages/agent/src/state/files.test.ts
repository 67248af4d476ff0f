import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openFolder } from './files.ts'

describe('a state folder', () => {
  let dir: string
  const open = () => openFolder(join(dir, 'state'))
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'boxcar-files-'))
  })
  afterEach(() => rm(dir, { recursive: true, force: true }))

  test('gives back what was written, to its owner alone', async () => {
    const files = await open()
    expect(await files.read('a.json')).toBeUndefined()
    await files.write('a.json', '{"x":"ä\\n"}\n')
    expect(await files.read('a.json')).toBe('{"x":"ä\\n"}\n')
    expect((await stat(join(dir, 'state', 'a.json'))).mode & 0o777).toBe(0o600)
    expect(await readdir(join(dir, 'state'))).toEqual(['a.json'])
  })

  test('keeps the last of many writes at once', async () => {
    const files = await open()
    await Promise.all(Array.from({ length: 20 }, (_, i) => files.write('a.json', `${i}`.repeat(1000))))
    expect(await files.read('a.json')).toBe('19'.repeat(1000))
  })

  test.each([
    ['cut short', (text: string) => text.slice(0, -20)],
    ['empty', () => ''],
    ['with one letter changed', (text: string) => text.replace('7', '8')],
  ])('puts a file aside that is %s', async (_, harm) => {
    const files = await open()
    await files.write('a.json', '{"revision":"17"}')
    const path = join(dir, 'state', 'a.json')
    await writeFile(path, harm(await readFile(path, 'utf8')))
    await expect(files.read('a.json')).rejects.toThrow('is kept as a.json.broken')
    expect(await files.read('a.json')).toBeUndefined()
    expect(await readdir(join(dir, 'state'))).toEqual(['a.json.broken'])
  })
})
