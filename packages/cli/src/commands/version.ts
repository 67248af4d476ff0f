import type { Api } from '@boxcar/api/client'
import { connect } from '../client.ts'
import type { RunCommand } from '../command.ts'
import { exitStatus } from '../exit.ts'
import { printObject } from '../render/print.ts'
import type { Terminal } from '../terminal.ts'
import { programVersion } from '../version.ts'

/** The version of this program, and of the server where one answers. */
export const version: RunCommand = async context => {
  const { api } = connect(context)
  const program = { version: programVersion(), node: process.versions.node }
  const server = await serverVersion(api, context.terminal)
  await printObject(
    context,
    { program, ...(server === undefined ? {} : { server }) },
    {
      name: program.version,
      lines: () => [
        `boxcar ${program.version} (Node ${program.node})`,
        ...(server === undefined
          ? []
          : [
              `server ${server.version} (Node ${server.node}), cluster ${server.cluster}, at ${server.address}`,
            ]),
      ],
    },
  )
  return exitStatus.done
}

/** Nothing where none answers: that is said, and is no failure. */
async function serverVersion(api: Api, terminal: Terminal) {
  try {
    const { version, node, cluster } = await api.version()
    return { version, node: node.replace(/^v/, ''), cluster, address: api.server }
  } catch (error) {
    terminal.err.write(`${error instanceof Error ? error.message : String(error)}\n`)
    return undefined
  }
}
