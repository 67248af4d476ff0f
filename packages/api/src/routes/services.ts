import { projectName } from '@boxcar/core/model/ids'
import { serviceSpecAsSent } from '@boxcar/core/model/spec'
import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import { noGeneration, noService } from '../absent.ts'
import { refuse } from '../problem.ts'
import { isRefusal } from '../refusal.ts'
import {
  deletedView,
  generationView,
  planView,
  projectView,
  savedView,
  serviceView,
  whyView,
} from '../views.ts'
import { bodyAsWritten } from '../wrong-request.ts'
import { contextOf, refuseParts, refuseWith } from './answers.ts'
import {
  type App,
  answers,
  answersWith,
  generationPath,
  nameOf,
  projectPath,
  type RouteContext,
  servicePath,
  writeHeaders,
} from './route.ts'

const tags = ['services']

/** Not even `null`: nothing was sent. */
const isMissing = (request: FastifyRequest) => request.headers['content-type'] === undefined

export function serviceRoutes(app: App, { services, picture }: RouteContext): void {
  app.get(
    '/v1/projects',
    { schema: { tags, summary: 'The projects that have services', response: answers(z.array(projectView)) } },
    async (_, reply) => reply.send([...picture.projects()]),
  )

  app.get(
    '/v1/services',
    { schema: { tags, summary: 'The services of all projects', response: answers(z.array(serviceView)) } },
    async (_, reply) => reply.send([...picture.services()]),
  )

  app.get(
    '/v1/projects/:project/services',
    {
      schema: {
        tags,
        summary: 'The services of a project',
        params: projectPath,
        response: answers(z.array(serviceView)),
      },
    },
    async ({ params }, reply) => reply.send([...picture.services(params.project)]),
  )

  app.get(
    '/v1/projects/:project/services/:name',
    {
      schema: {
        tags,
        summary: 'A service: what was asked for and what there is',
        params: servicePath,
        response: answers(serviceView),
      },
    },
    async ({ params }, reply) => {
      const found = picture.service(nameOf(params))
      if (found === undefined) return refuseWith(reply, noService(picture, nameOf(params)))
      return reply.header('etag', `"${found.revision}"`).send(found)
    },
  )

  app.put(
    '/v1/projects/:project/services/:name',
    {
      schema: {
        tags,
        summary: 'The whole desired state of a service',
        description: `What changes the container makes a new generation, and so does an image by tag, which is looked up again; everything else takes effect in place.`,
        params: servicePath,
        headers: writeHeaders,
        body: serviceSpecAsSent,
        response: answersWith({ 200: savedView, 201: savedView }),
      },
      validatorCompiler: bodyAsWritten,
    },
    async (request, reply) => {
      const { params } = request
      const body: unknown = request.body
      const read = contextOf(request)
      if (read.kind === 'bad') return refuseParts(reply, 'unreadable-request', read.fault)
      if (isMissing(request)) return refuse(reply, 'invalid-json', { detail: 'a spec is needed as the body' })
      const outcome = await services.put(nameOf(params), params.name, body, read.context)
      if (outcome.kind !== 'saved') return refuseWith(reply, outcome)
      return reply
        .code(outcome.saved.changed === 'created' ? 201 : 200)
        .header('etag', `"${outcome.revision}"`)
        .send(outcome.saved)
    },
  )

  app.patch(
    '/v1/projects/:project/services/:name',
    {
      schema: {
        tags,
        summary: 'A change of a service, as a JSON merge patch',
        description: `{"replicas": 3} scales. A tag is not looked up again unless the image changes.`,
        params: servicePath,
        headers: writeHeaders,
        consumes: ['application/json', 'application/merge-patch+json'],
        body: z.record(z.string(), z.unknown()),
        response: answers(savedView),
      },
      validatorCompiler: bodyAsWritten,
    },
    async (request, reply) => {
      const { params } = request
      const body: unknown = request.body
      const read = contextOf(request)
      if (read.kind === 'bad') return refuseParts(reply, 'unreadable-request', read.fault)
      if (isMissing(request))
        return refuse(reply, 'invalid-json', { detail: 'a merge patch is needed as the body' })
      const outcome = await services.patch(nameOf(params), params.name, body, read.context)
      if (outcome.kind !== 'saved') return refuseWith(reply, outcome)
      return reply.header('etag', `"${outcome.revision}"`).send(outcome.saved)
    },
  )

  app.delete(
    '/v1/projects/:project/services/:name',
    {
      schema: {
        tags,
        summary: 'The end of a service: its instances are stopped; data stays',
        params: servicePath,
        headers: writeHeaders,
        response: answersWith({ 202: deletedView }),
      },
    },
    async (request, reply) => {
      const read = contextOf(request)
      if (read.kind === 'bad') return refuseParts(reply, 'unreadable-request', read.fault)
      const outcome = await services.delete(nameOf(request.params), read.context)
      if (isRefusal(outcome)) return refuseWith(reply, outcome)
      return reply.code(202).send(outcome.deleted)
    },
  )

  app.get(
    '/v1/projects/:project/services/:name/generations',
    {
      schema: {
        tags,
        summary: 'The generations that are kept, newest first',
        params: servicePath,
        response: answers(z.array(generationView)),
      },
    },
    async ({ params }, reply) => {
      const name = nameOf(params)
      if (picture.service(name) === undefined) return refuseWith(reply, noService(picture, name))
      return reply.send([...picture.generations(name)])
    },
  )

  app.get(
    '/v1/projects/:project/services/:name/generations/:number',
    { schema: { tags, summary: 'A generation', params: generationPath, response: answers(generationView) } },
    async ({ params }, reply) => {
      const found = picture.generations(nameOf(params)).find(g => g.generation === params.number)
      return found === undefined
        ? refuseWith(reply, noGeneration(picture, nameOf(params), params.number))
        : reply.send(found)
    },
  )

  app.get(
    '/v1/projects/:project/services/:name/why',
    {
      schema: {
        tags,
        summary: 'Why a service is not as it was asked for',
        params: servicePath,
        response: answers(whyView),
      },
    },
    async ({ params }, reply) => {
      const found = picture.why(nameOf(params))
      return found === undefined ? refuseWith(reply, noService(picture, nameOf(params))) : reply.send(found)
    },
  )

  app.post(
    '/v1/plans',
    {
      schema: {
        tags,
        summary: 'What a PUT of these specs would do; nothing is written',
        body: z.strictObject({
          project: projectName.default('default' as z.output<typeof projectName>),
          services: z.array(z.unknown()).min(1).max(100),
        }),
        response: answers(planView),
      },
    },
    async ({ body }, reply) => {
      const outcome = await services.plan(body.project, body.services)
      return outcome.kind === 'planned' ? reply.send(outcome.plan) : refuseWith(reply, outcome)
    },
  )
}
