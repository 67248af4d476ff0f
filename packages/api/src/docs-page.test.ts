/** The page at `/docs`: everything that it needs comes from the server, and a browser is told to load nothing else. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runInNewContext } from 'node:vm'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type RunningApi, startApi } from './main.ts'
import { type TestServer, testServer } from './testing.ts'

let folder: string
let server: TestServer
/** Asks for a token, which a browser that opens a page does not have. */
let api: RunningApi

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'boxcar-docs-'))
  const tokenFile = join(folder, 'token')
  await writeFile(tokenFile, 'a-token-of-enough-characters\n')
  server = await testServer()
  api = await startApi(server.deps, { listen: '127.0.0.1:0', tokenFile })
})
afterAll(async () => {
  await api.close()
  await server.close()
  await rm(folder, { recursive: true })
})

const get = async (path: string) => {
  const answer = await fetch(`${api.url}${path}`)
  return { status: answer.status, headers: answer.headers, text: await answer.text() }
}

/** What the page's HTML has a browser load, except what stands in it itself (`data:`). */
async function loaded(): Promise<readonly string[]> {
  const { text } = await get('/docs')
  const named = [...text.matchAll(/<(?:script|link)\b[^>]*\b(?:src|href)="([^"]*)"/g)].map(
    ([, url = '']) => url,
  )
  return named.filter(url => !url.startsWith('data:'))
}

test('the page loads one style sheet and two scripts, all from this server', async () => {
  const paths = await loaded()
  expect(paths.map(path => path.split('/').at(-1))).toEqual([
    'swagger-ui.css',
    'swagger-ui-bundle.js',
    'start.js',
  ])
  for (const path of paths) {
    expect(path).toMatch(/^\/docs\/[0-9a-f]{16}\/[a-z.-]+$/)
    const { status, headers, text } = await get(path)
    expect(status).toBe(200)
    expect(headers.get('content-type')).toBe(
      path.endsWith('.css') ? 'text/css; charset=utf-8' : 'text/javascript; charset=utf-8',
    )
    expect(headers.get('x-content-type-options')).toBe('nosniff')
    expect(headers.get('cache-control')).toBe('public, max-age=31536000, immutable')
    expect(text.length).toBeGreaterThan(100)
  }
})

test('the page itself is asked for each time, and has no script and no style of its own', async () => {
  const { headers, text } = await get('/docs')
  expect(headers.get('content-type')).toBe('text/html; charset=utf-8')
  expect(headers.get('cache-control')).toBe('no-cache')
  expect(text).not.toMatch(/:\/\/|<style|style=|<script>|\son\w+=/)
})

test('a browser is told to load nothing from elsewhere, and to run nothing inline', async () => {
  const policy = (await get('/docs')).headers.get('content-security-policy') ?? ''
  const sources = new Map(policy.split('; ').map(it => [it.split(' ')[0], it.split(' ').slice(1)]))
  expect(sources.get('default-src')).toEqual(["'none'"])
  expect(sources.get('frame-ancestors')).toEqual(["'none'"])
  for (const source of [...sources.values()].flat()) expect(["'none'", "'self'", 'data:']).toContain(source)
  expect(sources.get('script-src')).toEqual(["'self'"])
  expect(sources.get('style-src')).toEqual(["'self'"])
})

test('Swagger UI is started with the description of this server, and asks no validator', async () => {
  const path = (await loaded()).find(it => it.endsWith('/start.js')) ?? ''
  const calls: unknown[] = []
  runInNewContext((await get(path)).text, { SwaggerUIBundle: (config: unknown) => calls.push(config) })
  expect(calls).toEqual([
    expect.objectContaining({ url: '/openapi.json', validatorUrl: null, queryConfigEnabled: false }),
  ])
  expect(JSON.stringify(calls)).not.toContain('://')
  expect((await get('/openapi.json')).status).toBe(200)
})

test('the style sheet has its pictures in itself', async () => {
  const path = (await loaded()).find(it => it.endsWith('.css')) ?? ''
  const { text } = await get(path)
  const urls = [...text.matchAll(/url\(\s*["']?([^"')]{0,40})/g)].map(([, url = '']) => url)
  expect(urls.length).toBeGreaterThan(0)
  for (const url of urls) expect(url).toMatch(/^data:image\//)
  expect(text).not.toContain('@import')
})

describe('what else is below /docs', () => {
  test.each([
    '/docs/',
    '/docs/0000000000000000/swagger-ui.css',
    '/docs/package.json',
    '/docs/..%2fpackage.json',
  ])('nothing at %s', async path => expect((await get(path)).status).toBe(404))

  test('the API asks for the token as ever, also where an address looks like the page', async () => {
    for (const path of ['/v1/hosts', '/docs/../v1/hosts', '/docs/%2e%2e/v1/hosts', '//docs/v1/hosts'])
      expect(await statusOf(path)).not.toBe(200)
    expect(await statusOf('/v1/hosts')).toBe(401)
  })
})

/** As the path is written: `fetch` would resolve its dots. */
function statusOf(path: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(api.url)
    request({ hostname, port, path, agent: false }, answer => {
      answer.resume()
      resolve(answer.statusCode)
    })
      .on('error', reject)
      .end()
  })
}
