import type { HostView } from '@boxcar/api/views'
import { plural, pluralVerb } from '@boxcar/core/model/plural'
import { type Client, connect } from '../client.ts'
import type { CommandContext, RunCommand } from '../command.ts'
import { exitStatus, Trouble } from '../exit.ts'
import { hostColumns } from '../render/columns.ts'
import { printList } from '../render/print.ts'
import { textFlag } from './flags.ts'

export const list: RunCommand = async context => {
  await print(context, await connect(context).api.hosts())
  return exitStatus.done
}

/** Nothing new is placed there. */
export const cordon: RunCommand = context =>
  onEach(context, ({ api, actor }, id) => api.cordon(id, { actor, ...whyOf(context) }))

export const uncordon: RunCommand = context =>
  onEach(context, ({ api, actor }, id) => api.uncordon(id, { actor }))

/** Everything moves away, traffic first; with `--cancel` it stays. */
export const drain: RunCommand = context =>
  onEach(context, async ({ api, actor }, id) => {
    if (context.invocation.flags['cancel'] === true) return api.cancelDrain(id, { actor })
    const { host, moves } = await api.drain(id, { actor, ...whyOf(context) })
    const which =
      moves.length === 0
        ? 'nothing runs there'
        : `${plural(moves.length, 'instance')} ${pluralVerb(moves.length, 'move')} away: ${moves.join(', ')}`
    context.terminal.err.write(`${id}: ${which}\n`)
    return host
  })

/** What operators say of a host, for placing. */
export const label: RunCommand = async context => {
  const [id = '', ...texts] = context.invocation.args
  const labels = Object.fromEntries(texts.map(readLabel))
  const { api, actor } = connect(context)
  const host = await api.labelHost(id, labels, { actor })
  if (host.misplaced.length > 0)
    context.terminal.err.write(
      `${id}: ${plural(host.misplaced.length, 'instance')} could not be placed there now, and ${pluralVerb(host.misplaced.length, 'stay')}: ${host.misplaced.join(', ')}; boxcar why SERVICE tells what to do\n`,
    )
  await print(context, [host])
  return exitStatus.done
}

function readLabel(text: string): readonly [key: string, value: string | null] {
  const gone = /^([^=]+)-$/.exec(text)
  if (gone?.[1] !== undefined) return [gone[1], null]
  const set = /^([^=]+)=(.*)$/.exec(text)
  if (set?.[1] !== undefined) return [set[1], set[2] ?? '']
  throw new Trouble({
    status: exitStatus.usage,
    what: `${text} is no label`,
    why: 'a label is set with key=value and taken away with key-',
    next: 'boxcar host label h2 zone=b',
  })
}

async function onEach(
  context: CommandContext,
  act: (client: Client, id: string) => Promise<HostView>,
): ReturnType<RunCommand> {
  const client = connect(context)
  const hosts: HostView[] = []
  for (const id of context.invocation.args) hosts.push(await act(client, id))
  await print(context, hosts)
  return exitStatus.done
}

function whyOf({ invocation }: CommandContext): { readonly why?: string } {
  const why = textFlag(invocation, 'why')
  return why === undefined ? {} : { why }
}

const print = (context: CommandContext, hosts: readonly HostView[]) =>
  printList(context, hosts, {
    columns: hostColumns,
    nameOf: it => it.id,
    none: 'No hosts yet: run boxcar agent on each Docker host.',
  })
