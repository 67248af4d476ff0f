import { readFile } from 'node:fs/promises'
import { run } from './command.ts'
import type { MachineHost } from './host.ts'
import { digestOf, type ImageName, type Layer, layer, pushImage } from './image.ts'
import { librariesOf } from './libraries.ts'
import type { TarEntry } from './tar.ts'

/** A shell and the small tools, from this computer's BusyBox: the base of all images here. */
export async function busyboxLayer(): Promise<Layer> {
  const program = (await run(['sh', '-c', 'command -v busybox'])).trim()
  const applets = (await run([program, '--list']))
    .split('\n')
    .filter(name => name !== '' && name !== 'busybox')
  return layer([
    ...['bin', 'etc', 'root', 'var'].map((path): TarEntry => ({ kind: 'folder', path, mode: 0o755 })),
    { kind: 'folder', path: 'tmp', mode: 0o1777 },
    { kind: 'file', path: 'bin/busybox', mode: 0o755, content: await readFile(program) },
    ...(await librariesOf(program)),
    ...applets.map((name): TarEntry => ({ kind: 'link', path: `bin/${name}`, target: 'busybox' })),
    {
      kind: 'file',
      path: 'etc/passwd',
      mode: 0o644,
      content: Buffer.from('root:x:0:0:root:/root:/bin/sh\n'),
    },
    { kind: 'file', path: 'etc/group', mode: 0o644, content: Buffer.from('root:x:0:\n') },
  ])
}

/** Puts `busybox:stable` into a registry. */
export async function pushBusybox(registry: string): Promise<ImageName> {
  return pushImage(registry, {
    name: 'busybox',
    tag: 'stable',
    layers: [await busyboxLayer()],
    config: { Env: ['PATH=/bin'], Cmd: ['sh'] },
  })
}

export interface Build {
  /** The engine that builds. */
  readonly host: MachineHost
  /** The registry's address that the image goes to. */
  readonly registry: string
  /** The folder with the Dockerfile. */
  readonly context: string
  readonly name: string
  readonly tag: string
  readonly buildArgs?: Readonly<Record<string, string>>
  /** Aborted: the build ends at once and rejects. */
  readonly signal?: AbortSignal
}

/** Builds an image from a Dockerfile on a host and pushes it, as people would. */
export async function buildImage(build: Build): Promise<ImageName> {
  const { registry, name, tag } = build
  const reference = `${registry}/${name}:${tag}`
  const args = Object.entries(build.buildArgs ?? {}).flatMap(([key, value]) => [
    '--build-arg',
    `${key}=${value}`,
  ])
  // The classic builder: the other one is a program of its own that this computer may not have.
  const env = { ...process.env, DOCKER_BUILDKIT: '0' }
  const signal = build.signal === undefined ? {} : { signal: build.signal }
  await build.host.docker(['build', '--quiet', '--tag', reference, ...args, build.context], {
    env,
    ...signal,
  })
  await build.host.docker(['push', '--quiet', reference], signal)
  const digest = await digestOf(registry, name, tag)
  return { tagged: reference, pinned: `${registry}/${name}@${digest}`, digest }
}

/** Builds the sample service `hello` of `examples/hello` in one version, its tag, and pushes it. */
export async function buildHello(
  build: Omit<Build, 'name' | 'tag' | 'buildArgs'>,
  version: string,
): Promise<ImageName> {
  const base = await pushBusybox(build.registry)
  return buildImage({
    ...build,
    name: 'hello',
    tag: version,
    buildArgs: { BASE: base.tagged, VERSION: version },
  })
}
