/** The API's description for programs, and a page for people that is made from it and needs nothing from elsewhere. */
import { z } from 'zod'
import { type App, answersWith, type RouteContext, textOf } from './route.ts'

export function docsRoutes(app: App, { deps }: RouteContext): void {
  app.get(
    '/openapi.json',
    {
      schema: {
        tags: ['docs'],
        summary: 'This API as OpenAPI 3.1',
        response: answersWith({ 200: z.unknown() }),
      },
    },
    async (_, reply) => reply.send(app.swagger()),
  )

  app.get(
    '/docs',
    {
      schema: {
        tags: ['docs'],
        summary: 'This API for people',
        response: textOf('A page', { 'text/html': z.string() }),
      },
    },
    async (_, reply) =>
      reply
        .type('text/html; charset=utf-8')
        .header('content-security-policy', "default-src 'none'; style-src 'unsafe-inline'")
        .serializer(String)
        .send(pageOf(app.swagger(), deps.version)),
  )
}

const operation = z.looseObject({
  summary: z.string().optional(),
  description: z.string().optional(),
  tags: z.array(z.string()).optional(),
  parameters: z.array(z.looseObject({ name: z.string(), in: z.string(), schema: z.unknown() })).optional(),
  requestBody: z.unknown().optional(),
  responses: z.record(z.string(), z.unknown()).optional(),
})
const document = z.looseObject({
  paths: z.record(z.string(), z.record(z.string(), operation)).default({}),
  components: z.looseObject({ schemas: z.record(z.string(), z.unknown()).default({}) }).optional(),
})

function pageOf(description: unknown, version: string): string {
  const { paths, components } = document.parse(description)
  const all = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, one]) => ({ path, method: method.toUpperCase(), ...one })),
  )
  const groups = Map.groupBy(all, one => one.tags?.[0] ?? 'other')
  const sections = [...groups].map(
    ([tag, list]) => `<h2>${html(tag)}</h2>${list.map(operationHtml).join('')}`,
  )
  const schemas = Object.entries(components?.schemas ?? {}).map(
    ([name, schema]) =>
      `<details id="${html(name)}"><summary><code>${html(name)}</code></summary>${json(schema)}</details>`,
  )
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>Boxcar API</title><style>${style}</style>
<h1>Boxcar API <small>${html(version)}</small></h1>
<p>JSON over HTTP. Every refusal is <code>application/problem+json</code> with a stable <code>code</code>, a sentence, and <code>errors[]</code> with JSON pointers.
The same as OpenAPI 3.1: <a href="/openapi.json">/openapi.json</a>.</p>
${sections.join('\n')}
<h2>Objects</h2>${schemas.join('\n')}</html>`
}

function operationHtml(
  one: z.output<typeof operation> & { readonly path: string; readonly method: string },
): string {
  const parameters = (one.parameters ?? []).map(
    p => `<li><code>${html(p.name)}</code> in ${html(p.in)}${json(p.schema)}</li>`,
  )
  const responses = Object.entries(one.responses ?? {}).map(
    ([status, response]) => `<details><summary>${html(status)}</summary>${json(response)}</details>`,
  )
  return `<details class="operation"><summary><b>${html(one.method)}</b> <code>${html(one.path)}</code> ${html(one.summary ?? '')}</summary>
${one.description === undefined ? '' : `<p>${html(one.description)}</p>`}
${parameters.length === 0 ? '' : `<h4>Parameters</h4><ul>${parameters.join('')}</ul>`}
${one.requestBody === undefined ? '' : `<h4>Body</h4><details><summary>schema</summary>${json(one.requestBody)}</details>`}
<h4>Answers</h4>${responses.join('')}</details>`
}

const json = (value: unknown) => `<pre>${html(JSON.stringify(value, undefined, 2) ?? '')}</pre>`

const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }
const html = (text: string) => text.replace(/[&<>"]/g, char => entities[char] ?? char)

const style = `:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}
code,pre{font-family:ui-monospace,monospace;font-size:.9em}pre{overflow:auto;margin:.3rem 0;padding:.5rem;background:color-mix(in srgb,currentColor 7%,transparent)}
.operation{border-bottom:1px solid color-mix(in srgb,currentColor 15%,transparent);padding:.3rem 0}.operation>summary b{display:inline-block;min-width:4.5rem}
summary{cursor:pointer}h2{margin-top:2rem}h4{margin:.5rem 0 0}small{font-weight:normal;opacity:.6}`
