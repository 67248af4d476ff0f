/** The page at `/docs`: Swagger UI from its package, and what starts it. See docs/adr/0022-swagger-ui-shows-the-api.md. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

export interface Asset {
  /** With a hash of the content in it, so that a browser may keep it for ever. */
  readonly path: string
  readonly type: string
  readonly content: Buffer
}

/** Settings that Swagger UI takes from nowhere else: not from the address (`queryConfigEnabled`), and no validator is asked. */
const start = `SwaggerUIBundle({
  url: '/openapi.json',
  dom_id: '#docs',
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  persistAuthorization: false,
  queryConfigEnabled: false,
  validatorUrl: null,
})
`

export function pageAssets(): readonly Asset[] {
  const { style, scripts } = page()
  return [style, ...scripts]
}

export function pageHtml(): string {
  const { style, scripts } = page()
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Boxcar API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="${style.path}">
<noscript>This page needs JavaScript. The same for programs: <a href="/openapi.json">/openapi.json</a>.</noscript>
<div id="docs"></div>
${scripts.map(({ path }) => `<script src="${path}"></script>`).join('\n')}
</html>
`
}

interface Page {
  readonly style: Asset
  readonly scripts: readonly Asset[]
}

let loaded: Page | undefined

/** Read once a process: it is about 2 MB. */
function page(): Page {
  loaded ??= read()
  return loaded
}

function read(): Page {
  const folder = dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'))
  const packaged = (file: string) => readFileSync(join(folder, file))
  return {
    style: asset('swagger-ui.css', 'text/css; charset=utf-8', packaged('swagger-ui.css')),
    scripts: [
      script('swagger-ui-bundle.js', packaged('swagger-ui-bundle.js')),
      script('start.js', Buffer.from(start)),
    ],
  }
}

const script = (file: string, content: Buffer) => asset(file, 'text/javascript; charset=utf-8', content)

function asset(file: string, type: string, content: Buffer): Asset {
  const hash = createHash('sha256').update(content).digest('hex').slice(0, 16)
  return { path: `/docs/${hash}/${file}`, type, content }
}
