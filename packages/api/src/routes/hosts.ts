import { z } from 'zod'
import { noHost } from '../absent.ts'
import { isRefusal } from '../refusal.ts'
import { drainView, hostView } from '../views.ts'
import { bodyOrNothing } from '../wrong-request.ts'
import { authorOf, refuseWith } from './answers.ts'
import { type App, actorHeader, answers, answersWith, hostPath, type RouteContext } from './route.ts'

const tags = ['hosts']

const why = z.strictObject({
  why: z
    .string()
    .max(256)
    .regex(/^[^\p{Cc}]*$/u, { error: 'must be one line of text' })
    .default(''),
})

const labelKey = z.string().regex(/^[a-zA-Z0-9](?:[-._/a-zA-Z0-9]{0,126}[a-zA-Z0-9])?$/, {
  error: 'a label key has letters, digits and . _ / -',
})
const labelValue = z
  .string()
  .regex(/^[\w./-]{0,128}$/, { error: 'a label has letters, digits and . _ / -, at most 128 characters' })

export function hostRoutes(app: App, { picture, hosts }: RouteContext): void {
  app.get(
    '/v1/hosts',
    { schema: { tags, summary: 'The hosts', response: answers(z.array(hostView)) } },
    async (_, reply) => reply.send([...picture.hosts()]),
  )

  app.get(
    '/v1/hosts/:id',
    { schema: { tags, summary: 'A host', params: hostPath, response: answers(hostView) } },
    async ({ params }, reply) => {
      const found = picture.host(params.id)
      return found === undefined ? refuseWith(reply, noHost(picture, params.id)) : reply.send(found)
    },
  )

  app.post(
    '/v1/hosts/:id/cordon',
    {
      schema: {
        tags,
        summary: 'No new work for this host',
        params: hostPath,
        headers: actorHeader,
        body: why,
        response: answers(hostView),
      },
      validatorCompiler: bodyOrNothing,
    },
    async (request, reply) => {
      const { params, body } = request
      const outcome = await hosts.change(params.id, { kind: 'cordon', why: body.why }, authorOf(request))
      return isRefusal(outcome) ? refuseWith(reply, outcome) : reply.send(outcome.host)
    },
  )

  app.post(
    '/v1/hosts/:id/uncordon',
    {
      schema: {
        tags,
        summary: 'This host takes work again; a drain ends too',
        params: hostPath,
        headers: actorHeader,
        body: z.strictObject({}),
        response: answers(hostView),
      },
      validatorCompiler: bodyOrNothing,
    },
    async (request, reply) => {
      const outcome = await hosts.change(request.params.id, { kind: 'uncordon' }, authorOf(request))
      return isRefusal(outcome) ? refuseWith(reply, outcome) : reply.send(outcome.host)
    },
  )

  app.post(
    '/v1/hosts/:id/drain',
    {
      schema: {
        tags,
        summary: 'Moves all instances to other hosts',
        description: 'Each is started elsewhere first, then traffic moves, then it is stopped here.',
        params: hostPath,
        headers: actorHeader,
        body: why,
        response: answers(drainView),
      },
      validatorCompiler: bodyOrNothing,
    },
    async (request, reply) => {
      const { params, body } = request
      const outcome = await hosts.change(params.id, { kind: 'drain', why: body.why }, authorOf(request))
      return isRefusal(outcome)
        ? refuseWith(reply, outcome)
        : reply.send({ host: outcome.host, moves: [...picture.runningOn(params.id)] })
    },
  )

  app.delete(
    '/v1/hosts/:id/drain',
    {
      schema: {
        tags,
        summary: 'Ends a drain; what has moved stays where it is',
        params: hostPath,
        headers: actorHeader,
        response: answers(hostView),
      },
    },
    async (request, reply) => {
      const outcome = await hosts.change(request.params.id, { kind: 'cancel-drain' }, authorOf(request))
      return isRefusal(outcome) ? refuseWith(reply, outcome) : reply.send(outcome.host)
    },
  )

  app.patch(
    '/v1/hosts/:id',
    {
      schema: {
        tags,
        summary: 'Labels given by operators; null takes one away',
        params: hostPath,
        headers: actorHeader,
        consumes: ['application/json', 'application/merge-patch+json'],
        body: z.strictObject({ labels: z.record(labelKey, labelValue.nullable()) }),
        response: answers(hostView),
      },
    },
    async (request, reply) => {
      const { params, body } = request
      const outcome = await hosts.change(params.id, { kind: 'label', labels: body.labels }, authorOf(request))
      return isRefusal(outcome) ? refuseWith(reply, outcome) : reply.send(outcome.host)
    },
  )

  app.delete(
    '/v1/hosts/:id',
    {
      schema: {
        tags,
        summary: 'Forgets a host that is gone for good; one that is there is refused',
        params: hostPath,
        headers: actorHeader,
        response: answersWith({ 204: z.undefined() }),
      },
    },
    async (request, reply) => {
      const outcome = await hosts.remove(request.params.id, authorOf(request))
      return isRefusal(outcome) ? refuseWith(reply, outcome) : reply.code(204).send()
    },
  )
}
