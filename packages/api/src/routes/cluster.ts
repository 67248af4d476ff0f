import { elapsed } from '@boxcar/core/model/clock'
import { leaders } from '@boxcar/store/keys'
import { z } from 'zod'
import type { ApiDeps } from '../deps.ts'
import { problemOf } from '../problem.ts'
import { readinessOf } from '../readiness.ts'
import { type ClusterView, clusterView, problemView, readyView, routeView, versionView } from '../views.ts'
import { type App, answers, flag, type RouteContext, textOf } from './route.ts'

const tags = ['cluster']

export function clusterRoutes(app: App, { deps, picture }: RouteContext): void {
  const { store, mirror, clusterName, cluster, version } = deps

  app.get(
    '/v1/cluster',
    { schema: { tags, summary: 'The cluster: leader, store, counts', response: answers(clusterView) } },
    async (_, reply) => {
      const leader = mirror.get(leaders, 'self')
      const status = await statusOf(deps)
      const view: ClusterView = {
        name: clusterName,
        uid: cluster.uid,
        epoch: cluster.epoch,
        version,
        ...(leader === undefined ? {} : { leader: { address: leader.value.address, term: leader.created } }),
        store: status,
        revision: mirror.revision,
        counts: picture.counts(),
      }
      return reply.send(view)
    },
  )

  app.get(
    '/v1/routes',
    {
      schema: {
        tags,
        summary: 'The addresses that users call, and who answers',
        response: answers(z.array(routeView)),
      },
    },
    async (_, reply) => reply.send([...picture.routes()]),
  )

  app.get(
    '/livez',
    {
      schema: { tags, summary: 'The process runs', response: { 200: z.object({ alive: z.literal(true) }) } },
    },
    async (_, reply) => reply.send({ alive: true }),
  )

  app.get(
    '/readyz',
    {
      schema: {
        tags,
        summary: 'Whether this server can do its work',
        description: 'Not ready is 503 with a problem that carries the same checks.',
        querystring: z.strictObject({ verbose: flag.default(false) }),
        response: {
          ...answers(readyView),
          503: {
            description: 'Not ready, and why',
            content: {
              'application/problem+json': { schema: z.object({ ...problemView.shape, ...readyView.shape }) },
            },
          },
        },
      },
    },
    async (request, reply) => {
      const ready = readinessOf(deps)
      const shown = request.query.verbose ? ready : { ...ready, checks: ready.checks.filter(c => !c.ok) }
      if (ready.ready) return reply.send(shown)
      const detail = ready.checks
        .filter(c => !c.ok)
        .map(c => c.message)
        .join('; ')
      return reply
        .code(503)
        .header('retry-after', '2')
        .type('application/problem+json')
        .serializer(JSON.stringify)
        .send({ ...problemOf('not-ready', request.id, { detail, next: 'boxcar doctor' }), ...shown })
    },
  )

  app.get(
    '/version',
    { schema: { tags, summary: 'Which version answers', response: answers(versionView) } },
    async (_, reply) => reply.send({ version, node: process.version, cluster: clusterName }),
  )

  app.get(
    '/metrics',
    {
      schema: {
        tags,
        summary: 'Figures in the Prometheus text format',
        response: textOf('Figures', { 'text/plain': z.string() }),
      },
    },
    async (_, reply) =>
      reply.type('text/plain; version=0.0.4').serializer(String).send(figures(deps, picture.counts())),
  )

  async function statusOf({ log }: ApiDeps): Promise<ClusterView['store']> {
    try {
      const { kind, endpoints, members } = await store.status()
      return {
        kind,
        reachable: members.some(m => m.reachable),
        endpoints: [...endpoints],
        members: [...members],
      }
    } catch (error) {
      log.warn({ error: error instanceof Error ? error.message : String(error) }, 'the store told no status')
      return { kind: 'etcd', reachable: false, endpoints: [], members: [] }
    }
  }
}

function figures({ mirror, clock }: ApiDeps, counts: ClusterView['counts']): string {
  const gauges: readonly [string, string, number][] = [
    ['boxcar_hosts', 'Hosts that are known.', counts.hosts],
    ['boxcar_hosts_ready', 'Hosts that take work.', counts.hostsReady],
    ['boxcar_services', 'Services.', counts.services],
    ['boxcar_services_ready', 'Services that are as they were asked for.', counts.servicesReady],
    ['boxcar_instances', 'Instances that are placed.', counts.instances],
    ['boxcar_instances_ready', 'Instances that are ready.', counts.instancesReady],
    ['boxcar_leader_known', 'Whether a scheduler leads.', mirror.get(leaders, 'self') === undefined ? 0 : 1],
    [
      'boxcar_store_silence_seconds',
      'Since the store was heard last.',
      elapsed(mirror.lastHeard(), clock.now()) / 1000,
    ],
    ['boxcar_unreadable_entries', 'Stored values that this program cannot read.', mirror.unreadable.size],
    ['process_resident_memory_bytes', 'Resident memory.', process.memoryUsage.rss()],
  ]
  return gauges
    .map(([name, help, value]) => `# HELP ${name} ${help}\n# TYPE ${name} gauge\n${name} ${value}\n`)
    .join('')
}
