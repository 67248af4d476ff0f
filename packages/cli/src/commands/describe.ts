import type { HostView, InstanceView } from '@boxcar/api/views'
import { plural } from '@boxcar/core/model/plural'
import { type Client, connect, serviceRef, subjectOf } from '../client.ts'
import type { CommandContext, RunCommand } from '../command.ts'
import { exitStatus, Trouble } from '../exit.ts'
import { hostReason, instanceColumns, reasonOf, stateWords } from '../render/columns.ts'
import { unservedLines } from '../render/evidence.ts'
import { harmless, type Paint } from '../render/paint.ts'
import { printObject } from '../render/print.ts'
import { serviceLines } from '../render/service.ts'
import { fields, table } from '../render/table.ts'
import { cores, exitWords, memory, moment, span } from '../render/words.ts'

/** Everything about one object. */
export const describe: RunCommand = async context => {
  const [kind = '', name = ''] = context.invocation.args
  const client = connect(context)
  if (kind === 'host') await host(context, client, name)
  else if (kind === 'instance') await instance(context, client, name)
  else await service(context, client, name)
  return exitStatus.done
}

async function service(context: CommandContext, { api, settings }: Client, name: string): Promise<void> {
  const ref = serviceRef(name, settings.project)
  const [view, instances, routes] = await Promise.all([api.service(ref), api.instances(ref), api.routes()])
  const { yamlOf } = await import('../yaml-output.ts')
  const own = routes.filter(route => route.service === view.service)
  await printObject(context, view, {
    name: view.service,
    lines: paint => [
      ...serviceLines(
        { service: view, instances, routes: own },
        context.terminal.clock.wall(),
        paint,
        'whole',
      ),
      '',
      paint.faint('Spec'),
      ...yamlOf(view.spec)
        .trimEnd()
        .split('\n')
        .map(line => `  ${harmless(line)}`),
    ],
  })
}

async function instance(context: CommandContext, { api, settings }: Client, name: string): Promise<void> {
  const subject = subjectOf(name, settings.project)
  if (subject.kind === 'service') {
    throw new Trouble({
      status: exitStatus.usage,
      what: `${name} is not an instance`,
      why: 'an instance is named by its service, generation and slot: web/7/2, or shop/web/7/2 with its project',
      next: `boxcar get instances ${name}`,
    })
  }
  const view = await api.instance(subject.ref)
  await printObject(context, view, { name: view.id, lines: paint => instanceLines(view, paint) })
}

function instanceLines(it: InstanceView, paint: Paint): readonly string[] {
  const ports = Object.entries(it.ports).map(
    ([port, number]) => `${port}: ${it.address ?? it.host}:${number}`,
  )
  return fields(
    [
      ['Instance', paint.strong(it.id)],
      ['State', `${stateWords(it)}${it.since === undefined ? '' : ` since ${moment(it.since)}`}`],
      ['Reason', harmless(reasonOf(it))],
      ['Role', it.role],
      ['Host', `${it.host} (${it.hostState})`],
      ['Placed', `${it.desired}, because ${it.because}`],
      ['Image', it.image],
      ['Container', it.container],
      ['Reserves', `${plural(it.cpuMilli / 1000, 'core')}, ${memory(it.memoryMiB)}`],
      ['Ports', ports.join('\n')],
      ['Attempt', `${it.attempt}, restarted ${it.restarts}×`],
      ['Last end', it.exit === undefined ? undefined : `${exitWords(it.exit)} at ${moment(it.exit.at)}`],
      ['Probe', it.probe === undefined ? undefined : `${it.probe.kind}: ${harmless(it.probe.output)}`],
      ['Last words', it.lastLog?.map(harmless).join('\n')],
    ],
    paint,
  )
}

async function host(context: CommandContext, { api }: Client, name: string): Promise<void> {
  const view = await api.host(name)
  const all = await Promise.all((await api.projects()).map(it => api.instances({ project: it.name })))
  const there = all.flat().filter(it => it.host === name)
  await printObject(context, view, {
    name: view.id,
    lines: paint => [
      ...hostLines(view, context.terminal.clock.wall(), paint),
      ...(there.length === 0
        ? []
        : ['', ...table(instanceColumns(context.terminal.clock.wall()), there, paint)]),
    ],
  })
}

function hostLines(it: HostView, now: number, paint: Paint): readonly string[] {
  const said = (what: HostView['drain']) =>
    what === undefined
      ? undefined
      : `by ${what.by} at ${moment(what.at)}${what.why === '' ? '' : `: ${harmless(what.why)}`}`
  return fields(
    [
      ['Host', paint.strong(it.id)],
      ['State', it.state],
      ['Reason', harmless(hostReason(it))],
      ['Address', `${it.address} (agent on port ${it.agentPort})`],
      [
        'Cpus',
        `${cores(it.used.cpuMilli)} of ${cores(it.capacity.cpuMilli)} taken, ${cores(it.free.cpuMilli)} free`,
      ],
      [
        'Memory',
        `${memory(it.used.memoryMiB)} of ${memory(it.capacity.memoryMiB)} taken, ${memory(it.free.memoryMiB)} free`,
      ],
      ['Instances', String(it.instances)],
      [
        'Labels',
        Object.entries(it.labels)
          .map(([key, value]) => `${key}=${value}`)
          .join('\n'),
      ],
      ['Cordoned', said(it.cordon)],
      ['Drained', said(it.drain)],
      [
        'Engine',
        `${it.engine.version}, ${it.engine.state}${it.engine.reason === undefined ? '' : `: ${it.engine.reason}`}`,
      ],
      [
        'Proxy',
        `${it.proxy.version} ${it.proxy.state}${it.proxy.reason === undefined ? '' : `: ${it.proxy.reason}`}`,
      ],
      [
        'Routes',
        it.routesApplied === undefined ? 'none applied' : `applied up to revision ${it.routesApplied}`,
      ],
      ['Not served', unservedLines(it.unserved).join('\n')],
      ['Conditions', (it.conditions ?? []).map(one => conditionLine(one, now)).join('\n')],
      ['Agent', it.agentVersion],
      ['Host ports', `${it.ports.from} to ${it.ports.to}`],
    ],
    paint,
  )
}

function conditionLine(
  { kind, reason, since }: NonNullable<HostView['conditions']>[number],
  now: number,
): string {
  const age = since === undefined ? '' : ` for ${span(Math.max(0, now - since))}`
  return harmless(`${kind}${age}: ${reason}`)
}
