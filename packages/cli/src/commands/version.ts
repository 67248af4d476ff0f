import { connect } from '../client.ts'
import type { RunCommand } from '../command.ts'
import { exitStatus } from '../exit.ts'
import { programVersion } from '../version.ts'

/** The version of this program, and of the server where one answers. */
export const version: RunCommand = async context => {
  const { terminal } = context
  terminal.out.write(`boxcar ${programVersion()} (Node ${process.versions.node})\n`)
  const { api } = connect(context)
  try {
    const server = await api.version()
    terminal.out.write(
      `server ${server.version} (Node ${server.node.replace(/^v/, '')}), cluster ${server.cluster}, at ${api.server}\n`,
    )
  } catch (error) {
    terminal.err.write(`${error instanceof Error ? error.message : String(error)}\n`)
  }
  return exitStatus.done
}
