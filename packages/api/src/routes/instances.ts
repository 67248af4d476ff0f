import { Readable } from 'node:stream'
import { type GenerationNumber, type InstancePlace, instanceId } from '@boxcar/core/model/ids'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import { noInstance, noService } from '../absent.ts'
import { type LogAsk, openLogs } from '../logs.ts'
import { refuse } from '../problem.ts'
import { Streams } from '../streams.ts'
import { type InstanceView, instanceView, type LogLine, logLine } from '../views.ts'
import { refuseWith } from './answers.ts'
import { maxStreams } from './events.ts'
import {
  type App,
  answers,
  flag,
  instancePath,
  nameOf,
  projectPath,
  type RouteContext,
  servicePath,
  textOf,
  whole,
} from './route.ts'

const tags = ['instances']
const path = '/v1/projects/:project/services/:name'

const logQuery = z.strictObject({
  follow: flag.default(false),
  tail: whole(10_000).default(100),
  since: z
    .string()
    .regex(/^\d{1,15}$/, { error: 'must be milliseconds since 1970' })
    .transform(Number)
    .optional(),
})
const logTexts = textOf('Lines', { 'text/plain': z.string(), 'application/jsonl': logLine })
const logWords =
  'Text, or JSON lines where application/jsonl is accepted. Where some hosts do not answer, Boxcar-Missing names their instances.'

export function instanceRoutes(app: App, context: RouteContext): void {
  const { picture } = context
  const followed = new Streams(maxStreams)

  app.get(
    '/v1/projects/:project/instances',
    {
      schema: {
        tags,
        summary: 'The instances of a project',
        params: projectPath,
        response: answers(z.array(instanceView)),
      },
    },
    async ({ params }, reply) => reply.send([...picture.instances({ project: params.project })]),
  )

  app.get(
    `${path}/instances`,
    {
      schema: {
        tags,
        summary: 'The instances of a service',
        params: servicePath,
        response: answers(z.array(instanceView)),
      },
    },
    async ({ params }, reply) => {
      const service = nameOf(params)
      return picture.service(service) === undefined
        ? refuseWith(reply, noService(picture, service))
        : reply.send([...picture.instances({ service })])
    },
  )

  app.get(
    `${path}/instances/:generation/:slot`,
    { schema: { tags, summary: 'An instance', params: instancePath, response: answers(instanceView) } },
    async ({ params }, reply) => {
      const found = find(params)
      return found === undefined ? refuseWith(reply, noInstance(picture, placeIn(params))) : reply.send(found)
    },
  )

  app.get(
    `${path}/instances/:generation/:slot/logs`,
    {
      schema: {
        tags,
        summary: 'The logs of an instance',
        description: logWords,
        params: instancePath,
        querystring: logQuery,
        response: logTexts,
      },
    },
    async (request, reply) => {
      const found = find(request.params)
      if (found === undefined) return refuseWith(reply, noInstance(picture, placeIn(request.params)))
      return sendLogs(context, followed, request, reply, [found], request.query)
    },
  )

  app.get(
    `${path}/logs`,
    {
      schema: {
        tags,
        summary: 'The logs of all instances of a service',
        description: logWords,
        params: servicePath,
        querystring: logQuery,
        response: logTexts,
      },
    },
    async (request, reply) => {
      const service = nameOf(request.params)
      if (picture.service(service) === undefined) return refuseWith(reply, noService(picture, service))
      const instances = picture.instances({ service }).filter(i => i.hostState !== 'removed')
      return sendLogs(context, followed, request, reply, instances.slice(0, maxInstances), request.query)
    },
  )

  function find(params: z.output<typeof instancePath>): InstanceView | undefined {
    return picture.instance(instanceId(placeIn(params)), nameOf(params))
  }
}

/** Logs of a service come from so many instances at most. */
const maxInstances = 64

const placeIn = (params: z.output<typeof instancePath>): InstancePlace => ({
  service: nameOf(params),
  generation: params.generation as GenerationNumber,
  slot: params.slot,
})

async function sendLogs(
  { deps }: RouteContext,
  streams: Streams,
  request: FastifyRequest,
  reply: FastifyReply,
  instances: readonly InstanceView[],
  query: z.output<typeof logQuery>,
): Promise<FastifyReply> {
  const left = query.follow ? streams.enter(reply) : untilClosed(reply)
  if (left === undefined)
    return refuse(reply, 'too-many-streams', {
      detail: `this server follows ${streams.most} logs already`,
      next: 'try again later, or ask another server',
    })
  const ask: LogAsk = { ...query, since: query.since, signal: AbortSignal.any([deps.signal, left]) }
  const logs = await openLogs(deps, instances, ask)
  const [first] = logs.missing
  if (logs.opened === 0 && first !== undefined)
    return first.kind === 'absent'
      ? refuse(reply, 'not-found', { detail: `${first.instance}: ${first.why}` })
      : refuse(reply, 'agent-unreachable', {
          detail: `${first.instance}: ${first.why}`,
          next: 'boxcar get hosts',
        })
  if (logs.missing.length > 0) reply.header('boxcar-missing', logs.missing.map(m => m.instance).join(', '))
  const json = /jsonl|ndjson|application\/json/.test(request.headers.accept ?? '')
  const write = json ? asJson : instances.length > 1 ? withPlace : plain
  return reply
    .type(json ? 'application/jsonl' : 'text/plain; charset=utf-8')
    .send(Readable.from(texts(logs.lines, write)))
}

function untilClosed(reply: FastifyReply): AbortSignal {
  const left = new AbortController()
  reply.raw.once('close', () => left.abort())
  return left.signal
}

async function* texts(
  lines: AsyncIterable<LogLine>,
  write: (line: LogLine) => string,
): AsyncGenerator<string> {
  for await (const line of lines) yield `${write(line)}\n`
}

const asJson = (line: LogLine) => JSON.stringify(line)
const plain = (line: LogLine) => line.line
/** `7/2 | …`: generation and slot say which one of a service. */
const withPlace = (line: LogLine) => `${line.instance.split('/').slice(2).join('/')} | ${line.line}`
