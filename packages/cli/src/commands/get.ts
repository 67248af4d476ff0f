import { type Client, connect, serviceRef } from '../client.ts'
import type { CommandContext, RunCommand } from '../command.ts'
import { exitStatus, Trouble } from '../exit.ts'
import {
  generationColumns,
  hostColumns,
  instanceColumns,
  projectColumns,
  rolloutColumns,
  routeColumns,
  serviceColumns,
} from '../render/columns.ts'
import { printList } from '../render/print.ts'
import { originOf, type Settings } from '../settings.ts'
import { type Kind, listedKind } from '../syntax/kinds.ts'
import { onlyProject, within } from './flags.ts'

/** Lists objects of one kind. */
export const get: RunCommand = async context => {
  const [kind = '', name] = context.invocation.args
  await lists[listedKind(kind)](context, connect(context), name)
  return exitStatus.done
}

type List = (context: CommandContext, client: Client, name: string | undefined) => Promise<void>

const lists: Readonly<Record<Kind, List>> = {
  projects: async (context, { api }, name) => {
    const rows = await api.projects()
    await printList(
      context,
      only(rows, name, it => it.name, 'project'),
      {
        columns: projectColumns,
        nameOf: it => it.name,
        none: 'No projects yet: boxcar deploy -f FILE makes the first one.',
      },
    )
  },
  services: async (context, { api, settings }, name) => {
    const rows =
      name === undefined
        ? await api.services(everyProject(context) ? undefined : settings.project)
        : [await api.service(serviceRef(name, settings.project))]
    await printList(context, rows, {
      columns: serviceColumns(context.terminal.clock.wall()),
      nameOf: it => it.service,
      none: `No services in project ${inForce(settings)}: boxcar deploy -f FILE, or -A for all projects.`,
    })
  },
  instances: async (context, { api, settings }, name) => {
    const rows =
      name !== undefined
        ? await api.instances(serviceRef(name, settings.project))
        : everyProject(context)
          ? (await Promise.all((await api.projects()).map(it => api.instances({ project: it.name })))).flat()
          : await api.instances({ project: settings.project })
    await printList(context, rows, {
      columns: instanceColumns(context.terminal.clock.wall()),
      nameOf: it => it.id,
      none: `No instances${name === undefined ? ` in project ${inForce(settings)}` : ` of ${name}`}: boxcar why ${name ?? 'SERVICE'} tells what they wait for.`,
    })
  },
  hosts: async (context, { api }, name) => {
    const rows = name === undefined ? await api.hosts() : [await api.host(name)]
    await printList(context, rows, {
      columns: hostColumns,
      nameOf: it => it.id,
      none: 'No hosts yet: run boxcar agent on each Docker host.',
    })
  },
  rollouts: async (context, { api, settings }, name) => {
    const rows =
      name === undefined
        ? within(await api.rollouts(), onlyProject(context))
        : [await api.rollout(serviceRef(name, settings.project))]
    await printList(context, rows, {
      columns: rolloutColumns(context.terminal.clock.wall()),
      nameOf: it => it.service,
      none: 'No rollouts yet.',
    })
  },
  routes: async (context, { api, settings }, name) => {
    const rows = await api.routes()
    const service = name === undefined ? undefined : serviceRef(name, settings.project)
    const shown =
      service === undefined
        ? within(rows, onlyProject(context))
        : rows.filter(it => it.service === `${service.project}/${service.name}`)
    await printList(context, shown, {
      columns: routeColumns,
      nameOf: it => `${it.service} ${it.listen}${it.path}`,
      none: 'No routes: give a service a routes block (boxcar explain routes).',
    })
  },
  generations: async (context, { api, settings }, name) => {
    if (name === undefined) {
      throw new Trouble({
        status: exitStatus.usage,
        what: 'generations of which service?',
        why: 'each service has its own generations',
        next: 'boxcar get generations SERVICE',
      })
    }
    const rows = await api.generations(serviceRef(name, settings.project))
    await printList(context, rows, {
      columns: generationColumns(context.terminal.clock.wall()),
      nameOf: it => `${it.service}/${it.generation}`,
      none: 'No generations.',
    })
  },
}

/** The project, and where it was said if not on this command line. */
function inForce(settings: Settings): string {
  const origin = originOf(settings, 'project')
  return origin === undefined ? settings.project : `${settings.project} (${origin})`
}

const everyProject = ({ invocation }: CommandContext) => invocation.flags['allProjects'] === true

function only<Row>(
  rows: readonly Row[],
  name: string | undefined,
  nameOf: (row: Row) => string,
  noun: string,
) {
  if (name === undefined) return rows
  const found = rows.filter(row => nameOf(row) === name)
  if (found.length > 0) return found
  throw new Trouble({
    status: exitStatus.failure,
    what: `there is no ${noun} ${name}`,
    why: rows.length === 0 ? `there are no ${noun}s yet` : `there are: ${rows.map(nameOf).join(', ')}`,
    next: `boxcar get ${noun}s`,
  })
}
