import { z } from 'zod'
import { noService } from '../absent.ts'
import { isRefusal } from '../refusal.ts'
import { actedView, rolloutView } from '../views.ts'
import { bodyOrNothing } from '../wrong-request.ts'
import { contextOf, refuseParts, refuseWith } from './answers.ts'
import {
  type App,
  answers,
  answersWith,
  nameOf,
  type RouteContext,
  servicePath,
  writeHeaders,
} from './route.ts'

const tags = ['rollouts']
const path = '/v1/projects/:project/services/:name'
const acted = answersWith({ 200: actedView, 202: actedView })
const waits = 'Waits up to 10 s for the leader to act; 202 where it has not by then, and the request stands.'

export function rolloutRoutes(app: App, { picture, intents }: RouteContext): void {
  app.get(
    '/v1/rollouts',
    { schema: { tags, summary: 'Where every rollout stands', response: answers(z.array(rolloutView)) } },
    async (_, reply) => reply.send([...picture.rollouts()]),
  )

  app.get(
    `${path}/rollout`,
    {
      schema: {
        tags,
        summary: 'Where a rollout stands',
        params: servicePath,
        response: answers(rolloutView),
      },
    },
    async ({ params }, reply) => {
      const found = picture.rollout(nameOf(params))
      return found === undefined ? refuseWith(reply, noService(picture, nameOf(params))) : reply.send(found)
    },
  )

  app.post(
    `${path}/undo`,
    {
      schema: {
        tags,
        summary: 'Back to the generation before, or to a given one',
        description: `While the old generation is warm this is one write of routes. During a rollout it is an abort. ${waits}`,
        params: servicePath,
        headers: writeHeaders,
        body: z.strictObject({ to: z.int().min(1).optional() }),
        response: acted,
      },
      validatorCompiler: bodyOrNothing,
    },
    async (request, reply) => {
      const { params, body } = request
      const read = contextOf(request)
      if (read.kind === 'bad') return refuseParts(reply, 'unreadable-request', read.fault)
      const outcome = await intents.ask(nameOf(params), { kind: 'undo', to: body.to }, read.context)
      if (isRefusal(outcome)) return refuseWith(reply, outcome)
      return reply
        .code(outcome.kind === 'done' ? 200 : 202)
        .send({ outcome: outcome.kind, rollout: outcome.rollout })
    },
  )

  app.post(
    `${path}/rollout/abort`,
    {
      schema: {
        tags,
        summary: 'Gives the next generation up; the stable one goes on answering',
        description: waits,
        params: servicePath,
        headers: writeHeaders,
        body: z.strictObject({}),
        response: acted,
      },
      validatorCompiler: bodyOrNothing,
    },
    async (request, reply) => {
      const read = contextOf(request)
      if (read.kind === 'bad') return refuseParts(reply, 'unreadable-request', read.fault)
      const outcome = await intents.ask(nameOf(request.params), { kind: 'abort' }, read.context)
      if (isRefusal(outcome)) return refuseWith(reply, outcome)
      return reply
        .code(outcome.kind === 'done' ? 200 : 202)
        .send({ outcome: outcome.kind, rollout: outcome.rollout })
    },
  )

  for (const verb of ['promote', 'pause', 'resume'])
    app.post(
      `${path}/rollout/${verb}`,
      {
        schema: { tags, summary: 'Not supported yet', params: servicePath, response: answersWith({}) },
      },
      async ({ params }, reply) => {
        const name = nameOf(params)
        return picture.service(name) === undefined
          ? refuseWith(reply, noService(picture, name))
          : refuseWith(reply, {
              kind: 'not-yet',
              faults: [
                {
                  pointer: '',
                  code: 'not_supported',
                  message: `'${verb}' is not supported yet: rollouts go on by themselves`,
                },
              ],
            })
      },
    )
}
