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

describe('files as people have them', () => {
  const specOf = (text: string) => {
    const [file] = checkSpecs([{ file: 'web.yaml', text }], [])
    return file?.text
  }

  test('what anchors name stands below x- keys at the top, which are no part of the service', () => {
    const text = [
      'x-common: &common',
      '  restart: { policy: always }',
      '  labels: &labels { team: shop }',
      'x-env: &env { LOG_LEVEL: info, PORT: 8080 }',
      'name: web',
      'image: nginx:1',
      '<<: *common',
      'env:',
      '  <<: *env',
      '  LOG_LEVEL: debug',
      'labels: { <<: *labels, tier: front }',
    ].join('\n')
    expect(specOf(text)).toEqual({
      name: 'web',
      image: 'nginx:1',
      restart: { policy: 'always' },
      env: { LOG_LEVEL: 'debug', PORT: '8080' },
      labels: { team: 'shop', tier: 'front' },
    })
  })

  test('a fault of what was merged is shown where it was written', () => {
    const text =
      'x-common: &common\n  replicas: many\n  stop: { grace: 5 }\nname: web\nimage: nginx:1\n<<: *common\n'
    expect(faultsOf(text)).toEqual([
      'web.yaml:2:3: /replicas: must be a whole number from 0 to 10000',
      'web.yaml:3:11: /stop/grace: must be a time with a unit, such as 500ms, 2s, 5m or 1h',
    ])
  })

  test('below the top an x- key is unknown, or one of a map', () => {
    expect(faultsOf('name: web\nimage: a:1\nstop: { x-why: because }\n')).toEqual([
      expect.stringMatching(/^web\.yaml:3:9: \/stop\/x-why: unknown key 'x-why'/),
    ])
    expect(specOf('name: web\nimage: a:1\nlabels: { x-team: shop }\n')?.['labels']).toEqual({
      'x-team': 'shop',
    })
  })

  test('what is not in quotes stays what was written, wherever text is wanted', () => {
    const text = [
      'name: web',
      'image: nginx:1',
      'user: 0123',
      'env: { VERSION: 1.10, CODE: 007, LIMIT: 1e3, MASK: 0x1F, DEBUG: True, ID: 12345678901234567890 }',
      'labels: { version: 1.10, 2.0: on }',
      'command: [sleep, 1e3]',
      'entrypoint: [run, 007]',
      'ports: [{ name: http, container: 80 }]',
      'health: { readiness: { http: /, headers: { X-Version: 1.10 } } }',
      'placement: { where: [gpu, true] }',
    ].join('\n')
    expect(specOf(text)).toMatchObject({
      user: '0123',
      env: {
        VERSION: '1.10',
        CODE: '007',
        LIMIT: '1e3',
        MASK: '0x1F',
        DEBUG: 'True',
        ID: '12345678901234567890',
      },
      labels: { version: '1.10', '2.0': 'on' },
      command: ['sleep', '1e3'],
      entrypoint: ['run', '007'],
      ports: [{ container: 80 }],
      health: { readiness: { headers: { 'X-Version': '1.10' } } },
      placement: { where: ['gpu', 'true'] },
    })
  })

  test('a number in the place of a size or a time is told what it lacks', () => {
    const text = 'name: web\nimage: a:1\nresources: { limits: { memory: 512 } }\nrollout: { drain: 5 }\n'
    expect(faultsOf(text)).toEqual([
      "web.yaml:3:24: /resources/limits/memory: needs a unit: KiB, MiB or GiB; did you mean '512MiB'?",
      'web.yaml:4:12: /rollout/drain: must be a time with a unit, such as 500ms, 2s, 5m or 1h',
    ])
  })

  test.each(['', '~', 'null'])(
    '%j where text is wanted is refused, and told how empty text is written',
    it => {
      const hint = '; an empty value and a bare null are none: write "" for empty text, "null" for the word'
      expect(faultsOf(`name: web\nimage: a:1\nenv:\n  A: ${it}\nlabels:\n  b: ${it}\n`)).toEqual([
        `web.yaml:4:3: /env/A: must be text, a number or a boolean${hint}`,
        `web.yaml:6:3: /labels/b: must be text${hint}`,
      ])
    },
  )
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
