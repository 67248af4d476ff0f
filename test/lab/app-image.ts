import { readFile, realpath } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { type ImageName, type Layer, layer, pushImage } from '@boxcar/cli/machine/image'
import { busyboxLayer } from '@boxcar/cli/machine/images'
import { librariesOf } from '@boxcar/cli/machine/libraries'

export interface AppImage {
  /** The tag, and what the service says its version is. */
  readonly version: string
  /** More environment variables, for example `{ NEVER_READY: '1' }`. */
  readonly env?: Readonly<Record<string, string>>
}

/** Puts versions of the test service into a registry as `app:<version>`; they differ in a few hundred bytes. */
export async function pushApp(
  registry: string,
  versions: readonly AppImage[],
): Promise<readonly ImageName[]> {
  packed ??= appLayers()
  const layers = await packed
  const pushed: ImageName[] = []
  for (const { version, env } of versions) {
    const variables = { PATH: '/bin', ...env, VERSION: version }
    pushed.push(
      await pushImage(registry, {
        name: 'app',
        tag: version,
        layers,
        config: {
          Env: Object.entries(variables).map(([name, value]) => `${name}=${value}`),
          Entrypoint: ['/bin/node', '/app/server.mjs'],
          ExposedPorts: { '8080/tcp': {}, '8081/tcp': {} },
        },
      }),
    )
  }
  return pushed
}

/** The same in all images of one test run, and 130 MB to measure: once is enough. */
let packed: Promise<readonly Layer[]> | undefined

async function appLayers(): Promise<readonly Layer[]> {
  const node = await nodeProgram()
  const script = await readFile(join(import.meta.dirname, 'app', 'server.mjs'))
  return [
    await busyboxLayer(),
    layer([
      { kind: 'file', path: 'bin/node', mode: 0o755, content: await readFile(node) },
      ...(await librariesOf(node)),
    ]),
    layer([{ kind: 'file', path: 'app/server.mjs', mode: 0o644, content: script }]),
  ]
}

/** The workspace's own Node, which needs few libraries; a distribution's may need many. */
function nodeProgram(): Promise<string> {
  const found = createRequire(import.meta.url).resolve('node/package.json')
  return realpath(join(dirname(found), 'bin', 'node'))
}
