import { expect, test } from 'vitest'
import { digestFrom, parseReference } from './reference.ts'

const digest = `sha256:${'a'.repeat(64)}` as const

test.each([
  ['web', 'web', 'docker.io/library/web', 'latest', undefined],
  ['web:1.4', 'web', 'docker.io/library/web', '1.4', undefined],
  ['team/web:1', 'team/web', 'docker.io/team/web', '1', undefined],
  ['docker.io/web', 'docker.io/web', 'docker.io/library/web', 'latest', undefined],
  ['index.docker.io/team/web', 'index.docker.io/team/web', 'docker.io/team/web', 'latest', undefined],
  ['localhost/web', 'localhost/web', 'localhost/web', 'latest', undefined],
  ['127.0.0.1:5000/team/web:2', '127.0.0.1:5000/team/web', '127.0.0.1:5000/team/web', '2', undefined],
  [
    'registry.example:5000/web',
    'registry.example:5000/web',
    'registry.example:5000/web',
    'latest',
    undefined,
  ],
  [`web@${digest}`, 'web', 'docker.io/library/web', undefined, digest],
  [`registry.example/web:1@${digest}`, 'registry.example/web', 'registry.example/web', '1', digest],
])('%s', (text, name, repository, tag, pinned) => {
  expect(parseReference(text)).toEqual({ name, repository, tag, digest: pinned })
})

test.each([
  '',
  'Web',
  'web:',
  'web:-x',
  'web@sha256:abc',
  'a b',
  '../etc',
  'web/',
  'http://web',
  'web?x=1',
  'a'.repeat(64),
])('not a reference: %s', text => {
  expect(parseReference(text)).toBeUndefined()
})

test('a digest is taken from the same repository only, however it is written', () => {
  const known = [`registry.example/web@sha256:${'b'.repeat(64)}`, `web@${digest}`]
  const of = (text: string) => {
    const reference = parseReference(text)
    return reference && digestFrom(known, reference)
  }
  expect(of('docker.io/library/web:3')).toBe(digest)
  expect(of('registry.example/web')).toBe(`sha256:${'b'.repeat(64)}`)
  expect(of('other/web')).toBeUndefined()
})
