/**
 * Puts images into a registry without an engine and without the internet: an image is some archives and two small
 * JSON documents, handed over by HTTP (the OCI distribution protocol).
 */
import { createHash } from 'node:crypto'
import { request } from 'node:http'
import { type TarEntry, tar } from './tar.ts'

/** An image in a registry, as engines name it. */
export interface ImageName {
  /** `10.77.0.1:5000/app:1` */
  readonly tagged: string
  /** `10.77.0.1:5000/app@sha256:…` */
  readonly pinned: string
  /** `sha256:…` */
  readonly digest: string
}

export interface ImageSource {
  readonly name: string
  readonly tag: string
  /** From the bottom up. */
  readonly layers: readonly Layer[]
  /** As in the OCI image configuration: `Env`, `Cmd`, `ExposedPorts` and so on. */
  readonly config: Readonly<Record<string, unknown>>
}

/** A layer, packed and measured once; an image of the same layers with another configuration is a small upload. */
export interface Layer {
  readonly digest: string
  readonly size: number
  readonly pieces: readonly Buffer[]
}

export function layer(entries: readonly TarEntry[]): Layer {
  return blob(tar(entries))
}

/** Puts an image into the registry at an address, `host:port`; layers that are there already are not sent again. */
export async function pushImage(registry: string, image: ImageSource): Promise<ImageName> {
  const config = blob([
    json({
      // What Node calls x64 is amd64 to Docker; the other names are the same.
      architecture: process.arch === 'x64' ? 'amd64' : process.arch,
      os: 'linux',
      created: '1970-01-01T00:00:00Z',
      config: image.config,
      // Layers are not packed, so an archive's own digest is the layer's.
      rootfs: { type: 'layers', diff_ids: image.layers.map(it => it.digest) },
      history: image.layers.map(() => ({ created: '1970-01-01T00:00:00Z' })),
    }),
  ])
  const base = `http://${registry}/v2/${image.name}`
  for (const it of [...image.layers, config]) await pushBlob(base, it)
  const manifest = json({
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: { mediaType: mediaTypes.config, size: config.size, digest: config.digest },
    layers: image.layers.map(it => ({ mediaType: mediaTypes.layer, size: it.size, digest: it.digest })),
  })
  await ask('PUT', `${base}/manifests/${image.tag}`, {
    body: [manifest],
    type: mediaTypes.manifest,
    expect: [201],
  })
  const digest = blob([manifest]).digest
  return {
    tagged: `${registry}/${image.name}:${image.tag}`,
    pinned: `${registry}/${image.name}@${digest}`,
    digest,
  }
}

/** The digest that a registry has for an image's tag now. */
export async function digestOf(registry: string, name: string, tag: string): Promise<string> {
  const answer = await ask('HEAD', `http://${registry}/v2/${name}/manifests/${tag}`, {
    accept: mediaTypes.manifest,
    expect: [200],
  })
  const digest = answer.headers['docker-content-digest']
  if (typeof digest !== 'string') throw new Error(`the registry named no digest for ${name}:${tag}`)
  return digest
}

const mediaTypes = {
  manifest: 'application/vnd.docker.distribution.manifest.v2+json',
  config: 'application/vnd.docker.container.image.v1+json',
  layer: 'application/vnd.docker.image.rootfs.diff.tar',
} as const

async function pushBlob(base: string, it: Layer): Promise<void> {
  const there = await ask('HEAD', `${base}/blobs/${it.digest}`, { expect: [200, 404] })
  if (there.status === 200) return
  const { headers } = await ask('POST', `${base}/blobs/uploads/`, { expect: [202] })
  if (headers.location === undefined) throw new Error('the registry named no place for an upload')
  const place = new URL(headers.location, base)
  place.searchParams.set('digest', it.digest)
  await ask('PUT', place.href, { body: it.pieces, type: 'application/octet-stream', expect: [201] })
}

interface Question {
  readonly body?: readonly Buffer[]
  readonly type?: string
  readonly accept?: string
  readonly expect: readonly number[]
}

interface Answer {
  readonly status: number
  readonly headers: NodeJS.Dict<string | string[]> & { readonly location?: string | undefined }
}

function ask(method: string, url: string, question: Question): Promise<Answer> {
  const body = question.body ?? []
  return new Promise((resolve, reject) => {
    const sent = request(
      url,
      {
        method,
        agent: false,
        timeout: 30_000,
        headers: {
          'content-length': body.reduce((total, piece) => total + piece.length, 0),
          ...(question.type === undefined ? {} : { 'content-type': question.type }),
          ...(question.accept === undefined ? {} : { accept: question.accept }),
        },
      },
      response => {
        let text = ''
        response.setEncoding('utf8').on('data', (part: string) => {
          text += part
        })
        response.on('error', reject)
        response.on('end', () => {
          const status = response.statusCode ?? 0
          if (question.expect.includes(status)) resolve({ status, headers: response.headers })
          else reject(new Error(`the registry answered ${status} to ${method} ${url}: ${text.trim()}`))
        })
      },
    )
    sent.on('timeout', () => sent.destroy(new Error(`the registry is silent to ${method} ${url}`)))
    sent.on('error', reject)
    for (const piece of body) sent.write(piece)
    sent.end()
  })
}

function blob(pieces: readonly Buffer[]): Layer {
  const hash = createHash('sha256')
  let size = 0
  for (const piece of pieces) {
    hash.update(piece)
    size += piece.length
  }
  return { digest: `sha256:${hash.digest('hex')}`, size, pieces }
}

const json = (value: unknown) => Buffer.from(JSON.stringify(value))
