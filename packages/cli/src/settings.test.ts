import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { exitStatus, Trouble } from './exit.ts'
import { loadSettings } from './settings.ts'
import { wantsColor } from './terminal.ts'

let dir = ''
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'boxcar-settings-'))
})
afterAll(() => rmSync(dir, { recursive: true, force: true }))

const file = (text: string): string => {
  const path = join(dir, `${Math.trunc(performance.now() * 1_000)}.yaml`)
  writeFileSync(path, text)
  return path
}
const none = '/nonexistent/config.yaml'

test('defaults', () => {
  expect(loadSettings({ flags: {}, env: {}, file: none })).toEqual({
    etcd: ['http://127.0.0.1:2379'],
    cluster: 'default',
    server: 'http://127.0.0.1:7070',
    project: 'default',
    log: 'info',
    docker: 'unix:///var/run/docker.sock',
  })
})

test('a flag wins over the environment, the environment over the file', () => {
  const path = file(
    'project: from-file\ncluster: from-file\nserver: http://file:1\netcd: [10.0.0.1:2379, 10.0.0.2:2379]\n',
  )
  const settings = loadSettings({
    flags: { project: 'from-flag' },
    env: { BOXCAR_PROJECT: 'from-env', BOXCAR_CLUSTER: 'from-env', BOXCAR_TOKEN: '' },
    file: path,
  })
  expect(settings).toMatchObject({
    project: 'from-flag',
    cluster: 'from-env',
    server: 'http://file:1',
    etcd: ['http://10.0.0.1:2379', 'http://10.0.0.2:2379'],
  })
  expect(settings.token).toBeUndefined()
})

test('several etcd endpoints are one comma list', () => {
  const { etcd } = loadSettings({ flags: { etcd: 'https://a:2379, b:2379' }, env: {}, file: none })
  expect(etcd).toEqual(['https://a:2379', 'http://b:2379'])
})

const troubleOf = (act: () => unknown) => {
  try {
    act()
  } catch (error) {
    if (error instanceof Trouble) return error.text
    throw error
  }
  throw new Error('nothing was wrong')
}

test('every wrong setting is named with where it came from', () => {
  const path = file('projekt: a\nlog: loud\n')
  const text = troubleOf(() =>
    loadSettings({
      flags: { cluster: 'No Good' },
      env: { BOXCAR_SERVER: 'ftp://x', BOXCAR_ETCD: ',' },
      file: path,
    }),
  )
  expect(text.status).toBe(exitStatus.usage)
  const lines = text.why.split('\n')
  expect(lines).toContainEqual(expect.stringMatching(/^--cluster: a cluster name has/))
  expect(lines).toContainEqual(expect.stringMatching(/^BOXCAR_SERVER: must be an address/))
  expect(lines).toContainEqual(expect.stringMatching(/^BOXCAR_ETCD: needs at least one address/))
  expect(lines).toContainEqual(expect.stringMatching(/config|yaml: log: /))
  expect(lines).toContainEqual(`${path}: projekt is not a setting; did you mean project?`)
})

test('a file that is no YAML is shown with the line', () => {
  const path = file('server: a\nserver: b\n')
  expect(troubleOf(() => loadSettings({ flags: {}, env: {}, file: path })).why).toBe(
    `${path}:2:1: the same key is given twice`,
  )
})

test.each([
  ['--no-color get services', false],
  ['get services --no-color', false],
  ['get services', true],
  ['exec web/1/0 -- ls --no-color', true],
])('colours are asked for by the environment; boxcar %s: %s', (line, expected) => {
  expect(wantsColor({ FORCE_COLOR: '1' }, true, line.split(' '))).toBe(expected)
})

test.each([
  [{}, true, true],
  [{}, false, false],
  [{ NO_COLOR: '1' }, true, false],
  [{ NO_COLOR: '' }, true, true],
  [{ FORCE_COLOR: '1' }, false, true],
  [{ FORCE_COLOR: '0' }, true, false],
  [{ FORCE_COLOR: '1', NO_COLOR: '1' }, false, true],
  [{ TERM: 'dumb' }, true, false],
])('colours with %j on a terminal (%s): %s', (env, isTerminal, expected) => {
  expect(wantsColor(env, isTerminal)).toBe(expected)
})
