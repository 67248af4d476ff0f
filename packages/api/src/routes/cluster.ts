import { elapsed } from '@boxcar/core/model/clock'
import { refusesWrites } from '@boxcar/store/problems'
import { z } from 'zod'
import { problemOf } from '../problem.ts'
import { readinessOf } from '../readiness.ts'
import { type ClusterView, clusterView, problemView, readyView, routeView, versionView } from '../views.ts'
import { type App, answers, flag, type RouteContext, textOf } from './route.ts'

const tags = ['cluster']

export function clusterRoutes(app: App, context: RouteContext): void {
  const { deps, picture, health, leadership } = context
  const { mirror, clusterName, cluster, version } = deps

  app.get(
    '/v1/cluster',
    { schema: { tags, summary: 'The cluster: leader, store, counts', response: answers(clusterView) } },
    async (_, reply) => {
      const now = leadership.now()
      const { status, problems } = await health.current()
      const view: ClusterView = {
        name: clusterName,
        uid: cluster.uid,
        epoch: cluster.epoch,
        version,
        ...(now.kind === 'led'
          ? { leader: { address: now.address, term: now.term } }
          : { leaderless: { since: now.since, reason: now.reason } }),
        store: {
          kind: status.kind,
          reachable: status.members.some(m => m.reachable),
          endpoints: [...status.endpoints],
          members: [...status.members],
          alarms: [...(status.alarms ?? [])],
          problems: problems.map(it => ({ ...it, next: [...it.next] })),
        },
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
      // Whoever asks every second must not wait for a member that does not answer.
      const now = request.query.verbose ? await health.current() : health.known()
      const ready = readinessOf(deps, leadership.now(), now.problems)
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
      reply.type('text/plain; version=0.0.4').serializer(String).send(figures(context, picture.counts())),
  )
}

function figures(
  { deps: { mirror, clock }, picture, health, leadership }: RouteContext,
  counts: ClusterView['counts'],
): string {
  const now = leadership.now()
  const { problems } = health.known()
  const gauges: readonly [string, string, number][] = [
    ['boxcar_hosts', 'Hosts that are known.', counts.hosts],
    ['boxcar_hosts_ready', 'Hosts that take work.', counts.hostsReady],
    [
      'boxcar_hosts_with_conditions',
      'Hosts with something that is not as it should be; GET /v1/hosts tells.',
      picture.hostsWithConditions(),
    ],
    ['boxcar_services', 'Services.', counts.services],
    ['boxcar_services_ready', 'Services that answer with all of their instances.', counts.servicesReady],
    ['boxcar_instances', 'Instances that are placed.', counts.instances],
    ['boxcar_instances_ready', 'Instances that are ready.', counts.instancesReady],
    [
      'boxcar_instances_misplaced',
      'Running instances that could not be placed where they stand now.',
      counts.instancesMisplaced,
    ],
    ['boxcar_leader_known', 'Whether a scheduler leads.', now.kind === 'led' ? 1 : 0],
    [
      'boxcar_leaderless_seconds',
      'Since a leader was seen last; 0 while one leads.',
      now.kind === 'led' ? 0 : Math.max(0, clock.wall() - now.since) / 1000,
    ],
    [
      'boxcar_store_problems',
      'What is the matter with the store; GET /v1/cluster tells.',
      problems.filter(it => it.level !== 'advice').length,
    ],
    [
      'boxcar_store_refuses_writes',
      'Whether the store takes no write, as when it is full.',
      problems.some(refusesWrites) ? 1 : 0,
    ],
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
