import { expect, test } from 'vitest'
import { run } from './command.ts'
import { tar } from './tar.ts'

test('the system unpacks what was packed', async () => {
  const archive = Buffer.concat(
    tar([
      { kind: 'folder', path: 'bin', mode: 0o755 },
      { kind: 'file', path: '/bin/tool', mode: 0o755, content: Buffer.from('x'.repeat(700)) },
      { kind: 'link', path: 'bin/alias', target: 'tool' },
      { kind: 'file', path: 'empty', mode: 0o644, content: Buffer.alloc(0) },
    ]),
  )
  const listed = await run(['sh', '-c', `base64 -d | tar tvf - --utc`], { input: archive.toString('base64') })
  const lines = listed.trim().split('\n')
  expect(lines).toHaveLength(4)
  expect(lines[0]).toMatch(/^drwxr-xr-x .* bin\/$/)
  expect(lines[1]).toMatch(/^-rwxr-xr-x .* 700 1970-01-01 .* bin\/tool$/)
  expect(lines[2]).toMatch(/^lrwxrwxrwx .* bin\/alias -> tool$/)
  expect(lines[3]).toMatch(/^-rw-r--r-- .* 0 1970-01-01 .* empty$/)
})

test('a path that the form cannot hold is refused', () => {
  expect(() => tar([{ kind: 'folder', path: 'x'.repeat(101), mode: 0o755 }])).toThrow(RangeError)
})
