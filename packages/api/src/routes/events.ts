import { Readable } from 'node:stream'
import { projectName } from '@boxcar/core/model/ids'
import { z } from 'zod'
import { eventSteps, parsePlace, type StreamStep } from '../event-stream.ts'
import { refuse } from '../problem.ts'
import { storeCheck } from '../readiness.ts'
import { Streams } from '../streams.ts'
import { type EventView, eventView } from '../views.ts'
import { refuseParts } from './answers.ts'
import { type App, flag, type RouteContext, textOf, whole } from './route.ts'

const query = z.strictObject({
  tail: whole(10_000).default(0),
  follow: flag.default(true),
  project: projectName.optional(),
  service: z
    .string()
    .regex(/^(?:[a-z][-a-z0-9]{0,39}\/)?[a-z][-a-z0-9]{0,39}$/, {
      error: 'must be a service, as web or shop/web',
    })
    .optional(),
})

/** Beyond so many streams of one kind a server says that it is busy. */
export const maxStreams = 256

export function eventRoutes(app: App, { deps }: RouteContext): void {
  // Each is a watch of the store.
  const streams = new Streams(maxStreams)

  app.get(
    '/v1/events',
    {
      schema: {
        tags: ['events'],
        summary: 'What happens, as server-sent events',
        description:
          'The id of an event is its store revision and its place in it. A stream that starts with Last-Event-ID goes on after that event, without gap or reorder; where that history is no longer kept, `reset` comes first and then everything that is. Without it: the last `tail` events, then what happens from now on.',
        querystring: query,
        headers: z.object({
          'Last-Event-ID': z.string().optional().describe('The id of the last event that the reader has'),
        }),
        response: textOf('A stream', { 'text/event-stream': eventView }),
      },
    },
    async (request, reply) => {
      const last = request.headers['last-event-id']
      const after = typeof last === 'string' ? parsePlace(last) : undefined
      if (last !== undefined && after === undefined)
        return refuseParts(reply, 'unreadable-request', {
          pointer: 'header/last-event-id',
          code: 'header',
          message: 'must be the id of an event as this server gives it, such as 42.0',
        })
      const store = storeCheck(deps)
      if (!store.ok)
        return refuse(reply, 'store-away', {
          detail: store.message,
          next: 'try again',
        })
      const left = streams.enter(reply)
      if (left === undefined)
        return refuse(reply, 'too-many-streams', {
          detail: `this server serves ${streams.most} event streams already`,
          next: 'try again later, or ask another server',
        })
      const { tail, follow, project, service } = request.query
      const steps = eventSteps(deps, {
        after,
        tail,
        follow,
        wanted: filter(project, service),
        signal: AbortSignal.any([deps.signal, left]),
      })
      return reply
        .type('text/event-stream; charset=utf-8')
        .header('cache-control', 'no-store')
        .header('x-accel-buffering', 'no')
        .send(Readable.from(texts(steps)))
    },
  )
}

function filter(project: string | undefined, service: string | undefined): (event: EventView) => boolean {
  const full = service === undefined || service.includes('/') ? service : `${project ?? 'default'}/${service}`
  return event =>
    (project === undefined ||
      event.project === project ||
      event.service?.startsWith(`${project}/`) === true) &&
    (full === undefined || event.service === full)
}

async function* texts(steps: AsyncIterable<StreamStep>): AsyncGenerator<string> {
  // Says at once that the stream stands.
  yield 'retry: 1000\n\n'
  for await (const step of steps) yield spelt(step)
}

function spelt(step: StreamStep): string {
  switch (step.kind) {
    case 'event':
      return `id: ${step.event.id}\nevent: event\ndata: ${JSON.stringify(step.event)}\n\n`
    case 'reset':
      return 'event: reset\ndata: {}\n\n'
    case 'beat':
      return ': still here\n\n'
  }
}
