/** The API's description for programs, and Swagger UI, which shows it to people. Nothing is loaded from elsewhere. */
import { z } from 'zod'
import { type Asset, pageAssets, pageHtml } from '../docs-page.ts'
import { type App, answersWith, textOf } from './route.ts'

export function docsRoutes(app: App): void {
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
        .headers({
          ...everywhere,
          'content-security-policy': policy,
          // It names the assets of this very version.
          'cache-control': 'no-cache',
        })
        .serializer(String)
        .send(pageHtml()),
  )

  for (const asset of pageAssets()) assetRoute(app, asset)
}

function assetRoute(app: App, { path, type, content }: Asset): void {
  app.get(path, { schema: { hide: true } }, async (_, reply) =>
    reply
      .type(type)
      // Its address holds a hash of its content.
      .headers({ ...everywhere, 'cache-control': 'public, max-age=31536000, immutable' })
      .send(content),
  )
}

const everywhere = {
  'x-content-type-options': 'nosniff',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
}

/** Swagger UI's style sheet has its pictures in itself, as `data:`. It runs without inline scripts and styles. */
const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')
