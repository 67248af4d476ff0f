import { describe, expect, test } from 'vitest'
import { exitStatus, Trouble } from './exit.ts'
import { checkSpecs } from './spec-files.ts'

const faultsOf = (text: string, images: readonly string[] = []): readonly string[] => {
  try {
    checkSpecs([{ file: 'web.yaml', text }], images)
  } catch (error) {
    if (error instanceof Trouble) {
      expect(error.text.status).toBe(images.length > 1 ? exitStatus.usage : exitStatus.failure)
      return error.text.why.split('\n')
    }
    throw error
  }
  throw new Error('no fault was found')
}

test('every fault at once, each with its line, column and pointer', () => {
  const text = [
    'name: Web',
    'image: nginx:1',
    'replicas: "3"',
    'healht:',
    '  a: 1',
    'ports:',
    '  - { name: http, container: 70000 }',
    'resources:',
    '  limits: { memory: 512Mi }',
  ].join('\n')
  expect(faultsOf(text)).toEqual([
    expect.stringMatching(/^web\.yaml:1:1: \/name: a service name has lower-case letters/),
    'web.yaml:3:1: /replicas: must be a whole number from 0 to 10000',
    expect.stringMatching(/^web\.yaml:9:13: \/resources\/limits\/memory: .*did you mean '512MiB'\?/),
    'web.yaml:7:19: /ports/0/container: must be from 1 to 65535',
    expect.stringMatching(/^web\.yaml:4:1: \/healht: unknown key 'healht'; did you mean 'health'\?/),
  ])
})

describe('one fault', () => {
  test.each([
    [
      'name: web\nimage: nginx:1\nreplica: 2\n',
      "web.yaml:3:1: /replica: unknown key 'replica'; did you mean 'replicas'?",
    ],
    [
      'name: web\nimage: nginx:1\nreplicas: null\n',
      'web.yaml:3:1: /replicas: must be a whole number from 0 to 10000',
    ],
    [
      'name: web\nimage: nginx:1\nvolumes: []\n',
      'web.yaml:3:1: /volumes: is not supported yet; leave it out',
    ],
    [
      'name: web\nimage: nginx:1\nroutes:\n  - { port: http, listen: 80 }\n',
      "web.yaml:4:7: /routes/0/port: no port is named 'http'; the spec has no ports",
    ],
    [
      'services:\n  web: { image: nginx }\n',
      'web.yaml:1:1: /services: Compose files are not supported yet; write one document for each service',
    ],
    [
      'name: web\nimage: nginx:1\n---\nname: web\nimage: nginx:2\n',
      "web.yaml:4:1: /name: a service named 'web' is given twice",
    ],
    ['# nothing\n', 'web.yaml:1:1: there is no service in it'],
    ['- name: web\n', expect.stringMatching(/^web\.yaml:1:1: .*must be an object/)],
    ['name: web\nname: api\n', 'web.yaml:2:1: the same key is given twice'],
  ])('%j', (text, fault) => {
    expect(faultsOf(text)).toEqual([fault])
  })
})

describe('--image', () => {
  const two = 'name: web\nimage: a:1\n---\nname: api\nimage: b:1\n'

  test('takes the place of the image that the file says', () => {
    const [spec] = checkSpecs([{ file: 'f', text: 'name: web\nimage: a:1\n' }], ['a:2'])
    expect(spec?.text['image']).toBe('a:2')
  })

  test('needs a name where there are several services', () => {
    const specs = checkSpecs([{ file: 'f', text: two }], ['api=b:2'])
    expect(specs.map(it => it.text['image'])).toEqual(['a:1', 'b:2'])
    expect(() => checkSpecs([{ file: 'f', text: two }], ['b:2'])).toThrow(Trouble)
    expect(() => checkSpecs([{ file: 'f', text: two }], ['db=b:2'])).toThrow(
      /no service in the files is named 'db'/,
    )
  })
})
